"""Attributes whose indicators have left the selection, from the moment that this is known until they are withdrawn.

All of it runs in the thread of the database, inside the transaction of whoever calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, and_, delete, func, insert, literal, select, text

from tqmisp.journal.bulk import insert_rows, select_in
from tqmisp.journal.holders import Place
from tqmisp.journal.schema import ASIDE, State, leaving, ledger, seen
from tqmisp.model import Leaver

ABSENT = "absent"
"""A complete reading of the selection has not come across the indicator."""
REPLACED = "replaced"
"""The indicator has become another attribute."""

Why = tuple[str, str, str, str]
"""Kind, code, label and status of the refusal that says that an indicator is not selected."""

SAME = and_(
    ledger.c.indicator_id == leaving.c.indicator_id,
    ledger.c.target_id == leaving.c.target_id,
    ledger.c.uuid == leaving.c.uuid,
)
"""Whether a row of the ledger and one of this list are of the same attribute."""


class Leaving:
    """The attributes of one target that are to be withdrawn."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listed = select(leaving.c.indicator_id, leaving.c.uuid).where(leaving.c.target_id == target)

    def note(self, connection: Connection, leavers: Mapping[Place, Why], run: int) -> None:
        """Add attributes, each with the reason."""
        self.forget(connection, leavers)
        rows = [(key, self._target, uuid, *why, run) for (key, uuid), why in leavers.items()]
        insert_rows(connection, leaving, rows)

    def forget(self, connection: Connection, places: Iterable[Place]) -> None:
        """Take attributes off the list."""
        for key, uuid in places:
            connection.execute(
                delete(leaving).where(
                    leaving.c.indicator_id == key, leaving.c.target_id == self._target, leaving.c.uuid == uuid
                )
            )

    def among(self, connection: Connection, keys: Sequence[int]) -> set[Place]:
        """Those on the list that belong to these indicators."""
        return {(row[0], row[1]) for row in select_in(connection, self._listed, leaving.c.indicator_id, keys)}

    def tidy(self, connection: Connection) -> None:
        """Take off the list what is not in MISP any more, or never was."""
        live = select(ledger.c.uuid).where(SAME, ledger.c.state == State.LIVE).exists()
        connection.execute(delete(leaving).where(leaving.c.target_id == self._target, ~live))

    def count(self, connection: Connection) -> int:
        """How many are on the list."""
        query = select(func.count()).select_from(leaving).where(leaving.c.target_id == self._target)
        return int(connection.scalar(query) or 0)

    def live(self, connection: Connection) -> int:
        """How many attributes MISP holds of ours in all; reads the whole ledger."""
        query = select(func.count()).select_from(ledger)
        return int(
            connection.scalar(query.where(ledger.c.target_id == self._target, ledger.c.state == State.LIVE)) or 0
        )

    def next(self, connection: Connection, after: Place | None, limit: int, code: str | None = None) -> list[Leaver]:
        """The next attributes on the list in the order of their indicators, behind a place."""
        query = (
            select(
                ledger.c.indicator_id,
                ledger.c.uuid,
                ledger.c.fingerprint,
                ledger.c.event_id,
                ledger.c.timestamp,
                ledger.c.marks,
                leaving.c.kind,
                leaving.c.code,
                leaving.c.label,
                leaving.c.status,
                leaving.c.run_id,
            )
            .join(ledger, SAME)
            .where(leaving.c.target_id == self._target)
            .order_by(leaving.c.indicator_id, leaving.c.uuid)
            .limit(limit)
        )
        if after is not None:
            key, uuid = after
            query = query.where(
                (leaving.c.indicator_id > key) | ((leaving.c.indicator_id == key) & (leaving.c.uuid > uuid))
            )
        if code is not None:
            query = query.where(leaving.c.code == code)
        return [Leaver(*row) for row in connection.execute(query)]

    # -- what a complete reading has come across

    def begin(self, connection: Connection, *, with_ledger: bool) -> None:
        """Forget what an earlier reading has come across, or note all that the ledger knows as come across."""
        connection.execute(delete(seen).where(seen.c.target_id == self._target))
        if with_ledger:
            known = select(ledger.c.indicator_id, ledger.c.target_id).where(ledger.c.target_id == self._target)
            connection.execute(insert(seen).from_select([column.name for column in seen.columns], known.distinct()))

    def see(self, connection: Connection, keys: Sequence[int]) -> None:
        """Note indicators that the reading has come across."""
        insert_rows(connection, seen, [(key, self._target) for key in keys], known=True)

    def find_absent(self, connection: Connection, run: int) -> list[bytes]:
        """Put on the list whatever the reading has not come across, and drop what was never delivered of that.

        Returns:
            The attributes that were to be those of what is dropped.
        """
        met = select(seen.c.indicator_id).where(
            seen.c.indicator_id == ledger.c.indicator_id, seen.c.target_id == self._target
        )
        listed = select(leaving.c.uuid).where(SAME).exists()
        columns = [literal("filtered"), literal(ABSENT), literal(""), literal(""), literal(run)]
        absent = select(ledger.c.indicator_id, ledger.c.target_id, ledger.c.uuid, *columns)
        connection.execute(
            insert(leaving).from_select(
                [column.name for column in leaving.columns],
                absent.where(ledger.c.target_id == self._target, ~met.exists(), ledger.c.state == State.LIVE, ~listed),
            )
        )
        undelivered = (State.QUARANTINED, State.PLANNED)
        gone = (ledger.c.target_id == self._target, ~met.exists(), text(f"({ASIDE})"))
        heirless = select(ledger.c.uuid).where(*gone, ledger.c.state.in_(undelivered))
        uuids = list(connection.scalars(heirless))
        connection.execute(delete(ledger).where(*gone, ledger.c.state.in_((State.MERGED, *undelivered))))
        return uuids
