"""The events of ours: all that are known, and which of the day takes a new attribute."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tqmisp.journal.rows import StoredEvent
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


class Home(NamedTuple):
    """The event in which an attribute was found, or was put."""

    ref: EventRef
    series_part: int | None
    """Its place in the series of its day, where the journal has no row for it yet."""


class Series:
    """The events of one run day: filled one after the other, each up to a limit.

    Twins, values that only MISP's uniqueness takes for equal, go to different events: the next one of the series is
    opened early for them and becomes the main one later. Pure; the journal loads and stores what it holds.

    Args:
        capacity: attributes an event at most.
        date: the run day, ``YYYY-MM-DD``.
        make_event: gives UUID and title of a part of the day, 1 being the first.

    Attributes:
        refs: all events of ours that are known, also those of other days, by their number in the journal.
    """

    def __init__(self, capacity: int, date: str, make_event: Callable[[int], tuple[str, str]]) -> None:
        self.refs: dict[int, EventRef] = {}
        self._capacity = capacity
        self._date = date
        self._make_event = make_event
        self._numbers = itertools.count(1)
        self._parts: set[int] = set()
        self._made: set[EventRef] = set()
        self._open: list[OpenEvent] = []
        self._unwritten: dict[int, int] = {}  # number -> part, until the journal has a row for it
        self._instead: dict[int, EventRef] = {}  # number of an event that people deleted -> what takes its place

    def load(self, events: Iterable[StoredEvent], next_number: int, step: int) -> None:
        """Take over what the journal knows.

        Args:
            events: of earlier runs, those of a day in the order of their parts.
            next_number: for the next new event.
            step: from there to the one after.
        """
        self._numbers = itertools.count(next_number, step)
        for ref, part, attributes, closed in events:
            self.refs[ref.number] = ref
            if ref.date == self._date:
                self._parts.add(part)
                self._made.add(ref)
                if not closed and attributes < self._capacity:
                    self._open.append(OpenEvent(ref, part, attributes))

    def unread(self) -> dict[int, OpenEvent]:
        """The events whose folds are to be read before they can take anything, by number."""
        return {event.ref.number: event for event in self._open if event.folds is None}

    def place(self, fold: int) -> EventRef:
        """Choose the event for a new attribute and count it there."""
        for event in self._open:
            if event.folds is not None and fold not in event.folds:
                event.folds.add(fold)
                break
        else:
            event = self._begin(fold)
        event.attributes += 1
        if event.attributes >= self._capacity:
            self._open.remove(event)
            event.folds = None
        return event.ref

    def instead(self, ref: EventRef) -> EventRef | None:
        """Another event of the day, where people have deleted one before it was filled; None for older ones."""
        if ref.number in self._instead:
            return self._instead[ref.number]
        if ref not in self._made:
            return None
        part = self._next_part()
        other = self._instead[ref.number] = self._make(part)
        for event in self._open:
            if event.ref == ref:
                event.ref, event.part = other, part
        return other

    def is_replaced(self, ref: EventRef) -> bool:
        """Whether another event takes the place of this one."""
        return ref.number in self._instead

    def take_unwritten(self, number: int) -> int | None:
        """The part of an event for which the journal is about to get its row; None where it has one."""
        return self._unwritten.pop(number, None)

    def home(self, found: EventRef) -> Home:
        """Where an attribute was found, or was put, as far as it is known; the journal is about to get a row for it."""
        ref = next((each for each in self.refs.values() if each.uuid == found.uuid), None)
        if ref is None:
            ref = self._number(found, part=0)
        return Home(ref, self.take_unwritten(ref.number))

    def _begin(self, fold: int) -> OpenEvent:
        part = self._next_part()
        event = OpenEvent(self._make(part), part, 0, {fold})
        self._open.append(event)
        self._open.sort(key=lambda each: each.part)
        return event

    def _make(self, part: int) -> EventRef:
        uuid, info = self._make_event(part)
        ref = self._number(EventRef(0, uuid, info, self._date), part)
        self._made.add(ref)
        return ref

    def _number(self, event: EventRef, part: int) -> EventRef:
        ref = event._replace(number=next(self._numbers))
        self.refs[ref.number] = ref
        self._unwritten[ref.number] = part
        return ref

    def _next_part(self) -> int:
        # a run that died may have promised a later part and not this one
        part = next(number for number in itertools.count(1) if number not in self._parts)
        self._parts.add(part)
        return part
