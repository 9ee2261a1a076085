from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tqmisp.errors import ConfigError
from tqmisp.schedule import State, Turn
from tqmisp.schedule.health import served


async def _get(port: int, path: str = "/health", method: str = "GET") -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.json() if answer.content_type == "application/json" else None


async def test_how_it_goes() -> None:
    """200 until a run goes wrong, 503 until the next good one; the times of the last run and the next."""
    state = State(1_700_000_000)
    async with served(state, "127.0.0.1", 0) as port:
        status, said = await _get(port)
        assert (status, said["healthy"], said["last_run"], said["next_run_at"]) == (200, True, None, None)
        state.count(Turn("failed", 4, "MISP cannot be reached", 1_700_000_001, 1_700_000_061))
        state.next = 1_700_014_400
        assert await _get(port) == (
            503,
            {
                "healthy": False,
                "started_at": "2023-11-14T22:13:20Z",
                "running_since": None,
                "next_run_at": "2023-11-15T02:13:20Z",
                "last_run": {
                    "outcome": "failed",
                    "exit_code": 4,
                    "text": "MISP cannot be reached",
                    "began_at": "2023-11-14T22:13:21Z",
                    "ended_at": "2023-11-14T22:14:21Z",
                },
                "runs": 1,
                "failures": 1,
                "failures_in_a_row": 1,
                "skipped": 0,
                "configuration_refused": None,
            },
        )
        state.count(Turn("skipped", 7, "another is at work", 1_700_014_400, 1_700_014_401))
        assert (await _get(port))[0] == 503
        state.count(Turn("done", 0, "", 1_700_028_800, 1_700_028_900))
        assert (await _get(port))[0] == 200
        assert (await _get(port, method="HEAD"))[0] == 200
        assert (await _get(port, "/"))[0] == 404
        assert (await _get(port, method="POST"))[0] == 405


async def test_a_port_that_is_taken() -> None:
    """The text names the setting, the address and the port."""
    async with served(State(0), "127.0.0.1", 0) as port:
        with pytest.raises(ConfigError, match=rf"schedule\.health_port: 127\.0\.0\.1 port {port} cannot be served"):
            async with served(State(0), "127.0.0.1", port):
                pass
