"""A client for tests of the simulated MISP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import orjson
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Middleware

from tqmisp.simulators.misp import DEFAULT_KEY, MispSimulatorOptions, MispStore, create_app

EVENT = "11111111-aaaa-4bbb-8ccc-000000000001"
OTHER_EVENT = "11111111-aaaa-4bbb-8ccc-000000000002"


class Reply(NamedTuple):
    """An answer."""

    status: int
    body: Any
    """Decoded where it is JSON, else the text."""
    headers: dict[str, str]


class Asker:
    """Asks a simulated MISP, by default as the sync user."""

    def __init__(self, client: TestClient[Any, Any], store: MispStore) -> None:
        self.client = client
        self.store = store

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a request; header names have ``_`` for ``-``."""
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        sent = {"Authorization": DEFAULT_KEY, "Accept": "application/json", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.request(method, path, data=data, headers=sent, allow_redirects=False) as response:
            content = await response.read()
            json = response.content_type == "application/json" and content
            return Reply(response.status, orjson.loads(content) if json else content.decode(), dict(response.headers))

    async def post(self, path: str, body: Any = None) -> Any:
        """Post something that must be taken; gives the decoded answer."""
        reply = await self.send("POST", path, body)
        assert reply.status == 200, reply
        return reply.body

    async def event(self, uuid: str = EVENT, rows: list[dict[str, Any]] | None = None) -> None:
        """Add an event."""
        await self.post("/events/add/metadata:1", {"Event": {"uuid": uuid, "info": "x", "Attribute": rows or []}})

    def values(self, uuid: str = EVENT) -> list[str]:
        """The values that are stored in an event."""
        return [attribute.value for attribute in self.store.attributes(uuid)]


@asynccontextmanager
async def serving(
    store: MispStore | None = None,
    options: MispSimulatorOptions | None = None,
    middlewares: tuple[Middleware, ...] = (),
) -> AsyncIterator[Asker]:
    """A simulated MISP on a local port."""
    store = store if store is not None else MispStore()
    app = create_app(store, options, middlewares=middlewares)
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        yield Asker(client, store)


def domain(value: str, uuid: str | None = None, **fields: Any) -> dict[str, Any]:
    """An attribute."""
    return {"type": "domain", "category": "Network activity", "value": value, "uuid": uuid, **fields}


def uuid_of(number: int) -> str:
    """A UUID for an attribute."""
    return f"22222222-aaaa-4bbb-8ccc-{number:012}"
