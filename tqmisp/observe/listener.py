"""Being told about the landmarks of a run as they are reached."""

from __future__ import annotations


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
