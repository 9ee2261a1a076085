"""Which indicators hold an attribute: the index of the ledger by UUID.

A UUID is nowhere near the one before. In an index of the database's own each row costs a page of the log as soon as the
ledger is large, and most of the time of a row: measured over a million rows, 12 of 15 microseconds. So new entries go
into a table that stays small, and from there in the order of their UUIDs into the large one.

An entry may outlive its row. Whoever asks goes on to the ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, delete, func, select, tuple_, union_all
from sqlalchemy.dialects.postgresql import insert

from tqmisp.journal.bulk import insert_rows, select_from
from tqmisp.journal.schema import holders, ledger, new_holders

NEW_ROWS = 50_000
"""So many entries stay in the small table: 2 MB, of which a slice touches each page a few times."""


def add_holders(connection: Connection, target: int, places: Iterable[tuple[int, bytes]]) -> None:
    """Note that rows were added to the ledger of a target, given as id of the indicator and UUID."""
    insert_rows(connection, new_holders, [(uuid, target, key) for key, uuid in places], known=True)
    here = new_holders.c.target_id == target
    if (connection.scalar(select(func.count()).where(here)) or 0) < NEW_ROWS:
        return
    moved = select(new_holders).where(here).order_by(*new_holders.c)
    names = [column.name for column in holders.columns]
    # SQLite and PostgreSQL have the same words for it
    connection.execute(insert(holders).from_select(names, moved).on_conflict_do_nothing())
    connection.execute(delete(new_holders).where(here))


def having(uuids: Collection[bytes]) -> ColumnElement[bool]:
    """Rows of the ledger that hold one of these attributes."""
    both = union_all(select(new_holders), select(holders)).subquery()
    places = select(both.c.indicator_id, both.c.target_id, both.c.uuid).where(both.c.uuid.in_(uuids))
    return tuple_(ledger.c.indicator_id, ledger.c.target_id, ledger.c.uuid).in_(places)


def held_of(connection: Connection, uuids: Sequence[bytes]) -> list[bytes]:
    """Those of these attributes that somebody may hold: of a page of new ones none, which is found out quickly."""
    query = (
        "SELECT column1 FROM given WHERE EXISTS (SELECT 1 FROM new_holders WHERE uuid = column1) "
        "OR EXISTS (SELECT 1 FROM holders WHERE uuid = column1)"
    )
    return [uuid for (uuid,) in select_from(connection, query, [(uuid,) for uuid in uuids])]
