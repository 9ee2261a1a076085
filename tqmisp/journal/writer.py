"""The transactions of a ledger. All of it runs in the thread of the database, on what the ledger hands over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from tqmisp.journal.held import Held
from tqmisp.journal.holders import Place
from tqmisp.journal.leaving import Leaving
from tqmisp.journal.rows import Rows
from tqmisp.journal.schema import STALE, State
from tqmisp.journal.series import Home
from tqmisp.model import Change, EventRef, Planned
from tqmisp.pipeline.protocols import Outcome, Slice

OUT = frozenset({"deleted_in_misp", "event_blocked"})
"""Codes of refusals that people have decided, by deleting something in MISP."""
Keep = Callable[[Connection, Mapping[int, str]], None]
"""Writes how far the parts of a source are accounted for."""


class Writing(NamedTuple):
    """What is written along with whatever is the reason for a transaction."""

    held: Held
    positions: Mapping[int, str] | None
    """How far the parts of the source are accounted for, where that is news."""
    keep: Keep | None


class Promise(NamedTuple):
    """A slice that is about to be sent."""

    part: Slice[EventRef, Planned]
    former: Mapping[bytes, int]
    """The present owners of attributes that other indicators take over."""
    orphans: set[Place]
    """Rows that shared an attribute which there is no more, to be replaced."""
    again: Sequence[int]
    """Indicators whose refusals are to be forgotten."""
    series_part: int | None
    """The place of its event in the series of the day, where the event is new."""


class Writer:
    """Writes for one run on one target, given as its rows."""

    def __init__(self, rows: Rows, run: int, now: Callable[[], float]) -> None:
        self._rows = rows
        self._leaving = Leaving(rows.target)
        self._run = run
        self._now = now

    def write(self, connection: Connection, writing: Writing) -> None:
        """Write what has waited."""
        held, rows = writing.held, self._rows
        rows.add_merged(connection, list(held.merged.values()))
        rows.forget_refusals(connection, held.forgiven)
        rows.add_refusals(connection, held.refused, self._run)
        rows.restamp(connection, held.stamps)
        rows.drop(connection, held.drops)
        rows.recall(connection, list(held.heirless))
        self._leaving.forget(connection, held.back)
        self._leaving.note(connection, held.leaving, self._run)
        self._leaving.see(connection, held.seen)
        if writing.positions is not None and writing.keep is not None:
            writing.keep(connection, writing.positions)

    def promise(self, connection: Connection, promise: Promise, writing: Writing) -> int:
        """Record that a slice is about to be sent; return its number."""
        rows, ref, items = self._rows, promise.part.destination, promise.part.items
        made = [item for item in items if item.change is Change.CREATE]
        others = [item for item in items if item.change is not Change.CREATE]
        taken = [item for item in others if item.uuid in promise.former]
        again = [item for item in others if item.uuid not in promise.former]
        if promise.series_part is None:
            rows.fill_event(connection, ref.number, len(made))
        else:
            rows.add_event(connection, ref, promise.series_part, len(made))
        rows.set_due(connection, [ref.number], due=True)
        number = rows.open_slice(connection, self._run, ref.number, len(items), self._now())
        self.write(connection, writing)
        rows.drop(connection, promise.orphans | {(item.key, item.uuid) for item in taken})
        merged: dict[str, object] = {"state": int(State.MERGED), "slice_id": 0}
        rows.change(connection, [(key, uuid, merged) for uuid, key in promise.former.items()])
        rows.add(connection, [*made, *taken], ref.number, number)
        rows.change(connection, [_promised(item, number) for item in again])
        rows.forget_refusals(connection, promise.again)
        return number

    def confirm(
        self,
        connection: Connection,
        part: Slice[EventRef, Planned],
        outcome: Outcome[EventRef, Planned],
        number: int,
        homes: Mapping[str, Home],
        *,
        close_event: bool,
    ) -> list[EventRef]:
        """Record what became of a slice; return the events in which its attributes are instead of their own."""
        rows, left = self._rows, part.destination.number
        out = [(item, State.DELETED if refusal.code in OUT else State.QUARANTINED) for item, refusal in outcome.refused]
        # what MISP refuses to change is still there as it was
        out = [(item, state) for item, state in out if state == State.DELETED or not _was_there(item)]
        rows.change(connection, [(item.key, item.uuid, {"state": int(state)}) for item, state in out])
        there = [*outcome.stored, *outcome.unchanged, *(item for item, _ in outcome.elsewhere)]
        rows.change(connection, [_confirmed(item) for item in there if _was_there(item) or item.change == Change.ADOPT])
        gone = [*there, *(item for item, state in out if state == State.DELETED)]
        self._leaving.forget(connection, [(item.key, item.uuid) for item in gone if item.change == Change.RETIRE])
        moved = {uuid: self._see_to(connection, home) for uuid, home in homes.items()}
        for item, ref in outcome.elsewhere:
            event = moved[ref.uuid].number
            rows.change(connection, [(item.key, item.uuid, {"event_id": event})])
            rows.fill_event(connection, left, -1)
            rows.fill_event(connection, event, 1)
        written = {moved[ref.uuid].number for item, ref in outcome.elsewhere if item.change != Change.ADOPT}
        rows.set_due(connection, sorted(written), due=True)
        if close_event:
            rows.close_event(connection, left)
        rows.close_slices(connection, [number], self._now())
        return list(moved.values())

    def _see_to(self, connection: Connection, home: Home) -> EventRef:
        """The event, after a row was made where there was none."""
        if home.series_part is not None:
            self._rows.add_event(connection, home.ref, home.series_part, 0)
        return home.ref


def _was_there(item: Planned) -> bool:
    """Whether MISP had the attribute before; one that is withdrawn may have come without marks."""
    return bool(item.base) or item.change is Change.RETIRE


def _promised(item: Planned, number: int) -> tuple[int, bytes, dict[str, object]]:
    """The change of a row for an attribute that is about to be sent again; its older marks stay beside the new ones.

    One that is withdrawn is not any more what its fingerprint says, should this run die and its indicator come back.
    """
    return (
        item.key,
        item.uuid,
        {
            "fingerprint": item.fingerprint,
            "stamp": STALE if item.change is Change.RETIRE else item.stamp,
            "slice_id": number,
            "timestamp": item.timestamp,
            "state": int(State.LIVE),
            "marks": item.base + item.marks,
        },
    )


def _confirmed(item: Planned) -> tuple[int, bytes, dict[str, object]]:
    """The change of a row for an attribute that MISP was seen to hold."""
    withdrawn = State.REMOVED if item.deletes else State.RETIRED
    state = withdrawn if item.change == Change.RETIRE else State.LIVE
    return item.key, item.uuid, {"marks": item.marks, "timestamp": item.timestamp, "state": int(state)}
