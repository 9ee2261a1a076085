"""Which event of the day takes a new attribute."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from tqmisp.model import EventRef


@dataclass(slots=True)
class OpenEvent:
    """An event of the day that may take more."""

    ref: EventRef
    part: int
    attributes: int
    """Attributes that were given to it, on earlier runs of the day and now."""
    folds: set[int] | None = None
    """Folded values of its attributes; MISP takes one attribute of each. None until they are read from the journal."""


class Series:
    """The events of one run day: filled one after the other, each up to a limit.

    Twins, values that only MISP's uniqueness takes for equal, go to different events: the next one of the series is
    opened early for them and becomes the main one later. Pure; the journal loads and stores what it holds.

    Args:
        capacity: attributes an event at most.
        make: gives the event for a number of the journal and a part of the day, 1 being the first.
        next_number: the journal's number for the next new event.
    """

    def __init__(self, capacity: int, make: Callable[[int, int], EventRef], next_number: int) -> None:
        self._capacity = capacity
        self._make = make
        self._next_number = next_number
        self._parts: set[int] = set()
        self._made: set[EventRef] = set()
        self.open: list[OpenEvent] = []

    def resume(self, event: OpenEvent) -> None:
        """Take over an event of an earlier run of the day, in the order of the parts."""
        self._parts.add(event.part)
        self._made.add(event.ref)
        if event.attributes < self._capacity:
            self.open.append(event)

    def place(self, fold: int) -> EventRef:
        """Choose the event for a new attribute and count it there."""
        for event in self.open:
            if event.folds is not None and fold not in event.folds:
                event.folds.add(fold)
                break
        else:
            event = self._begin(fold)
        event.attributes += 1
        if event.attributes >= self._capacity:
            self.open.remove(event)
            event.folds = None
        return event.ref

    def move(self, ref: EventRef) -> EventRef | None:
        """Put another event in the place of one of this series; None where it is none of them."""
        if ref not in self._made:
            return None
        part = self._next_part()
        other = self._make(self._next_number, part)
        self._next_number += 1
        self._made.add(other)
        for event in self.open:
            if event.ref == ref:
                event.ref, event.part = other, part
        return other

    def _begin(self, fold: int) -> OpenEvent:
        part = self._next_part()
        event = OpenEvent(self._make(self._next_number, part), part, 0, {fold})
        self._next_number += 1
        self._made.add(event.ref)
        self.open.append(event)
        self.open.sort(key=lambda each: each.part)
        return event

    def _next_part(self) -> int:
        # a run that died may have promised a later part and not this one
        part = next(number for number in itertools.count(1) if number not in self._parts)
        self._parts.add(part)
        return part
