"""The rows of one target: every statement that the ledger needs, and no decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tqmisp.journal.bulk import insert_rows
from tqmisp.journal.schema import State, events, ledger, refusals, slices
from tqmisp.model import EventRef, Planned
from tqmisp.pipeline.protocols import Refusal

VALUE_BYTES = 1_000
"""How much of a refused value is kept."""


class Known(NamedTuple):
    """What the ledger knows of an attribute."""

    uuid: bytes
    fingerprint: bytes
    event_id: int
    timestamp: int
    state: int


class StoredEvent(NamedTuple):
    """An event of ours, with its place in the series of its day."""

    ref: EventRef
    part: int
    attributes: int


class Merged(NamedTuple):
    """An indicator that became the attribute of another one."""

    key: int
    uuid: bytes
    fingerprint: bytes
    fold: int
    event_id: int


_BY_KEY = select(
    ledger.c.indicator_id,
    ledger.c.uuid,
    ledger.c.fingerprint,
    ledger.c.event_id,
    ledger.c.timestamp,
    ledger.c.state,
).where(ledger.c.target_id == bindparam("target"), ledger.c.indicator_id.in_(bindparam("keys", expanding=True)))
_BY_UUID = select(ledger.c.uuid, ledger.c.event_id).where(
    ledger.c.target_id == bindparam("target"),
    ledger.c.uuid.in_(bindparam("uuids", expanding=True)),
    ledger.c.state != State.MERGED,
)
_THIS = (
    (ledger.c.target_id == bindparam("b_target"))
    & (ledger.c.indicator_id == bindparam("b_key"))
    & (ledger.c.uuid == bindparam("b_uuid"))
)
_FORGET = delete(refusals).where(
    refusals.c.target_id == bindparam("target"), refusals.c.indicator_id.in_(bindparam("keys", expanding=True))
)


class Rows:
    """Reads and writes the rows of one target.

    What takes a ``connection`` is part of the transaction of its caller.
    """

    def __init__(self, engine: AsyncEngine, target: int) -> None:
        self.engine = engine
        self.target = target

    async def highest_event(self) -> int:
        """The highest number of an event, of whatever target; 0 where there is none."""
        async with self.engine.connect() as connection:
            return int(await connection.scalar(select(func.max(events.c.id))) or 0)

    async def events(self) -> list[StoredEvent]:
        """All events, the parts of a day in their order."""
        query = select(events).where(events.c.target_id == self.target).order_by(events.c.part)
        async with self.engine.connect() as connection:
            return [
                StoredEvent(EventRef(row.id, row.uuid, row.info, row.date), row.part, row.attributes)
                for row in await connection.execute(query)
            ]

    async def folds(self, event: int) -> set[int]:
        """The folded values of an event."""
        query = select(ledger.c.fold).where(
            ledger.c.target_id == self.target, ledger.c.event_id == event, ledger.c.state != State.MERGED
        )
        async with self.engine.connect() as connection:
            return set((await connection.scalars(query)).all())

    async def refused(self) -> dict[int, tuple[str, str]]:
        """Kind and code of every refusal, by the id of its indicator."""
        query = select(refusals.c.indicator_id, refusals.c.kind, refusals.c.code)
        async with self.engine.connect() as connection:
            rows = await connection.execute(query.where(refusals.c.target_id == self.target))
            return {key: (kind, code) for key, kind, code in rows}

    async def look_up(
        self, wanted: Sequence[tuple[int, bytes]]
    ) -> tuple[dict[tuple[int, bytes], Known], dict[bytes, int]]:
        """Find indicators by id and UUID; for the new and the merged ones, the event of whoever has the attribute."""
        if not wanted:
            return {}, {}
        async with self.engine.connect() as connection:
            rows = await connection.execute(_BY_KEY, {"target": self.target, "keys": [key for key, _ in wanted]})
            known = {(row[0], row[1]): Known(*row[1:]) for row in rows}
            shared = [each[1] for each in wanted if each not in known or known[each].state == State.MERGED]
            if not shared:
                return known, {}
            rows = await connection.execute(_BY_UUID, {"target": self.target, "uuids": shared})
            return known, {row[0]: row[1] for row in rows}

    async def count(self, event: int) -> int:
        """How many attributes of an event are delivered."""
        query = (
            select(func.count())
            .select_from(ledger)
            .where(ledger.c.target_id == self.target, ledger.c.event_id == event, ledger.c.state == State.LIVE)
        )
        async with self.engine.connect() as connection:
            return int(await connection.scalar(query) or 0)

    async def add_event(self, connection: AsyncConnection, ref: EventRef, part: int, attributes: int) -> int:
        """Insert an event; a number of 0 means that the database chooses one. Returns its number."""
        values: dict[str, Any] = {"id": ref.number} if ref.number else {}
        result = await connection.execute(
            insert(events).values(
                target_id=self.target,
                uuid=ref.uuid,
                info=ref.info,
                date=ref.date,
                part=part,
                attributes=attributes,
                **values,
            )
        )
        return _key(result.inserted_primary_key)

    async def fill_event(self, connection: AsyncConnection, event: int, added: int) -> None:
        """Count further attributes in an event."""
        await connection.execute(
            update(events).where(events.c.id == event).values(attributes=events.c.attributes + added)
        )

    async def open_slice(self, connection: AsyncConnection, run: int, event: int, items: int, now: float) -> int:
        """Insert a slice that is about to be sent; return its number."""
        result = await connection.execute(
            insert(slices).values(target_id=self.target, run_id=run, event_id=event, items=items, opened_at=now)
        )
        return _key(result.inserted_primary_key)

    async def close_slices(self, connection: AsyncConnection, numbers: Sequence[int], now: float) -> None:
        """Note that everything about these slices is known."""
        await connection.execute(update(slices).where(slices.c.id.in_(numbers)).values(closed_at=now))

    async def open_slices(self) -> list[int]:
        """The numbers of the slices that are not closed."""
        query = select(slices.c.id).where(slices.c.target_id == self.target, slices.c.closed_at.is_(None))
        async with self.engine.connect() as connection:
            return list((await connection.scalars(query)).all())

    async def of_slice(self, number: int) -> list[tuple[int, Known]]:
        """The indicators that were last sent with a slice."""
        query = select(ledger).where(ledger.c.target_id == self.target, ledger.c.slice_id == number)
        async with self.engine.connect() as connection:
            return [
                (row.indicator_id, Known(row.uuid, row.fingerprint, row.event_id, row.timestamp, row.state))
                for row in await connection.execute(query)
            ]

    async def add(self, connection: AsyncConnection, items: Sequence[Planned], event: int, number: int) -> None:
        """Insert attributes that are about to be sent for the first time."""
        live = int(State.LIVE)
        await insert_rows(
            connection,
            ledger,
            [
                (key, self.target, uuid, fingerprint, fold, event, number, timestamp, live)
                for key, uuid, fingerprint, fold, timestamp, _, _ in items
            ],
        )

    async def add_merged(self, connection: AsyncConnection, merged: Sequence[Merged]) -> None:
        """Insert indicators that became the attributes of others."""
        state = int(State.MERGED)
        await insert_rows(
            connection,
            ledger,
            [(key, self.target, uuid, mark, fold, event, 0, 0, state) for key, uuid, mark, fold, event in merged],
        )

    async def change(
        self, connection: AsyncConnection, changes: Sequence[tuple[int, bytes, dict[str, object]]]
    ) -> None:
        """Set columns of rows, given as id of the indicator, UUID, and the same columns for all."""
        if not changes:
            return
        names: dict[str, BindParameter[object]] = {name: bindparam(name) for name in changes[0][2]}
        await connection.execute(
            update(ledger).where(_THIS).values(names),
            [{"b_target": self.target, "b_key": key, "b_uuid": uuid} | values for key, uuid, values in changes],
        )

    async def drop(self, connection: AsyncConnection, rows: Sequence[tuple[int, bytes]]) -> None:
        """Delete rows, given as id of the indicator and UUID."""
        if rows:
            await connection.execute(
                delete(ledger).where(_THIS),
                [{"b_target": self.target, "b_key": key, "b_uuid": uuid} for key, uuid in rows],
            )

    async def drop_planned(self, connection: AsyncConnection, numbers: Sequence[int]) -> None:
        """Delete what was promised with these slices and never found again."""
        await connection.execute(
            delete(ledger).where(
                ledger.c.target_id == self.target,
                ledger.c.slice_id.in_(numbers),
                ledger.c.state == State.PLANNED,
            )
        )

    async def add_refusals(self, connection: AsyncConnection, refused: Sequence[Refusal], run: int) -> None:
        """Insert refusals, in place of earlier ones of the same indicators."""
        await self.forget_refusals(connection, [refusal.key for refusal in refused if refusal.key >= 0])
        await insert_rows(
            connection,
            refusals,
            [
                (
                    self.target,
                    refusal.key,
                    refusal.kind,
                    refusal.code,
                    refusal.reason,
                    refusal.label,
                    refusal.value.encode("utf-8", "surrogatepass")[:VALUE_BYTES],
                    run,
                )
                for refusal in refused
            ],
        )

    async def forget_refusals(self, connection: AsyncConnection, keys: Sequence[int]) -> None:
        """Delete the refusals of these indicators."""
        if keys:
            await connection.execute(_FORGET, {"target": self.target, "keys": keys})


def _key(inserted: Any) -> int:  # noqa: ANN401  SQLAlchemy types it so
    """The number of a row that was inserted."""
    return int(inserted[0])
