"""What is known of each delivered indicator, and what follows from it for the present run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import anyio
from msgspec import Struct
from sqlalchemy import Connection

from tqmisp.journal.held import Held
from tqmisp.journal.holders import Place
from tqmisp.journal.leaving import REPLACED, Leaving
from tqmisp.journal.mappable import Mappable
from tqmisp.journal.positions import Positions, Read
from tqmisp.journal.rows import Found, Known, Merged, Owner, Rows
from tqmisp.journal.schema import STALE, WITHDRAWN, State
from tqmisp.journal.series import OpenEvent, Series
from tqmisp.journal.store import Journal
from tqmisp.journal.tally import Tally
from tqmisp.journal.writer import OUT, Home, Keep, Promise, Writer, Writing
from tqmisp.model import Change, EventRef, Leaver, Planned
from tqmisp.pipeline.protocols import Admission, Mapped, Outcome, Page, Refusal, Slice


class Ledger:
    """The journal of one run on one target; implements :class:`tqmisp.pipeline.protocols.Journal`.

    Nothing is written for an indicator before its slice is about to be sent. A page costs one transaction, a slice two.

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
        is_new: whether nothing was ever promised to this target before this run.
        is_of_this_reading: whether all that was ever promised was read by the present reading of the source, so that
            nothing can have left it.
        refs: all events of ours that are known, by their number.
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
        self.is_new = True
        self.is_of_this_reading = False
        self._database = journal.database
        self._rows = Rows(target)
        self._leaving = Leaving(target)
        self._writer = Writer(self._rows, run, now)
        self._run = run
        self._date = date
        self._capacity = capacity
        self._make_event = make_event
        self._now = now
        self._writing = anyio.Lock()
        self._series = Series(capacity, self._event, 1)
        self.refs: dict[int, EventRef] = {}
        self._new_events: dict[int, int] = {}  # number -> part, until the journal has a row for it
        self._instead: dict[int, EventRef] = {}  # number of an event that people deleted -> what takes its place
        self._unconfirmed: dict[bytes, Busy] = {}  # admitted and not yet confirmed, by UUID
        self._looks: list[_Look] = []  # pages that are looked up and not admitted yet
        self._slices: dict[int, int] = {}  # id() of a slice under way -> its number
        self._former: dict[bytes, int] = {}  # whose attribute another indicator is about to take over
        self._deferred: list[
            tuple[Mappable, Read | None]
        ] = []  # to take over, as soon as the present owner is confirmed
        self._orphans: set[Place] = set()  # merged with an attribute that there is no more
        self._held = Held()
        self._leavers: dict[Place, Leaver] = {}  # about to be withdrawn
        self._any_leaving = False
        self._seeing = False
        self._positions = Positions()
        self._keep_positions: Keep | None = None
        self._refused_before: dict[int, tuple[str, str]] = {}

    async def load(self) -> None:
        """Read what earlier runs have left: events, today's open ones with their values, and refusals."""
        await self._database.do(self._load)

    def _load(self, connection: Connection) -> None:
        rows = self._rows
        self.is_new = rows.is_empty(connection)
        self._series = Series(self._capacity, self._event, rows.highest_event(connection) + 1)
        for ref, part, attributes, closed in rows.events(connection):
            self.refs[ref.number] = ref
            if ref.date == self._date:
                self._series.resume(OpenEvent(ref, part, self._capacity if closed else attributes))
        self._refused_before = rows.refused(connection)
        self._any_leaving = self._leaving.count(connection) > 0

    def _event(self, number: int, part: int) -> EventRef:
        uuid, info = self._make_event(part)
        ref = EventRef(number, uuid, info, self._date)
        self.refs[number] = ref
        self._new_events[number] = part
        return ref

    def instead(self, ref: EventRef) -> EventRef | None:
        """Another event of the day, where people have deleted one before it was filled; None for older ones."""
        if ref.number not in self._instead:
            other = self._series.move(ref)
            if other is None:
                return None
            self._instead[ref.number] = other
        return self._instead[ref.number]

    async def see(self, *, begin: bool, with_ledger: bool) -> None:
        """Note from now on which indicators are read, so that it can be told afterwards which are not.

        Args:
            begin: forget those of an earlier reading.
            with_ledger: whether the reading that goes on is the one that has filled the ledger, see
                :attr:`is_of_this_reading`.
        """
        self.is_of_this_reading = begin and self.is_new
        self._seeing = not self.is_of_this_reading
        if begin or with_ledger:
            await self._database.do(lambda connection: self._leaving.begin(connection, with_ledger=with_ledger))

    def follow(self, known: Mapping[int, str], keep: Keep) -> None:
        """Note from now on how far the parts of the source are accounted for.

        Args:
            known: where they stood.
            keep: writes where they stand.
        """
        self._positions = Positions(known)
        self._keep_positions = keep

    async def recognise(self, rows: Sequence[tuple[int, int]]) -> set[int]:
        """Which indicators need no look, as MISP has what was made of their rows and nothing is to be done about them.

        Args:
            rows: the ids of indicators with the stamps of their rows.
        """
        asked = [row for row in rows if row[0] not in self._refused_before]

        def find(connection: Connection) -> set[int]:
            strange = self._rows.strange(connection, asked)
            if self._any_leaving:
                strange.update(key for key, _ in self._leaving.among(connection, [key for key, _ in asked]))
            return strange

        return {key for key, _ in asked}.difference(await self._database.do(find)) if asked else set()

    async def look_up(self, page: Page[object], mapped: Mapped[Mappable]) -> Admission[EventRef, Planned]:
        """Read what is known of a page; the call that comes back sorts its attributes by what is to be done."""
        look = _Look(self._late())
        self._looks.append(look)
        gone = {refusal.key: refusal for refusal in (*page.refusals, *mapped.refusals) if refusal.key >= 0}
        wanted = [(each.key, each.uuid) for each in (*mapped.items, *(each for each, _ in look.late))]
        unread = {event.ref.number: event for event in self._series.open if event.folds is None}
        look.found, listed, folds = await self._database.do(
            lambda connection: self._read(connection, wanted, list(gone), list(unread))
        )
        for number, values in folds.items():
            unread[number].folds = values

        async def admit() -> Iterable[tuple[EventRef, Sequence[Planned]]]:
            groups = self._admit(page, mapped, look)
            self._part(look.found, wanted, gone, listed)
            held = self._held
            if self._seeing:
                held.seen += page.recognised
                held.seen += [key for key, _ in wanted]
                held.seen += gone
            held.pages += 1
            self._looks.remove(look)
            if held.is_full():
                await self.flush()
            return groups.items()

        return admit

    def _admit(self, page: Page[object], mapped: Mapped[Mappable], look: _Look) -> Mapping[EventRef, Sequence[Planned]]:
        """Sort the attributes of a page into those that need no delivery and those that do, by event."""
        tally = self.tally
        tally.read += len(page.items) + len(page.refusals) + len(page.recognised)
        tally.unchanged += len(page.recognised)
        self._note([*page.refusals, *mapped.refusals])
        batch = _Batch(int(self._now()), self._positions.read(page.position), {})
        for attribute in mapped.items:
            for rule in attribute.rescued:
                tally.rescued[rule] += 1
            self._decide(attribute, look, batch)
        for attribute, read in look.late:
            tally.merged -= 1  # it was counted when it was deferred
            self._decide(attribute, look, batch._replace(read=read))
            if read is not None:
                read.outstanding -= 1
        return batch.groups

    def _read(
        self, connection: Connection, wanted: Sequence[Place], gone: Sequence[int], unread: Sequence[int]
    ) -> tuple[Found, set[Place], dict[int, set[int]]]:
        """What is known of a page, what of it is to be withdrawn, and if something is new, the folds of these events.

        To read folds is to read the whole ledger, which a run that finds nothing new need not do.
        """
        listed: set[Place] = set()
        if self._any_leaving:
            listed = self._leaving.among(connection, [*(key for key, _ in wanted), *gone])
        found = self._rows.look_up(connection, wanted, gone)
        folds: dict[int, set[int]] = {}
        if unread and any(found.is_new(place) for place in wanted):
            folds = self._rows.folds(connection, unread)
        return found, listed, folds

    def _decide(self, attribute: Mappable, look: _Look, batch: _Batch) -> None:
        """What an indicator needs, from what is known of it and of whoever has the same attribute."""
        key, uuid = place = attribute.key, attribute.uuid
        busy = self._unconfirmed.get(uuid) or look.confirmed.get(uuid)
        row = look.found.known.get(place)
        if busy is not None and busy.key == key:
            self.tally.unchanged += 1  # the same row again, from two parts of the source that overlap
        elif busy is not None:  # also where this one has owned it: the other is about to take it over
            if key < busy.key:
                self._deferred.append((attribute, batch.read))
                if batch.read is not None:
                    batch.read.outstanding += 1  # until it has taken the attribute over, its page is not done with
            self._merge(attribute, busy.event, known=row is not None or place in look.merged)
        elif row is not None and row.state != State.MERGED:
            self._again(attribute, row, batch)
        elif (other := look.found.owners.get(uuid)) is not None:
            self._share(attribute, other, batch, known=row is not None or place in look.merged)
        else:
            if row is not None:  # whoever it shared the attribute with was never delivered, and has gone
                self._orphans.add(place)
            self._plan(attribute, self._series.place(attribute.fold), batch.now, Change.CREATE, batch)

    def _again(self, attribute: Mappable, row: Known, batch: _Batch) -> None:
        """Decide about an indicator that has become the same attribute before."""
        same = row.fingerprint == attribute.fingerprint and row.stamp != STALE
        ref = self.refs[row.event_id]
        # newer than what MISP has by a second at least, or MISP takes it for a repetition
        newer = max(batch.now, row.timestamp + 1)
        before = self._refused_before.get(attribute.key)
        if row.state == State.DELETED:
            self.tally.refuse("filtered", "deleted_in_misp")
        elif row.state == State.PLANNED:
            self._plan(attribute, ref, row.timestamp if same else max(batch.now, row.timestamp), Change.RETRY, batch)
        elif row.state in WITHDRAWN:
            self._plan(attribute, ref, newer, Change.REVIVE, batch, row.marks)
        elif same and (before is not None or row.state == State.QUARANTINED):
            self.tally.refuse(*(before or ("quarantined", "refused_by_misp")))
        elif same:
            self.tally.unchanged += 1
            if attribute.stamp not in {0, row.stamp}:
                self._held.stamps[attribute.key, attribute.uuid] = attribute.stamp
        elif row.state == State.QUARANTINED:
            self._plan(attribute, ref, newer, Change.RETRY, batch)
        else:
            self._plan(attribute, ref, newer, Change.UPDATE, batch, row.marks)

    def _share(self, attribute: Mappable, owner: Owner, batch: _Batch, *, known: bool) -> None:
        """Decide about an indicator whose attribute another one has: of all that share it, the lowest id owns it."""
        row = owner.row
        if row.state == State.DELETED:
            self.tally.refuse("filtered", "deleted_in_misp")
        elif row.state == State.QUARANTINED:
            self.tally.refuse(*self._refused_before.get(owner.key, ("quarantined", "refused_by_misp")))
        elif row.state == State.LIVE and owner.key < attribute.key:
            self._merge(attribute, row.event_id, known=known)
        else:
            if known:
                self._orphans.add((attribute.key, attribute.uuid))
            self._former[attribute.uuid] = owner.key
            change = Change.TAKEOVER if row.state == State.LIVE else Change.RETRY
            change = Change.REVIVE if row.state in WITHDRAWN else change
            self.tally.merged += change == Change.TAKEOVER
            base = b"" if change == Change.RETRY else row.marks
            timestamp = max(batch.now, row.timestamp + 1)
            self._plan(attribute, self.refs[row.event_id], timestamp, change, batch, base)

    def _late(self) -> list[tuple[Mappable, Read | None]]:
        """Indicators that were to take over attributes whose owners were on their way, and have arrived now."""
        late = [each for each in self._deferred if each[0].uuid not in self._unconfirmed]
        self._deferred = [each for each in self._deferred if each[0].uuid in self._unconfirmed]
        return late

    @property
    def has_put_off(self) -> bool:
        """Whether indicators are to take over attributes that were on their way; the next page decides about them."""
        return bool(self._deferred)

    def _plan(  # noqa: PLR0917
        self, attribute: Mappable, ref: EventRef, timestamp: int, change: Change, batch: _Batch, base: bytes = b""
    ) -> None:
        key, uuid, mark, fold = attribute.key, attribute.uuid, attribute.fingerprint, attribute.fold
        body = b'%b,"timestamp":"%d"}' % (attribute.payload[:-1], timestamp)
        stamp = attribute.stamp
        batch.plan(ref, Planned(key, uuid, mark, fold, timestamp, change, body, attribute.marks, base, False, stamp))
        self._unconfirmed[uuid] = Busy(key, ref.number, batch.read)

    def _merge(self, attribute: Mappable, event_id: int, *, known: bool) -> None:
        self.tally.merged += 1
        if not known:
            place = attribute.key, attribute.uuid
            self._held.merged[place] = Merged(*place, attribute.fingerprint, attribute.fold, event_id)

    def _part(self, found: Found, wanted: Sequence[Place], gone: Mapping[int, Refusal], listed: set[Place]) -> None:
        """Note the attributes of these indicators that have no reason to be in MISP any more."""
        if not found.known and not listed:
            return
        held, stay = self._held, set(wanted)
        held.back |= listed & stay
        for place, row in found.known.items():
            if place in stay:
                continue
            refusal = gone.get(place[0])
            if row.state == State.LIVE:
                held.leaving[place] = (
                    ("filtered", REPLACED, "", "")
                    if refusal is None
                    else (refusal.kind, refusal.code, refusal.label, refusal.status)
                )
            elif row.state in {State.MERGED, State.QUARANTINED, State.PLANNED}:
                held.drops.add(place)

    def _note(self, refused: Iterable[Refusal]) -> None:
        for refusal in refused:
            self.tally.refuse(refusal.kind, refusal.code)
            if refusal.kind != "filtered":  # the operator's own choice, and possibly most of what is read
                self._held.refused.append(refusal)

    def withdraw(self, leavers: Iterable[Leaver]) -> None:
        """Count attributes that have passed to other indicators."""
        for leaver in leavers:
            self.tally.withdraw(leaver, this_run=leaver.run == self._run)

    def expect_leavers(self) -> None:
        """Look from now on whether an indicator that is read is about to be withdrawn."""
        self._any_leaving = True

    def retire(
        self, leavers: Iterable[tuple[Leaver, bytes | None, bytes]]
    ) -> Iterable[tuple[EventRef, Sequence[Planned]]]:
        """Plan to withdraw attributes, each with the body that does so and marks; without a body it leaves the list."""
        batch = _Batch(int(self._now()), None, {})
        for leaver, body, marks in leavers:
            key, uuid = place = leaver.key, leaver.uuid
            if body is None:
                self._held.back.add(place)
                continue
            timestamp = max(batch.now, leaver.timestamp + 1)
            batch.plan(
                self.refs[leaver.event],
                Planned(key, uuid, leaver.fingerprint, 0, timestamp, Change.RETIRE, body, marks, leaver.marks),
            )
            self._leavers[place] = leaver
        return batch.groups.items()

    async def promise(self, part: Slice[EventRef, Planned]) -> None:
        """Record the intent to deliver a slice, before anything of it is sent."""
        ref, items = part.destination, part.items
        former = {item.uuid: self._former.pop(item.uuid) for item in items if item.uuid in self._former}
        orphans = self._orphans.intersection((item.key, item.uuid) for item in items) if self._orphans else set()
        self._orphans -= orphans
        again = [item.key for item in items if item.key in self._refused_before]
        promise = Promise(part, former, orphans, again, self._new_events.pop(ref.number, None))
        async with self._writing:
            writing = self._take_held()
            number = await self._database.do(lambda connection: self._writer.promise(connection, promise, writing))
        self.events[ref.number] = ref
        self._slices[id(part)] = number
        for key in again:
            self._refused_before.pop(key, None)

    async def confirm(self, part: Slice[EventRef, Planned], outcome: Outcome[EventRef, Planned]) -> None:
        """Record what became of a slice."""
        number = self._slices.pop(id(part))
        closed = part.destination.number in self._instead
        async with self._writing:  # what one slice finds, another may find as well, and one of them makes the row
            homes = {ref.uuid: self._home(ref) for _, ref in outcome.elsewhere}
            moved = await self._database.do(
                lambda connection: self._writer.confirm(connection, part, outcome, number, homes, close_event=closed)
            )
            for ref in moved:
                self.refs[ref.number] = self.events[ref.number] = ref
        self._count(outcome)
        for item in part.items:
            busy = self._unconfirmed.pop(item.uuid, None)
            if busy is None:
                continue
            for look in self._looks:
                look.confirmed[item.uuid] = busy
            if busy.read is not None:
                busy.read.outstanding -= 1

    def _home(self, found: EventRef) -> Home:
        """Where an attribute was found, or was put, as far as it is known."""
        ref = next((each for each in self.refs.values() if each.uuid == found.uuid), None)
        if ref is None:
            return Home(found._replace(number=0), 0)
        return Home(ref, self._new_events.pop(ref.number, None))

    def _count(self, outcome: Outcome[EventRef, Planned]) -> None:
        elsewhere = [item for item, _ in outcome.elsewhere]
        there = [*outcome.stored, *outcome.unchanged, *elsewhere]
        self.tally.kept.update(outcome.kept)
        self.tally.confirm(outcome.stored, outcome.unchanged, elsewhere)
        for item, refusal in outcome.refused:
            if item.change != Change.RETIRE:
                self.tally.merged -= item.change == Change.TAKEOVER  # as which it was counted when it was read
                self._note([refusal])
                self._refused_before[item.key] = (refusal.kind, refusal.code)
            elif refusal.code in OUT:
                there.append(item)
        if self._leavers:
            for item in there:
                leaver = self._leavers.pop((item.key, item.uuid), None)
                if leaver is not None:
                    self.tally.withdraw(leaver, this_run=leaver.run == self._run)

    async def flush(self) -> None:
        """Write what waits for a transaction of its own."""
        async with self._writing:
            writing = self._take_held()
            await self._database.do(lambda connection: self._writer.write(connection, writing))

    def _take_held(self) -> Writing:
        """What is to be written now; taken here and not by the thread of the database, which works at the same time."""
        held, self._held = self._held, Held()
        for look in self._looks:
            look.merged.update(held.merged)
        self._any_leaving = self._any_leaving or bool(held.leaving)
        moved = self._positions.move() and self._keep_positions is not None
        return Writing(held, dict(self._positions.settled) if moved else None, self._keep_positions)

    async def due(self) -> list[EventRef]:
        """The events that runs have written to, this one or one that did not come to its end, and not yet published."""
        numbers = await self._database.do(self._rows.due_events)
        return [self.refs[number] for number in numbers if number in self.refs]

    async def settle_due(self, refs: Sequence[EventRef]) -> None:
        """Note that these events are published, or will not be."""
        numbers = [ref.number for ref in refs]
        await self._database.do(lambda connection: self._rows.set_due(connection, numbers, due=False))

    async def note_deleted(self, uuids: Sequence[bytes]) -> int:
        """Note that people have deleted attributes in MISP; how many of them were delivered and are news."""
        return await self._database.do(lambda connection: self._rows.set_deleted(connection, uuids))

    async def note_event_deleted(self, event: EventRef) -> int:
        """Note that an event is not in MISP any more; how many of its attributes were delivered."""
        return await self._database.do(lambda connection: self._rows.set_event_deleted(connection, event.number))

    async def counts(self, events: Iterable[EventRef]) -> dict[int, int]:
        """How many attributes of events the ledger takes for delivered, and not withdrawn by deletion, by number."""
        numbers = {event.number for event in events}
        return await self._database.do(lambda connection: self._rows.counts(connection, numbers)) if numbers else {}


class Busy(Struct, frozen=True, gc=False):
    """An attribute that was admitted and is not confirmed yet."""

    key: int
    event: int
    read: Read | None
    """The page that it came with."""


@dataclass(slots=True, eq=False)
class _Look:
    """What is known of a page, and what has become known since it was looked up.

    Whatever was on its way then counts as on its way until the page is admitted: what was read of it is too old.
    """

    late: list[tuple[Mappable, Read | None]]
    """Indicators of earlier pages that are decided about along with this one."""
    found: Found = field(default_factory=lambda: Found({}, {}))
    confirmed: dict[bytes, Busy] = field(default_factory=dict)
    """By UUID."""
    merged: set[Place] = field(default_factory=set)
    """Indicators that got rows, since they share attributes of others."""


class _Batch(NamedTuple):
    """What becomes of the page at hand."""

    now: int
    read: Read | None
    groups: dict[EventRef, list[Planned]]

    def plan(self, ref: EventRef, item: Planned) -> None:
        """Note something to deliver."""
        self.groups.setdefault(ref, []).append(item)
        if self.read is not None:
            self.read.outstanding += 1
