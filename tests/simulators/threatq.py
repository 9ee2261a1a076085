"""A client for tests of the simulated ThreatQ."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from aiohttp.test_utils import TestClient, TestServer

from tqmisp.simulators.threatq import Library, ThreatQSimulatorOptions, create_app

CORPUS = Path(__file__).parents[1] / "data" / "threatq-small.ndjson.gz"
ACCOUNT = ThreatQSimulatorOptions()
QUERY = "/api/indicators/query"
OLD_ANSWER = ["*", "sources", "attributes", "attributes.name", "attributes.value"]


class Reply(NamedTuple):
    """An answer."""

    status: int
    body: Any


class Asker:
    """Asks a simulated ThreatQ."""

    def __init__(self, client: TestClient[Any, Any], library: Library) -> None:
        self.client = client
        self.library = library
        self.token = ""

    async def send(self, method: str, path: str, body: Any = None, **params: object) -> Reply:
        """Send a request, with the token where there is one."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        query = {name: str(value) for name, value in params.items()}
        async with self.client.request(method, path, data=data, params=query, headers=headers) as response:
            return Reply(response.status, orjson.loads(await response.read()))

    async def get(self, path: str, **params: object) -> Any:
        """Get something that must be there; gives the decoded answer."""
        reply = await self.send("GET", path, **params)
        assert reply.status == 200, reply
        return reply.body

    async def query(self, filters: object = None, fields: object = None, **params: object) -> Any:
        """A page of the Threat Library that must be given."""
        body = {"criteria": {}, "filters": filters or {}} | ({"fields": fields} if fields else {})
        reply = await self.send("POST", QUERY, body, **params)
        assert reply.status == 200, reply
        return reply.body

    async def log_in(self, **request: Any) -> Reply:
        """Ask for a token, and use it from now on if it is given."""
        if not request:
            who = {"email": ACCOUNT.email, "password": ACCOUNT.password}
            request = {"json": who | {"grant_type": "password", "client_id": ACCOUNT.client_id}}
        async with self.client.post("/api/token", **request) as response:
            reply = Reply(response.status, orjson.loads(await response.read()))
        self.token = reply.body.get("access_token", self.token)
        return reply


def basic(client: str, secret: str) -> dict[str, str]:
    """The header of HTTP Basic."""
    return {"Authorization": "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()}


@asynccontextmanager
async def serving(library: Library, options: ThreatQSimulatorOptions | None = None) -> AsyncIterator[Asker]:
    """A simulated ThreatQ on a local port, logged in."""
    async with TestClient(TestServer(create_app(library, options))) as client:
        asker = Asker(client, library)
        await asker.log_in()
        yield asker


def rows_of(library: Library, test: Callable[[dict[str, Any]], bool] = lambda _: True) -> list[dict[str, Any]]:
    """The rows of a library that a test lets through, in the order of their ids."""
    rows = [library.row(place) for place in range(len(library))]
    return [row for row in rows if test(row)]


def ids_of(rows: list[dict[str, Any]]) -> list[int]:
    """The ids of rows."""
    return [row["id"] for row in rows]
