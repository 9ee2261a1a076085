"""Whether MISP holds what the ledger says, event by event; works on any number of attributes, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tqmisp.journal.audit import Audit, Audited
from tqmisp.journal.store import Journal
from tqmisp.misp.compare import Comparison, Difference
from tqmisp.misp.reading import EventState, MispReader
from tqmisp.model import EventRef
from tqmisp.pipeline.progress import Progress

KINDS = ("missing", "stale", "deleted", "changed", "extra")
OURS = ("missing", "stale")
"""Differences that are ours to mend; people have made the others."""


@dataclass(slots=True)
class EventVerdict:
    """What was found about one event."""

    uuid: str
    info: str
    id: int | None
    """The number that MISP gave it; None where MISP does not have it."""
    ledger: int
    """Attributes that the ledger takes for delivered, those that were withdrawn and are still there included."""
    misp: int
    """Attributes that MISP counts."""
    compared: bool = False
    """Whether each attribute was looked at, because counts or timestamps differ, or somebody wanted it."""
    missing: Difference = field(default_factory=Difference)
    stale: Difference = field(default_factory=Difference)
    deleted: Difference = field(default_factory=Difference)
    changed: Difference = field(default_factory=Difference)
    extra: Difference = field(default_factory=Difference)


@dataclass(slots=True)
class Verdict:
    """What was found about one target."""

    target: str
    events: list[EventVerdict] = field(default_factory=list)
    to_deliver_again: int = 0
    """Attributes that the next complete run mends."""

    def count(self, kind: str) -> int:
        """How many differences of one kind there are over all events."""
        return sum(getattr(event, kind).count for event in self.events)

    @property
    def holds(self) -> bool:
        """Whether MISP holds all that was delivered, but for what people have decided."""
        return not any(self.count(kind) for kind in OURS)

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain data, in the form that ``verify --json`` prints."""
        return asdict(self) | {"holds": self.holds} | {kind: self.count(kind) for kind in KINDS}


class Verification:
    """Holds the ledger of a target against MISP.

    Args:
        journal: where the ledger is.
        target: the number of the target.
        name: of the target.
        reader: looks at MISP.
        progress: counters to raise.
    """

    def __init__(self, journal: Journal, target: int, name: str, reader: MispReader, progress: Progress) -> None:
        self._audit = Audit(journal, target)
        self._reader = reader
        self._progress = progress
        self._name = name

    async def run(self, *, every: bool = False, repair: bool = False) -> Verdict:
        """Compare every event by count and time, and those that differ attribute by attribute.

        Args:
            every: look at each attribute of all events.
            repair: mark what is missing or stale, so that the next complete run delivers it again; what people have
                deleted or changed is respected.

        Raises:
            MispError: MISP could not be read.
        """
        verdict = Verdict(self._name)
        self._progress.phase = "comparing"
        events = await self._audit.events()
        self._progress.total = sum(audited.present for audited in events)
        states = await self._reader.events([audited.ref.uuid for audited in events])
        for audited in events:
            found = await self._event(audited, states.get(audited.ref.uuid), every=every)
            verdict.events.append(found)
            self._progress.read += audited.present
            if repair and found.compared and any(getattr(found, kind).count for kind in OURS):
                verdict.to_deliver_again += await self._mend(audited.ref)
        return verdict

    async def _event(self, audited: Audited, state: EventState | None, *, every: bool) -> EventVerdict:
        ref, number = audited.ref, state.id if state else None
        verdict = EventVerdict(ref.uuid, ref.info, number, audited.present, state.attributes if state else 0)
        if not every and state is not None and state.attributes == audited.present:
            since = audited.newest + 1
            if not [page async for page in self._reader.of_event(ref.uuid, since=since) if page]:
                return verdict
        verdict.compared = True
        comparison, _ = await self._compare(ref, there=state is not None)
        for each in fields(Comparison):
            if each.name in KINDS:
                setattr(verdict, each.name, getattr(comparison, each.name))
        return verdict

    async def _compare(self, ref: EventRef, *, there: bool = True) -> tuple[Comparison, Sequence[bytes]]:
        comparison = Comparison()
        if there:
            async for page in self._reader.of_event(ref.uuid):
                comparison.compare(page, await self._audit.promised([each.uuid for each in page]))
        lost: list[bytes] = []
        async for rows in self._audit.of_event(ref):
            lost += comparison.miss(rows)
        return comparison, lost

    async def _mend(self, ref: EventRef) -> int:
        """Mark what is missing or stale in an event; how many attributes that are."""
        comparison, lost = await self._compare(ref, there=bool(await self._reader.events([ref.uuid])))
        return await self._audit.deliver_again(lost, comparison.old)
