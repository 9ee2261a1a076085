from __future__ import annotations

from collections.abc import Sequence

from tqmisp.observe.listener import Heard, Listener, Silent
from tqmisp.pipeline.progress import Progress
from tqmisp.pipeline.protocols import Outcome, Slice


class _Events(Listener):
    def __init__(self) -> None:
        self.numbers: list[int | None] = []

    def on_event_created(self, number: int | None) -> None:
        self.numbers.append(number)


def test_a_listener_hears_only_what_it_asks_for() -> None:
    """A class that defines one call can be given all of them."""
    listener = _Events()
    listener.on_selected(3)
    listener.on_event_created(5230)
    listener.on_slice_stored(3, 0)
    assert listener.numbers == [5230]


def test_silence_is_a_listener() -> None:
    """The default takes every call."""
    listener: Listener = Silent()
    listener.on_misp_ready()
    listener.on_event_created(1)
    assert isinstance(listener, Silent)


class _Slices(Listener):
    def __init__(self) -> None:
        self.remaining: list[int | None] = []

    def on_slice_stored(self, attributes: int, remaining: int | None) -> None:
        self.remaining.append(remaining)


class _Sink:
    async def deliver(self, part: Slice[str, int]) -> Outcome[str, int]:
        return Outcome(list(part.items))


async def test_what_remains_falls_to_nothing_also_where_slices_arrive_before_the_journal_has_the_others() -> None:
    """Nobody else counts between the deliveries: 2 of 12 needed none."""
    heard, progress = _Slices(), Progress(total=12, read=12, settled=1, refused=1, admitted=10)
    sink = Heard(_Sink(), heard, progress)
    parts: Sequence[Sequence[int]] = ([1, 2, 3, 4, 5, 6], [7], [8, 9, 10])
    for items in parts:
        await sink.deliver(Slice("event", items, 0))
    assert heard.remaining == [4, 3, 0]
