"""Finding attributes by value, and which events share one.

One index over the whole server serves three questions: is the value already in this event (uniqueness), where else is
it (``restSearch``), and which events correlate.
"""

from __future__ import annotations

from collections.abc import Iterator

from tqmisp.simulators.misp.collation import fold
from tqmisp.simulators.misp.model import Attribute, Event
from tqmisp.simulators.misp.types import FIRST_PART_ONLY, UNCORRELATED


class ValueIndex:
    """Attributes by what the database's collation makes of ``value1`` and ``value2``."""

    def __init__(self) -> None:
        # most values are in one attribute only: no list for these
        self._slots: dict[str, Attribute | list[Attribute]] = {}

    def find(self, value: str) -> Iterator[Attribute]:
        """Attributes of which one part equals a value, soft-deleted ones, too."""
        slot = self._slots.get(fold(value))
        if slot is None:
            return iter(())
        return iter((slot,)) if isinstance(slot, Attribute) else iter(slot)

    def twin(self, attribute: Attribute) -> Attribute | None:
        """Another attribute of the event with the same type, category and value that is not deleted."""
        slot = self._slots.get(fold(attribute.value1))
        if slot is None:
            return None
        for other in (slot,) if isinstance(slot, Attribute) else slot:
            if (
                other.event is attribute.event
                and other.type == attribute.type
                and other.category == attribute.category
                and other.id != attribute.id
                and not other.deleted
                and fold(other.value1) == fold(attribute.value1)
                and (not attribute.value2 or fold(other.value2) == fold(attribute.value2))
            ):
                return other
        return None

    def add(self, attribute: Attribute) -> None:
        """Put an attribute in, and correlate it."""
        for key in _keys(attribute):
            slot = self._slots.get(key)
            if slot is None:
                self._slots[key] = attribute
                continue
            others = [slot] if isinstance(slot, Attribute) else slot
            _correlate(attribute, others, 1)
            others.append(attribute)
            self._slots[key] = others

    def remove(self, attribute: Attribute) -> None:
        """Take an attribute out; its fields must still be those it was put in with."""
        for key in _keys(attribute):
            slot = self._slots[key]
            if isinstance(slot, Attribute):
                del self._slots[key]
                continue
            slot.remove(attribute)
            _correlate(attribute, slot, -1)
            if len(slot) == 1:
                self._slots[key] = slot[0]


def forget_correlations(event: Event, events: dict[int, Event]) -> None:
    """Drop all correlations of an event, as ``fast_update`` does (recording 406)."""
    for other in event.related:
        if other in events:
            events[other].related.pop(event.id, None)
    event.related.clear()


def _keys(attribute: Attribute) -> tuple[str, ...]:
    first = fold(attribute.value1)
    if not attribute.value2:
        return (first,)
    second = fold(attribute.value2)
    return (first,) if first == second else (first, second)


def _correlates(attribute: Attribute) -> bool:
    return not (
        attribute.deleted
        or attribute.disable_correlation
        or attribute.event.disable_correlation
        or attribute.type in UNCORRELATED
    )


def _correlate(attribute: Attribute, others: list[Attribute], step: int) -> None:
    if not _correlates(attribute):
        return
    event = attribute.event
    for other in others:
        if other.event is event or not _correlates(other):
            continue
        if not _same_part(attribute, other):
            continue
        for one, two in ((event, other.event), (other.event, event)):
            number = one.related.get(two.id, 0) + step
            if number > 0:
                one.related[two.id] = number
            else:
                one.related.pop(two.id, None)


def _same_part(attribute: Attribute, other: Attribute) -> bool:
    """Whether the parts that count are equal: only the first one of an address with a port."""
    if attribute.type not in FIRST_PART_ONLY and other.type not in FIRST_PART_ONLY:
        return True
    return fold(attribute.value1) == fold(other.value1)
