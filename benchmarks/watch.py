"""Middlewares around the simulators that count, remember and record."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from tqmisp.simulators.misp import MispStore

PLACE = "/_simulator/bench"
"""Where a watch tells what it has seen."""
MOST_REMEMBERED = 3 * 2**30
"""Bytes of pages that are kept."""
_PAGES = "/api/indicators/query"
_ROW = b'"uuid"'
"""Comes once in each attribute that is sent."""


class Recorded(NamedTuple):
    """A request as it was sent."""

    path: str
    body: bytes


class Recorder:
    """Adds requests to a file, if there is one: a line of JSON, then the body."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None

    def record(self, path: str, body: bytes) -> None:
        """Add a request."""
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(json.dumps({"path": path, "size": len(body)}).encode() + b"\n" + body)


def recorded(path: Path) -> Iterator[Recorded]:
    """The requests of a file, in the order in which they came."""
    with path.open("rb") as file:
        for line in file:
            told = json.loads(line)
            yield Recorded(told["path"], file.read(told["size"]))


class ThreatQWatch:
    """Counts and remembers pages.

    Args:
        latency: seconds that each page takes.
        record: where to write the requests for pages.
        remembers: answer the same request a second time from memory.
    """

    def __init__(self, *, latency: float, record: str | None, remembers: bool = True) -> None:
        self._latency = latency
        self._recorder = Recorder(record)
        self._pages: dict[tuple[str, bytes], _Page] = {}
        self._room = MOST_REMEMBERED if remembers else 0
        self._requests = self._rows = self._bytes = 0

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer from memory where that is possible."""
        if request.path == PLACE:
            return web.json_response({"requests": self._requests, "rows": self._rows, "bytes": self._bytes})
        self._requests += 1
        if request.path != _PAGES:
            return await handler(request)
        key = request.path_qs, await request.read()
        self._recorder.record(*key)
        if self._latency:
            await asyncio.sleep(self._latency)
        page = self._pages.get(key)
        if page is None:
            answer = await handler(request)
            page = _page(answer)
            if page is None:
                return answer
            if self._room > 0:
                self._pages[key] = page
                self._room -= len(page.body)
        self._rows += page.rows
        self._bytes += len(page.body)
        return web.Response(body=page.body, content_type="application/json")


class _Page(NamedTuple):
    body: bytes
    rows: int


def _page(answer: web.StreamResponse) -> _Page | None:
    """The page in an answer; None where something else came, on purpose."""
    if not isinstance(answer, web.Response) or not isinstance(answer.body, bytes) or answer.status != 200:
        return None
    try:
        return _Page(answer.body, len(orjson.loads(answer.body)["data"]))
    except (ValueError, KeyError, TypeError):
        return None


class MispWatch:
    """Notes when each writing request came and went.

    Args:
        store: of the simulator.
        halves_after: attributes after which the server is half as fast.
        record: where to write the requests that write.
    """

    def __init__(self, store: MispStore, *, halves_after: int | None, record: str | None) -> None:
        self._store = store
        self._halves_after = halves_after
        self._recorder = Recorder(record)
        self._writes: list[tuple[float, float, int, int]] = []
        self._in_flight = self._requests = self._bytes = 0

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let the simulator answer, and note what it was."""
        if request.path == PLACE:
            return web.json_response(
                {
                    "requests": self._requests,
                    "write_requests": self._store.write_requests,
                    "bytes": self._bytes,
                    "rows": self._store.next_attribute - 1,
                    "in_flight": self._in_flight,
                }
            )
        if request.path == f"{PLACE}/writes":
            return web.json_response(self._writes)
        self._requests += 1
        body = await request.read()
        self._bytes += len(body)
        if not request.path.startswith(("/events/add", "/events/edit", "/attributes/add")):
            return await handler(request)
        self._recorder.record(request.path, body)
        began = time.monotonic()
        self._in_flight += 1
        at_once = self._in_flight
        try:
            return await handler(request)
        finally:
            self._in_flight -= 1
            self._writes.append((round(began, 3), round(time.monotonic(), 3), body.count(_ROW), at_once))
            if self._halves_after is not None and self._store.next_attribute > self._halves_after:
                self._store.slowness = 2.0
