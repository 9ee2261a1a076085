"""What the ledger says of an event held against what MISP holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tqmisp.misp import marks
from tqmisp.misp.identity import as_text
from tqmisp.misp.reading import Whole

SAMPLES = 10
CLOCKS_DIFFER = 600
"""Seconds by which MISP's clock may be behind ours: what differs and is no older than that is people's work."""


class Promised(Protocol):
    """An attribute as the ledger knows it."""

    @property
    def key(self) -> int:
        """The id of its indicator."""
        ...

    @property
    def event(self) -> str:
        """The UUID of the event that it is in."""
        ...

    @property
    def timestamp(self) -> int:
        """That was last sent."""
        ...

    @property
    def marks(self) -> bytes:
        """Of what was last sent."""
        ...

    @property
    def retired(self) -> bool:
        """Whether it was withdrawn."""
        ...

    @property
    def unsettled(self) -> bool:
        """Whether a run that died has sent it, and nobody has looked since what became of that."""
        ...


@dataclass(slots=True)
class Difference:
    """One kind of difference: how many, and some of them."""

    count: int = 0
    samples: list[dict[str, object]] = field(default_factory=list)

    def add(self, **sample: object) -> None:
        """Count one, and keep it if it is among the first."""
        self.count += 1
        if len(self.samples) < SAMPLES:
            self.samples.append(sample)


@dataclass(slots=True)
class Comparison:
    """What differs in one event."""

    missing: Difference = field(default_factory=Difference)
    """Delivered, and not in MISP any more."""
    stale: Difference = field(default_factory=Difference)
    """Older in MISP than what was delivered."""
    deleted: Difference = field(default_factory=Difference)
    """Softly deleted in MISP by people."""
    changed: Difference = field(default_factory=Difference)
    """Changed in MISP by people."""
    extra: Difference = field(default_factory=Difference)
    """In the event without the ledger's knowing of it."""
    met: set[bytes] = field(default_factory=set)
    """What of the ledger was come across."""
    old: list[bytes] = field(default_factory=list)
    """Those of it that are stale."""

    def compare(self, held: Iterable[Whole], ledger: Mapping[bytes, Promised]) -> None:
        """Take a page of what MISP holds in the event, with what the ledger knows of it."""
        for each in held:
            promised = ledger.get(each.uuid)
            if promised is None or promised.event != each.event_uuid:
                if not each.deleted:
                    self.extra.add(uuid=as_text(each.uuid), type=each.type, value=each.value)
                continue
            self.met.add(each.uuid)
            if not promised.unsettled:
                self._one(each, promised)

    def miss(self, ledger: Iterable[tuple[bytes, Promised]]) -> list[bytes]:
        """Take what the ledger knows of the event; return what was not come across."""
        lost = []
        for uuid, promised in ledger:
            withdrawn = any(base.deleted for base in marks.unpacked(promised.marks))
            if uuid not in self.met and not withdrawn and not promised.unsettled:
                self.missing.add(indicator=promised.key, uuid=as_text(uuid))
                lost.append(uuid)
        return lost

    def _one(self, held: Whole, promised: Promised) -> None:
        sample = {"indicator": promised.key, "uuid": as_text(held.uuid), "type": held.type, "value": held.value}
        bases = marks.unpacked(promised.marks)
        if held.deleted and not any(base.deleted for base in bases):
            self.deleted.add(**sample)
        elif held.timestamp < promised.timestamp - CLOCKS_DIFFER:
            self._stale(held, sample)
        elif bases and (fields := changed(held.marks(), bases)):
            self.changed.add(**sample, fields=fields)
        elif held.timestamp < promised.timestamp:
            self._stale(held, sample)

    def _stale(self, held: Whole, sample: dict[str, object]) -> None:
        self.stale.add(**sample)
        self.old.append(held.uuid)


def changed(here: marks.Marks, bases: list[marks.Marks]) -> list[str]:
    """The fields that are as we have never sent them."""
    return [name for name in here._fields if all(getattr(base, name) != getattr(here, name) for base in bases)]
