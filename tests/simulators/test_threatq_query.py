from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulators.threatq import CORPUS, OLD_ANSWER, QUERY, Asker, ids_of, rows_of, serving
from tqmisp.simulators.threatq import Library, ThreatQSimulatorOptions, from_corpus, generate
from tqmisp.simulators.threatq.language import parse
from tqmisp.simulators.threatq.paging import Order

NOW = 1_767_225_600.0
"""2026-01-01."""


@cache
def library() -> Library:
    """Two thousand generated rows, some of them changed, and one in ten of them deleted."""
    made = generate(2000, seed=5)
    made.now = lambda: NOW
    for identity in list(made.ids)[::10]:
        made.delete(identity)
    for identity in list(made.ids)[1::50]:
        made.change(identity, {"score": 7.25, "status": "Review", "type": "Custom Thing"})
    for identity in list(made.ids)[2::50]:
        made.change(identity, {"touched_at": "2025-03-01 10:00:00.500"}, touch=False)
    made.add([{"value": "added.example", "type": "FQDN"}])
    return made


# --- a second, slow reading of the language ---------------------------------------------------------------------------


def passes(row: dict[str, Any], test: dict[str, Any]) -> bool:
    """Whether a row passes an object of the query language, by the words of its documentation."""
    return all(_holds(row, name, value) for name, value in test.items())


def _holds(row: dict[str, Any], name: str, value: Any) -> bool:  # noqa: C901  a case a branch
    if name == "+and":
        return all(passes(row, each) for each in value)
    if name == "+or":
        return any(passes(row, each) for each in value)
    if name == "status_name":
        return bool(row["status"]["name"].lower() == value.lower())
    if name == "type_name":
        return bool(row["type"]["name"].lower() == value.lower())
    if name in {"status_id", "type_id"}:
        return bool(row[name] == value)
    held = row.get(name)
    if name in {"value", "description"}:
        return held is not None and (
            value["+contains"].lower() in held.lower() if isinstance(value, dict) else held.lower() == value.lower()
        )
    if name == "tags":
        return value in (held or [])
    if name == "sources":
        return value in [each["name"] for each in held or []]
    if held is None:
        return False
    for operator, bound in value.items():
        limit = "2026-01-01 00:00:00" if bound == "NOW" else bound
        good = {"+gt": held > limit, "+gte": held >= limit, "+lt": held < limit, "+lte": held <= limit}
        if not good[operator]:
            return False
    return True


moments = st.integers(0, 800).map(lambda day: f"{2024 + day // 366}-{day % 12 + 1:02}-{day % 28 + 1:02} 03:04:05")
operators = st.sampled_from(["+gt", "+gte", "+lt", "+lte"])
dates = st.sampled_from(["created_at", "updated_at", "touched_at", "published_at", "expires_at", "expired_at"])
simple = st.one_of(
    st.builds(lambda name: {"status_name": name}, st.sampled_from(["Active", "active", "Expired", "Review", "None"])),
    st.builds(lambda name: {"type_name": name}, st.sampled_from(["FQDN", "fqdn", "URL", "Custom Thing", "ASN"])),
    st.builds(lambda number: {"status_id": number}, st.integers(0, 6)),
    st.builds(lambda number: {"type_id": number}, st.integers(0, 40)),
    st.builds(lambda bounds: {"score": bounds}, st.dictionaries(operators, st.sampled_from([0, 3, 7, 7.25, 10]))),
    st.builds(
        lambda name, bounds: {name: bounds}, dates, st.dictionaries(operators, moments | st.just("NOW"), min_size=1)
    ),
    st.builds(lambda text: {"value": {"+contains": text}}, st.sampled_from([".com", "A", "[.]", "\t", "zzz"])),
    st.builds(lambda text: {"tags": text}, st.sampled_from(["cdn", "panel", "none"])),
    st.builds(lambda text: {"sources": text}, st.sampled_from(["Feed One", "analyst@tq.example", "none"])),
)
queries = st.recursive(
    simple,
    lambda inner: (
        st.builds(lambda tests: {"+and": tests}, st.lists(inner, max_size=3))
        | st.builds(lambda tests: {"+or": tests}, st.lists(inner, max_size=3))
    ),
    max_leaves=6,
)


async def _by_cursor(asker: Asker, filters: object, limit: int) -> list[int]:
    found: list[int] = []
    mark = "*"
    while True:
        page = await asker.query(filters, ["id"], limit=limit, sort="id", cursorMark=mark)
        if not page["data"]:
            assert page["nextCursorMark"] == mark
            assert page["total"] == len(found)
            return found
        found += ids_of(page["data"])
        mark = page["nextCursorMark"]


async def _by_offset(asker: Asker, filters: object, limit: int) -> list[int]:
    found: list[int] = []
    while True:
        page = await asker.query(filters, ["id"], limit=limit, sort="id", offset=len(found))
        assert page["offset"] == len(found)
        if not page["data"]:
            assert page["total"] == len(found)
            return found
        found += ids_of(page["data"])


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """The rows of the library that are not deleted."""
    held = library()
    return [row for place, row in enumerate(rows_of(held)) if held.columns.alive[place]]


async def test_paging_gives_every_matching_row_once(rows: list[dict[str, Any]]) -> None:
    """By cursor and by offset, for any query, come exactly the rows that a slow reading of the query finds, by id."""
    async with serving(library()) as asker:
        seen: list[tuple[dict[str, Any], int]] = []

        @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(queries, st.integers(200, 900))
        def collect(filters: dict[str, Any], limit: int) -> None:
            seen.append((filters, limit))

        collect()
        sizes = set()
        for filters, limit in seen:
            expected = ids_of([row for row in rows if passes(row, filters)])
            assert await _by_cursor(asker, filters, limit) == expected, filters
            assert await _by_offset(asker, filters, limit) == expected, filters
            sizes.add(len(expected))
        assert len(sizes) > 20  # the queries were not all alike


@pytest.mark.parametrize("sort", ["touched_at", "-touched_at", "score", "-score,id", "created_at,-id", "-expires_at"])
async def test_a_cursor_follows_any_order(sort: str, rows: list[dict[str, Any]]) -> None:
    """Pages joined are the rows in that order, equal ones by their ids, each once."""
    name, _, then = sort.removeprefix("-").partition(",")
    empty = -1 if name == "score" else ""
    expected = sorted(rows, key=lambda row: -row["id"] if then == "-id" else row["id"])
    expected.sort(key=lambda row: empty if row.get(name) is None else row[name], reverse=sort.startswith("-"))
    async with serving(library()) as asker:
        found: list[int] = []
        mark = "*"
        while (page := await asker.query(None, ["id"], limit=333, sort=sort, cursorMark=mark))["data"]:
            found += ids_of(page["data"])
            mark = page["nextCursorMark"]
        assert found == ids_of(expected)


async def test_a_cursor_skips_nothing_when_rows_come_and_go() -> None:
    """Rows that stay come exactly once although others are deleted and added between the pages."""
    held = generate(100, seed=6)
    async with serving(held) as asker:
        first = await asker.query(None, ["id"], limit=40, sort="id", cursorMark="*")
        for identity in list(held.ids)[30:50]:
            held.delete(identity)
        [added] = held.add([{"value": "new.example", "type": "FQDN"}])
        rest = await asker.query(None, ["id"], limit=100, sort="id", cursorMark=first["nextCursorMark"])
        assert ids_of(first["data"]) + ids_of(rest["data"]) == [*list(held.ids)[:40], *list(held.ids)[50:100], added]
        assert rest["total"] == 81


async def test_pages_keep_to_the_limits() -> None:
    """A page has at most ``limit`` rows, and at most as many as the server gives."""
    async with serving(library(), ThreatQSimulatorOptions(max_limit=50)) as asker:
        page = await asker.query(limit=7)
        assert (len(page["data"]), page["limit"]) == (7, 7)
        page = await asker.query(limit=1000)
        assert (len(page["data"]), page["limit"]) == (50, 50)
        page = await asker.query(limit=1000, offset=10_000)
        assert page["data"] == []
        assert page["total"] > 1000


async def test_the_last_page_can_be_an_object() -> None:
    """Some servers write the rows of an empty page as ``{}``."""
    async with serving(library(), ThreatQSimulatorOptions(end_as_object=True)) as asker:
        assert (await asker.query({"status_name": "no such"}))["data"] == {}


async def test_now_moves_on() -> None:
    """What was found with NOW is not remembered when the clock has moved on."""
    held = generate(1)
    identity = held.ids[0]
    held.change(identity, {"touched_at": "2026-01-01 00:00:30"}, touch=False)
    async with serving(held) as asker:
        for seconds, expected in ((0, []), (31, [identity])):
            held.now = lambda passed=seconds: NOW + passed  # type: ignore[misc]
            assert ids_of((await asker.query({"touched_at": {"+lt": "NOW"}}))["data"]) == expected
            assert ids_of((await asker.query({"+or": [{"touched_at": {"+lt": "NOW"}}]}))["data"]) == expected
        assert ids_of((await asker.query({"touched_at": {"+gt": "NOW-1HOUR", "+lt": "NOW+1DAY"}}))["data"]) == [
            identity
        ]


async def test_mentions_look_everywhere() -> None:
    """A word is found in the value, in a tag and in the name of an attribute."""
    held = from_corpus(CORPUS)
    async with serving(held) as asker:
        found = await asker.query({"mentions": "KIMSUKY"}, OLD_ANSWER, limit=10_000)
        assert found["total"] == len(rows_of(held, lambda row: "kimsuky" in repr(row).lower())) > 0


@pytest.mark.parametrize(
    ("body", "params", "field"),
    [
        ({"filters": {"colour": "red"}}, {}, "colour"),
        ({"filters": {"score": {"+about": 5}}}, {}, "score"),
        ({"filters": {"score": {"+gt": "high"}}}, {}, "score"),
        ({"filters": {"touched_at": {"+gt": "yesterday"}}}, {}, "touched_at"),
        ({"filters": {"+and": {"score": 5}}}, {}, "+and"),
        ({"filters": {"+not": [{"score": 5}]}}, {}, "+not"),
        ({"filters": "all"}, {}, "filters"),
        ({"criteria": [1]}, {}, "criteria"),
        ({"fields": "id"}, {}, "fields"),
        ([], {}, "body"),
        (b"{", {}, "body"),
        ({}, {"limit": "many"}, "limit"),
        ({}, {"offset": "-1"}, "offset"),
        ({}, {"sort": "colour"}, "sort"),
        ({}, {"cursorMark": "AoJ9z5LKnvwCJTUwMTAz"}, "cursorMark"),
        ({}, {"cursorMark": "%%%"}, "cursorMark"),
    ],
)
async def test_a_wrong_query_is_refused_with_the_field(body: Any, params: dict[str, str], field: str) -> None:
    """Errors of validation are 400 and keyed by field; nothing wrong is taken for "everything"."""
    async with serving(generate(3)) as asker:
        reply = await asker.send("POST", QUERY, body, **params)
        assert reply.status == 400
        assert list(reply.body["data"]["errors"]) == [field]
        assert all(isinstance(text, str) for text in reply.body["data"]["errors"][field])


async def test_a_mark_belongs_to_its_sort() -> None:
    """A mark that was given with another order is refused, since it would skip rows."""
    async with serving(generate(30)) as asker:
        mark = (await asker.query(limit=10, sort="id", cursorMark="*"))["nextCursorMark"]
        reply = await asker.send("POST", QUERY, {}, sort="-touched_at", cursorMark=mark)
        assert reply.status == 400


def test_what_was_found_is_remembered() -> None:
    """The next page of a query costs no new search, unless something has changed."""
    held = generate(500)
    query = parse({}, {"status_name": "Active"}, now=NOW)
    first = Order("id").find(held, query)
    assert Order("id").find(held, parse({}, {"+and": [{"status_name": "active"}]}, now=NOW)) is first
    held.delete(held.ids[first[0]])
    assert len(Order("id").find(held, query)) == len(first) - 1
