"""What an operator can set about writing to MISP."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr  # masks itself in every repr and traceback

from tqmisp.transport.options import PeerOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class MispOptions(PeerOptions):
    """How to reach a MISP, and how much to ask of it."""

    url: str
    """``https://misp.example``, with the path where MISP does not live at the root."""
    key: SecretStr
    """The authentication key of the user that the events will belong to."""
    name: str = "misp"
    """What the receipt and the journal call this target."""
    consumers: int = 4
    """Slices that are delivered at the same time: while some are looked up and confirmed, others keep MISP busy."""
    requests_in_flight: int | None = None
    """Writing requests under way at once, over all slices; without it, as many as MISP gains from, up to 16."""
    chunk_size: int | None = None
    """Attributes a request; without it, as many as MISP takes best, from 50 to 2,000."""
    settle_seconds: float = 10.0
    """After a run that died, so long it is waited for requests of it that MISP may still be at work on."""
    unclear_seconds: float = 30.0
    """After a time-out or 504, so long it is looked whether MISP finishes the request, before it is sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOptions:
    """What the events look like that carry the attributes."""

    name: str = "ThreatQ Export"
    """The beginning of the title: ``<name> 2026-11-24``, then ``<name> 2026-11-24 (2)``."""
    namespace: str | None = None
    """From what all UUIDs derive; by default the address of ThreatQ. Change it and everything is exported anew."""
    slice_size: int = 25_000
    """Attributes an event at most, up to 25,000."""
    timezone: str = "UTC"
    """The zone in which a run day begins and ends."""
    distribution: int = 0
    """0 own organisation, 1 this community, 2 connected communities, 3 all, 4 the sharing group."""
    sharing_group_id: int | None = None
    """Needed by distribution 4."""
    threat_level: int = 4
    """1 high, 2 medium, 3 low, 4 undefined."""
    analysis: int = 2
    """0 initial, 1 ongoing, 2 completed."""
    tags: tuple[str, ...] = ()
    """Put on each event."""
    disable_correlation: bool = False
    """Doubles MISP's speed and hides the correlations of these events from analysts."""
    publish: bool = False
    """Publish the events of the run as its last step."""
