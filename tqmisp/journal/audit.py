"""The ledger as something to be checked: what it says of each event, and marking what is to be delivered again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, func, literal, select, tuple_, update

from tqmisp.journal.holders import having
from tqmisp.journal.schema import PRESENT, STALE, State, events, ledger, refusals, runs, slices
from tqmisp.journal.store import Journal
from tqmisp.model import EventRef

ROWS_A_PAGE = 5_000


class Audited(NamedTuple):
    """An event as the ledger knows it."""

    ref: EventRef
    present: int
    """Attributes that were delivered."""
    newest: int
    """The latest timestamp that was sent."""


class Stored(NamedTuple):
    """An attribute as the ledger knows it."""

    key: int
    event: str
    timestamp: int
    marks: bytes
    retired: bool
    unsettled: bool
    """Sent by a run that died, and not looked at since."""


class Audit:
    """Reads the ledger of one target, and marks rows of it."""

    def __init__(self, journal: Journal, target: int) -> None:
        self._database = journal.database
        self._target = target

    async def events(self) -> list[Audited]:
        """All events that anything was delivered to."""
        found = (
            select(ledger.c.event_id, func.count().label("present"), func.max(ledger.c.timestamp).label("newest"))
            .where(ledger.c.target_id == self._target, ledger.c.state.in_(PRESENT))
            .group_by(ledger.c.event_id)
            .subquery()
        )
        query = (
            select(events.c.id, events.c.uuid, events.c.info, events.c.date, found.c.present, found.c.newest)
            .join(found, found.c.event_id == events.c.id)
            .where(events.c.target_id == self._target)
            .order_by(events.c.id)
        )
        rows = await self._database.do(lambda connection: connection.execute(query).all())
        return [Audited(EventRef(*row[:4]), row[4], row[5]) for row in rows]

    async def promised(self, uuids: Sequence[bytes]) -> dict[bytes, Stored]:
        """What is known of these attributes."""
        query = self._query().where(having(uuids))
        rows = await self._database.do(lambda connection: connection.execute(query).all())
        return dict(map(_stored, rows))

    async def filled(self, ref: EventRef) -> bool:
        """Whether anything was delivered to an event for certain."""
        query = (
            select(ledger.c.uuid)
            .select_from(events)
            .join(ledger, ledger.c.event_id == events.c.id)
            .join(slices, slices.c.id == ledger.c.slice_id)
            .where(events.c.target_id == self._target, events.c.uuid == ref.uuid)
            .where(ledger.c.target_id == self._target, ledger.c.state.in_(PRESENT), slices.c.closed_at.is_not(None))
            .limit(1)
        )
        return bool(await self._database.do(lambda connection: connection.execute(query).first()))

    async def of_event(self, ref: EventRef) -> AsyncGenerator[list[tuple[bytes, Stored]], None]:
        """Yield what is known of the attributes of an event, in pages."""
        order = (ledger.c.indicator_id, ledger.c.target_id, ledger.c.uuid)
        after = (-1, self._target, b"")
        while True:
            here = tuple_(*order) > tuple_(*map(literal, after, (column.type for column in order)))
            query = self._query().where(ledger.c.event_id == ref.number, here).order_by(*order).limit(ROWS_A_PAGE)
            rows = await self._database.do(partial(_all, query))
            if not rows:
                return
            page = [_stored(row) for row in rows]
            yield page
            uuid, last = page[-1]
            after = (last.key, self._target, uuid)

    async def deliver_again(self, missing: Sequence[bytes], stale: Sequence[bytes]) -> int:
        """Mark attributes that MISP has lost, or has in an older state; how many were marked."""

        def work(connection: Connection) -> int:
            marked = 0
            # what is older than what we sent was not made by people, so that all of it is ours: no marks
            for uuids, values in (
                (missing, {"state": int(State.PLANNED)}),
                (stale, {"state": int(State.LIVE), "marks": b""}),
            ):
                for start in range(0, len(uuids), ROWS_A_PAGE):
                    here = having(uuids[start : start + ROWS_A_PAGE]) & ledger.c.state.in_(PRESENT)
                    marked += connection.execute(
                        update(ledger).where(ledger.c.target_id == self._target, here).values(stamp=STALE, **values)
                    ).rowcount
            return marked

        return await self._database.do(work)

    async def refused(
        self, *, codes: Collection[str] = (), types: Collection[str] = (), run: str | None = None
    ) -> list[int]:
        """The indicators that are refused at present, by code, by type, and by the run that refused them.

        They are marked, so that they are tried again when they are read.
        """
        query = select(refusals.c.indicator_id).where(
            refusals.c.target_id == self._target, refusals.c.indicator_id >= 0
        )
        if codes:
            query = query.where(refusals.c.code.in_(codes))
        if types:
            query = query.where(refusals.c.label.in_(types))
        if run is not None:
            numbers = select(runs.c.id).where(runs.c.run_id.startswith(run, autoescape=True))
            query = query.where(refusals.c.run_id.in_(numbers))

        def work(connection: Connection) -> list[int]:
            keys = sorted(set(connection.scalars(query).all()))
            for start in range(0, len(keys), ROWS_A_PAGE):
                here = ledger.c.indicator_id.in_(keys[start : start + ROWS_A_PAGE])
                tried = ledger.c.state.in_((State.QUARANTINED, State.LIVE))
                connection.execute(
                    update(ledger).where(ledger.c.target_id == self._target, here, tried).values(stamp=STALE)
                )
            return keys

        return await self._database.do(work)

    def _query(self) -> Select[tuple[bytes, int, str, int, bytes, int, bool]]:
        unsettled = select(slices.c.id).where(slices.c.target_id == self._target, slices.c.closed_at.is_(None))
        return (
            select(
                ledger.c.uuid,
                ledger.c.indicator_id,
                events.c.uuid,
                ledger.c.timestamp,
                ledger.c.marks,
                ledger.c.state,
                ledger.c.slice_id.in_(unsettled),
            )
            .join(events, events.c.id == ledger.c.event_id)
            .where(ledger.c.target_id == self._target, ledger.c.state.in_(PRESENT))
        )


def _stored(row: Sequence[Any]) -> tuple[bytes, Stored]:
    return row[0], Stored(row[1], row[2], row[3], row[4], row[5] == State.RETIRED, bool(row[6]))


def _all(query: Select[Any], connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(query).all()
