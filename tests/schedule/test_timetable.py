from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tqmisp.schedule import Timetable
from tqmisp.schedule.options import ScheduleOptions, seconds

MOMENTS = st.floats(0, 4e9)
INTERVALS = st.integers(1, 10_000_000)
CHANCES = st.floats(0, 1, exclude_max=True)


@given(now=MOMENTS, origin=MOMENTS, every=INTERVALS, jitter=st.floats(0, 0.5), chance=CHANCES)
def test_the_next_moment_is_ahead_and_not_far(
    now: float, origin: float, every: int, jitter: float, chance: float
) -> None:
    """Wherever the clock stands, also before the origin, since it may be set."""
    timetable = Timetable(every, jitter, origin, lambda: chance)
    assert now < timetable.after(now) <= now + timetable.longest + 1e-6 * every


@given(every=INTERVALS, jitter=st.floats(0, 0.5), chances=st.lists(CHANCES, min_size=1, max_size=50))
def test_delays_do_not_add_up(every: int, jitter: float, chances: list[float]) -> None:
    """However late each turn is, the one with number n comes within its own share of the interval."""
    left = iter(chances)
    timetable = Timetable(every, jitter, 1000.0, lambda: next(left))
    now = 1000.0
    for number in range(1, len(chances) + 1):
        now = timetable.after(now)
        assert 0 <= now - 1000 - number * every <= jitter * every + 1e-6 * every


def test_who_comes_late_leaves_out_what_is_past() -> None:
    """A turn of two and a half hours, every hour."""
    timetable = Timetable(3600, origin=0)
    assert timetable.after(0) == 3600
    assert timetable.after(2.5 * 3600) == 3 * 3600
    assert timetable.after(3 * 3600) == 4 * 3600


@pytest.mark.parametrize(
    ("length", "expected"),
    [("90s", 90), ("30m", 1800), ("4h", 14_400), ("1d", 86_400), ("1d12h", 129_600), ("1h30m5s", 5405), ("0", 0)],
)
def test_lengths_of_time(length: str, expected: int) -> None:
    """As people write them."""
    assert seconds(length) == expected
    assert ScheduleOptions(every=length).interval == expected


@pytest.mark.parametrize("length", ["", "4", "h", "4H", "-4h", "4h ", "4 h", "1m1h", "1.5h", "0x4h", "٤h", "1h1h"])
def test_what_is_no_length_of_time(length: str) -> None:
    """A unit, in its place, behind each number."""
    with pytest.raises(ValueError, match="no length of time"):
        seconds(length)


def test_without_an_interval_there_is_one_run() -> None:
    """The default."""
    assert ScheduleOptions().interval == 0
