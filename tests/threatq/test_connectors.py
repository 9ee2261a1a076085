from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from tests.threatq.conftest import serving
from tqmisp.errors import ThreatQError, ThreatQRefused, ThreatQUnavailable
from tqmisp.threatq.connectors import ConnectorSettings, register


def _threatq(*, status: int = 201, keeps: bool = True) -> tuple[web.Application, list[dict[str, Any]]]:
    """A server that makes connectors, or does not; and what it was asked to make."""
    asked: list[dict[str, Any]] = []

    async def let_in(_request: web.Request) -> web.Response:
        return web.json_response({"access_token": "token-of-the-test", "expires_in": 3600})

    async def make(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.json_response({"data": {"id": 64}} if status < 300 else {"errors": ["no"]}, status=status)

    async def find(request: web.Request) -> web.Response:
        rows = [row for row in asked if keeps and row["name"] == request.query["name"]]
        return web.json_response({"total": len(rows), "data": rows})

    app = web.Application()
    app.add_routes(
        [web.post("/api/token", let_in), web.post("/api/connectors", make), web.get("/api/connectors", find)]
    )
    return app, asked


async def test_a_server_that_registers() -> None:
    """The connector has the three fields of 2018, which nobody has filled in yet, and no secret of ours."""
    app, asked = _threatq()
    async with serving(app) as client:
        made = await register(client, "MISP Export")
    assert made == ConnectorSettings(active=True, misp_url=None, misp_key=None, score_threshold=0)
    (body,) = asked
    assert (body["name"], body["category"]) == ("MISP Export", "ThreatQ Labs")
    assert body["custom_fields"] == {"misp_url": "", "misp_api_key": "", "score_threshold": "0"}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ThreatQRefused),
        (403, ThreatQRefused),
        (404, ThreatQRefused),
        (405, ThreatQRefused),
        (503, ThreatQUnavailable),
    ],
)
async def test_a_server_that_refuses(status: int, error: type[ThreatQError]) -> None:
    """It is asked once only: nobody knows what asking twice would do."""
    app, asked = _threatq(status=status)
    async with serving(app) as client:
        with pytest.raises(error, match=r"POST /api/connectors: ThreatQ (refused|failed) \(\d+ no\)"):
            await register(client, "MISP Export")
    assert len(asked) == 1


async def test_a_server_that_says_yes_and_does_nothing() -> None:
    """Only what is there afterwards is believed."""
    app, _ = _threatq(keeps=False)
    async with serving(app) as client:
        with pytest.raises(ThreatQRefused, match="took the call, and has no connector 'MISP Export' afterwards"):
            await register(client, "MISP Export")
