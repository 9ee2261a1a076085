"""What is known of each delivered indicator, and what follows from it for the present run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import anyio
from sqlalchemy import BindParameter, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tqmisp.journal.bulk import insert_rows
from tqmisp.journal.schema import State, events, ledger, refusals, slices
from tqmisp.journal.series import OpenEvent, Series
from tqmisp.journal.store import Journal
from tqmisp.journal.tally import Tally
from tqmisp.model import EventRef, Planned
from tqmisp.pipeline.protocols import Mapped, Outcome, Page, Refusal, Slice

REFUSALS_HELD = 5_000
"""Refusals that wait for one transaction."""
VALUE_BYTES = 1_000
"""How much of a refused value is kept."""


class Mappable(Protocol):
    """What the ledger must know of an attribute."""

    @property
    def key(self) -> int:
        """The id of its indicator."""
        ...

    @property
    def uuid(self) -> bytes:
        """16 bytes."""
        ...

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that change when the payload changes."""
        ...

    @property
    def fold(self) -> int:
        """Equal for values that MISP takes for one; 64 bits, signed."""
        ...

    @property
    def payload(self) -> bytes:
        """A JSON object without a timestamp."""
        ...

    @property
    def rescued(self) -> tuple[str, ...]:
        """Names of the rules that have mended its value."""
        ...


class Known(NamedTuple):
    """A row of the ledger."""

    uuid: bytes
    fingerprint: bytes
    event_id: int
    timestamp: int
    state: int


_COLUMNS = (ledger.c.indicator_id, ledger.c.uuid, ledger.c.fingerprint, ledger.c.event_id, ledger.c.timestamp)
_BY_KEY = select(*_COLUMNS, ledger.c.state).where(
    ledger.c.target_id == bindparam("target"), ledger.c.indicator_id.in_(bindparam("keys", expanding=True))
)
_BY_UUID = select(ledger.c.uuid, ledger.c.event_id).where(
    ledger.c.target_id == bindparam("target"), ledger.c.uuid.in_(bindparam("uuids", expanding=True))
)
_THIS = (
    (ledger.c.target_id == bindparam("b_target"))
    & (ledger.c.indicator_id == bindparam("b_key"))
    & (ledger.c.uuid == bindparam("b_uuid"))
)
_CHANGED = b"\0" * 8
"""A fingerprint that no attribute has: whatever ThreatQ gives next is a change."""


class Ledger:
    """The journal of one run on one target; implements :class:`tqmisp.pipeline.protocols.Journal`.

    Nothing is written for an indicator before its slice is about to be sent. A page costs two queries, a slice two
    transactions.

    Args:
        journal: where it is kept.
        target: the number of the target.
        run: the number of the run.
        date: the run day, ``YYYY-MM-DD``.
        capacity: attributes an event at most.
        make_event: gives UUID and title of a part of the day's series, 1 being the first.
        now: the clock, in seconds since 1970.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        target: int,
        run: int,
        date: str,
        capacity: int,
        make_event: Callable[[int], tuple[str, str]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.tally = Tally()
        self.events: dict[int, EventRef] = {}
        """Events that this run has written to, by their number."""
        self._engine = journal.engine
        self._target = target
        self._run = run
        self._date = date
        self._capacity = capacity
        self._make_event = make_event
        self._now = now
        self._writing = anyio.Lock()
        self._series = Series(capacity, self._event, 1)
        self._refs: dict[int, EventRef] = {}
        self._new_events: dict[int, int] = {}  # number -> part, until the journal has a row for it
        self._pending: dict[bytes, int] = {}  # admitted and not yet promised: uuid -> key
        self._slices: dict[int, int] = {}  # id() of a slice under way -> its number
        self._merged: dict[tuple[int, bytes], tuple[object, ...]] = {}
        self._refused: list[Refusal] = []
        self._refused_before: dict[int, tuple[str, str]] = {}

    async def load(self) -> None:
        """Read what earlier runs have left: events, today's open ones with their values, and refusals."""
        async with self._engine.connect() as connection:
            highest = await connection.scalar(select(func.max(events.c.id)))
            self._series = Series(self._capacity, self._event, (highest or 0) + 1)
            of_target = select(events).where(events.c.target_id == self._target).order_by(events.c.part)
            for row in await connection.execute(of_target):
                ref = EventRef(row.id, row.uuid, row.info, row.date)
                self._refs[ref.number] = ref
                if row.date == self._date:
                    self._series.resume(OpenEvent(ref, row.part, row.attributes))
            for event in self._series.open:
                folds = select(ledger.c.fold).where(
                    ledger.c.target_id == self._target,
                    ledger.c.event_id == event.ref.number,
                    ledger.c.state != State.MERGED,
                )
                event.folds.update((await connection.scalars(folds)).all())
            before = select(refusals.c.indicator_id, refusals.c.kind, refusals.c.code)
            for key, kind, code in await connection.execute(before.where(refusals.c.target_id == self._target)):
                self._refused_before[key] = (kind, code)

    def _event(self, number: int, part: int) -> EventRef:
        uuid, info = self._make_event(part)
        ref = EventRef(number, uuid, info, self._date)
        self._refs[number] = ref
        self._new_events[number] = part
        return ref

    async def admit(self, page: Page[object], mapped: Mapped[Mappable]) -> Iterable[tuple[EventRef, Sequence[Planned]]]:
        """Sort the attributes of a page into those that need no delivery and those that do, by event."""
        tally = self.tally
        tally.read += len(page.items) + len(page.refusals)
        self._note(page.refusals)
        self._note(mapped.refusals)
        known, owners = await self._look_up(mapped.items)
        groups: dict[EventRef, list[Planned]] = {}
        now = int(self._now())
        for attribute in mapped.items:
            for rule in attribute.rescued:
                tally.rescued[rule] += 1
            key, uuid = attribute.key, attribute.uuid
            if uuid in self._pending:
                if self._pending[uuid] == key:
                    tally.unchanged += 1  # the same row again, from two parts of the source that overlap
                else:
                    self._merge(attribute, 0)
            elif (row := known.get((key, uuid))) is not None:
                self._again(attribute, row, now, groups)
            elif uuid in owners:
                self._merge(attribute, owners[uuid])
            else:
                ref = self._series.place(attribute.fold)
                self._plan(attribute, ref, now, "create", groups)
        if len(self._refused) >= REFUSALS_HELD:
            await self.flush()
        return groups.items()

    async def _look_up(self, attributes: Sequence[Mappable]) -> tuple[dict[tuple[int, bytes], Known], dict[bytes, int]]:
        """The rows of these indicators, and the events of other indicators that are the same attributes."""
        if not attributes:
            return {}, {}
        async with self._engine.connect() as connection:
            keys = [attribute.key for attribute in attributes]
            rows = await connection.execute(_BY_KEY, {"target": self._target, "keys": keys})
            known = {(row[0], row[1]): Known(*row[1:]) for row in rows}
            new = [attribute.uuid for attribute in attributes if (attribute.key, attribute.uuid) not in known]
            if not new:
                return known, {}
            rows = await connection.execute(_BY_UUID, {"target": self._target, "uuids": new})
            return known, {row[0]: row[1] for row in rows}

    def _again(self, attribute: Mappable, row: Known, now: int, groups: dict[EventRef, list[Planned]]) -> None:
        """Decide about an indicator that has become the same attribute before."""
        same = row.fingerprint == attribute.fingerprint
        if row.state == State.MERGED:
            self.tally.merged += 1
        elif row.state == State.PLANNED:
            self._plan(attribute, self._refs[row.event_id], row.timestamp if same else now, "retry", groups)
        elif row.state == State.QUARANTINED and same:
            self.tally.refuse(*self._refused_before.get(attribute.key, ("quarantined", "refused_by_misp")))
        elif row.state == State.QUARANTINED:
            self._plan(attribute, self._refs[row.event_id], max(now, row.timestamp + 1), "retry", groups)
        elif row.state == State.LIVE and same:
            self.tally.unchanged += 1
        else:
            # newer than what MISP has by a second at least, or MISP takes it for a repetition
            self._plan(attribute, self._refs[row.event_id], max(now, row.timestamp + 1), "update", groups)

    def _plan(
        self, attribute: Mappable, ref: EventRef, timestamp: int, change: str, groups: dict[EventRef, list[Planned]]
    ) -> None:
        body = b'%b,"timestamp":"%d"}' % (attribute.payload[:-1], timestamp)
        self._pending[attribute.uuid] = attribute.key
        groups.setdefault(ref, []).append(
            Planned(attribute.key, attribute.uuid, attribute.fingerprint, attribute.fold, timestamp, change, body)
        )

    def _merge(self, attribute: Mappable, event_id: int) -> None:
        self.tally.merged += 1
        self._merged[attribute.key, attribute.uuid] = (
            self._target,
            attribute.key,
            attribute.uuid,
            attribute.fingerprint,
            attribute.fold,
            event_id,
            0,
            0,
            int(State.MERGED),
        )

    def _note(self, refused: Iterable[Refusal]) -> None:
        for refusal in refused:
            self.tally.refuse(refusal.kind, refusal.code)
            if refusal.kind != "filtered":  # the operator's own choice, and possibly most of what is read
                self._refused.append(refusal)

    async def promise(self, part: Slice[EventRef, Planned]) -> None:
        """Record the intent to deliver a slice, before anything of it is sent."""
        ref = part.destination
        async with self._writing, self._engine.begin() as connection:
            await self._write_event(connection, ref, sum(item.change == "create" for item in part.items))
            result = await connection.execute(
                insert(slices).values(
                    target_id=self._target,
                    run_id=self._run,
                    event_id=ref.number,
                    items=len(part.items),
                    opened_at=self._now(),
                )
            )
            number = int(result.inserted_primary_key[0])  # type: ignore[index]  # an integer key always has one
            create = [item for item in part.items if item.change == "create"]
            change = [item for item in part.items if item.change != "create"]
            await insert_rows(
                connection,
                ledger,
                [
                    (
                        self._target,
                        item.key,
                        item.uuid,
                        item.fingerprint,
                        item.fold,
                        ref.number,
                        number,
                        item.timestamp,
                        int(State.LIVE),
                    )
                    for item in create
                ],
            )
            await self._update(
                connection,
                change,
                lambda item: {
                    "fingerprint": item.fingerprint,
                    "slice_id": number,
                    "timestamp": item.timestamp,
                    "state": int(State.LIVE),
                },
            )
            await self._write_rest(connection)
        self.events[ref.number] = ref
        self._slices[id(part)] = number
        for item in part.items:
            self._pending.pop(item.uuid, None)
        await self._forget_refusals([item.key for item in part.items if item.key in self._refused_before])

    async def confirm(self, part: Slice[EventRef, Planned], outcome: Outcome[EventRef, Planned]) -> None:
        """Record what became of a slice."""
        tally = self.tally
        number = self._slices.pop(id(part))
        async with self._writing, self._engine.begin() as connection:
            await self._update(
                connection,
                [item for item, _ in outcome.refused],
                lambda _: {"state": int(State.QUARANTINED)},
            )
            for item, ref in outcome.elsewhere:
                at = await self._adopt(connection, ref)
                await self._update(connection, [item], lambda _, at=at: {"event_id": at})  # type: ignore[misc]
            await connection.execute(update(slices).where(slices.c.id == number).values(closed_at=self._now()))
        stored = [*outcome.stored, *(item for item, _ in outcome.elsewhere)]
        updated = sum(item.change == "update" for item in stored)
        tally.updated += updated
        tally.created += len(stored) - updated
        self._note(refusal for _, refusal in outcome.refused)
        for item, refusal in outcome.refused:
            self._refused_before[item.key] = (refusal.kind, refusal.code)

    async def flush(self) -> None:
        """Write what waits for a transaction of its own: refusals and merged indicators."""
        async with self._writing, self._engine.begin() as connection:
            await self._write_rest(connection)

    async def settle(self, look: Callable[[EventRef, Sequence[bytes]], Awaitable[Mapping[bytes, int]]]) -> int:
        """Find out what became of the slices that a run left open when it died.

        Args:
            look: gives the timestamps of those attributes of an event that MISP holds, by UUID.

        Returns:
            How many attributes had been promised and were not found. They are delivered again, to the same events
            and with the same timestamps, when their indicators are read.
        """
        missing = 0
        async with self._engine.connect() as connection:
            open_slices = select(slices.c.id).where(slices.c.target_id == self._target, slices.c.closed_at.is_(None))
            numbers = (await connection.scalars(open_slices)).all()
        for number in numbers:
            async with self._engine.connect() as connection:
                query = select(ledger).where(ledger.c.target_id == self._target, ledger.c.slice_id == number)
                rows = (await connection.execute(query)).all()
            by_event: dict[int, list[bytes]] = {}
            for row in rows:
                by_event.setdefault(row.event_id, []).append(row.uuid)
            found: dict[bytes, int] = {}
            for event_id, uuids in by_event.items():
                found.update(await look(self._refs[event_id], uuids))
            changes = []
            for row in rows:
                there = found.get(row.uuid)
                values = {"b_target": self._target, "b_key": row.indicator_id, "b_uuid": row.uuid}
                if there is None:
                    missing += 1
                    changes.append(values | {"state": int(State.PLANNED), "fingerprint": row.fingerprint})
                elif there < row.timestamp:  # an update that was promised and has not been made
                    changes.append(values | {"state": int(State.LIVE), "fingerprint": _CHANGED})
            async with self._writing, self._engine.begin() as connection:
                if changes:
                    await connection.execute(
                        update(ledger)
                        .where(_THIS)
                        .values(state=bindparam("state"), fingerprint=bindparam("fingerprint")),
                        changes,
                    )
                if not any(change["state"] == State.PLANNED for change in changes):
                    await connection.execute(update(slices).where(slices.c.id == number).values(closed_at=self._now()))
        return missing

    async def finish(self) -> None:
        """Let go of promises of dead runs whose indicators are no longer selected; call after a complete run."""
        await self.flush()
        async with self._writing, self._engine.begin() as connection:
            here = (slices.c.target_id == self._target) & slices.c.closed_at.is_(None)
            numbers = (await connection.scalars(select(slices.c.id).where(here))).all()
            for number in numbers:
                left = (
                    (ledger.c.target_id == self._target)
                    & (ledger.c.slice_id == number)
                    & (ledger.c.state == State.PLANNED)
                )
                await connection.execute(delete(ledger).where(left))
            await connection.execute(update(slices).where(here).values(closed_at=self._now()))

    async def count(self, event: EventRef) -> int:
        """How many attributes of an event the ledger takes for delivered."""
        query = (
            select(func.count())
            .select_from(ledger)
            .where(ledger.c.target_id == self._target, ledger.c.event_id == event.number, ledger.c.state == State.LIVE)
        )
        async with self._engine.connect() as connection:
            return int(await connection.scalar(query) or 0)

    async def _write_event(self, connection: AsyncConnection, ref: EventRef, added: int) -> None:
        """Add so many attributes to an event, which gets its row when it has none yet."""
        part = self._new_events.pop(ref.number, None)
        if part is None:
            await connection.execute(
                update(events).where(events.c.id == ref.number).values(attributes=events.c.attributes + added)
            )
        else:
            await connection.execute(
                insert(events).values(
                    id=ref.number,
                    target_id=self._target,
                    uuid=ref.uuid,
                    info=ref.info,
                    date=ref.date,
                    part=part,
                    attributes=added,
                )
            )

    async def _adopt(self, connection: AsyncConnection, found: EventRef) -> int:
        """The number of an event in which the sink has found an attribute of ours."""
        for ref in self._refs.values():
            if ref.uuid == found.uuid:
                return ref.number
        result = await connection.execute(
            insert(events).values(
                target_id=self._target, uuid=found.uuid, info=found.info, date=found.date, part=0, attributes=0
            )
        )
        number = int(result.inserted_primary_key[0])  # type: ignore[index]  # an integer key always has one
        self._refs[number] = found._replace(number=number)
        return number

    async def _update(
        self, connection: AsyncConnection, items: Sequence[Planned], values: Callable[[Planned], dict[str, object]]
    ) -> None:
        """Change the rows of some items."""
        if not items:
            return
        rows = [values(item) | {"b_target": self._target, "b_key": item.key, "b_uuid": item.uuid} for item in items]
        names: dict[str, BindParameter[object]] = {
            name: bindparam(name) for name in rows[0] if not name.startswith("b_")
        }
        await connection.execute(update(ledger).where(_THIS).values(names), rows)

    async def _write_rest(self, connection: AsyncConnection) -> None:
        merged, self._merged = self._merged, {}
        await insert_rows(connection, ledger, list(merged.values()))
        refused, self._refused = self._refused, []
        if not refused:
            return
        keys = {"keys": [refusal.key for refusal in refused if refusal.key >= 0]}
        await connection.execute(_FORGET, {"target": self._target} | keys)
        await insert_rows(
            connection,
            refusals,
            [
                (
                    self._target,
                    refusal.key,
                    refusal.kind,
                    refusal.code,
                    refusal.reason,
                    refusal.label,
                    refusal.value.encode("utf-8", "surrogatepass")[:VALUE_BYTES],
                    self._run,
                )
                for refusal in refused
            ],
        )

    async def _forget_refusals(self, keys: Sequence[int]) -> None:
        """What is on its way again is no longer refused."""
        if keys:
            async with self._writing, self._engine.begin() as connection:
                await connection.execute(_FORGET, {"target": self._target, "keys": keys})
            for key in keys:
                del self._refused_before[key]


_FORGET = delete(refusals).where(
    refusals.c.target_id == bindparam("target"), refusals.c.indicator_id.in_(bindparam("keys", expanding=True))
)
