from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from tqmisp.simulators.threatq import Library, ThreatQSimulatorOptions, create_app
from tqmisp.threatq.client import ThreatQClient
from tqmisp.threatq.options import ThreatQOptions

ACCOUNT = ThreatQSimulatorOptions()

Serve = Callable[..., Awaitable[ThreatQClient]]


def login(url: str, **changes: object) -> ThreatQOptions:
    """Options for the simulator's account, with waits that do not slow a test."""
    given: dict[str, object] = {
        "url": url,
        "client_id": ACCOUNT.client_id,
        "email": ACCOUNT.email,
        "password": SecretStr(ACCOUNT.password),
        "backoff": 0.0,
        "backoff_max": 0.0,
        "attempts": 3,
        "patience": 0,
    }
    return ThreatQOptions(**(given | changes))  # type: ignore[arg-type]


@asynccontextmanager
async def serving(app: web.Application, **changes: object) -> AsyncIterator[ThreatQClient]:
    """A client of an application that is served on a free port."""
    async with TestServer(app) as server, ThreatQClient.connect(login(str(server.make_url("/")), **changes)) as client:
        yield client


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a simulator with some indicators, and give a client of it."""
    async with AsyncExitStack() as stack:

        async def start(
            library: Library, options: ThreatQSimulatorOptions | None = None, **changes: object
        ) -> ThreatQClient:
            served: AbstractAsyncContextManager[ThreatQClient] = serving(create_app(library, options), **changes)
            return await stack.enter_async_context(served)

        yield start
