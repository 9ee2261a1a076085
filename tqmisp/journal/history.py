"""What the journal knows of single indicators, over all targets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from tqmisp.journal.holders import having
from tqmisp.journal.rows import VALUE_BYTES
from tqmisp.journal.schema import State, events, leaving, ledger, refusals, runs, slices, targets
from tqmisp.journal.store import Journal
from tqmisp.model import EventRef


class Delivery(NamedTuple):
    """An attribute that an indicator has become."""

    key: int
    """The id of the indicator."""
    target: str
    uuid: bytes
    state: State
    timestamp: int
    """That was last sent, in seconds since 1970; 0 where another indicator's was sent."""
    marks: bytes
    event: EventRef
    owner: int
    """The indicator whose comment and tags it has: another one, where several share the attribute."""
    run: str | None
    """The id of the run that has sent it last; None where none has."""
    promised_at: float | None
    """When that was, in seconds since 1970."""
    confirmed: bool
    """Whether it was seen in MISP afterwards."""
    leaves: str | None
    """The reason why it is about to be withdrawn; None where it is not."""


class Refused(NamedTuple):
    """A reason why an indicator is not in MISP."""

    key: int
    target: str
    kind: str
    code: str
    reason: str
    label: str
    value: str
    run: str | None
    """The id of the run that has refused it."""


class History:
    """Reads what a journal has kept; changes nothing."""

    def __init__(self, journal: Journal) -> None:
        self._database = journal.database

    async def deliveries(self, keys: Collection[int]) -> list[Delivery]:
        """The attributes that indicators have become, by their ids and targets."""
        query = (
            select(ledger, targets.c.name, events.c.uuid.label("event"), events.c.info, events.c.date)
            .add_columns(
                runs.c.run_id.label("run"), slices.c.opened_at, slices.c.closed_at, leaving.c.code.label("leaves")
            )
            .join(targets, targets.c.id == ledger.c.target_id)
            .outerjoin(events, events.c.id == ledger.c.event_id)
            .outerjoin(slices, slices.c.id == ledger.c.slice_id)
            .outerjoin(runs, runs.c.id == slices.c.run_id)
            .outerjoin(
                leaving,
                (leaving.c.indicator_id == ledger.c.indicator_id)
                & (leaving.c.target_id == ledger.c.target_id)
                & (leaving.c.uuid == ledger.c.uuid),
            )
            .where(ledger.c.indicator_id.in_(keys))
            .order_by(ledger.c.indicator_id, ledger.c.target_id, ledger.c.uuid)
        )

        def read(connection: Connection) -> tuple[Sequence[Row[Any]], dict[tuple[int, bytes], int]]:
            rows = connection.execute(query).all()
            mine = select(ledger.c.target_id, ledger.c.uuid, ledger.c.indicator_id)
            owned = mine.where(having([row.uuid for row in rows]), ledger.c.state != State.MERGED)
            return rows, {(target, uuid): key for target, uuid, key in connection.execute(owned)}

        rows, owners = await self._database.do(read)
        return [
            Delivery(
                row.indicator_id,
                row.name,
                bytes(row.uuid),
                State(row.state),
                row.timestamp,
                bytes(row.marks),
                EventRef(row.event_id, row.event or "", row.info or "", row.date or ""),
                owners.get((row.target_id, row.uuid), row.indicator_id),
                row.run,
                row.opened_at,
                row.closed_at is not None,
                row.leaves,
            )
            for row in rows
        ]

    async def refusals(self, keys: Collection[int]) -> list[Refused]:
        """The refusals of indicators, by their ids and targets."""
        query = (
            select(refusals, targets.c.name, runs.c.run_id.label("run"))
            .join(targets, targets.c.id == refusals.c.target_id)
            .outerjoin(runs, runs.c.id == refusals.c.run_id)
            .where(refusals.c.indicator_id.in_(keys))
            .order_by(refusals.c.indicator_id, refusals.c.target_id)
        )
        rows = await self._database.do(lambda connection: connection.execute(query).all())
        return [
            Refused(
                row.indicator_id,
                row.name,
                row.kind,
                row.code,
                row.reason,
                row.label,
                bytes(row.value).decode("utf-8", "replace"),
                row.run,
            )
            for row in rows
        ]

    async def of_attributes(self, uuids: Collection[bytes]) -> list[int]:
        """The indicators that have become these attributes."""
        query = select(ledger.c.indicator_id).where(having(uuids)).distinct()
        return sorted(await self._database.do(lambda connection: connection.scalars(query).all()))

    async def refused_as(self, values: Sequence[str]) -> list[int]:
        """The indicators that were refused with these values."""
        wanted = [value.encode("utf-8", "surrogatepass")[:VALUE_BYTES] for value in values]
        query = select(refusals.c.indicator_id).where(refusals.c.value.in_(wanted), refusals.c.indicator_id >= 0)
        return sorted(set(await self._database.do(lambda connection: connection.scalars(query).all())))
