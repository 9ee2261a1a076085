from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.threatq.samples import sample
from tqmisp.errors import ThreatQRefused, ThreatQUnavailable
from tqmisp.threatq.page_size import LEAST
from tqmisp.threatq.paging import Pager


class Server:
    """A result that pages are read from, and that may change between them."""

    def __init__(
        self,
        ids: list[int],
        *,
        cursors: bool = True,
        most: int = 10_000,
        total: bool = True,
        sort_pages: bool = False,
        whole_pages: bool = False,
    ) -> None:
        self.ids = ids
        self.cursors = cursors
        self.most = most
        self.total = total
        self.sort_pages = sort_pages
        self.whole_pages = whole_pages
        self.requests = 0

    def answer(self, params: dict[str, str]) -> dict[str, Any]:
        """A page as ThreatQ gives it, or as an older one does that knows no cursor."""
        self.requests += 1
        assert self.requests < 500, "the pager does not come to an end"
        limit = min(int(params["limit"]), self.most)
        answer: dict[str, Any] = {"total": len(self.ids)} if self.total else {}
        if self.cursors and "cursorMark" in params:
            mark = params["cursorMark"]
            page = [each for each in self.ids if mark == "*" or each > int(mark)][:limit]
            return answer | {"data": [{"id": each} for each in page], "nextCursorMark": str(page[-1]) if page else mark}
        start = int(params.get("offset", "0"))
        start -= start % limit if self.whole_pages else 0
        page = self.ids[start : start + limit]
        return answer | {"data": [{"id": each} for each in (sorted(page) if self.sort_pages else page)]}


def read(server: Server, limit: int, change: Callable[[Server], None] = lambda _: None) -> Counter[int]:
    """How often each row came; the result changes after each page."""
    pager = Pager(limit)
    seen: Counter[int] = Counter()
    while not pager.done:
        seen.update(row["id"] for row in pager.take(server.answer(pager.params())))
        change(server)
    return seen


ids = st.sets(st.integers(0, 10_000), max_size=60).map(sorted)
shuffled = st.sets(st.integers(0, 99), max_size=40).flatmap(lambda each: st.permutations(sorted(each)))


@given(rows=ids, limit=st.integers(1, 70), most=st.integers(1, 70), cursors=st.booleans(), total=st.booleans())
def test_every_row_comes_exactly_once(*, rows: list[int], limit: int, most: int, cursors: bool, total: bool) -> None:
    """Whatever the size of the pages, and whether the server knows cursors and totals or not."""
    assert read(Server(rows, cursors=cursors, most=most, total=total), limit) == Counter(rows)


@given(rows=ids, limit=st.integers(2, 20), cursors=st.booleans(), come=st.integers(0, 8), data=st.data())
def test_no_row_is_passed_over_while_others_leave_and_come(
    *, rows: list[int], limit: int, cursors: bool, come: int, data: st.DataObject
) -> None:
    """What stays in the result from beginning to end comes, however many rows come and leave."""
    server = Server(list(rows), cursors=cursors)
    stayed = set(rows)
    changes = 10

    def change(server: Server) -> None:
        nonlocal changes
        if changes and server.ids:
            changes -= 1
            gone = data.draw(st.sets(st.sampled_from(server.ids), max_size=8))
            stayed.difference_update(gone)
            newest = max(server.ids)
            server.ids = [each for each in server.ids if each not in gone]
            server.ids += [newest + number for number in range(1, min(len(gone), come) + 1)]

    assert stayed <= set(read(server, limit, change))


@given(rows=shuffled, limit=st.integers(1, 12), data=st.data())
def test_rows_may_leave_a_result_that_is_not_sorted(*, rows: list[int], limit: int, data: st.DataObject) -> None:
    """The total shrinks by as many as left; going back by so many brings what they passed."""
    server = Server([1_000, *rows, 999], cursors=False)
    stayed = set(server.ids)

    def change(server: Server) -> None:
        if len(server.ids) > 2:
            gone = data.draw(st.sets(st.sampled_from(server.ids[1:-1]), max_size=3))
            stayed.difference_update(gone)
            server.ids = [each for each in server.ids if each not in gone]

    assert stayed <= set(read(server, limit, change))


def test_pages_of_one_row_are_protected_by_the_total() -> None:
    """They cannot overlap, so the pager goes back by as many rows as the total has shrunk."""
    server = Server(list(range(10)), cursors=False)

    def change(server: Server) -> None:
        if server.requests == 3:
            server.ids = server.ids[2:]

    assert set(read(server, 1, change)) == set(range(10))


def test_rows_may_leave_and_come_all_the_time() -> None:
    """One of the first rows leaves with each page, and a new one comes: the protection does not wear out."""
    server = Server(list(range(400)), cursors=False)

    def change(server: Server) -> None:
        if server.requests < 60:
            server.ids = [*server.ids[1:], server.ids[-1] + 1]

    seen = read(server, 10, change)
    assert set(server.ids) <= set(seen)


@given(rows=ids, limit=st.integers(1, 70))
@example(rows=list(range(30)), limit=3)
def test_a_server_that_takes_offsets_for_pages_loses_nothing(*, rows: list[int], limit: int) -> None:
    """One that gives the whole page in which an offset lies: pages cannot overlap, and reading them ends."""
    assert set(read(Server(list(rows), cursors=False, whole_pages=True), limit)) == set(rows)


def test_going_back_over_the_same_rows_is_no_repetition() -> None:
    """What the pager finds three times running, as rows leave in front of it, is no page that comes for ever."""
    server = Server([0, 1, 2, 3, 4], cursors=False)
    left = iter([[], [], [0], [1, 2], [3]])

    def change(server: Server) -> None:
        gone = next(left, [])
        newest = max(server.ids)
        server.ids = [each for each in server.ids if each not in gone]
        server.ids += [newest + number for number in range(1, len(gone) + 1)]

    assert {4, 5, 6, 7, 8} <= set(read(server, 2, change))


@given(rows=shuffled, limit=st.integers(1, 12), sort_pages=st.booleans())
@example(rows=[9, 1, 5, 7, 3, 20, 30, 8, 2, 40, 41, 42, 6], limit=3, sort_pages=True)
def test_a_server_that_does_not_sort_loses_nothing(*, rows: list[int], limit: int, sort_pages: bool) -> None:
    """Rows in no order, or with an order only within each page, come all the same, and reading them ends."""
    assert set(read(Server(list(rows), cursors=False, sort_pages=sort_pages), limit)) == set(rows)


def test_the_recorded_pages_are_followed() -> None:
    """The cursor goes from page to page; the last page is empty, or an object, and its mark may be new."""
    for end in ("query_hash_cursor_end.json", "query_hash_cursor_end_object.json"):
        pager = Pager(2)
        seen: list[int] = []
        for name in ("query_hash_cursor_page1.json", "query_hash_cursor_page2.json", end):
            assert not pager.done
            seen += [row["id"] for row in pager.take(sample(name))]
        assert pager.done
        assert seen == [50101, 50102, 50103]
        assert pager.announced == len(seen) == pager.rows


@given(rows=st.integers(2, 300), limit=st.integers(1, 40), stuck=st.integers(0, 8))
def test_a_cursor_that_ends_too_early_is_left(*, rows: int, limit: int, stuck: int) -> None:
    """A mark that comes again is the end only where all rows are there; otherwise the rest is read by offset."""
    server = Server(list(range(100, 100 + rows)))
    pager = Pager(limit)
    seen: Counter[int] = Counter()
    while not pager.done:
        params = pager.params()
        answer = server.answer(params)
        if stuck == 0 and "cursorMark" in params:
            answer["nextCursorMark"] = params["cursorMark"]
        stuck -= 1
        seen.update(row["id"] for row in pager.take(answer))
    assert seen == Counter(server.ids)


@pytest.mark.parametrize("length", [2, 3, 7, 50])
def test_a_cursor_that_goes_in_circles_is_left(length: int) -> None:
    """A circle of any length is noticed, and the rows are read by offset instead."""
    served = Server(list(range(100)))
    pager = Pager(2)
    seen: set[int] = set()
    for number in range(1_000):
        if pager.done:
            break
        place = number % length
        if pager.by_cursor:
            answer: dict[str, Any] = {"total": 100, "data": [{"id": place}], "nextCursorMark": f"mark {place}"}
        else:
            answer = served.answer(pager.params())
        seen |= {row["id"] for row in pager.take(answer)}
    assert pager.done
    assert not pager.by_cursor
    assert seen == set(range(100))


@pytest.mark.parametrize("extra", [{}, {"nextCursorMark": "new each time"}])
def test_a_page_that_comes_again_and_again_is_an_error(extra: dict[str, str]) -> None:
    """A server that takes no notice of offset or mark is tried twice more, not for ever."""
    pager = Pager(2)
    answer = {"total": 1_000, "data": [{"id": 1}, {"id": 2}]}

    def ask(times: int) -> None:
        for number in range(times):
            pager.take(answer | {name: f"{value}{number}" for name, value in extra.items()})

    ask(2)
    with pytest.raises(ThreatQUnavailable, match="same page"):
        ask(2)
    assert pager.rows <= 4


def test_rows_without_an_id_are_read_to_the_end() -> None:
    """What cannot be sorted is taken as it comes; records refuse it later."""
    pager = Pager(2)
    given = [[{"id": None}, "text"], [{"value": "x"}, None], [{}]]
    seen = [row for page in given for row in pager.take({"total": 5, "data": page})]
    assert len(seen) == 5
    assert pager.done


def test_a_refused_page_is_asked_for_otherwise() -> None:
    """Once without the cursor, then smaller; a cursor that was not to blame comes back, and at the end it gives up."""
    pager = Pager(400)
    asked = [(pager.limit, pager.by_cursor)]
    while pager.concede():
        asked.append((pager.limit, pager.by_cursor))
    assert asked == [(400, True), (400, False), (200, True), (200, False), (100, True), (100, False)]
    assert pager.limit == LEAST
    halfway = Pager(400)
    halfway.take({"total": 9, "data": [{"id": 1}], "nextCursorMark": "m"})
    assert halfway.concede()
    assert (halfway.limit, halfway.params()["cursorMark"]) == (200, "m")


@pytest.mark.parametrize(("answer", "words"), [({}, "Read Only"), (None, "no page"), ([], "no page"), ("x", "no page")])
def test_what_is_no_page_is_refused(answer: object, words: str) -> None:
    """An account without the right to see indicators gets an empty object, which must not pass for an empty result."""
    with pytest.raises(ThreatQRefused, match=words):
        Pager(2).take(answer)
