"""What is known of each delivered indicator, and what follows from it for the present run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

import anyio
from sqlalchemy.ext.asyncio import AsyncConnection

from tqmisp.journal.rows import Known, Merged, Rows
from tqmisp.journal.schema import State
from tqmisp.journal.series import OpenEvent, Series
from tqmisp.journal.store import Journal
from tqmisp.journal.tally import Tally
from tqmisp.model import EventRef, Planned
from tqmisp.pipeline.protocols import Mapped, Outcome, Page, Refusal, Slice

REFUSALS_HELD = 5_000
"""Refusals that wait for one transaction."""
_CHANGED = b"\0" * 8
"""A fingerprint that no attribute has: whatever ThreatQ gives next is a change."""

Look = Callable[[EventRef, Sequence[bytes]], Awaitable[Mapping[bytes, int]]]
"""Gives the timestamps of those attributes of an event that MISP holds, by UUID."""


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

    Attributes:
        tally: what became of the indicators so far.
        events: the events that this run has written to, by their number.
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
        self._rows = Rows(journal.engine, target)
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
        # what was written since the page at hand was looked up, and which the look-up may have missed
        self._just_promised: dict[bytes, int] = {}
        self._just_merged: set[tuple[int, bytes]] = set()
        self._slices: dict[int, int] = {}  # id() of a slice under way -> its number
        self._merged: dict[tuple[int, bytes], Merged] = {}
        self._orphans: set[tuple[int, bytes]] = set()  # merged with an attribute that there is no more
        self._refused: list[Refusal] = []
        self._refused_before: dict[int, tuple[str, str]] = {}

    async def load(self) -> None:
        """Read what earlier runs have left: events, today's open ones with their values, and refusals."""
        self._series = Series(self._capacity, self._event, await self._rows.highest_event() + 1)
        for ref, part, attributes in await self._rows.events():
            self._refs[ref.number] = ref
            if ref.date == self._date:
                self._series.resume(OpenEvent(ref, part, attributes))
        for event in self._series.open:
            event.folds = await self._rows.folds(event.ref.number)
        self._refused_before = await self._rows.refused()

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
        self._just_promised, self._just_merged = {}, set()
        known, owners = await self._rows.look_up([(each.key, each.uuid) for each in mapped.items])
        groups: dict[EventRef, list[Planned]] = {}
        now = int(self._now())
        for attribute in mapped.items:
            for rule in attribute.rescued:
                tally.rescued[rule] += 1
            key, uuid = attribute.key, attribute.uuid
            owner = self._pending.get(uuid, self._just_promised.get(uuid))
            if owner == key:
                tally.unchanged += 1  # the same row again, from two parts of the source that overlap
            elif (row := known.get((key, uuid))) is not None and row.state != State.MERGED:
                self._again(attribute, row, now, groups)
            elif owner is not None or uuid in owners:
                self._merge(attribute, owners.get(uuid, 0), known=row is not None)
            else:
                if row is not None:  # whoever it shared the attribute with was never delivered, and has gone
                    self._orphans.add((key, uuid))
                self._plan(attribute, self._series.place(attribute.fold), now, "create", groups)
        if len(self._refused) >= REFUSALS_HELD:
            await self.flush()
        return groups.items()

    def _again(self, attribute: Mappable, row: Known, now: int, groups: dict[EventRef, list[Planned]]) -> None:
        """Decide about an indicator that has become the same attribute before."""
        same = row.fingerprint == attribute.fingerprint
        ref = self._refs[row.event_id]
        if row.state == State.PLANNED:
            self._plan(attribute, ref, row.timestamp if same else max(now, row.timestamp), "retry", groups)
        elif row.state == State.QUARANTINED and same:
            self.tally.refuse(*self._refused_before.get(attribute.key, ("quarantined", "refused_by_misp")))
        elif row.state == State.LIVE and same:
            self.tally.unchanged += 1
        else:
            # newer than what MISP has by a second at least, or MISP takes it for a repetition
            change = "retry" if row.state == State.QUARANTINED else "update"
            self._plan(attribute, ref, max(now, row.timestamp + 1), change, groups)

    def _plan(
        self, attribute: Mappable, ref: EventRef, timestamp: int, change: str, groups: dict[EventRef, list[Planned]]
    ) -> None:
        body = b'%b,"timestamp":"%d"}' % (attribute.payload[:-1], timestamp)
        self._pending[attribute.uuid] = attribute.key
        groups.setdefault(ref, []).append(
            Planned(attribute.key, attribute.uuid, attribute.fingerprint, attribute.fold, timestamp, change, body)
        )

    def _merge(self, attribute: Mappable, event_id: int, *, known: bool) -> None:
        self.tally.merged += 1
        key, uuid = attribute.key, attribute.uuid
        if not known and (key, uuid) not in self._just_merged:
            self._merged[key, uuid] = Merged(key, uuid, attribute.fingerprint, attribute.fold, event_id)

    def _note(self, refused: Iterable[Refusal]) -> None:
        for refusal in refused:
            self.tally.refuse(refusal.kind, refusal.code)
            if refusal.kind != "filtered":  # the operator's own choice, and possibly most of what is read
                self._refused.append(refusal)

    async def promise(self, part: Slice[EventRef, Planned]) -> None:
        """Record the intent to deliver a slice, before anything of it is sent."""
        ref = part.destination
        create = [item for item in part.items if item.change == "create"]
        again = [item.key for item in part.items if item.key in self._refused_before]
        async with self._writing, self._rows.engine.begin() as connection:
            series_part = self._new_events.pop(ref.number, None)
            if series_part is None:
                await self._rows.fill_event(connection, ref.number, len(create))
            else:
                await self._rows.add_event(connection, ref, series_part, len(create))
            number = await self._rows.open_slice(connection, self._run, ref.number, len(part.items), self._now())
            orphans = [(item.key, item.uuid) for item in create if (item.key, item.uuid) in self._orphans]
            await self._rows.drop(connection, orphans)
            await self._rows.add(connection, create, ref.number, number)
            await self._rows.change(
                connection,
                [
                    (
                        item.key,
                        item.uuid,
                        {
                            "fingerprint": item.fingerprint,
                            "slice_id": number,
                            "timestamp": item.timestamp,
                            "state": int(State.LIVE),
                        },
                    )
                    for item in part.items
                    if item.change != "create"
                ],
            )
            await self._rows.forget_refusals(connection, again)
            await self._write_held(connection)
        self.events[ref.number] = ref
        self._slices[id(part)] = number
        self._orphans.difference_update(orphans)
        for item in part.items:
            self._just_promised[item.uuid] = item.key
            self._pending.pop(item.uuid, None)
        for key in again:
            self._refused_before.pop(key, None)

    async def confirm(self, part: Slice[EventRef, Planned], outcome: Outcome[EventRef, Planned]) -> None:
        """Record what became of a slice."""
        number = self._slices.pop(id(part))
        out: dict[str, object] = {"state": int(State.QUARANTINED)}
        async with self._writing, self._rows.engine.begin() as connection:
            await self._rows.change(connection, [(item.key, item.uuid, out) for item, _ in outcome.refused])
            for item, ref in outcome.elsewhere:
                event = await self._adopt(connection, ref)
                await self._rows.change(connection, [(item.key, item.uuid, {"event_id": event})])
            await self._rows.close_slices(connection, [number], self._now())
        stored = [*outcome.stored, *(item for item, _ in outcome.elsewhere)]
        updated = sum(item.change == "update" for item in stored)
        self.tally.updated += updated
        self.tally.created += len(stored) - updated
        self._note(refusal for _, refusal in outcome.refused)
        for item, refusal in outcome.refused:
            self._refused_before[item.key] = (refusal.kind, refusal.code)

    async def flush(self) -> None:
        """Write what waits for a transaction of its own: refusals and merged indicators."""
        async with self._writing, self._rows.engine.begin() as connection:
            await self._write_held(connection)

    async def _write_held(self, connection: AsyncConnection) -> None:
        merged, self._merged = self._merged, {}
        self._just_merged.update(merged)
        await self._rows.add_merged(connection, list(merged.values()))
        refused, self._refused = self._refused, []
        await self._rows.add_refusals(connection, refused, self._run)

    async def settle(self, look: Look) -> int:
        """Find out what became of the slices that a run left open when it died.

        Returns:
            How many attributes had been promised and were not found. They are delivered again, to the same events
            and with the same timestamps, when their indicators are read.
        """
        missing = 0
        for number in await self._rows.open_slices():
            rows = await self._rows.of_slice(number)
            by_event: dict[int, list[bytes]] = {}
            for _, row in rows:
                by_event.setdefault(row.event_id, []).append(row.uuid)
            found: dict[bytes, int] = {}
            for event_id, uuids in by_event.items():
                found.update(await look(self._refs[event_id], uuids))
            changes: list[tuple[int, bytes, dict[str, object]]] = []
            for key, row in rows:
                there = found.get(row.uuid)
                if there is None:
                    state = {"state": int(State.PLANNED), "fingerprint": row.fingerprint}
                    changes.append((key, row.uuid, state))
                elif there < row.timestamp:  # an update that was promised and has not been made
                    changes.append((key, row.uuid, {"state": int(State.LIVE), "fingerprint": _CHANGED}))
            lost = sum(values["state"] == State.PLANNED for _, _, values in changes)
            async with self._writing, self._rows.engine.begin() as connection:
                await self._rows.change(connection, changes)
                if not lost:
                    await self._rows.close_slices(connection, [number], self._now())
            missing += lost
        return missing

    async def finish(self) -> None:
        """Let go of promises of dead runs whose indicators are no longer selected; call after a complete run."""
        numbers = await self._rows.open_slices()
        async with self._writing, self._rows.engine.begin() as connection:
            await self._rows.drop_planned(connection, numbers)
            await self._rows.close_slices(connection, numbers, self._now())

    async def count(self, event: EventRef) -> int:
        """How many attributes of an event the ledger takes for delivered."""
        return await self._rows.count(event.number)

    async def _adopt(self, connection: AsyncConnection, found: EventRef) -> int:
        """The number of an event in which the sink has found an attribute of ours."""
        for ref in self._refs.values():
            if ref.uuid == found.uuid:
                return ref.number
        number = await self._rows.add_event(connection, found._replace(number=0), 0, 0)
        self._refs[number] = found._replace(number=number)
        return number
