"""What a run would do: its receipt as far as it can be foreseen, what it would send, and how long that would take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import orjson

from tqmisp.journal.store import RunRecord
from tqmisp.misp.foresight import Forecast
from tqmisp.observe.receipt import Receipt
from tqmisp.pipeline.adaptive import Knee

USUAL_RATE = 500.0
"""Attributes a second: what a MISP on a small machine takes, with its settings as they come."""
ENOUGH = 1_000
"""Attributes that a run of the past must have sent for its rate to say anything."""


@dataclass(slots=True)
class Change:
    """What would change in one event, for attributes of one type."""

    event: str
    """The UUID of the event."""
    info: str
    type: str
    """In MISP."""
    created: int
    updated: int
    retired: int


@dataclass(slots=True)
class Estimate:
    """What a run would send, and how long that would take."""

    attributes: int
    bytes: int
    """Of the bodies that carry them."""
    rate: float
    """Attributes a second."""
    rate_from: Literal["learned", "past run", "usual"]
    """``learned`` when writing to this MISP, the rate of a ``past run``, or what is ``usual``."""
    minutes: float


@dataclass(slots=True)
class Plan:
    """What a run would do now."""

    receipt: Receipt
    """Of the run, as far as it can be foreseen; ``run_id`` is empty, and ``seconds`` and requests are estimates."""
    estimate: Estimate
    changes: list[Change] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The receipt with ``estimate`` and ``changes``, in the form that ``plan --json`` prints."""
        return self.receipt.as_json() | {
            "estimate": asdict(self.estimate),
            "changes": [asdict(change) for change in self.changes],
        }


def changes(forecast: Forecast) -> list[Change]:
    """What would change, by event and type."""
    return [
        Change(event, forecast.titles[event], kind, counts["created"], counts["updated"], counts["retired"])
        for (event, kind), counts in sorted(forecast.changes.items(), key=lambda each: (each[0][0], each[0][1]))
    ]


def estimate(forecast: Forecast, knee: Knee | None, past: Iterable[RunRecord], *, reading: float) -> Estimate:
    """How long it would take to send what would be sent.

    Args:
        forecast: what would be sent.
        knee: what earlier runs have learnt of the server.
        past: earlier runs on it, the newest first.
        reading: seconds that reading ThreatQ takes, meanwhile.
    """
    source: Literal["learned", "past run", "usual"]
    if knee is not None and knee.rate:
        rate, source = knee.rate, "learned"
    elif (found := next(filter(None, map(_rate, past)), None)) is not None:
        rate, source = found, "past run"
    else:
        rate, source = USUAL_RATE, "usual"
    seconds = max(reading, forecast.attributes / rate)
    return Estimate(forecast.attributes, forecast.bytes, round(rate, 1), source, round(seconds / 60, 3))


def _rate(run: RunRecord) -> float | None:
    """Attributes a second of a run, all in all; None where it has sent too few."""
    receipt: dict[str, Any] = orjson.loads(run.receipt or "{}")
    for target in receipt.get("targets", []):
        sent = sum(target[name] for name in ("created", "updated", "retired", "replaced"))
        if target["name"] == run.target and sent >= ENOUGH and receipt["seconds"]:
            return float(sent / receipt["seconds"])
    return None
