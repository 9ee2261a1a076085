"""The indicators of the simulated ThreatQ, kept so that a million can be filtered and paged in milliseconds."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Protocol

from tqmisp.simulators.threatq import codec
from tqmisp.simulators.threatq.catalog import (
    CUSTOM_TYPES,
    Named,
    Row,
    class_of,
    status_object,
    status_of,
    type_object,
    type_of,
)
from tqmisp.simulators.threatq.columns import Columns, as_text

Places = Sequence[int]
"""Where rows are in the library; mostly an ``array``, since a list would hold an object for each."""
MOST_REMEMBERED = 16_000_000
"""Places that are remembered over all queries; four bytes each."""
_ENTRY = 100
"""What a query costs to remember even if it finds nothing, in places."""


class Rows(Protocol):
    """Where the rows come from, as they were at the beginning."""

    def get(self, place: int) -> Row:
        """A row, as the full answer holds it."""
        ...

    def raw(self, place: int) -> bytes:
        """The same as JSON."""
        ...


class Library:
    """Rows in the order of their ids, with the columns that filters use, and the changes made since the beginning.

    Attributes:
        ids: of all rows, also of the deleted ones.
        columns: what filters look at.
        now: gives the time in seconds; replace it for a clock that stands still.
    """

    def __init__(
        self, rows: Rows, ids: Iterable[int], columns: Columns, *, now: Callable[[], float] = time.time
    ) -> None:
        self.ids = array("q", ids)
        self.columns = columns
        self.now = now
        self._rows = rows
        self._changed: dict[int, Row] = {}
        self._found: OrderedDict[Hashable, Places] = OrderedDict()
        self._remembered = 0

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, place: int) -> Row:
        """The row at a place; not to be changed."""
        changed = self._changed.get(place)
        return changed if changed is not None else self._rows.get(place)

    def raw(self, place: int) -> bytes:
        """The same as JSON."""
        changed = self._changed.get(place)
        return codec.dumps(changed) if changed is not None else self._rows.raw(place)

    def place_of(self, identity: int) -> int | None:
        """The place of the row with an id; None where there is none, or it was deleted."""
        place = bisect_left(self.ids, identity)
        if place == len(self.ids) or self.ids[place] != identity or not self.columns.alive[place]:
            return None
        return place

    def get(self, identity: int) -> Row:
        """The row with an id; not to be changed.

        Raises:
            KeyError: there is none, or it was deleted.
        """
        return self.row(self._known(identity))

    def change(self, identity: int, changes: Row, *, touch: bool = True) -> None:
        """Change fields of a row; ``updated_at`` and ``touched_at`` move unless ``touch`` is false.

        Raises:
            KeyError: there is no such row, or it was deleted.
        """
        place = self._known(identity)
        moved = {"updated_at": self._date(), "touched_at": self._date()} if touch else {}
        row = self._complete(self.row(place) | moved | changes, changes)
        self.columns.set(place, row)
        self._changed[place] = row
        self._forget()

    def expire(self, identity: int) -> None:
        """Let a row expire, as ThreatQ's own policy does.

        Raises:
            KeyError: there is no such row, or it was deleted.
        """
        self.change(identity, {"status": "Expired", "expires_at": None, "expired_at": self._date()})

    def add(self, rows: Iterable[Row]) -> list[int]:
        """Add rows and return their ids; what a row leaves out is filled in: it is new, Active and has no context."""
        added = []
        for given in rows:
            identity = (self.ids[-1] if self.ids else 0) + 1
            dates = dict.fromkeys(("created_at", "published_at", "updated_at", "touched_at"), self._date())
            blank = {"adversaries": [], "attributes": [], "sources": [], "tags": [], "score": 0, "status": "Active"}
            row = self._complete(blank | dates | given | {"id": identity}, given)
            self.columns.append(row)
            self.ids.append(identity)
            self._changed[len(self.ids) - 1] = row
            added.append(identity)
        self._forget()
        return added

    def delete(self, identity: int) -> None:
        """Delete a row for good: no query gives it any more.

        Raises:
            KeyError: there is no such row, or it was deleted.
        """
        self.columns.alive[self._known(identity)] = 0
        self._forget()

    def remember(self, key: Hashable, find: Callable[[], Places]) -> Places:
        """What a search gave, kept under a key until something changes or newer ones need the room."""
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = find()
            self._remembered += len(found) + _ENTRY
            while self._remembered > MOST_REMEMBERED and len(self._found) > 1:
                self._remembered -= len(self._found.popitem(last=False)[1]) + _ENTRY
        self._found.move_to_end(key)
        return found

    def _forget(self) -> None:
        self._found.clear()
        self._remembered = 0

    def _known(self, identity: int) -> int:
        place = self.place_of(identity)
        if place is None:
            raise KeyError(identity)
        return place

    def _date(self) -> str:
        return as_text(int(self.now()))

    def _complete(self, row: Row, given: Row) -> Row:
        """Spell out the type and the status of a row where they are given by name, or by id alone."""
        if named := _only(given, "type", "type_id"):
            kind = self._numbered(type_of(named))
            row |= {"type": type_object(kind), "type_id": kind.id, "class": class_of(kind.name)}
        if (named := _only(given, "status", "status_id")) or isinstance(row.get("status"), str):
            status = status_of(named or row)
            row |= {"status": status_object(status), "status_id": status.id}
        return row

    def _numbered(self, kind: Named) -> Named:
        """A type with an id, also one that ThreatQ does not ship."""
        if kind.id or not kind.name:
            return kind
        known = self.columns.kind.values
        same = next((each for each in known if each.name == kind.name), None)
        return same or Named(max(CUSTOM_TYPES, *(each.id + 1 for each in known), 0), kind.name)


def _only(row: Row, *names: str) -> Row:
    return {name: row[name] for name in names if name in row}
