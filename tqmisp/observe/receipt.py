"""The balance of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tqmisp.observe.timeline import Sample


@dataclass(slots=True)
class EventLine:
    """One event that the run wrote to."""

    uuid: str
    id: int | None
    """The number MISP gave it."""
    info: str
    date: str
    attributes: int
    """Attributes that MISP holds in it."""
    published: bool


@dataclass(slots=True)
class TargetReceipt:
    """What became of every indicator that was read, for one MISP."""

    name: str
    read: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    merged: int = 0
    """Became the same attribute as another indicator."""
    retired: int = 0
    """Withdrawn from MISP, since they have left the selection."""
    absent: int = 0
    """Of those retired, those that ThreatQ did not give on this run; they count as read."""
    replaced: int = 0
    """Attributes that were withdrawn since their indicators have become others."""
    kept: dict[str, int] = field(default_factory=dict)
    """What was left as people have made it in MISP, by field."""
    rejected: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    filtered: dict[str, int] = field(default_factory=dict)
    rescued: dict[str, int] = field(default_factory=dict)
    """Values that a rule has mended, by rule; they are part of the tallies above, too."""
    balanced: bool = False
    imbalance: list[str] = field(default_factory=list)
    """What is off, a sentence each."""
    held_back: str | None = None
    """Why nothing was withdrawn although something has left, where that needs somebody's leave."""
    events: list[EventLine] = field(default_factory=list)
    requests: int = 0
    write_requests: int = 0
    retries: int = 0
    seconds_waiting_for: dict[str, float] = field(default_factory=dict)
    """Keys ``threatq``, ``mapping``, ``journal``, ``misp`` and ``backoff``; the stages work at the same time."""
    advice: str = ""
    """What limited the run, and what would help; empty where nothing did."""
    requests_in_flight: int | None = None
    """Writing requests under way at once that MISP was found to answer best; None where nothing was written."""
    chunk_size: int | None = None
    """Attributes a request that it was found to answer best."""

    def accounted(self) -> int:
        """The indicators whose fate is known."""
        refused = sum(sum(codes.values()) for codes in (self.rejected, self.quarantined, self.filtered))
        return self.created + self.updated + self.unchanged + self.merged + self.retired + refused


@dataclass(slots=True)
class Receipt:
    """The balance of one run over all its targets."""

    run_id: str
    started_at: str
    """ISO 8601 in UTC."""
    seconds: float = 0.0
    source: dict[str, Any] = field(default_factory=dict)
    targets: list[TargetReceipt] = field(default_factory=list)
    stopped_by: str | None = None
    """The signal that ended the run early."""
    types: dict[str, dict[str, int]] = field(default_factory=dict)
    """By the type in ThreatQ: ``read``, and ``refused`` by the mapping; rows that were no indicators have no type."""
    timeline: list[Sample] = field(default_factory=list)
    """How the counters grew; a bounded number of samples."""

    @property
    def balanced(self) -> bool:
        """Whether every indicator is accounted for at every target."""
        return all(target.balanced for target in self.targets)

    def as_json(self) -> dict[str, Any]:
        """The receipt as plain data, in the form that ``run --json`` prints."""
        return asdict(self)
