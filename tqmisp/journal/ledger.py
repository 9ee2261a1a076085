"""The journal of one run, between the pipeline and the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import anyio
from sqlalchemy import Connection

from tqmisp.journal.decisions import Decisions, Look
from tqmisp.journal.holders import Place
from tqmisp.journal.leaving import Leaving
from tqmisp.journal.mappable import Mappable
from tqmisp.journal.positions import Positions
from tqmisp.journal.rows import EVENT_STEP, Rows
from tqmisp.journal.series import Series
from tqmisp.journal.store import Journal
from tqmisp.journal.tally import Tally
from tqmisp.journal.writer import OUT, Keep, Promise, Writer, Writing
from tqmisp.model import Change, EventRef, Leaver, Planned
from tqmisp.pipeline.protocols import Admission, Mapped, Outcome, Page, Slice


class Ledger:
    """What is known of each delivered indicator; implements :class:`tqmisp.pipeline.protocols.Journal`.

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
        events: the events that this run has written to, by their number.
        refs: all events of ours that are known, by their number.
        is_new: whether nothing was ever promised to this target before this run.
        is_of_this_reading: whether all that was ever promised was read by the present reading of the source, so that
            nothing can have left it.
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
        self.events: dict[int, EventRef] = {}
        self.is_new = True
        self.is_of_this_reading = False
        self._database = journal.database
        self._rows = Rows(target)
        self._leaving = Leaving(target)
        self._writer = Writer(self._rows, run, now)
        self._run = run
        self._now = now
        self._writing = anyio.Lock()
        self._series = Series(capacity, date, make_event)
        self._decisions = Decisions(self._series, now)
        self.refs = self._series.refs
        self._slices: dict[int, int] = {}  # id() of a slice under way -> its number
        self._leavers: dict[Place, Leaver] = {}  # about to be withdrawn
        self._any_leaving = False
        self._seeing = False
        self._keep_positions: Keep | None = None

    @property
    def tally(self) -> Tally:
        """What became of the indicators so far."""
        return self._decisions.tally

    @tally.setter
    def tally(self, tally: Tally) -> None:
        self._decisions.tally = tally

    async def load(self) -> None:
        """Read what earlier runs have left: events, today's open ones with their values, and refusals."""
        await self._database.do(self._load)

    def _load(self, connection: Connection) -> None:
        rows = self._rows
        self.is_new = rows.is_empty(connection)
        self._series.load(rows.events(connection), rows.next_event(connection), EVENT_STEP)
        self._decisions.refused_before = rows.refused(connection)
        self._any_leaving = self._leaving.count(connection) > 0

    def instead(self, ref: EventRef) -> EventRef | None:
        """Another event of the day, where people have deleted one before it was filled; None for older ones."""
        return self._series.instead(ref)

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
        self._decisions.positions = Positions(known)
        self._keep_positions = keep

    async def recognise(self, rows: Sequence[tuple[int, int]]) -> set[int]:
        """Which indicators need no look, as MISP has what was made of their rows and nothing is to be done about them.

        Args:
            rows: the ids of indicators with the stamps of their rows.
        """
        asked = [row for row in rows if row[0] not in self._decisions.refused_before]

        def find(connection: Connection) -> set[int]:
            strange = self._rows.strange(connection, asked)
            if self._any_leaving:
                strange.update(key for key, _ in self._leaving.among(connection, [key for key, _ in asked]))
            return strange

        return {key for key, _ in asked}.difference(await self._database.do(find)) if asked else set()

    async def look_up(self, page: Page[object], mapped: Mapped[Mappable]) -> Admission[EventRef, Planned]:
        """Read what is known of a page; the call that comes back sorts its attributes by what is to be done."""
        look = self._decisions.look(page, mapped)
        unread = self._series.unread()
        folds = await self._database.do(lambda connection: self._read(connection, look, list(unread)))
        for number, values in folds.items():
            unread[number].folds = values

        async def admit() -> Iterable[tuple[EventRef, Sequence[Planned]]]:
            groups = self._decisions.decide(look)
            held = self._decisions.held
            if self._seeing:
                held.seen += page.recognised
                held.seen += [key for key, _ in look.wanted]
                held.seen += look.gone
            if held.is_full():
                await self.flush()
            return groups.items()

        return admit

    def _read(self, connection: Connection, look: Look, unread: Sequence[int]) -> dict[int, set[int]]:
        """What is known of a page, what of it is to be withdrawn, and if something is new, the folds of these events.

        To read folds is to read the whole ledger, which a run that finds nothing new need not do.
        """
        wanted, gone = look.wanted, list(look.gone)
        if self._any_leaving:
            look.listed = self._leaving.among(connection, [*(key for key, _ in wanted), *gone])
        look.found = self._rows.look_up(connection, wanted, gone)
        if unread and any(look.found.is_new(place) for place in wanted):
            return self._rows.folds(connection, unread)
        return {}

    @property
    def has_put_off(self) -> bool:
        """Whether indicators are to take over attributes that were on their way; the next page decides about them."""
        return self._decisions.has_put_off

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
        groups: dict[EventRef, list[Planned]] = {}
        for leaver, body, marks in leavers:
            key, uuid = place = leaver.key, leaver.uuid
            if body is None:
                self._decisions.held.back.add(place)
                continue
            timestamp = max(int(self._now()), leaver.timestamp + 1)
            groups.setdefault(self.refs[leaver.event], []).append(
                Planned(key, uuid, leaver.fingerprint, 0, timestamp, Change.RETIRE, body, marks, leaver.marks)
            )
            self._leavers[place] = leaver
        return groups.items()

    async def promise(self, part: Slice[EventRef, Planned]) -> None:
        """Record the intent to deliver a slice, before anything of it is sent."""
        ref, items, refused_before = part.destination, part.items, self._decisions.refused_before
        async with self._writing:  # whoever takes the part of a new event is to be the first to write it
            former, orphans = self._decisions.take_former(items), self._decisions.take_orphans(items)
            again = [item.key for item in items if item.key in refused_before] if refused_before else []
            promise = Promise(part, former, orphans, again, self._series.take_unwritten(ref.number))
            writing = self._take_held()
            number = await self._database.do(lambda connection: self._writer.promise(connection, promise, writing))
        self.events[ref.number] = ref
        self._slices[id(part)] = number
        for key in again:
            refused_before.pop(key, None)

    async def confirm(self, part: Slice[EventRef, Planned], outcome: Outcome[EventRef, Planned]) -> None:
        """Record what became of a slice."""
        number = self._slices.pop(id(part))
        closed = self._series.is_replaced(part.destination)
        async with self._writing:  # what one slice finds, another may find as well, and one of them makes the row
            found = {ref.uuid: ref for _, ref in outcome.elsewhere}
            homes = {uuid: self._series.home(ref) for uuid, ref in found.items()}
            moved = await self._database.do(
                lambda connection: self._writer.confirm(connection, part, outcome, number, homes, close_event=closed)
            )
            self.events |= {ref.number: ref for ref in moved}
        self._count(outcome)
        self._decisions.confirmed(part.items)

    def _count(self, outcome: Outcome[EventRef, Planned]) -> None:
        elsewhere = [item for item, _ in outcome.elsewhere]
        there = [*outcome.stored, *outcome.unchanged, *elsewhere]
        self.tally.kept.update(outcome.kept)
        self.tally.confirm(outcome.stored, outcome.unchanged, elsewhere)
        for item, refusal in outcome.refused:
            if item.change != Change.RETIRE:
                self._decisions.refuse(item, refusal)
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
        held, positions = self._decisions.take_held(), self._decisions.positions
        self._any_leaving = self._any_leaving or bool(held.leaving)
        moved = positions.move() and self._keep_positions is not None
        return Writing(held, dict(positions.settled) if moved else None, self._keep_positions)

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
        numbers = list(dict.fromkeys(event.number for event in events))
        return await self._database.do(lambda connection: self._rows.counts(connection, numbers)) if numbers else {}
