from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tqmisp.observe import timeline
from tqmisp.observe.timeline import MOST_SAMPLES, CountTypes, Sample, Timeline, recorded
from tqmisp.pipeline.progress import Progress
from tqmisp.pipeline.protocols import Mapped, Refusal


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(min_value=1, max_value=2_000))
def test_samples_stay_few(times: int) -> None:
    """However long the run: its begin and the newest are there, and all gaps between them are alike."""
    clock = Clock()
    line = Timeline(Progress(), clock=clock)
    for _ in range(times):
        line.sample()
        clock.now += line.interval
    moments = [sample.seconds for sample in line.samples]
    assert len(moments) <= MOST_SAMPLES
    assert moments[0] == 0
    assert moments[-1] == clock.now - line.interval
    assert {after - before for before, after in pairwise(moments)} <= {line.interval}


def test_a_sample_shows_the_counters() -> None:
    """What has been sent is at least what is stored, and never more than there was to send."""
    progress = Progress(read=50, admitted=40, sent=60, stored=30, slices_in_flight=2, pages_queued=3, retries=1)
    line = Timeline(progress, clock=lambda: 1.23456)
    line.sample()
    assert line.samples == [Sample(seconds=1.235, read=50, sent=40, stored=30, in_flight=2, queued=3, retries=1)]


async def test_recording_goes_on_as_long_as_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are taken while the run works, and once more at its end."""
    monkeypatch.setattr(timeline, "FIRST_INTERVAL", 0.0)
    progress, samples = Progress(), list[Sample]()
    async with recorded(progress, samples):
        for progress.read in range(1, 10):
            await anyio.lowlevel.checkpoint()
        progress.read = 100
    assert len(samples) > 2
    assert samples[-1].read == 100


async def test_an_error_is_not_buried() -> None:
    """The error of a run comes out as it was raised, and its last counters are kept."""
    progress, samples = Progress(read=7), list[Sample]()

    async def fail() -> None:
        async with recorded(progress, samples):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert samples[-1].read == 7


class _EvenOnly:
    def map(self, items: Sequence[int]) -> Mapped[int]:
        odd = [Refusal(item, "rejected", "odd", "It is odd.", "number") for item in items if item % 2]
        return Mapped([item for item in items if not item % 2], odd)


def test_types_are_counted() -> None:
    """What the mapper is given and what it refuses, by type; its answer is passed on as it is."""
    counts: dict[str, dict[str, int]] = {}
    mapper: CountTypes[int, int] = CountTypes(_EvenOnly(), lambda _: "number", counts)
    assert mapper.map([1, 2, 3]).items == [2]
    assert mapper.map([]).items == []
    assert counts == {"number": {"read": 3, "refused": 2}}
