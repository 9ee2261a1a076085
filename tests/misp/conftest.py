from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Middleware
from pydantic import SecretStr

from tqmisp.misp import identity, marks
from tqmisp.misp.client import MispClient
from tqmisp.misp.options import EventOptions, MispOptions
from tqmisp.misp.sink import MispSink
from tqmisp.model import Change, EventRef, Planned
from tqmisp.pipeline.protocols import Slice
from tqmisp.pipeline.retry import RetryPolicy
from tqmisp.simulators.misp import DEFAULT_KEY, MispSimulatorOptions, MispStore, create_app

SPACE = identity.namespace("https://threatq.test")
NOW = 1_700_000_000
REF = EventRef(1, identity.event_uuid(SPACE, "Test", "2026-11-24", 1), "Test 2026-11-24", "2026-11-24")
OTHER = EventRef(2, identity.event_uuid(SPACE, "Test", "2026-11-24", 2), "Test 2026-11-24 (2)", "2026-11-24")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def planned(
    value: str,
    /,
    *,
    timestamp: int = NOW,
    change: Change = Change.CREATE,
    base: bytes = b"",
    tags: Sequence[str] = (),
    **fields: Any,
) -> Planned:
    """A domain that is to be delivered; ``fields`` replace those of its body."""
    uuid = identity.identify(SPACE, "domain", "Network activity", value)[0]
    body = {
        "uuid": identity.as_text(uuid),
        "type": "domain",
        "category": "Network activity",
        "value": value,
        "to_ids": True,
        "comment": "",
        "timestamp": str(timestamp),
    } | fields
    if tags:
        body["Tag"] = [{"name": name} for name in tags]
    mark = marks.of(
        to_ids=bool(body["to_ids"]),
        deleted=False,
        category=str(body["category"]),
        comment=str(body["comment"]),
        first_seen=None,
        last_seen=None,
        tags=tags,
    ).packed()
    key = hash(value) % 10**9
    return Planned(key, uuid, b"print...", 0, timestamp, change, orjson.dumps(body), mark, base)


def update(value: str, /, *, was: Mapping[str, Any] | None = None, **fields: Any) -> Planned:
    """A change of a domain that was delivered as ``was`` says."""
    base = planned(value, **(was or {})).marks
    return planned(value, timestamp=NOW + 60, change=Change.UPDATE, base=base, **fields)


def domains(count: int, **fields: Any) -> list[Planned]:
    """So many different domains."""
    return [planned(f"host{number}.example", **fields) for number in range(count)]


def part(items: Sequence[Planned], ref: EventRef = REF) -> Slice[EventRef, Planned]:
    """A slice of some items."""
    return Slice(ref, items, sum(len(item.body) for item in items))


@dataclass
class Rig:
    """A sink, and the server that it delivers to."""

    sink: MispSink
    client: MispClient
    store: MispStore

    def values(self, ref: EventRef = REF) -> list[str]:
        """The values that an event holds."""
        return sorted(attribute.value for attribute in self.store.attributes(ref.uuid))


async def _at_once(_seconds: float) -> None:
    """Wait for nothing."""


@asynccontextmanager
async def rig(
    *middlewares: Middleware,
    store: MispStore | None = None,
    server: MispSimulatorOptions | None = None,
    events: EventOptions | None = None,
    instead: Callable[[EventRef], EventRef | None] = lambda _: None,
    **changes: Any,
) -> AsyncIterator[Rig]:
    """Serve a MISP, and open a sink to it that waits for nothing."""
    store = store or MispStore()
    app = create_app(store, server, middlewares=middlewares)
    async with TestServer(app) as served:
        given: dict[str, Any] = {"url": str(served.make_url("")), "key": SecretStr(DEFAULT_KEY), "chunk_size": 10}
        given |= {"unclear_seconds": 0}
        options = MispOptions(**(given | changes))
        async with MispClient.connect(options) as client:
            retry = RetryPolicy(attempts=4, backoff=0, backoff_max=0, sleep=_at_once)
            sink = MispSink(client, options, events or EventOptions(), retry=retry, instead=instead)
            yield Rig(sink, client, store)


def fault(path: str, *answers: Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]) -> Middleware:
    """Answer the first requests to a path in other ways than the server would."""
    waiting = list(answers)

    @web.middleware
    async def meddle(request: web.Request, handler: Handler) -> web.StreamResponse:
        if path in request.path and waiting:
            return await waiting.pop(0)(request, handler)
        return await handler(request)

    return meddle


async def lose_answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Do what is asked, and hang up instead of answering."""
    answer = await handler(request)
    assert request.transport is not None
    request.transport.abort()
    return answer


async def hang_up(request: web.Request, _handler: Handler) -> web.StreamResponse:
    """Do nothing, and hang up."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def status(code: int, **headers: str) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
    """Do nothing, and answer with a status, as a proxy in front does."""

    async def answer(_request: web.Request, _handler: Handler) -> web.StreamResponse:
        return web.Response(status=code, text="<html>", content_type="text/html", headers=headers)

    return answer
