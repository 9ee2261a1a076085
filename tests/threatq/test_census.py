"""What comes in during the reading is told from what a server keeps back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tests.threatq.conftest import serving
from tests.threatq.test_source import deaf, read, rows_where, status
from tqmisp.simulators.threatq import Library, create_app, generate
from tqmisp.threatq import source as source_module
from tqmisp.threatq.options import Selection
from tqmisp.threatq.source import ThreatQSource

QUERY = "/api/indicators/query"
PAGE = 50


def meanwhile(change: Callable[[], object]) -> Middleware:
    """Change something once, when the second page of the rows that were touched last is asked for."""
    left = [change]

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == QUERY and request.query.get("cursorMark", "*") != "*":
            body = await request.read()
            if left and b'"+lt"' not in body:
                left.pop()()
        return await handler(request)

    return middleware


def answering(change: Callable[[dict[str, Any]], None]) -> Middleware:
    """Change the answers to queries."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.path != QUERY or response.status != 200 or not isinstance(response, web.Response):
            return response
        answer = orjson.loads(response.body)  # type: ignore[arg-type]
        change(answer)
        return web.json_response(answer)

    return middleware


def keeping(*kept_back: int) -> Middleware:
    """Counts all rows, and does not give these."""

    def change(answer: dict[str, Any]) -> None:
        answer["data"] = [row for row in answer["data"] if row["id"] not in kept_back]

    return answering(change)


def promising(more: int) -> Middleware:
    """Counts more rows than there are, whatever is counted."""

    def change(answer: dict[str, Any]) -> None:
        answer["total"] += more

    return answering(change)


@web.middleware
async def timeless(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses bounds in time."""
    if request.path == QUERY and b"touched_at" in (await request.read()).partition(b'"fields"')[0]:
        return web.json_response({"errors": ["touched_at is no filter."]}, status=400)
    return await handler(request)


def reported_again(library: Library) -> Callable[[], object]:
    """An old indicator that is in no page to come becomes active."""
    [old, *_] = rows_where(library, lambda row: status(row) == "Expired")
    assert old < rows_where(library, lambda row: status(row) == "Active")[PAGE]
    return lambda: library.change(old, {"status": {"id": 1, "name": "Active"}})


async def test_what_comes_in_during_the_reading_is_not_missing() -> None:
    """The page for it has gone by; the next run reads it, since no watermark passes the beginning."""
    library = generate(400, seed=1)
    report = reported_again(library)
    async with serving(create_app(library, middlewares=[meanwhile(report)]), page_size=PAGE) as client:
        indicators, _, source = await read(client)
        active = rows_where(library, lambda row: status(row) == "Active")
        [passed_by] = set(active) - {each.id for each in indicators}
        assert source.missing == 0
        assert source.watermark is not None
        later, _, _ = await read(client, Selection(since=source.watermark))
        assert passed_by in {each.id for each in later}


async def test_a_reading_that_is_gone_on_with_counts_what_was_read_before() -> None:
    """Otherwise whatever comes in would be missing there."""
    library = generate(400, seed=1)
    report = reported_again(library)
    async with serving(create_app(library, middlewares=[meanwhile(report)]), page_size=PAGE) as client:
        broken_off = ThreatQSource(client, Selection())
        [shard] = await broken_off.shards()
        stream = shard.pages()
        positions = dict([(await anext(stream)).position or (0, "") for _ in range(2)])
        await stream.aclose()
        source = ThreatQSource(client, Selection())
        source.resume(broken_off.plan(), positions)
        assert [page async for page in source.pages()]
        assert source.missing == 0
        assert source.watermark is not None


async def test_what_moves_between_windows_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An indicator that is touched leaves its window for the last one, where its page may have gone by."""
    monkeypatch.setattr(source_module, "SMALL", 100)
    library = generate(1000, seed=1)
    first = library.ids[0]
    library.change(first, {"touched_at": "2001-01-01 00:00:00"}, touch=False)
    moving = meanwhile(lambda: library.change(first, {}))
    async with serving(create_app(library, middlewares=[moving]), page_size=PAGE, producers=2) as client:
        source = ThreatQSource(client, Selection(statuses=()))
        shards = await source.shards()
        assert len(shards) > 2
        seen: set[int] = set()
        for shard in sorted(shards, key=lambda shard: shard.window[1] is not None):  # the last one first
            async for page in shard.pages():
                seen |= {each.id for each in page.items} | {each.key for each in page.refusals}
    assert set(library.ids) - seen == {first}
    assert source.missing == 0
    assert source.watermark is not None


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("joined", [True, False])
async def test_what_a_server_keeps_back_is_missing(*, dated: bool, joined: bool) -> None:
    """Also where something else comes in at the same time, and where the row has no date."""
    library = generate(400, seed=1)
    report = reported_again(library) if joined else lambda: None
    kept_back = rows_where(library, lambda row: status(row) == "Active")[-3]
    if not dated:
        library.change(kept_back, {"touched_at": None}, touch=False)
    app = create_app(library, middlewares=[meanwhile(report), keeping(kept_back)])
    async with serving(app, page_size=PAGE) as client:
        _, _, source = await read(client)
    assert source.missing == 1
    assert source.watermark is None


async def test_a_server_that_counts_too_many_misses_as_many() -> None:
    """Its search index may lag behind; what comes in is not counted among them."""
    library = generate(400, seed=1)
    app = create_app(library, middlewares=[meanwhile(reported_again(library)), promising(3)])
    async with serving(app, page_size=PAGE) as client:
        _, _, source = await read(client)
    assert (source.missing, source.watermark) == (3, None)


@pytest.mark.parametrize(("ill", "missing"), [(deaf, 1), (timeless, 2)])
async def test_a_server_that_cannot_count_by_time_gets_no_benefit_of_the_doubt(ill: Middleware, missing: int) -> None:
    """Whether it takes no notice of bounds or refuses them: all that is lacking is missing, as far as anybody knows."""
    library = generate(400, seed=1)
    kept_back = rows_where(library, lambda row: status(row) == "Active")[-3]
    app = create_app(library, middlewares=[meanwhile(reported_again(library)), keeping(kept_back), ill])
    async with serving(app, page_size=PAGE) as client:
        _, _, source = await read(client)
    assert (source.missing, source.watermark) == (missing, None)


async def test_a_window_that_is_closed_takes_nothing_in() -> None:
    """What is lacking there is missing."""
    library = generate(400, seed=1)
    kept_back = rows_where(library, lambda row: status(row) == "Active")[-3]
    async with serving(create_app(library, middlewares=[keeping(kept_back)]), page_size=PAGE) as client:
        _, _, source = await read(client, Selection(until="2026-02-01"))
    assert source.missing == 1
