"""Being told about the landmarks of a run as they are reached."""

from __future__ import annotations

from typing import Generic

from tqmisp.pipeline.progress import Progress
from tqmisp.pipeline.protocols import D, Outcome, Sink, Slice, V


class Listener:
    """Told about the landmarks of a run, in the order in which they are reached.

    Inherit from it and define what you want to hear; the rest does nothing. The calls come from the event loop, at
    most a few for each event, and must neither block nor raise.
    """

    def on_misp_ready(self) -> None:
        """MISP has let us in."""

    def on_selected(self, indicators: int) -> None:
        """ThreatQ has said how many indicators the selection has."""

    def on_event_created(self, number: int | None) -> None:
        """MISP has made the event and given it this number; None where it did not say."""

    def on_slice_stored(self, attributes: int, remaining: int | None) -> None:
        """All that one slice holds has been dealt with.

        Args:
            attributes: how many attributes the slice had.
            remaining: indicators of the selection whose fate is not known yet; None where their number is unknown.
        """


class Silent(Listener):
    """A listener that wants to hear nothing."""


class Heard(Generic[D, V]):
    """A sink whose deliveries are told to a listener."""

    def __init__(self, sink: Sink[D, V], listener: Listener, progress: Progress) -> None:
        self._sink = sink
        self._listener = listener
        self._progress = progress

    async def deliver(self, part: Slice[D, V]) -> Outcome[D, V]:
        """Bring a slice to its destination, and tell of it."""
        outcome = await self._sink.deliver(part)
        progress = self._progress
        progress.delivered += len(part.items)
        remaining = None
        if progress.total is not None:
            known = progress.read - progress.admitted + progress.delivered
            remaining = max(0, progress.total - known)
        self._listener.on_slice_stored(len(part.items), remaining)
        return outcome
