from __future__ import annotations

from datetime import datetime, timedelta

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tqmisp.threatq import windows
from tqmisp.threatq.windows import Window

START = datetime(2024, 1, 1)  # noqa: DTZ001  as ThreatQ writes dates, without a zone


class Rows:
    """Rows with the moments at which they were touched; counts as ThreatQ does."""

    def __init__(self, touched: list[datetime]) -> None:
        self.touched = sorted(touched)
        self.counts = 0

    def within(self, window: Window) -> list[int]:
        """The rows of a window; its bounds are left out."""
        low, high = (None if each is None else windows.moment(each) for each in window)
        return [
            place
            for place, moment in enumerate(self.touched)
            if (low is None or moment > low) and (high is None or moment < high)
        ]

    async def count(self, window: Window) -> int:
        self.counts += 1
        return len(self.within(window))

    async def plan(self, parts: int, least: int = 0) -> list[Window]:
        first, last = (each.replace(microsecond=0) for each in (self.touched[0], self.touched[-1]))
        return await windows.plan(first, last, len(self.touched), self.count, parts=parts, least=least)


moments = st.lists(
    st.one_of(
        st.floats(0, 30),  # crowded in half a minute, with fractions
        st.floats(0, 86_400 * 700),
        st.integers(0, 10).map(lambda hour: hour * 3600.0),  # bulk imports: the very same moment
    ).map(lambda seconds: START + timedelta(seconds=round(seconds, 3))),
    min_size=1,
    max_size=200,
)


@given(touched=moments, parts=st.integers(1, 8), least=st.integers(0, 50))
async def test_no_row_is_between_two_windows(touched: list[datetime], parts: int, least: int) -> None:
    """Together they hold every row, whatever the dates; the earliest is open below, and the latest one above."""
    rows = Rows(touched)
    planned = await rows.plan(parts, least)
    assert {place for window in planned for place in rows.within(window)} == set(range(len(touched)))
    assert [low for low, _ in planned].count(None) == 1
    assert [high for _, high in planned].count(None) == 1
    assert rows.counts <= windows.MAX_COUNTS


async def test_windows_are_about_equally_large_where_dates_crowd() -> None:
    """Nine of ten rows in one hour of two years are divided, too, in few requests; the last to be read are small."""
    crowded = [START + timedelta(days=300, seconds=3600 * number / 9000) for number in range(9000)]
    rows = Rows(crowded + [START + timedelta(days=0.7 * number) for number in range(1000)])
    planned = await rows.plan(4)
    sizes = [len(rows.within(window)) for window in planned]
    assert max(sizes) <= 10_000 / 4 / windows.WINDOWS_A_PART + 10  # a window begins a second early
    assert sizes[-1] <= min(sizes) + 10
    assert sum(sizes[-4:]) < sum(sizes[:4])
    assert rows.counts <= 40


async def test_windows_are_counted_at_the_same_time() -> None:
    """Planning takes the time of a few answers, also where it takes many requests."""
    rows = Rows([START + timedelta(minutes=number) for number in range(10_000)])
    under_way = most = 0

    async def count(window: Window) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await anyio.lowlevel.checkpoint()
        under_way -= 1
        return len(rows.within(window))

    planned = await windows.plan(rows.touched[0], rows.touched[-1], 10_000, count, parts=4)
    assert len(planned) >= 8
    assert most >= 4


async def test_windows_are_not_smaller_than_need_be() -> None:
    """A small result costs few requests to plan."""
    rows = Rows([START + timedelta(minutes=number) for number in range(10_000)])
    assert len(await rows.plan(8, least=4000)) <= 4
    assert rows.counts <= 4


async def test_rows_of_one_moment_stay_together() -> None:
    """What cannot be divided is not asked about again and again."""
    rows = Rows([START] * 1000 + [START + timedelta(days=1)])
    planned = await rows.plan(4)
    assert len(planned) <= 2
    assert rows.counts < 20


async def test_a_server_that_takes_no_notice_of_dates_gives_one_window() -> None:
    """Every count is that of everything: dividing would read everything many times."""

    async def count(_window: Window) -> int:
        return 1000

    planned = await windows.plan(START, START + timedelta(days=700), 1000, count, parts=4)
    assert planned == [(None, None)]


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2024-05-01", datetime(2024, 5, 1)),  # noqa: DTZ001
        ("2024-05-01 06:00:00", datetime(2024, 5, 1, 6)),  # noqa: DTZ001
        ("2024-05-01 10:00:03.250", datetime(2024, 5, 1, 10, 0, 3, 250_000)),  # noqa: DTZ001
        ("2024-05-01T06:00:00Z", datetime(2024, 5, 1, 6)),  # noqa: DTZ001
        ("2024-05-01T06:00:00+02:00", datetime(2024, 5, 1, 4)),  # noqa: DTZ001
    ],
)
def test_dates_are_utc(given: str, moment: datetime) -> None:
    """ThreatQ names no zone; where somebody names one, it is reckoned with."""
    assert windows.moment(given) == moment
