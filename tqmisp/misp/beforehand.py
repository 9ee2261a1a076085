"""What MISP holds of a slice before anything of it is sent, and what is left to send then. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from tqmisp.misp.merge import merge
from tqmisp.misp.reading import Whole
from tqmisp.misp.verdicts import DELETED, refusal
from tqmisp.model import Change, EventRef, Planned
from tqmisp.pipeline.protocols import Outcome


class Left(NamedTuple):
    """A change that has to be sent."""

    item: Planned
    """Reduced to what is ours to change."""
    held: Whole
    """The attribute in MISP."""

    @property
    def home(self) -> EventRef:
        """The event in which the attribute lives."""
        return EventRef(0, self.held.event_uuid, self.held.event_info, "")


def adopt(
    ref: EventRef, items: Sequence[Planned], held: Mapping[bytes, Whole], outcome: Outcome[EventRef, Planned]
) -> list[Planned]:
    """Take over what MISP has of ours, as it is, where the journal is new; return what it has not."""
    left = []
    for item in items:
        here = held.get(item.uuid)
        if here is None:
            left.append(item)
        elif here.deleted:
            outcome.refused.append((item, refusal(item, "filtered", "deleted_in_misp", DELETED)))
        else:
            if here.marks().packed() != item.marks:
                outcome.kept["adopted"] += 1
            found = replace(item, change=Change.ADOPT, timestamp=here.timestamp)
            if here.event_uuid == ref.uuid:
                outcome.unchanged.append(found)
            else:
                outcome.elsewhere.append((found, EventRef(0, here.event_uuid, here.event_info, "")))
    return left


def compare(items: Sequence[Planned], held: Mapping[bytes, Whole], outcome: Outcome[EventRef, Planned]) -> list[Left]:
    """Leave what people have changed out of updates; return those of which something is left."""
    left = []
    for item in items:
        here = held.get(item.uuid)
        merged = merge(item, here) if here is not None else None
        if here is None or merged is None:
            outcome.refused.append((item, refusal(item, "filtered", "deleted_in_misp", DELETED)))
            continue
        outcome.kept.update(merged.kept)
        if merged.changes:
            left.append(Left(merged.item, here))
        else:
            outcome.unchanged.append(merged.item)
    return left
