"""Page sizes from the times of answers, against servers that are nothing but these times."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tqmisp.threatq.page_size import ANSWERS, FIRST, LEAST, MOST, PageSize


def read(pages: PageSize, seconds: Callable[[int], float], answers: int = 10 * ANSWERS) -> list[int]:
    """Ask for full pages of a server; the sizes that were asked for."""
    sizes = []
    for _ in range(answers):
        sizes.append(pages.rows)
        pages.take(pages.rows, pages.rows, seconds(pages.rows))
    return sizes


def test_where_each_answer_takes_as_long_pages_are_doubled() -> None:
    """200 ms an answer, whatever it holds, are halved for each row."""
    sizes = read(PageSize(), lambda _rows: 0.2)
    assert sizes == [FIRST] * ANSWERS + [MOST] * (9 * ANSWERS)


def test_where_rows_take_the_time_pages_stay() -> None:
    """A larger page is tried once."""
    sizes = read(PageSize(), lambda rows: rows * 0.001)
    assert sizes == [FIRST] * ANSWERS + [MOST] * ANSWERS + [FIRST] * (8 * ANSWERS)


def test_a_quick_server_is_asked_for_no_more() -> None:
    """Larger pages would cost memory and save nothing that can be noticed."""
    assert set(read(PageSize(), lambda _rows: 0.01)) == {FIRST}


def test_pages_that_take_too_long_are_halved() -> None:
    """Before they run into the time-out, and no further than needed."""
    sizes = read(PageSize(), lambda rows: rows * 0.05)
    assert sizes[0] == FIRST
    assert set(sizes[3:]) == {250}


def test_one_slow_answer_changes_nothing_for_long() -> None:
    """Neither does a single one count, nor one of a page that was not full."""
    pages = PageSize()
    pages.take(FIRST, FIRST - 1, 100.0)
    times = iter([0.01, 5.0, 0.01, 0.01] * 10)
    assert set(read(pages, lambda _rows: next(times))) == {FIRST}


@given(pinned=st.integers(1, 20_000), times=st.lists(st.floats(0, 100), max_size=50))
def test_a_size_that_was_set_stays(pinned: int, times: list[float]) -> None:
    """Whatever the answers take."""
    pages = PageSize(pinned)
    for seconds in times:
        pages.take(pinned, pinned, seconds)
    assert pages.rows == pinned


@pytest.mark.parametrize("accepted", [100, 250, 500, 1000])
def test_what_the_server_refused_is_not_asked_for_again(accepted: int) -> None:
    """Also where larger pages would be quicker."""
    pages = PageSize()
    pages.forbid(accepted)
    assert set(read(pages, lambda _rows: 0.2)) == {accepted}


@given(times=st.lists(st.floats(0, 100), max_size=200))
def test_pages_stay_within_bounds(times: list[float]) -> None:
    """Whatever the answers take."""
    pages = PageSize()
    for seconds in times:
        pages.take(pages.rows, pages.rows, seconds)
        assert LEAST <= pages.rows <= MOST
