from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.pipeline.fakes import FakeJournal, FakeShard, FakeSink, FakeSource, Text
from tqmisp.errors import Interrupted
from tqmisp.pipeline.limits import Limits
from tqmisp.pipeline.progress import Progress
from tqmisp.pipeline.protocols import Slice
from tqmisp.pipeline.run import run
from tqmisp.pipeline.stop import Stop


def expected(numbers: range) -> list[str]:
    """What must be stored of some numbers."""
    return sorted(str(number) for number in numbers if number % 7)


async def test_everything_arrives_once_and_the_tail_is_flushed() -> None:
    """Several shards, producers and sinks lose and double nothing; the last slices are short."""
    source = FakeSource([FakeShard(range(start, start + 333)) for start in range(0, 3330, 333)])
    journal, sink, progress = FakeJournal(), FakeSink(), Progress()
    limits = Limits(queue_pages=2, queue_bytes=50, slice_items=50, slice_bytes=1000)
    with anyio.fail_after(10):
        await run(source, Text(), journal, [sink] * 3, size_of=len, producers=3, limits=limits, progress=progress)
    assert sorted(sink.stored) == sorted(journal.confirmed) == expected(range(3330))
    assert sorted(journal.refused) == list(range(0, 3330, 7))
    assert max(sink.sizes) <= 50
    assert progress.read == 3330
    assert progress.stored == progress.admitted == len(sink.stored)
    assert progress.refused == len(journal.refused)
    assert (progress.pages_queued, progress.slices_waiting, progress.slices_in_flight) == (0, 0, 0)


async def test_a_slow_sink_holds_the_source_back() -> None:
    """With the sink standing still, reading stops when queue, batcher and sink are full."""
    asked: list[int] = []
    go_on = anyio.Event()

    async def note(start: int) -> None:
        asked.append(start)

    async def wait(_part: Slice[int, str]) -> None:
        await go_on.wait()

    source = FakeSource([FakeShard(range(10_000), before=note)])
    sink = FakeSink(before=wait)
    limits = Limits(queue_pages=3, slice_items=20)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                lambda: run(source, Text(), FakeJournal(), [sink], size_of=len, producers=1, limits=limits)
            )
            await anyio.wait_all_tasks_blocked()
            assert len(asked) <= 12
            go_on.set()
    assert len(asked) == 1000
    assert sorted(sink.stored) == expected(range(10_000))


async def test_a_failing_sink_ends_the_run_with_its_own_error() -> None:
    """The error comes out as it was raised, not in a group, and nobody waits for ever."""

    async def fail(_part: Slice[int, str]) -> None:
        await checkpoint()
        raise KeyError("sink")

    source = FakeSource([FakeShard(range(5000)) for _ in range(3)])
    with anyio.fail_after(10), pytest.raises(KeyError, match="sink"):
        await run(
            source,
            Text(),
            FakeJournal(),
            [FakeSink(before=fail)] * 2,
            size_of=len,
            limits=Limits(queue_pages=1, slice_items=10),
        )


async def test_a_failing_source_ends_the_run_with_its_own_error() -> None:
    """The error of a page reaches the caller, and the other shards are closed."""

    async def fail(start: int) -> None:
        if start == 50:
            raise LookupError("page")

    shards = [FakeShard(range(100), before=fail), FakeShard(range(1000, 90_000))]
    with anyio.fail_after(10), pytest.raises(LookupError, match="page"):
        await run(FakeSource(shards), Text(), FakeJournal(), [FakeSink()], size_of=len)
    assert shards[0].closed == [0]
    assert shards[1].closed == [1000]


async def test_a_first_wish_to_stop_drains() -> None:
    """After the first wish nothing new is read, and all that was promised is delivered and confirmed."""
    stop, journal = Stop(), FakeJournal()

    async def ask(part: Slice[int, str]) -> None:
        if not stop.requested:
            stop.request("SIGTERM")
        await checkpoint()
        assert part.items

    source = FakeSource([FakeShard(range(100_000))])
    with anyio.fail_after(10):
        await run(
            source, Text(), journal, [FakeSink(before=ask)], size_of=len, limits=Limits(slice_items=20), stop=stop
        )
    assert sorted(journal.promised) == sorted(journal.confirmed)
    assert 0 < len(journal.confirmed) < 1000
    assert stop.reason == "SIGTERM"
    assert not stop.aborted


async def test_a_second_wish_to_stop_leaves_at_once() -> None:
    """After the second wish not even a delivery that hangs is waited for."""
    stop, journal = Stop(), FakeJournal()

    async def hang(_part: Slice[int, str]) -> None:
        stop.request("SIGINT")
        stop.request("SIGINT")
        await anyio.sleep_forever()

    source = FakeSource([FakeShard(range(1000))])
    with anyio.fail_after(10), pytest.raises(Interrupted, match="SIGINT"):
        await run(
            source, Text(), journal, [FakeSink(before=hang)], size_of=len, limits=Limits(slice_items=20), stop=stop
        )
    assert journal.promised
    assert not journal.confirmed


async def test_draining_has_a_deadline() -> None:
    """A delivery that never ends is left after ``drain_seconds``."""
    stop = Stop()

    async def hang(_part: Slice[int, str]) -> None:
        stop.request("SIGTERM")
        await anyio.sleep_forever()

    source = FakeSource([FakeShard(range(1000))])
    limits = Limits(slice_items=20, drain_seconds=0)
    with anyio.fail_after(10), pytest.raises(Interrupted, match="SIGTERM"):
        await run(source, Text(), FakeJournal(), [FakeSink(before=hang)], size_of=len, limits=limits, stop=stop)


async def test_a_confirmation_survives_cancellation() -> None:
    """What the sink knows is recorded even when the run is cancelled in that moment."""
    stop, journal = Stop(), FakeJournal()

    async def ask(_part: Slice[int, str]) -> None:
        stop.abort()

    class Slow(FakeJournal):
        async def confirm(self, part: Slice[int, str], outcome: object) -> None:
            await checkpoint()
            journal.confirmed += part.items

    source = FakeSource([FakeShard(range(100))])
    with anyio.fail_after(10), pytest.raises(Interrupted):
        await run(source, Text(), Slow(), [FakeSink(before=ask)], size_of=len, limits=Limits(slice_items=20), stop=stop)
    assert journal.confirmed


async def test_an_empty_source_ends() -> None:
    """No shards, no work, no hanging."""
    with anyio.fail_after(10):
        await run(FakeSource([]), Text(), FakeJournal(), [FakeSink()], size_of=len)
