"""How far a run is: counters that the stages raise and anybody may read."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tqmisp.pipeline.adaptive import Knee


@dataclass(slots=True)
class Waiting:
    """Seconds that the run could not go on, by what it waited for."""

    source: float = 0.0
    mapping: float = 0.0
    journal: float = 0.0
    sink: float = 0.0
    backoff: float = 0.0


@dataclass(slots=True)
class Progress:
    """Live counters of one run; a reader takes them as they are and changes nothing."""

    started: float = field(default_factory=time.monotonic)
    started_processor: float = field(default_factory=time.process_time)
    total: int | None = None
    """Items that the source expects to give, where it knows."""
    read: int = 0
    refused: int = 0
    """Rejected, filtered or quarantined so far."""
    admitted: int = 0
    """Items that need to be delivered."""
    settled: int = 0
    """Items that need no delivery: unchanged or merged."""
    delivered: int = 0
    """Items of slices that the sink is done with, whether the journal has it by now or not."""
    stored: int = 0
    """Items of which the sink has confirmed that they are stored."""
    sent: int = 0
    """Items that have been sent but are not confirmed yet."""
    pages_queued: int = 0
    queue_pages: int = 0
    """How many may be queued."""
    slices_waiting: int = 0
    slices_in_flight: int = 0
    requests: int = 0
    """Requests that carried items to the sink."""
    knee: Knee | None = None
    """What the sink has found best so far, where it looks for it."""
    retries: int = 0
    waiting: Waiting = field(default_factory=Waiting)
    sends: bool = True
    """Whether anything is sent; otherwise the counters say what would be."""
    phase: str = "starting"
    """``starting``, ``reading``, ``delivering`` (the source is at its end), ``publishing``, ``checking``, ``done``."""

    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.started

    def busy(self) -> float:
        """The share of one processor that this process has used since the run began."""
        return (time.process_time() - self.started_processor) / max(self.seconds(), 1e-6)
