"""How long a simulated MISP takes: what a request costs, and what requests at the same time cost one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from tqmisp.simulators.misp.model import Event
from tqmisp.simulators.misp.php import empty, text
from tqmisp.simulators.misp.store import MispStore


class Work(NamedTuple):
    """What a request asks for, as far as it takes time."""

    rows: int = 0
    """Attributes in its body."""
    correlating: int = 0
    """Those of them for which MISP looks for the same value elsewhere."""
    hits: int = 0
    """How often it finds it: the other events that hold a value, over all attributes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds that a server needs, if it had nothing else to do, and how much longer it takes for several at once.

    The time of a request is multiplied by ``1 + contention (n - 1) + crosstalk n (n - 1)`` where ``n`` requests are
    worked on: Gunther's universal scalability law. Without crosstalk the rate rises to ``1 / contention`` times that of
    a single request; with it, it falls again beyond ``sqrt((1 - contention) / crosstalk)`` requests.
    """

    request: float = 0.0
    attribute: float = 0.0
    correlation: float = 0.0
    hit: float = 0.0
    contention: float = 0.0
    crosstalk: float = 0.0

    def seconds(self, work: Work, busy: int = 1) -> float:
        """The time of a request that is one of so many under way."""
        alone = self.request + self.attribute * work.rows + self.correlation * work.correlating + self.hit * work.hits
        return alone * (1 + self.contention * (busy - 1) + self.crosstalk * busy * (busy - 1))

    def rate(self, work: Work, busy: int = 1) -> float:
        """Attributes a second while so many requests of this kind are under way throughout."""
        return work.rows * busy / self.seconds(work, busy)

    def saturated(self, work: Work, workers: int) -> float:
        """The highest rate that so many workers reach."""
        return max(self.rate(work, busy) for busy in range(1, workers + 1))


FREE = Costs()


def work_of(store: MispStore, key: str | None, data: Any) -> Work:  # noqa: ANN401 - JSON
    """What a request that writes asks for.

    Args:
        store: where values are looked for.
        key: id or UUID of the event in the path.
        data: the body.
    """
    event = store.event(key) if key is not None else None
    body = data.get("Event", data) if isinstance(data, dict) else data
    rows = _rows(body.get("Attribute", body) if isinstance(body, dict) else body)
    if event is None:
        disabled = isinstance(body, dict) and not empty(body.get("disable_correlation"))
    else:
        disabled = event.disable_correlation
    correlating = [] if disabled else [row for row in rows if empty(row.get("disable_correlation"))]
    return Work(len(rows), len(correlating), sum(len(_elsewhere(store, event, row)) for row in correlating))


def _rows(sent: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
    sent = sent if isinstance(sent, list) else [sent]
    return [row for row in sent if isinstance(row, dict) and "value" in row]


def _elsewhere(store: MispStore, event: Event | None, row: dict[str, Any]) -> set[int]:
    """The ids of the other events that hold a value, or a part of one."""
    found = (other for part in text(row["value"]).split("|") for other in store.values.find(part))
    return {other.event.id for other in found if other.event is not event and not other.deleted}
