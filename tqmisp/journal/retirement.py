"""The last part of a run: withdrawing what has left the selection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from functools import partial
from typing import Protocol

from sqlalchemy import Connection

from tqmisp.journal.holders import Place
from tqmisp.journal.leaving import ABSENT, Leaving
from tqmisp.journal.ledger import Ledger
from tqmisp.journal.rows import Rows
from tqmisp.journal.schema import STALE, State
from tqmisp.journal.store import Journal
from tqmisp.model import EventRef, Leaver, Planned
from tqmisp.pipeline.protocols import Admission, Mapped, Outcome, Page, Slice

LEAVERS_A_PAGE = 2_000


class Decided(Protocol):
    """An attribute, and what becomes of it."""

    @property
    def leaver(self) -> Leaver:
        """Whose indicator has left."""
        ...

    @property
    def body(self) -> bytes | None:
        """Withdraws it; None where it is left as it is."""
        ...

    @property
    def marks(self) -> bytes:
        """Of the attribute as it will be; kept to tell what we have done from what people have changed."""
        ...


class Retirement:
    """What has left the selection: source and journal of the pipeline that withdraws it.

    Attributes:
        heirs: indicators to which attributes have passed whose owners left; what these lend is to be looked at anew.
    """

    def __init__(self, journal: Journal, target: int, run: int, ledger: Ledger) -> None:
        self.heirs: list[int] = []
        self._database = journal.database
        self._rows = Rows(target)
        self._leaving = Leaving(target)
        self._run = run
        self._ledger = ledger

    async def find_absent(self) -> None:
        """List the attributes of all indicators that a complete reading has not come across."""
        if self._ledger.is_of_this_reading:
            return

        def work(connection: Connection) -> None:
            self._rows.recall(connection, self._leaving.find_absent(connection, self._run))

        await self._database.do(work)
        self._ledger.expect_leavers()

    async def listed(self) -> tuple[int, int]:
        """How many attributes are listed to be withdrawn, and of how many that MISP holds of ours if any are."""

        def work(connection: Connection) -> tuple[int, int]:
            self._leaving.tidy(connection)
            listed = self._leaving.count(connection)
            return listed, self._leaving.live(connection) if listed else 0

        return await self._database.do(work)

    async def absent(self, size: int) -> AsyncGenerator[list[int], None]:
        """Yield the indicators that a complete reading has not come across, in lists of at most this size."""
        after: Place | None = None
        while True:
            leavers = await self._database.do(partial(self._leaving.next, after=after, limit=size, code=ABSENT))
            if not leavers:
                return
            yield [leaver.key for leaver in leavers]
            after = leavers[-1].key, leavers[-1].uuid

    async def shards(self) -> Sequence[Retirement]:
        """One part: the list."""
        return [self]

    async def pages(self) -> AsyncGenerator[Page[Leaver], None]:
        """Yield what is to be withdrawn.

        An attribute that other indicators share stays, and passes to the lowest of their ids.
        """
        after: Place | None = None
        while True:
            leavers = await self._database.do(partial(self._leaving.next, after=after, limit=LEAVERS_A_PAGE))
            if not leavers:
                return
            heirs = await self._database.do(partial(self._pass_on, leavers))
            self.heirs += heirs.values()
            self._ledger.withdraw(leaver for leaver in leavers if leaver.uuid in heirs)
            yield Page([leaver for leaver in leavers if leaver.uuid not in heirs], 0)
            after = leavers[-1].key, leavers[-1].uuid

    def _pass_on(self, leavers: Sequence[Leaver], connection: Connection) -> dict[bytes, int]:
        """Give attributes to those that share them; return who these are."""
        heirs = self._rows.sharers(connection, [leaver.uuid for leaver in leavers])
        passed = [leaver for leaver in leavers if leaver.uuid in heirs]
        places = [(leaver.key, leaver.uuid) for leaver in passed]
        self._leaving.forget(connection, places)
        self._rows.drop(connection, places)
        self._rows.change(connection, [_inherited(heirs[leaver.uuid], leaver) for leaver in passed])
        return heirs

    async def look_up(self, _page: Page[object], mapped: Mapped[Decided]) -> Admission[EventRef, Planned]:
        """Everything is known already; return the call that plans what must be sent."""

        async def admit() -> Iterable[tuple[EventRef, Sequence[Planned]]]:
            return self._ledger.retire([(each.leaver, each.body, each.marks) for each in mapped.items])

        return admit

    async def promise(self, part: Slice[EventRef, Planned]) -> None:
        """Record the intent."""
        await self._ledger.promise(part)

    async def confirm(self, part: Slice[EventRef, Planned], outcome: Outcome[EventRef, Planned]) -> None:
        """Record what became of it."""
        await self._ledger.confirm(part, outcome)


def _inherited(heir: int, leaver: Leaver) -> tuple[int, bytes, dict[str, object]]:
    """The change of a row by which an indicator becomes the owner of an attribute that it has shared."""
    return (
        heir,
        leaver.uuid,
        {
            "stamp": STALE,
            "event_id": leaver.event,
            "timestamp": leaver.timestamp,
            "state": int(State.LIVE),
            "marks": leaver.marks,
        },
    )
