"""Which indicators hold an attribute: the index of the ledger by UUID.

A UUID is nowhere near the one before. In an index of the database's own each row costs a page of the log as soon as the
ledger is large, and most of the time of a row: measured over a million rows, 12 of 15 microseconds. So new entries are
only appended to a table without an order, and from there go in one go, in the order of their UUIDs, into the large one.
The run that appends them knows them by heart; whoever else asks reads the few through.

An entry may outlive its row. Whoever asks goes on to the ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, delete, select, tuple_, union_all
from sqlalchemy.dialects.postgresql import insert

from tqmisp.journal.bulk import Blob, insert_rows, select_from
from tqmisp.journal.schema import holders, ledger, new_holders

NEW_ROWS = 50_000
"""So many entries are kept apart: 1.3 MB to read through, and 7 MB where they are known by heart."""

Place = tuple[int, bytes]
"""Which row: the id of the indicator and the UUID of the attribute."""


class Holders:
    """The entries of one target, for the one run that may add to them."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._new: _Heart | None = None
        """What ``new_holders`` has of this target; None until it is asked for."""

    def add(self, connection: Connection, places: Sequence[Place]) -> None:
        """Note that rows were added to the ledger."""
        new, target = self._by_heart(connection), self._target
        insert_rows(connection, new_holders, [(Blob(uuid), target, key) for key, uuid in places])
        new.learn(places)
        if new.entries >= NEW_ROWS:
            self._move(connection)

    def places(self, connection: Connection, uuids: Sequence[bytes]) -> list[Place]:
        """Where rows with these attributes may be: of a page of new ones none, which is found out quickly."""
        query = f"SELECT indicator_id, uuid FROM given JOIN holders ON uuid = column1 AND target_id = {self._target:d}"  # noqa: S608  a number of ours
        old = select_from(connection, query, [(Blob(uuid),) for uuid in uuids])
        return [*self._by_heart(connection).places(uuids), *((key, uuid) for key, uuid in old)]

    def _by_heart(self, connection: Connection) -> _Heart:
        if self._new is None:
            self._new = _Heart()
            mine = new_holders.c.target_id == self._target
            entries = connection.execute(select(new_holders.c.indicator_id, new_holders.c.uuid).where(mine))
            self._new.learn((key, uuid) for key, uuid in entries)
        return self._new

    def _move(self, connection: Connection) -> None:
        mine = new_holders.c.target_id == self._target
        names = [column.name for column in holders.columns]
        moved = select(*(new_holders.c[name] for name in names)).where(mine).order_by(new_holders.c.uuid)
        # SQLite and PostgreSQL have the same words for it
        connection.execute(insert(holders).from_select(names, moved).on_conflict_do_nothing())
        connection.execute(delete(new_holders).where(mine))
        self._new = None  # to be read again, should this be undone


class _Heart:
    """Entries that are known without asking."""

    def __init__(self) -> None:
        self.entries = 0
        self._first: dict[bytes, int] = {}
        self._others: dict[bytes, list[int]] = {}
        """Further indicators with the same attributes, which are few."""

    def learn(self, places: Iterable[Place]) -> None:
        first = self._first
        for key, uuid in places:
            self.entries += 1
            if first.setdefault(uuid, key) != key:
                self._others.setdefault(uuid, []).append(key)

    def places(self, uuids: Iterable[bytes]) -> list[Place]:
        first, others = self._first, self._others
        found = [(first[uuid], uuid) for uuid in uuids if uuid in first]
        return found + [(key, uuid) for _, uuid in found for key in others.get(uuid, ())] if others else found


def having(uuids: Collection[bytes]) -> ColumnElement[bool]:
    """Rows of the ledger that hold one of these attributes."""
    both = union_all(select(new_holders), select(holders)).subquery()
    places = select(both.c.indicator_id, both.c.target_id, both.c.uuid).where(both.c.uuid.in_(uuids))
    return tuple_(ledger.c.indicator_id, ledger.c.target_id, ledger.c.uuid).in_(places)
