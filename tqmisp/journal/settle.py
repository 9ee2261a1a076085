"""Finding out what became of the slices that a run left open when it died."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import anyio
from sqlalchemy import Connection, select, text

from tqmisp.journal.database import Database
from tqmisp.journal.leaving import SAME
from tqmisp.journal.rows import Known, Rows
from tqmisp.journal.schema import ASIDE, STALE, State, leaving, ledger, slices
from tqmisp.journal.store import Journal
from tqmisp.model import EventRef, Sight

STILL_RUNNING = 900.0
"""Seconds after which no request of a dead run can be at work any more: three times MISP's own limit."""
INTERVAL = 1.0
"""Seconds between two looks."""

Look = Callable[[EventRef, Mapping[bytes, bytes]], Awaitable[Mapping[bytes, Sight]]]
"""Takes the marks of attributes of an event by UUID, and gives those that MISP holds."""


class Settlement:
    """Settles the promises of dead runs on one target.

    Args:
        journal: where they are kept.
        target: the number of the target.
        refs: its events, by their number.
        look: looks at MISP.
        wait: seconds to wait for requests that may still be at work on the server: it goes on with them when their
            client is gone, and to send the same at the same time would be a race.
        now: the clock, in seconds since 1970.
        sleep: waits.
    """

    def __init__(
        self,
        journal: Journal,
        target: int,
        refs: Mapping[int, EventRef],
        look: Look,
        *,
        wait: float = 0.0,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._database: Database = journal.database
        self._rows = Rows(target)
        self._refs = refs
        self._look = look
        self._wait = wait
        self._now = now
        self._sleep = sleep

    async def settle(self) -> int:
        """Look at every open slice.

        Returns:
            How many attributes had been promised and were not found. They are delivered again, to the same events and
            with the same timestamps, when their indicators are read.
        """
        missing = 0
        for number, opened in await self._database.do(self._rows.open_slices):
            rows = await self._database.do(partial(self._rows.of_slice, number=number))
            found = await self._find(rows, opened)
            missing += await self._database.do(partial(self._record, number=number, rows=rows, found=found))
        return missing

    async def left(self) -> list[int]:
        """The indicators whose attributes may not be in MISP as ThreatQ has them, though a reading has not met them.

        Dead runs have promised them, or have passed attributes on to them, or whoever had their attributes has gone
        without being delivered; and nothing has moved them in ThreatQ since.
        What is to be withdrawn anyway, or waits to be mended by a complete reading, is not among them.
        """
        target = self._rows.target
        unsettled = select(slices.c.id).where(slices.c.target_id == target, slices.c.closed_at.is_(None))
        promised = (ledger.c.state == State.PLANNED) & ledger.c.slice_id.in_(unsettled)
        changed = (ledger.c.state == State.LIVE) & (ledger.c.stamp == STALE) & (ledger.c.marks != b"")
        recalled = (ledger.c.state == State.MERGED) & (ledger.c.stamp == STALE)
        listed = select(leaving.c.uuid).where(SAME).exists()
        wanted = promised | changed | recalled
        query = select(ledger.c.indicator_id).where(ledger.c.target_id == target, wanted, ~listed)
        query = query.where(text(f"({ASIDE})"))
        return sorted(set(await self._database.do(lambda connection: connection.scalars(query).all())))

    async def finish(self) -> None:
        """Let go of promises whose indicators are no longer selected; call after a complete reading."""

        def work(connection: Connection) -> None:
            numbers = [number for number, _ in self._rows.open_slices(connection)]
            self._rows.drop_planned(connection, numbers)
            self._rows.close_slices(connection, numbers, self._now())

        await self._database.do(work)

    async def _find(self, rows: Sequence[tuple[int, Known]], opened: float) -> dict[bytes, Sight]:
        """What MISP holds, after as many looks as are worth it."""
        left: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        for _, row in rows:
            left[row.event_id][row.uuid] = row.marks
        found: dict[bytes, Sight] = {}
        while True:
            for event_id, promised in left.items():
                seen = await self._look(self._refs[event_id], promised)
                found.update(seen)
                left[event_id] = {
                    uuid: marks for uuid, marks in promised.items() if uuid not in seen or seen[uuid].marks
                }
            if not any(left.values()) or self._wait <= 0 or self._now() - opened > STILL_RUNNING:
                return found
            pause = min(self._wait, INTERVAL)
            self._wait -= pause
            await self._sleep(pause)

    def _record(
        self, connection: Connection, number: int, rows: Sequence[tuple[int, Known]], found: Mapping[bytes, Sight]
    ) -> int:
        changes: list[tuple[int, bytes, dict[str, object]]] = []
        for key, row in rows:
            there = found.get(row.uuid)
            if there is None:
                changes.append((key, row.uuid, {"state": int(State.PLANNED), "stamp": row.stamp, "marks": row.marks}))
            elif there.marks or there.timestamp != row.timestamp:  # not as promised: half of it, or by people since
                marks = there.marks + row.marks
                changes.append((key, row.uuid, {"state": int(State.LIVE), "stamp": STALE, "marks": marks}))
        lost = sum(values["state"] == State.PLANNED for _, _, values in changes)
        self._rows.change(connection, changes)
        if not lost:
            self._rows.close_slices(connection, [number], self._now())
        return lost
