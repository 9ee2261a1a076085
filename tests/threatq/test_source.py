from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tests.threatq.conftest import ACCOUNT, Serve, serving
from tqmisp.errors import ConfigError, ThreatQRefused
from tqmisp.model import Indicator
from tqmisp.simulators.threatq import Library, ThreatQSimulatorOptions, create_app, from_corpus, generate
from tqmisp.threatq import page_size as page_size_module
from tqmisp.threatq import source as source_module
from tqmisp.threatq.client import ThreatQClient
from tqmisp.threatq.options import Selection
from tqmisp.threatq.source import ThreatQSource

CORPUS = Path(__file__).parents[1] / "data" / "threatq-small.ndjson.gz"


@web.middleware
async def deaf(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Takes no notice of filters."""
    if request.path == "/api/indicators/query":
        fields = orjson.loads(await request.read()).get("fields")
        request._read_bytes = orjson.dumps({"fields": fields})
    return await handler(request)


@web.middleware
async def without_total(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Gives pages that do not say how many rows there are."""
    response = await handler(request)
    if request.path == "/api/indicators/query" and isinstance(response, web.Response):
        answer = orjson.loads(response.body)  # type: ignore[arg-type]
        del answer["total"]
        return web.json_response(answer)
    return response


def instead(path: str, answer: object) -> Middleware:
    """Gives this answer on one path."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        return web.json_response(answer) if request.path == path else await handler(request)

    return middleware


def paged(path: str, most: int, *, heeds_offset: bool = True) -> Middleware:
    """Gives a list in pages."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.path != path or not isinstance(response, web.Response):
            return response
        answer = orjson.loads(response.body)  # type: ignore[arg-type]
        start = int(request.query.get("offset", 0)) if heeds_offset else 0
        return web.json_response(answer | {"data": answer["data"][start : start + most]})

    return middleware


async def read(
    client: ThreatQClient, selection: Selection | None = None
) -> tuple[list[Indicator], Counter[str], ThreatQSource]:
    """Everything that a source gives, and the codes of what it leaves out."""
    source = ThreatQSource(client, selection or Selection())
    indicators: list[Indicator] = []
    codes: Counter[str] = Counter()
    async for page in source.pages():
        indicators += page.items
        codes.update(refusal.code for refusal in page.refusals)
    return indicators, codes, source


def rows_where(library: Library, test: Callable[[dict[str, Any]], bool]) -> list[int]:
    """The ids of the rows of a library that a test lets through."""
    return [library.ids[place] for place in range(len(library)) if test(library.row(place))]


def status(row: dict[str, Any]) -> object:
    """The name of a row's status."""
    given = row["status"]
    return given["name"] if isinstance(given, dict) else given


async def test_the_default_selection_reads_what_is_active(serve: Serve) -> None:
    """Every Active row of the real corpus comes once, with its context, and nothing else."""
    library = from_corpus(CORPUS)
    indicators, codes, source = await read(await serve(library))
    assert [each.id for each in indicators] == rows_where(library, lambda row: status(row) == "Active")
    assert not codes
    assert source.total == len(indicators)
    assert source.missing == 0
    assert source.not_selected == {"Expired": 494, "Indirect": 103, "Review": 179, "Whitelisted": 191}
    assert source.total + sum(source.not_selected.values()) == len(library) == 12_000
    assert source.watermark == max(each.touched_at for each in indicators if each.touched_at)
    assert any(each.sources and each.sources[0].tlp == "CLEAR" for each in indicators)
    assert any(each.malware for each in indicators)
    assert any(each.adversaries for each in indicators)
    assert all(each.tags for each in indicators)


@pytest.mark.parametrize(
    ("selection", "test"),
    [
        (Selection(statuses=("Expired", "Review")), lambda row: status(row) in {"Expired", "Review"}),
        (Selection(statuses=(), score_threshold=7.5), lambda row: row["score"] >= 7.5),
        (Selection(types=("FQDN", "url")), lambda row: row["type"]["name"] in {"FQDN", "URL"}),
        (Selection(exclude_types=("FQDN",)), lambda row: row["type"]["name"] != "FQDN"),
        (Selection(tags=("kimsuky", "redline")), lambda row: {"kimsuky", "redline"} & set(row["tags"])),
        (Selection(sources=("maltrail",)), lambda row: any(each["name"] == "Maltrail" for each in row["sources"])),
        (
            Selection(since="2025-01-01", until="2025-06-01"),
            lambda row: "2025-01-01" <= row["touched_at"] < "2025-06-01",
        ),
        (Selection(collection="MISP - high confidence"), lambda row: row["score"] >= 7),
        (Selection(collection="Addresses, as text"), lambda row: row["type"]["name"] == "IP Address"),
    ],
)
async def test_a_selection_is_kept(
    serve: Serve, selection: Selection, test: Callable[[dict[str, object]], bool]
) -> None:
    """Each part of a selection gives exactly the rows that it names."""
    library = from_corpus(CORPUS)
    indicators, _, _ = await read(await serve(library), selection)
    active = not selection.statuses or selection.statuses != ("Active",)
    wanted = rows_where(library, lambda row: bool(test(row)) and (active or status(row) == "Active"))
    assert wanted
    assert [each.id for each in indicators] == wanted


async def test_a_collection_that_is_not_there_is_named(serve: Serve) -> None:
    """The error lists the collections that the account sees."""
    client = await serve(generate(10))
    with pytest.raises(ConfigError, match="MISP - high confidence"):
        await ThreatQSource(client, Selection(collection="no such")).shards()


@pytest.mark.parametrize(
    "held",
    [None, "", "{", "[]", {}, {"api_query": None}, {"api_query": "{"}, {"api_query": {"filters": ["x"]}}],
)
async def test_a_collection_that_cannot_be_understood_is_named(held: object) -> None:
    """To guess at its tests could select more than it does."""
    rows = [{"id": 1, "name": "mine", "json": held}]
    app = create_app(generate(10), middlewares=[instead("/api/search/query", {"total": 1, "data": rows})])
    async with serving(app) as client:
        with pytest.raises(ThreatQRefused, match=r"'mine' holds no query.*save it again"):
            await ThreatQSource(client, Selection(collection="mine")).shards()


async def test_a_collection_needs_a_server_that_selects(serve: Serve) -> None:
    """The oldest servers give everything, from which a collection cannot be picked here."""
    client = await serve(generate(10), ThreatQSimulatorOptions(query_route=False))
    with pytest.raises(ThreatQRefused, match="too old to search by a data collection"):
        await ThreatQSource(client, Selection(collection="Addresses, as text")).shards()


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (Selection(types=("FDQN",)), "no 'FDQN'; it has: ASN"),
        (Selection(statuses=("Activ",)), "no 'Activ'; it has: Active"),
    ],
)
async def test_a_mistyped_name_ends_the_run(serve: Serve, selection: Selection, words: str) -> None:
    """Before anything is read: an export of nothing would look like one of a quiet day."""
    client = await serve(generate(10))
    with pytest.raises(ConfigError, match=words):
        await ThreatQSource(client, selection).shards()


@pytest.mark.parametrize("key", ["since", "until"])
@pytest.mark.parametrize("given", ["yesterday", "2026-13-01", "0001-01-01", ""])
async def test_a_date_that_is_none_is_named(serve: Serve, key: str, given: str) -> None:
    """Before anything is sent."""
    client = await serve(generate(1))
    with pytest.raises(ConfigError, match=rf"\[selection\] {key}: '{given}' is no date"):
        ThreatQSource(client, replace(Selection(), **{key: given}))  # type: ignore[arg-type]
    assert client.requests == 0


@pytest.mark.parametrize("answer", [{}, {"data": None, "errors": []}, {"limit": 1}])
async def test_an_account_that_sees_nothing_is_no_empty_selection(answer: object) -> None:
    """Its answer is an empty object, after which a run would retire everything."""
    app = create_app(generate(10), middlewares=[instead("/api/indicators/query", answer)])
    async with serving(app) as client:
        with pytest.raises(ThreatQRefused, match=r"Read Only"):
            await ThreatQSource(client, Selection()).shards()


async def test_long_lists_of_names_are_read_to_the_end() -> None:
    """A page that lacks a type would leave all its indicators out of a selection of all types but one."""
    library = from_corpus(CORPUS)
    app = create_app(library, middlewares=[paged("/api/indicator/types", 10)])
    async with serving(app) as client:
        indicators, codes, _ = await read(client, Selection(exclude_types=("Mutex",)))
    wanted = rows_where(library, lambda row: status(row) == "Active" and "'Mutex'" not in str(row["type"]))
    assert [each.id for each in indicators] == wanted
    assert not codes


async def test_lists_of_names_that_do_not_end_are_not_relied_on() -> None:
    """Where the rest of the types cannot be had, types to leave out are filtered here."""
    library = from_corpus(CORPUS)
    app = create_app(library, middlewares=[paged("/api/indicator/types", 10, heeds_offset=False)])
    async with serving(app) as client:
        indicators, codes, _ = await read(client, Selection(exclude_types=("fqdn",)))
    assert codes == {"type_excluded": codes["type_excluded"]}
    assert len(indicators) + codes["type_excluded"] == len(rows_where(library, lambda row: status(row) == "Active"))
    assert "FQDN" not in {each.type for each in indicators}
    assert codes["type_excluded"] > 100


async def test_bounds_in_time_are_exact(serve: Serve) -> None:
    """Since is in the selection, until is not, to the second, also for rows with fractions of one."""
    library = generate(6, seed=1)
    touched = [
        "2024-05-01 05:59:59.900",
        "2024-05-01 06:00:00",
        "2024-05-01 06:00:00.250",
        "2024-05-01 06:59:59.999",
        "2024-05-01 07:00:00",
        "2024-05-02 00:00:00",
    ]
    for identity, moment in zip(list(library.ids), touched, strict=True):
        library.change(identity, {"touched_at": moment, "value": f"x{identity}.test"}, touch=False)
    selection = Selection(statuses=(), since="2024-05-01 06:00:00", until="2024-05-01T09:00:00+02:00")
    indicators, _, _ = await read(await serve(library), selection)
    assert [each.touched_at for each in indicators] == touched[1:4]


@pytest.mark.parametrize(
    "options",
    [
        ThreatQSimulatorOptions(cursors=False),
        ThreatQSimulatorOptions(answer_of_2026=False),
        ThreatQSimulatorOptions(field_lists=False, answer_of_2026=False),
        ThreatQSimulatorOptions(query_route=False),
        ThreatQSimulatorOptions(max_limit=37),
        ThreatQSimulatorOptions(max_limit=37, cursors=False),
        ThreatQSimulatorOptions(token_seconds=0.05),
        ThreatQSimulatorOptions(sees_lookups=False),
        ThreatQSimulatorOptions(fields_ignored=True, answer_of_2026=False),
        ThreatQSimulatorOptions(end_as_object=True),
    ],
    ids=[
        "no cursor",
        "old answer",
        "no fields",
        "no query route",
        "small pages",
        "small pages by offset",
        "short tokens",
        "no names",
        "fields ignored",
        "end as object",
    ],
)
async def test_older_and_stranger_servers_give_the_same(serve: Serve, options: ThreatQSimulatorOptions) -> None:
    """Whatever a server lacks, the same indicators come out."""
    library = generate(1500, seed=3)
    expected, _, _ = await read(await serve(library))
    indicators, codes, source = await read(await serve(library, options))
    assert [each.id for each in indicators] == [each.id for each in expected]
    assert [each.score for each in indicators] == [each.score for each in expected]
    assert [each.sources and each.sources[0].name for each in indicators] == [
        each.sources and each.sources[0].name for each in expected
    ]
    assert source.missing == 0
    assert set(codes) <= {"status_not_selected", "missing_value"}


async def test_many_rows_are_divided_among_producers(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows together hold every row, also where the dates crowd, and are about equally large."""
    monkeypatch.setattr(source_module, "SMALL", 100)
    library = generate(4000, seed=1)
    for identity in library.ids[500:3000]:
        library.change(identity, {"touched_at": f"2024-05-05 05:05:{identity % 40:02d}"}, touch=False)
    client = await serve(library, producers=4)
    source = ThreatQSource(client, Selection(statuses=()))
    shards = await source.shards()
    assert len(shards) > 4
    seen: Counter[int] = Counter()
    sizes = []
    for shard in shards:
        size = 0
        async for page in shard.pages():
            size += len(page.items) + len(page.refusals)
            seen.update(each.id for each in page.items)
            seen.update(each.key for each in page.refusals)
        sizes.append(size)
    assert set(seen) == set(library.ids)
    assert sum(sizes) < 1.2 * 4000
    assert max(sizes) < 4000 / 4


@pytest.mark.parametrize("undated", ["first", "last"])
async def test_rows_without_a_date_are_not_lost(undated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where windows of dates cannot hold all rows, all are read in one part, wherever a server sorts them."""
    monkeypatch.setattr(source_module, "SMALL", 100)
    library = generate(1000, seed=1)
    library.change(library.ids[500], {"touched_at": None}, touch=False)

    @web.middleware
    async def dated_first(request: web.Request, handler: Handler) -> web.StreamResponse:
        if undated == "last" and request.query.get("sort") == "touched_at":
            return web.json_response({"total": 1000, "data": [{"id": 1, "touched_at": "2023-01-01 00:00:00"}]})
        return await handler(request)

    async with serving(create_app(library, middlewares=[dated_first])) as client:
        indicators, codes, _ = await read(client, Selection(statuses=()))
    assert len(indicators) + codes.total() == 1000
    assert library.ids[500] in {each.id for each in indicators}


@pytest.mark.parametrize("code", [400, 422])
async def test_a_server_that_does_not_sort_by_time_is_read_in_one_part(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To divide the rows is a matter of speed alone."""
    monkeypatch.setattr(source_module, "SMALL", 100)

    @web.middleware
    async def by_id_alone(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.query.get("sort", "id") != "id":
            return web.json_response({"errors": ["The sort is invalid."]}, status=code)
        return await handler(request)

    library = generate(1000, seed=1)
    async with serving(create_app(library, middlewares=[by_id_alone])) as client:
        indicators, codes, source = await read(client, Selection(statuses=()))
        assert len(await source.shards()) == 1
    assert len(indicators) + codes.total() == 1000
    assert source.missing == 0


async def test_rows_that_leave_while_reading_by_offset_cost_no_others(serve: Serve) -> None:
    """When the total shrinks, the offset goes back: rows come twice rather than not at all."""
    library = generate(1000, seed=2)
    client = await serve(library, ThreatQSimulatorOptions(cursors=False), page_size=100)
    source = ThreatQSource(client, Selection(statuses=()))
    [shard] = await source.shards()
    seen: set[int] = set()
    pages = 0
    async for page in shard.pages():
        seen |= {each.id for each in page.items} | {each.key for each in page.refusals}
        pages += 1
        if pages == 3:
            for identity in list(library.ids)[:50]:
                library.delete(identity)
    assert seen == set(library.ids)


async def test_rows_that_leave_and_come_while_reading_by_offset_cost_no_others(serve: Serve) -> None:
    """As many come as leave, so that the total stays: the page that does not begin where it should shows it."""
    library = generate(1000, seed=2)
    client = await serve(library, ThreatQSimulatorOptions(cursors=False), page_size=100)
    source = ThreatQSource(client, Selection(statuses=()))
    [shard] = await source.shards()
    old = list(library.ids)
    seen: Counter[int] = Counter()
    pages = 0
    async for page in shard.pages():
        seen.update([each.id for each in page.items] + [each.key for each in page.refusals])
        pages += 1
        if pages == 3:
            library.add([{**library.row(place), "value": f"new{place}.test"} for place in range(50)])
            for identity in old[:50]:
                library.delete(identity)
    assert set(old) <= set(seen)
    assert set(seen) == set(library.ids) | set(old)


@pytest.mark.parametrize(
    ("refused", "by_cursor", "largest"),
    [
        (lambda asked: int(asked.get("limit", 0)) > 300, True, 250),
        (lambda asked: "cursorMark" in asked, False, 1000),
        (lambda asked: "cursorMark" in asked or int(asked.get("limit", 0)) > 300, False, 250),
    ],
    ids=["large pages", "cursors", "both"],
)
@pytest.mark.parametrize("code", [400, 422])
async def test_a_server_that_refuses_pages_is_asked_for_others(
    *, refused: Callable[[Mapping[str, str]], bool], by_cursor: bool, largest: int, code: int
) -> None:
    """The largest limit is not documented, and older servers may not know cursors."""
    limits: list[tuple[int, bool]] = []

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/api/indicators/query" and request.query.get("limit") != "1":
            if refused(request.query):
                return web.json_response({"data": {"errors": {"limit": ["The limit is invalid."]}}}, status=code)
            limits.append((int(request.query["limit"]), "cursorMark" in request.query))
        return await handler(request)

    library = generate(1500, seed=3)
    async with serving(create_app(library, middlewares=[refuse])) as client:
        indicators, codes, source = await read(client, Selection(statuses=()))
    assert len(indicators) + codes.total() == 1500
    assert source.missing == 0
    assert set(limits) == {(largest, by_cursor)}


async def test_what_a_server_refuses_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later parts begin with the pages that it took."""
    monkeypatch.setattr(source_module, "SMALL", 100)
    refused = 0

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal refused
        if int(request.query.get("limit", 1)) > 300:
            refused += 1
            return web.json_response({"errors": ["Too many."]}, status=400)
        return await handler(request)

    async with serving(create_app(generate(2000, seed=1), middlewares=[refuse]), producers=4) as client:
        source = ThreatQSource(client, Selection(statuses=()))
        shards = await source.shards()
        assert len(shards) > 3
        for shard in shards:
            async for _ in shard.pages():
                pass
    assert refused == 4  # 1,000 and 500, each with and without a cursor


@pytest.mark.parametrize("most", [1500, 5000])
async def test_pages_grow_where_answers_take_long(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """As far as the server goes along, in the middle of a window; nothing is lost or double."""
    monkeypatch.setattr(page_size_module, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(page_size_module, "SAVED", float("inf"))
    asked: list[int] = []

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        limit = int(request.query.get("limit", 1))
        if limit >= page_size_module.LEAST and request.path == "/api/indicators/query":
            asked.append(limit)
            if limit > most:
                return web.json_response({"errors": ["Too many."]}, status=400)
        return await handler(request)

    library = generate(9000, seed=1)
    async with serving(create_app(library, middlewares=[refuse])) as client:
        indicators, codes, _ = await read(client, Selection(statuses=()))
    assert len({each.id for each in indicators}) == len(indicators) == len(library) - codes.total()
    assert asked == [1000] * 4 + ([2000] * 4 if most > 2000 else [2000] + [1000] * 6)  # the last one is empty


async def test_a_server_that_refuses_every_page_is_an_error() -> None:
    """Its words come out after the smallest page."""

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.query.get("limit", "1") != "1":
            return web.json_response({"errors": ["No pages today."]}, status=400)
        return await handler(request)

    async with serving(create_app(generate(10), middlewares=[refuse])) as client:
        with pytest.raises(ThreatQRefused, match="No pages today"):
            await read(client)


async def test_a_server_that_names_no_total_is_read_to_the_end() -> None:
    """In one part, and without the check of the number."""
    library = generate(1500, seed=3)
    async with serving(create_app(library, middlewares=[without_total])) as client:
        indicators, codes, source = await read(client, Selection(statuses=()))
    assert len(indicators) + codes.total() == 1500
    assert (source.total, source.missing) == (None, 0)


async def test_rows_that_are_announced_and_not_given_hold_the_watermark_back() -> None:
    """The search index may lag behind: the next run looks at the same time again."""

    @web.middleware
    async def promise_more(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.path == "/api/indicators/query" and isinstance(response, web.Response):
            answer = orjson.loads(response.body)  # type: ignore[arg-type]
            return web.json_response(answer | {"total": answer["total"] + 3})
        return response

    async with serving(create_app(generate(50, seed=1), middlewares=[promise_more])) as client:
        _, _, source = await read(client, Selection(statuses=()))
    assert source.missing == 3
    assert source.watermark is None


@pytest.mark.parametrize(
    ("touched", "expected"),
    [
        ("2024-05-01 06:00:00", "2024-05-01 06:00:00"),
        ("2024-05-01 06:00:00.250", "2024-05-01 06:00:00.250"),
        ("2999-01-01 00:00:00", "the start"),  # touched after we began, or by a clock that is wrong
        ("0000-00-00 00:00:00", None),
        ("zzz", None),
    ],
)
async def test_the_watermark_is_that_of_the_rows(serve: Serve, touched: str, expected: str | None) -> None:
    """Never later than the time of the server at the start, and never what is no date."""
    library = generate(3, seed=1)
    for identity in list(library.ids):
        library.change(identity, {"touched_at": touched, "value": f"x{identity}.test"}, touch=False)
    _, _, source = await read(await serve(library), Selection(statuses=()))
    if expected != "the start":
        assert source.watermark == expected
    else:
        assert source.watermark is not None
        began = datetime.fromisoformat(source.watermark).replace(tzinfo=UTC)
        assert abs(datetime.now(UTC) - began) < timedelta(seconds=60)


async def test_the_source_is_described_for_the_receipt(serve: Serve) -> None:
    """With address, selection and numbers, in what JSON can hold, and without the login."""
    client = await serve(generate(10, seed=1))
    _, _, source = await read(client, Selection(score_threshold=3))
    described = source.description()
    text = orjson.dumps(described).decode()
    assert described["url"] == client.url
    assert described["selection"]["score_threshold"] == 3
    assert described["requests"] == client.requests > 3
    assert ACCOUNT.password not in text
    assert ACCOUNT.email not in text


async def test_nothing_selected_is_no_error(serve: Serve) -> None:
    """An empty result is an empty run, without a watermark."""
    indicators, _, source = await read(await serve(generate(0)))
    assert indicators == []
    assert (source.total, source.watermark) == (0, None)


@pytest.mark.parametrize("kind", ["ignores", "lists"])
async def test_a_server_that_does_not_select_leaks_nothing(kind: str) -> None:
    """What is not selected is refused here, too, and counted with its reason."""
    library = generate(500, seed=4)
    selection = Selection(score_threshold=5)
    options = ThreatQSimulatorOptions(query_route=kind == "ignores")
    async with serving(create_app(library, options, middlewares=[deaf])) as client:
        indicators, codes, _ = await read(client, selection)
    assert {each.status for each in indicators} == {"Active"}
    assert min(each.score for each in indicators) >= 5
    assert codes["status_not_selected"] > 0
    assert codes["score_below_threshold"] > 0
    assert len(indicators) + codes.total() == 500
