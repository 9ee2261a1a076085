"""The rows of one target: every statement that the ledger needs, and no decision.

All of it runs in the thread of the database, inside the transaction of whoever calls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, text, update

from tqmisp.journal.bulk import Blob, change_rows, insert_rows, select_from, select_in
from tqmisp.journal.holders import Holders, Place, having
from tqmisp.journal.schema import ASIDE, PRESENT, STALE, State, events, ledger, refusals, slices
from tqmisp.model import EventRef, Planned
from tqmisp.pipeline.protocols import Refusal

VALUE_BYTES = 1_000
"""How much of a refused value is kept."""
EVENT_STEP = 1_000
"""Numbers of events are this far apart: runs on other targets give out those between, at the same time."""
RECALLED_AT_ONCE = 5_000
"""Attributes a statement; SQLite takes 32,766 values, or more."""
COUNTED_ROWS = 100_000
"""Rows that are counted at once."""


class Known(NamedTuple):
    """What the ledger knows of an attribute."""

    uuid: bytes
    fingerprint: bytes
    event_id: int
    timestamp: int
    state: int
    marks: bytes = b""
    stamp: int = 0


class Owner(NamedTuple):
    """The indicator to which an attribute belongs, of those that share it."""

    key: int
    row: Known


class Found(NamedTuple):
    """What the ledger knows of the indicators of a page."""

    known: Mapping[Place, Known]
    owners: Mapping[bytes, Owner]
    """Whose the attributes are that are new, or shared."""

    def is_new(self, place: Place) -> bool:
        """Whether nobody has the attribute, as far as is known."""
        row = self.known.get(place)
        return (row is None or row.state == State.MERGED) and place[1] not in self.owners


class StoredEvent(NamedTuple):
    """An event of ours, with its place in the series of its day."""

    ref: EventRef
    part: int
    attributes: int
    closed: bool
    """Takes nothing more, whatever room it has."""


class Merged(NamedTuple):
    """An indicator that became the attribute of another one."""

    key: int
    uuid: bytes
    fingerprint: bytes
    fold: int
    event_id: int


_KNOWN = (
    ledger.c.indicator_id,
    ledger.c.uuid,
    ledger.c.fingerprint,
    ledger.c.event_id,
    ledger.c.timestamp,
    ledger.c.state,
    ledger.c.marks,
    ledger.c.stamp,
)
_THIS = (
    (ledger.c.target_id == bindparam("b_target"))
    & (ledger.c.indicator_id == bindparam("b_key"))
    & (ledger.c.uuid == bindparam("b_uuid"))
)
_PLACE = ("indicator_id", "target_id", "uuid")
_FORGET = delete(refusals).where(
    refusals.c.target_id == bindparam("target"), refusals.c.indicator_id.in_(bindparam("keys", expanding=True))
)


class Rows:
    """Reads and writes the rows of one target."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.holders = Holders(target)
        self._known = select(*_KNOWN).where(ledger.c.target_id == target)

    def is_empty(self, connection: Connection) -> bool:
        """Whether nothing was ever promised to the target."""
        query = select(ledger.c.uuid).where(ledger.c.target_id == self.target).limit(1)
        return connection.execute(query).first() is None

    def next_event(self, connection: Connection) -> int:
        """A number for the next new event, from where on every :data:`EVENT_STEP`-th is free."""
        highest = int(connection.scalar(select(func.max(events.c.id))) or 0)
        return (highest // EVENT_STEP + 1) * EVENT_STEP + self.target % EVENT_STEP

    def events(self, connection: Connection) -> list[StoredEvent]:
        """All events, the parts of a day in their order."""
        query = select(events).where(events.c.target_id == self.target).order_by(events.c.part)
        return [
            StoredEvent(EventRef(row.id, row.uuid, row.info, row.date), row.part, row.attributes, row.closed)
            for row in connection.execute(query)
        ]

    def folds(self, connection: Connection, numbers: Sequence[int]) -> dict[int, set[int]]:
        """The folded values of events, by their number."""
        query = select(ledger.c.event_id, ledger.c.fold).where(
            ledger.c.target_id == self.target, ledger.c.event_id.in_(numbers), ledger.c.state != State.MERGED
        )
        folds: dict[int, set[int]] = {number: set() for number in numbers}
        for event, fold in connection.execute(query):
            folds[event].add(fold)
        return folds

    def refused(self, connection: Connection) -> dict[int, tuple[str, str]]:
        """Kind and code of every refusal, by the id of its indicator."""
        query = select(refusals.c.indicator_id, refusals.c.kind, refusals.c.code)
        rows = connection.execute(query.where(refusals.c.target_id == self.target))
        pairs: dict[tuple[str, str], tuple[str, str]] = {}  # one of each, however many indicators have it
        return {key: pairs.setdefault((kind, code), (kind, code)) for key, kind, code in rows}

    def look_up(self, connection: Connection, wanted: Sequence[Place], others: Sequence[int] = ()) -> Found:
        """Find indicators by id and UUID, and whatever is known of others by their id."""
        keys = [key for key, _ in wanted]
        if not keys and not others:
            return Found({}, {})
        rows = select_in(connection, self._known, ledger.c.indicator_id, [*keys, *others])
        known = {(row[0], row[1]): Known(*row[1:]) for row in rows}
        shared = (
            [each for each in wanted if each not in known or known[each].state == State.MERGED] if known else wanted
        )
        return Found(known, self.owners(connection, [uuid for _, uuid in shared]))

    def strange(self, connection: Connection, given: Sequence[tuple[int, int]]) -> set[int]:
        """Which of these indicators, given with the stamps of their rows, are not known to be delivered as they are.

        One text comes back, however many there are: see :mod:`tqmisp.journal.bulk`.
        """
        ids = "group_concat(column1)"
        if connection.dialect.name != "sqlite":
            ids = "string_agg(column1::text, ',')"
        mine = f"FROM ledger WHERE indicator_id = column1 AND target_id = {self.target:d}"
        query = (
            f"SELECT {ids} FROM given WHERE NOT EXISTS (SELECT 1 {mine} AND state = 0 AND stamp = column2) "  # noqa: S608
            f"OR EXISTS (SELECT 1 {mine} AND (state <> 0 OR stamp <> column2))"
        )
        return {int(key) for (text,) in select_from(connection, query, given) if text for key in text.split(",")}

    def restamp(self, connection: Connection, stamps: Mapping[Place, int]) -> None:
        """Note that attributes which are as they should be were made from other rows than before."""
        rows = [(key, self.target, Blob(uuid), stamp) for (key, uuid), stamp in stamps.items()]
        change_rows(connection, ledger, _PLACE, ("stamp",), rows)

    def owners(self, connection: Connection, uuids: Sequence[bytes]) -> dict[bytes, Owner]:
        """Whose these attributes are."""
        places = [(key, Blob(uuid)) for key, uuid in self.holders.places(connection, uuids)]
        columns = ", ".join(column.name for column in _KNOWN)
        query = (
            f"SELECT {columns} FROM given JOIN ledger ON indicator_id = column1 AND uuid = column2 "  # noqa: S608
            f"WHERE target_id = {self.target:d} AND state <> {State.MERGED:d}"
        )
        return {row[1]: Owner(row[0], Known(*row[1:])) for row in select_from(connection, query, places)}

    def counts(self, connection: Connection, numbers: Collection[int]) -> dict[int, int]:
        """How many attributes of these events MISP counts, of those that were delivered.

        The ledger has no index by event: all of it is read, once for all events, and in parts, since SQLite sorts what
        it groups in memory.
        """
        counts = dict.fromkeys(numbers, 0)
        key = ledger.c.indicator_id
        grouped = (
            select(ledger.c.event_id, func.count())
            .where(ledger.c.target_id == self.target, ledger.c.event_id.in_(numbers), ledger.c.state.in_(PRESENT))
            .group_by(ledger.c.event_id)
        )
        last: int | None = -1
        while last is not None:
            here = key > last
            last = connection.scalar(select(key).where(here).order_by(key).offset(COUNTED_ROWS).limit(1))
            for event, count in connection.execute(grouped.where(here if last is None else here & (key <= last))):
                counts[event] += count
        return counts

    def add_event(self, connection: Connection, ref: EventRef, part: int, attributes: int) -> None:
        """Insert an event."""
        values: dict[str, Any] = {"id": ref.number, "uuid": ref.uuid, "info": ref.info, "date": ref.date}
        values |= {"target_id": self.target, "part": part, "attributes": attributes, "closed": False}
        connection.execute(insert(events).values(values))

    def fill_event(self, connection: Connection, event: int, added: int) -> None:
        """Count further attributes in an event, or fewer."""
        connection.execute(update(events).where(events.c.id == event).values(attributes=events.c.attributes + added))

    def set_due(self, connection: Connection, numbers: Sequence[int], *, due: bool) -> None:
        """Note that events are written to, and so unpublished, or that this is settled."""
        connection.execute(update(events).where(events.c.id.in_(numbers)).values(due=due))

    def due_events(self, connection: Connection) -> list[int]:
        """The events that were written to, and of which it is not settled whether they are published again."""
        return list(connection.scalars(select(events.c.id).where(events.c.target_id == self.target, events.c.due)))

    def close_event(self, connection: Connection, event: int) -> None:
        """Give nothing more to an event."""
        connection.execute(update(events).where(events.c.id == event).values(closed=True))

    def open_slice(self, connection: Connection, run: int, event: int, items: int, now: float) -> int:
        """Insert a slice that is about to be sent; return its number."""
        result = connection.execute(
            insert(slices).values(target_id=self.target, run_id=run, event_id=event, items=items, opened_at=now)
        )
        return _key(result.inserted_primary_key)

    def close_slices(self, connection: Connection, numbers: Sequence[int], now: float) -> None:
        """Note that everything about these slices is known."""
        connection.execute(update(slices).where(slices.c.id.in_(numbers)).values(closed_at=now))

    def open_slices(self, connection: Connection) -> list[tuple[int, float]]:
        """The slices that are not closed: numbers, and when they were opened in seconds since 1970."""
        query = select(slices.c.id, slices.c.opened_at)
        query = query.where(slices.c.target_id == self.target, slices.c.closed_at.is_(None))
        return [(row.id, row.opened_at) for row in connection.execute(query)]

    def of_slice(self, connection: Connection, number: int) -> list[tuple[int, Known]]:
        """The indicators that were last sent with a slice."""
        query = select(*_KNOWN).where(ledger.c.target_id == self.target, ledger.c.slice_id == number)
        return [(row[0], Known(*row[1:])) for row in connection.execute(query)]

    def of_event(self, connection: Connection, event: int, states: Collection[State]) -> Iterator[tuple[int, Known]]:
        """The indicators whose attributes are in an event, with the states named."""
        query = select(*_KNOWN).where(
            ledger.c.target_id == self.target, ledger.c.event_id == event, ledger.c.state.in_(states)
        )
        for row in connection.execute(query):
            yield row[0], Known(*row[1:])

    def sharers(self, connection: Connection, uuids: Sequence[bytes]) -> dict[bytes, int]:
        """For each attribute that other indicators share with its owner, the lowest id of those."""
        query = (
            select(ledger.c.uuid, func.min(ledger.c.indicator_id))
            .where(ledger.c.target_id == self.target, having(uuids), ledger.c.state == State.MERGED)
            .group_by(ledger.c.uuid)
        )
        return {row[0]: row[1] for row in connection.execute(query)}

    def add(self, connection: Connection, items: Sequence[Planned], event: int, number: int) -> None:
        """Insert attributes that are about to be sent."""
        live = int(State.LIVE)
        insert_rows(
            connection,
            ledger,
            [
                (
                    each.key,
                    self.target,
                    Blob(each.uuid),
                    Blob(each.fingerprint),
                    each.fold,
                    event,
                    number,
                    each.timestamp,
                    live,
                    Blob(each.base + each.marks),
                    each.stamp,
                )
                for each in items
            ],
        )
        self.holders.add(connection, [(each.key, each.uuid) for each in items])

    def add_merged(self, connection: Connection, merged: Sequence[Merged]) -> None:
        """Insert indicators that became the attributes of others."""
        state = int(State.MERGED)
        insert_rows(
            connection,
            ledger,
            [
                (key, self.target, Blob(uuid), Blob(mark), fold, event, 0, 0, state, Blob(), 0)
                for key, uuid, mark, fold, event in merged
            ],
        )
        self.holders.add(connection, [(each.key, each.uuid) for each in merged])

    def change(self, connection: Connection, changes: Sequence[tuple[int, bytes, dict[str, object]]]) -> None:
        """Set columns of rows, given as id of the indicator, UUID, and the same columns for all."""
        if changes:
            rows = [(key, self.target, Blob(uuid), *values.values()) for key, uuid, values in changes]
            change_rows(connection, ledger, _PLACE, list(changes[0][2]), rows)

    def set_deleted(self, connection: Connection, uuids: Sequence[bytes]) -> int:
        """Mark those of these attributes that MISP had as deleted there; return how many were."""
        here = (ledger.c.target_id == self.target) & having(uuids) & ledger.c.state.in_(PRESENT)
        return connection.execute(update(ledger).where(here).values(state=int(State.DELETED))).rowcount

    def set_event_deleted(self, connection: Connection, event: int) -> int:
        """The same for all attributes of an event, which takes nothing more."""
        self.close_event(connection, event)
        here = (ledger.c.target_id == self.target) & (ledger.c.event_id == event) & ledger.c.state.in_(PRESENT)
        return connection.execute(update(ledger).where(here).values(state=int(State.DELETED))).rowcount

    def drop(self, connection: Connection, places: Collection[Place]) -> None:
        """Delete rows."""
        if places:
            connection.execute(
                delete(ledger).where(_THIS),
                [{"b_target": self.target, "b_key": key, "b_uuid": uuid} for key, uuid in places],
            )

    def drop_planned(self, connection: Connection, numbers: Sequence[int]) -> None:
        """Delete what was promised with these slices and never found again."""
        if not numbers:
            return
        here = (ledger.c.target_id == self.target, ledger.c.slice_id.in_(numbers), ledger.c.state == State.PLANNED)
        query = select(ledger.c.indicator_id, ledger.c.uuid).where(*here, text(f"({ASIDE})"))
        places = [(row[0], row[1]) for row in connection.execute(query)]
        self.drop(connection, places)
        self.recall(connection, [uuid for _, uuid in places])

    def recall(self, connection: Connection, uuids: Sequence[bytes]) -> None:
        """Have indicators looked at anew that have shared attributes whose owners have gone without being delivered."""
        for start in range(0, len(uuids), RECALLED_AT_ONCE):
            heirs = self.sharers(connection, uuids[start : start + RECALLED_AT_ONCE])
            self.change(connection, [(key, uuid, {"stamp": STALE}) for uuid, key in heirs.items()])

    def add_refusals(self, connection: Connection, refused: Sequence[Refusal], run: int) -> None:
        """Insert refusals, in place of earlier ones of the same indicators."""
        self.forget_refusals(connection, [refusal.key for refusal in refused if refusal.key >= 0])
        insert_rows(
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

    def forget_refusals(self, connection: Connection, keys: Sequence[int]) -> None:
        """Delete the refusals of these indicators."""
        if keys:
            connection.execute(_FORGET, {"target": self.target, "keys": keys})


def _key(inserted: Any) -> int:  # noqa: ANN401  SQLAlchemy types it so
    """The number of a row that was inserted."""
    return int(inserted[0])
