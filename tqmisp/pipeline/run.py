"""The pipeline: source ▶ bounded queue ▶ mapper and journal ▶ batcher ▶ bounded queue ▶ sinks.

All stages run in one task group. Pages travel, not items; every stage stops when the stream before it ends, and
the first error of any stage ends them all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Generic

import anyio
from anyio import CancelScope, create_memory_object_stream, create_task_group
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from tqmisp.errors import Interrupted
from tqmisp.pipeline.batcher import Batcher
from tqmisp.pipeline.budget import ByteBudget
from tqmisp.pipeline.groups import first_error
from tqmisp.pipeline.limits import Limits
from tqmisp.pipeline.progress import Progress
from tqmisp.pipeline.protocols import Admission, D, Journal, Mapped, Mapper, Page, Shard, Sink, Slice, Source, T, U, V
from tqmisp.pipeline.stop import Stop


async def run(
    source: Source[T],
    mapper: Mapper[T, U],
    journal: Journal[D, U, V],
    sinks: Sequence[Sink[D, V]],
    *,
    size_of: Callable[[V], int],
    producers: int = 4,
    limits: Limits | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> None:
    """Move everything from the source to the sinks.

    Args:
        source: gives shards.
        mapper: turns the items of a page into what can be delivered.
        journal: decides what must be delivered, and records it before and after.
        sinks: one task each; give as many as slices shall be under way at once.
        size_of: the bytes of a planned item.
        producers: shards that are read at the same time.
        limits: bounds of memory; the defaults hold about three slices.
        progress: counters to raise while running.
        stop: where somebody may ask to stop. After a first wish nothing new is read, what was admitted is delivered
            within ``limits.drain_seconds``, and the call returns; after a second it ends at once.

    Raises:
        Interrupted: stopped before everything that was admitted had been delivered.
        Exception: the first error of any stage, as it was raised, never a group of them.
    """
    line = _Pipeline(journal, size_of, limits or Limits(), progress or Progress(), stop or Stop())
    cause: BaseException | None = None
    try:
        await line.run(source, producers, mapper, sinks)
    except BaseExceptionGroup as group:
        cause = first_error(group)
    if cause is not None:
        raise cause
    if line.interrupted:
        raise Interrupted(f"Stopped by {line.stop.reason} before everything was delivered; run again to go on.")


class _Pipeline(Generic[D, U, V]):
    """One run: what its stages share."""

    def __init__(
        self,
        journal: Journal[D, U, V],
        size_of: Callable[[V], int],
        limits: Limits,
        progress: Progress,
        stop: Stop,
    ) -> None:
        self.journal = journal
        self.limits = limits
        self.progress = progress
        self.stop = stop
        self.interrupted = False
        self.admitted_at: float | None = None
        self.batcher: Batcher[D, V] = Batcher(
            max_items=limits.slice_items, max_bytes=limits.slice_bytes, size_of=size_of
        )
        self.budget = ByteBudget(limits.queue_bytes)

    async def run(self, source: Source[T], producers: int, mapper: Mapper[T, U], sinks: Sequence[Sink[D, V]]) -> None:
        reading = CancelScope()
        everything = CancelScope()

        def drain() -> None:
            reading.cancel()
            everything.deadline = min(everything.deadline, anyio.current_time() + self.limits.drain_seconds)

        pages_in, pages_out = create_memory_object_stream[Page[T]](self.limits.queue_pages)
        mapped_in, mapped_out = create_memory_object_stream[tuple[Page[T], Mapped[U]]](0)
        looked_in, looked_out = create_memory_object_stream[tuple[Page[T], Mapped[U], Admission[D, V]]](0)
        slices_in, slices_out = create_memory_object_stream[Slice[D, V]](0)
        with self.stop.attach(drain=drain, abort=everything.cancel), everything:
            async with (
                create_task_group() as stages,
                pages_in,
                pages_out,
                mapped_in,
                mapped_out,
                looked_in,
                looked_out,
                slices_in,
                slices_out,
            ):
                stages.start_soon(self._read, source, producers, pages_in.clone(), reading, name="read")
                stages.start_soon(self._map, mapper, pages_out.clone(), mapped_in.clone(), name="map")
                stages.start_soon(self._look_up, mapped_out.clone(), looked_in.clone(), name="look up")
                stages.start_soon(self._admit, looked_out.clone(), slices_in.clone(), name="admit")
                for number, sink in enumerate(sinks):
                    stages.start_soon(self._deliver, sink, slices_out.clone(), name=f"deliver {number}")
        self.interrupted = everything.cancelled_caught
        if self.admitted_at is not None:
            self.progress.waiting.sink += time.monotonic() - self.admitted_at

    async def _read(
        self, source: Source[T], producers: int, pages: MemoryObjectSendStream[Page[T]], reading: CancelScope
    ) -> None:
        self.progress.phase, self.progress.queue_pages = "reading", self.limits.queue_pages
        with pages, reading:
            shards = iter(await source.shards())
            async with create_task_group() as tasks:
                for number in range(producers):
                    tasks.start_soon(self._produce, shards, pages.clone(), name=f"produce {number}")
        self.progress.phase = "delivering"

    async def _produce(self, shards: Iterator[Shard[T]], pages: MemoryObjectSendStream[Page[T]]) -> None:
        with pages:
            for shard in shards:  # shared by all producers: each takes the next one that nobody has taken
                async with aclosing(shard.pages()) as stream:
                    async for page in stream:
                        await self.budget.take(page.size)
                        try:
                            await pages.send(page)
                        except anyio.BrokenResourceError:
                            return  # the mapper has failed; its error is the one to show
                        self.progress.pages_queued += 1

    async def _map(
        self,
        mapper: Mapper[T, U],
        pages: MemoryObjectReceiveStream[Page[T]],
        mapped: MemoryObjectSendStream[tuple[Page[T], Mapped[U]]],
    ) -> None:
        """Map one page while the journal looks for what it knows of the one before."""
        progress, waiting = self.progress, self.progress.waiting
        with pages, mapped:
            asked = time.monotonic()
            async for page in pages:
                began = time.monotonic()
                waiting.source += began - asked
                progress.pages_queued -= 1
                if self.stop.requested:
                    return  # what is queued was never promised to anybody
                result = mapper.map(page.items)
                waiting.mapping += time.monotonic() - began
                try:
                    await mapped.send((page, result))
                except anyio.BrokenResourceError:
                    return  # the next stage has failed; its error is the one to show
                asked = time.monotonic()

    async def _look_up(
        self,
        mapped: MemoryObjectReceiveStream[tuple[Page[T], Mapped[U]]],
        looked: MemoryObjectSendStream[tuple[Page[T], Mapped[U], Admission[D, V]]],
    ) -> None:
        """Let the journal look for what it knows of one page while it decides about the one before."""
        with mapped, looked:
            async for page, result in mapped:
                began = time.monotonic()
                admission = await self.journal.look_up(page, result)
                self.progress.waiting.journal += time.monotonic() - began
                try:
                    await looked.send((page, result, admission))
                except anyio.BrokenResourceError:
                    return  # the next stage has failed; its error is the one to show

    async def _admit(
        self,
        looked: MemoryObjectReceiveStream[tuple[Page[T], Mapped[U], Admission[D, V]]],
        slices: MemoryObjectSendStream[Slice[D, V]],
    ) -> None:
        """Let the journal decide, and cut what must be delivered into slices."""
        progress = self.progress
        with looked, slices:
            async for page, result, admission in looked:
                groups = await admission()
                self.budget.give(page.size)
                progress.read += len(page.items) + len(page.refusals) + len(page.recognised)
                progress.refused += len(page.refusals) + len(result.refusals)
                full: list[Slice[D, V]] = []
                planned = 0
                for destination, items in groups:
                    planned += len(items)
                    full += self.batcher.feed(destination, items)
                progress.admitted += planned
                progress.settled += len(result.items) - planned + len(page.recognised)
                if not await self._hand_over(full, slices):
                    return
            await self._hand_over(self.batcher.flush(), slices)
            self.admitted_at = time.monotonic()

    async def _hand_over(self, full: Sequence[Slice[D, V]], slices: MemoryObjectSendStream[Slice[D, V]]) -> bool:
        """Give slices to the sinks; False when no sink is left to take them."""
        for part in full:
            began = time.monotonic()
            self.progress.slices_waiting += 1
            try:
                await slices.send(part)
            except anyio.BrokenResourceError:
                return False  # every sink has failed; their error is the one to show
            finally:
                self.progress.slices_waiting -= 1
                self.progress.waiting.sink += time.monotonic() - began
        return True

    async def _deliver(self, sink: Sink[D, V], slices: MemoryObjectReceiveStream[Slice[D, V]]) -> None:
        progress = self.progress
        with slices:
            async for part in slices:
                progress.slices_in_flight += 1
                try:
                    await self.journal.promise(part)
                    outcome = await sink.deliver(part)
                    with CancelScope(shield=True):  # what is known must be recorded, also under cancellation
                        await self.journal.confirm(part, outcome)
                finally:
                    progress.slices_in_flight -= 1
                progress.stored += len(outcome.stored) + len(outcome.elsewhere)
                progress.refused += len(outcome.refused)
