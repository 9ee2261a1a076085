"""``GET /health``: how the runs go, for whoever watches over the process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from aiohttp import web

from tqmisp.errors import ConfigError
from tqmisp.schedule.state import State


@asynccontextmanager
async def served(state: State, address: str, port: int) -> AsyncIterator[int]:
    """Answer for as long as the block runs; 200 if all is well, 503 if not, with the state as JSON.

    Args:
        state: how it goes.
        address: of this machine.
        port: 0 takes any that is free.

    Yields:
        The port.

    Raises:
        ConfigError: the port is taken, or the address is not of this machine.
    """

    async def health(_request: web.Request) -> web.Response:
        return web.Response(
            status=200 if state.healthy else 503,
            body=orjson.dumps(state.as_json()) + b"\n",
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    app = web.Application()
    app.router.add_get("/health", health)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address, port).start()
        except OSError as error:
            raise ConfigError(
                f"schedule.health_port: {address} port {port} cannot be served: {error.strerror or error}."
            ) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
