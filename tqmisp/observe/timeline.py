"""How a run went over time: a bounded number of samples of its counters, for the receipt."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic

import anyio

from tqmisp.pipeline.groups import first_error
from tqmisp.pipeline.progress import Progress
from tqmisp.pipeline.protocols import Mapped, Mapper, T, U

MOST_SAMPLES = 120
FIRST_INTERVAL = 0.25
"""Seconds between two samples at the start; doubled whenever there are too many."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of a run at one moment."""

    seconds: float
    """Since the run began."""
    read: int
    sent: int
    """Attributes that had been sent, whether or not they were confirmed."""
    stored: int
    """Attributes that MISP had been seen to hold."""
    in_flight: int
    """Slices that were being delivered."""
    queued: int
    """Pages that waited for the mapper."""
    retries: int


class Timeline:
    """Samples of a run that stay few, however long it takes: their interval doubles when they are too many.

    Args:
        progress: the counters.
        samples: where to put them.
        clock: seconds since the run began.
    """

    def __init__(
        self, progress: Progress, samples: list[Sample] | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self.samples: list[Sample] = [] if samples is None else samples
        self.interval = FIRST_INTERVAL
        self._progress = progress
        self._clock = clock or progress.seconds

    def sample(self) -> None:
        """Take note of the counters as they are."""
        progress = self._progress
        now = Sample(
            round(self._clock(), 3),
            progress.read,
            max(progress.stored, min(progress.sent, progress.admitted)),
            progress.stored,
            progress.slices_in_flight,
            progress.pages_queued,
            progress.retries,
        )
        self.samples.append(now)
        if len(self.samples) > MOST_SAMPLES:
            self.samples[:] = self.samples[::2]  # the first and, their number being odd, the last one stay
            self.interval *= 2

    async def record(self) -> None:
        """Take samples until cancelled."""
        while True:
            self.sample()
            await anyio.sleep(self.interval)


@asynccontextmanager
async def recorded(progress: Progress, samples: list[Sample]) -> AsyncIterator[None]:
    """Put samples into a list for as long as the block runs, the last one at its end."""
    timeline = Timeline(progress, samples)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(timeline.record, name="record the timeline")
            yield
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise first_error(group) from None
    finally:
        timeline.sample()


class CountTypes(Generic[T, U]):
    """A mapper that also counts what it is given and what it refuses, by the type of the item at its source."""

    def __init__(self, mapper: Mapper[T, U], type_of: Callable[[T], str], counts: dict[str, dict[str, int]]) -> None:
        self._mapper = mapper
        self._type_of = type_of
        self._counts = counts

    def map(self, items: Sequence[T]) -> Mapped[U]:
        """Map, and count."""
        mapped = self._mapper.map(items)
        count_types(self._counts, map(self._type_of, items))
        for refusal in mapped.refusals:
            self._counts.setdefault(refusal.label, {"read": 0, "refused": 0})["refused"] += 1
        return mapped


def count_types(counts: dict[str, dict[str, int]], types: Iterable[str]) -> None:
    """Count items that were read, by type."""
    for name, number in Counter(types).items():
        counts.setdefault(name, {"read": 0, "refused": 0})["read"] += number
