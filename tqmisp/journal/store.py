"""The file or database that outlives a run."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
from sqlalchemy import Connection, Select, Update, UpdateBase, delete, func, insert, literal, select, tuple_, update
from sqlalchemy.exc import SQLAlchemyError

from tqmisp.errors import ConfigError, LockHeld
from tqmisp.journal import schema
from tqmisp.journal.copying import copy_to, throw_away_folder
from tqmisp.journal.database import FILE, Database, version
from tqmisp.journal.schema import events, refusals, runs, slices, sweeps, targets, watermarks
from tqmisp.pipeline.groups import first_error

_PROCESS = int(time.time())
"""Tells this process from an earlier one with the same number, as in a restarted container."""

LEASE_SECONDS = 60.0
"""How long a run that has died keeps others out."""
WAIT = "Wait for it to end, or stop it."


class RunRecord(NamedTuple):
    """A run of the past or the present."""

    run_id: str
    target: str
    started_at: float
    ended_at: float | None
    outcome: str
    """``running``, ``done``, ``failed`` or ``stopped``; ``died`` is a run that never said how it ended."""
    receipt: str | None
    """JSON."""


class RefusalRecord(NamedTuple):
    """An indicator that is not in MISP, and why."""

    indicator_id: int
    kind: str
    code: str
    reason: str
    label: str
    value: str
    """As it was read; lone surrogates are kept."""


class SliceRecord(NamedTuple):
    """A slice that was promised to an event and is not confirmed."""

    info: str
    """The title of the event."""
    items: int
    opened_at: float


class EventRecord(NamedTuple):
    """An event of ours."""

    uuid: str
    info: str
    date: str
    attributes: int
    """Attributes that were promised to it."""


class Journal:
    """What has been promised to each MISP and what has been confirmed, over all runs.

    Use :meth:`open`. One journal serves several targets; two runs on the same target exclude one another.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    @asynccontextmanager
    async def open(cls, place: Path | str) -> AsyncIterator[Journal]:
        """Open a journal, creating or upgrading its tables.

        Args:
            place: a folder, in which ``journal.sqlite`` is kept with mode 0600, or a database URL such as
                ``postgresql+psycopg://host/name``.

        Raises:
            ConfigError: the place cannot be used.
        """
        async with Database.open(place) as database:
            yield cls(database)

    @classmethod
    @asynccontextmanager
    async def look(cls, place: Path | str) -> AsyncIterator[Journal]:
        """Open a journal to read in it; where there is none, an empty one that is thrown away.

        Raises:
            ConfigError: the place cannot be used.
        """
        if isinstance(place, Path) and not await anyio.Path(place / FILE).exists():
            async with throw_away_folder() as folder, cls.open(folder) as journal:
                yield journal
            return
        async with Database.open(place, read_only=True) as database:
            journal = cls(database)
            if await database.do(version) == schema.HEAD:
                yield journal
            else:  # of an earlier tqmisp, or empty
                async with journal.copy() as copy:
                    yield copy

    @asynccontextmanager
    async def copy(self) -> AsyncIterator[Journal]:
        """Open a copy of the journal as it is now, in the folder for temporary files; it is thrown away afterwards.

        Raises:
            ConfigError: there is no room for it.
        """
        async with throw_away_folder() as folder:
            try:
                await self.database.do(lambda connection: copy_to(connection, folder))
            except (OSError, sqlite3.Error, SQLAlchemyError) as error:
                raise ConfigError(
                    f"The journal cannot be copied to {folder.parent}: {error}. TMPDIR names another folder."
                ) from error
            async with Journal.open(folder) as journal:
                yield journal

    async def target(self, name: str, url: str) -> int:
        """Return the number of a target, adding it when it is new."""

        def work(connection: Connection) -> int:
            found = connection.scalar(select(targets.c.id).where(targets.c.name == name))
            if found is None:
                result = connection.execute(insert(targets).values(name=name, url=url))
                found = result.inserted_primary_key[0] if result.inserted_primary_key else 0
            return int(found)

        return await self.database.do(work)

    async def learned(self, target: int) -> str | None:
        """What earlier runs have found out about a target, as JSON; None when nothing was."""
        [row] = await self._rows(select(targets.c.learned).where(targets.c.id == target))
        return None if row.learned is None else str(row.learned)

    async def learn(self, target: int, text: str) -> None:
        """Remember for the next run what was found out about a target."""
        await self._execute(update(targets).where(targets.c.id == target).values(learned=text))

    async def move(self, target: int, url: str) -> None:
        """Note that a target has another address."""
        await self._execute(update(targets).where(targets.c.id == target).values(url=url))

    async def is_adopting(self, target: int) -> bool:
        """Whether it takes over what MISP has of ours, since the journal is younger than that."""
        [row] = await self._rows(select(targets.c.adopting).where(targets.c.id == target))
        return bool(row.adopting)

    async def set_adopting(self, target: int, *, adopting: bool) -> None:
        """Note that it does from now on, or does not any more."""
        await self._execute(update(targets).where(targets.c.id == target).values(adopting=adopting))

    @asynccontextmanager
    async def lease(self, target: int) -> AsyncIterator[None]:
        """Keep every other run off a target.

        The lease is renewed as long as the block runs. When its holder dies it lapses after a minute, or at once when
        the holder was a process of this host.

        Raises:
            LockHeld: another run has it.
        """
        owner = f"{socket.gethostname()}:{os.getpid()}:{_PROCESS}"
        await self._take(target, owner)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._renew, target, owner, name="renew the lease")
                yield
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise first_error(group) from None
        finally:
            with anyio.CancelScope(shield=True):
                await self._execute(_of(target, owner).values(owner=None, lease_until=None))

    async def _take(self, target: int, owner: str) -> None:
        now = time.time()

        def work(connection: Connection) -> tuple[Any, bool]:
            row = connection.execute(select(targets).where(targets.c.id == target)).one()
            if row.owner is not None and row.lease_until >= now and not _is_dead(row.owner):
                return row, False
            taken = connection.execute(_of(target, row.owner).values(owner=owner, lease_until=now + LEASE_SECONDS))
            return row, bool(taken.rowcount)  # none where somebody was quicker

        row, taken = await self.database.do(work)
        if not taken:
            raise LockHeld(f"Another run is at work on target {row.name!r}{_whose(row.owner)}. {WAIT}")

    async def _renew(self, target: int, owner: str) -> None:
        """Keep the lease; a process that slept for longer than it lasts may find that somebody else has it."""
        while True:
            await anyio.sleep(LEASE_SECONDS / 4)
            if not await self._execute(_of(target, owner).values(lease_until=time.time() + LEASE_SECONDS)):
                raise LockHeld("This run was held up for so long that another one has taken its place. " + WAIT)

    async def holder(self, target: int) -> str | None:
        """Who is at work on a target now, as ``host:pid:since``; None when nobody is."""
        row = next(iter(await self._rows(select(targets).where(targets.c.id == target))), None)
        if row is None or row.owner is None or row.lease_until < time.time() or _is_dead(row.owner):
            return None
        return str(row.owner)

    async def start_run(self, run_id: str, target: int) -> int:
        """Record that a run begins; return its number."""
        died = update(runs).where(runs.c.target_id == target, runs.c.outcome == "running").values(outcome="died")
        begins = insert(runs).values(run_id=run_id, target_id=target, started_at=time.time(), outcome="running")

        def work(connection: Connection) -> int:
            connection.execute(died)
            result = connection.execute(begins)
            return int(result.inserted_primary_key[0]) if result.inserted_primary_key else 0

        return await self.database.do(work)

    async def end_run(self, run: int, outcome: str, receipt: str | None) -> None:
        """Record how a run ended."""
        ended = {"ended_at": time.time(), "outcome": outcome, "receipt": receipt}
        await self._execute(update(runs).where(runs.c.id == run).values(**ended))

    async def watermark(self, target: int, scope: str) -> str | None:
        """Up to which ``touched_at`` everything within a scope has been accounted for; None if nothing has."""
        query = select(watermarks.c.touched_at).where(watermarks.c.target_id == target, watermarks.c.scope == scope)
        return next((str(row[0]) for row in await self._rows(query)), None)

    async def set_watermark(self, target: int, scope: str, touched_at: str) -> None:
        """Record up to which ``touched_at`` everything within a scope has been accounted for."""
        here = (watermarks.c.target_id == target) & (watermarks.c.scope == scope)
        if not await self._execute(update(watermarks).where(here).values(touched_at=touched_at)):
            await self._execute(insert(watermarks).values(target_id=target, scope=scope, touched_at=touched_at))

    async def keep_watermarks(self, target: int, family: str) -> None:
        """Forget the watermarks of all scopes but those that begin so.

        A run within one of these leaves MISP as they want it, wherever it ends, so that others begin anew.
        """
        others = (watermarks.c.target_id == target) & ~watermarks.c.scope.startswith(family, autoescape=True)
        await self._execute(delete(watermarks).where(others))

    async def sweep(self, target: int, scope: str) -> str | None:
        """How far a reading of this scope had come that was broken off; None where there was none."""
        query = select(sweeps.c.plan).where(sweeps.c.target_id == target, sweeps.c.scope == scope)
        return next((str(row[0]) for row in await self._rows(query)), None)

    def keep_sweep(self, connection: Connection, target: int, scope: str, plan: str) -> None:
        """Record how far a reading has come; part of the transaction of its caller, in the thread of the database."""
        here = sweeps.c.target_id == target
        if not connection.execute(update(sweeps).where(here).values(scope=scope, plan=plan)).rowcount:
            connection.execute(insert(sweeps).values(target_id=target, scope=scope, plan=plan))

    async def end_sweep(self, target: int) -> None:
        """Record that a reading has come to its end."""
        await self._execute(delete(sweeps).where(sweeps.c.target_id == target))

    async def runs(self, limit: int = 10) -> list[RunRecord]:
        """The newest runs first."""
        query = (
            select(runs.c.run_id, targets.c.name, runs.c.started_at, runs.c.ended_at, runs.c.outcome, runs.c.receipt)
            .join(targets, targets.c.id == runs.c.target_id)
            .order_by(runs.c.id.desc())
            .limit(limit)
        )
        return [RunRecord(*row) for row in await self._rows(query)]

    async def run(self, run_id: str) -> RunRecord | None:
        """The newest run whose id begins so."""
        query = (
            select(runs.c.run_id, targets.c.name, runs.c.started_at, runs.c.ended_at, runs.c.outcome, runs.c.receipt)
            .join(targets, targets.c.id == runs.c.target_id)
            .where(runs.c.run_id.startswith(run_id, autoescape=True))
            .order_by(runs.c.id.desc())
            .limit(1)
        )
        return next((RunRecord(*row) for row in await self._rows(query)), None)

    async def targets(self) -> list[tuple[int, str, str]]:
        """Number, name and address of each target."""
        return [(row.id, row.name, row.url) for row in await self._rows(select(targets).order_by(targets.c.id))]

    async def events(self, target: int, limit: int = 20) -> list[EventRecord]:
        """The newest events of a target first."""
        query = (
            select(events.c.uuid, events.c.info, events.c.date, events.c.attributes)
            .where(events.c.target_id == target)
            .order_by(events.c.id.desc())
            .limit(limit)
        )
        return [EventRecord(*row) for row in await self._rows(query)]

    async def delivered_events(self, target: int, limit: int) -> list[str]:
        """UUIDs of the newest events of which a slice is settled, or that were found in MISP."""
        settled = select(slices.c.id).where(slices.c.event_id == events.c.id, slices.c.closed_at.is_not(None)).exists()
        query = select(events.c.uuid).where(events.c.target_id == target, settled | (events.c.part == 0))
        return [row.uuid for row in await self._rows(query.order_by(events.c.id.desc()).limit(limit))]

    async def open_slices(self, target: int) -> int:
        """How many slices were promised and are not confirmed."""
        query = select(func.count()).where(slices.c.target_id == target, slices.c.closed_at.is_(None))
        return int((await self._rows(query))[0][0])

    async def open_slice_records(self, target: int, limit: int = 10) -> list[SliceRecord]:
        """Slices that were promised and are not confirmed, the oldest first."""
        query = (
            select(events.c.info, slices.c["items"], slices.c.opened_at)
            .join(events, events.c.id == slices.c.event_id)
            .where(slices.c.target_id == target, slices.c.closed_at.is_(None))
            .order_by(slices.c.id)
            .limit(limit)
        )
        return [SliceRecord(*row) for row in await self._rows(query)]

    async def refusal_counts(self, target: int) -> dict[tuple[str, str], int]:
        """How many indicators are refused at present, by kind and code."""
        query = (
            select(refusals.c.kind, refusals.c.code, func.count())
            .where(refusals.c.target_id == target)
            .group_by(refusals.c.kind, refusals.c.code)
        )
        return {(row[0], row[1]): row[2] for row in await self._rows(query)}

    async def refusals(
        self, target: int, *, kind: str | None = None, code: str | None = None, limit: int = 10
    ) -> list[RefusalRecord]:
        """Some indicators that are refused at present, by their ids."""
        query = _refused(target).limit(limit)
        if kind is not None:
            query = query.where(refusals.c.kind == kind)
        if code is not None:
            query = query.where(refusals.c.code == code)
        return [_refusal(row) for row in await self._rows(query)]

    async def every_refusal(self, target: int, page: int = 5_000) -> AsyncIterator[list[RefusalRecord]]:
        """All indicators that are refused at present, by their ids, so many at a time."""
        start: tuple[Any, ...] | None = None
        alike = 0
        while True:
            query = _refused(target).limit(page).offset(alike)
            if start is not None:
                query = query.where(tuple_(*_KEY) >= tuple_(*map(literal, start, (key.type for key in _KEY))))
            rows = await self._rows(query)
            if not rows:
                return
            yield [_refusal(row) for row in rows]
            keys = [tuple(getattr(row, key.name) for key in _KEY) for row in rows]
            alike = keys.count(keys[-1]) + (alike if keys[-1] == start else 0)  # rows without an id may be the same
            start = keys[-1]

    async def _rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[Any]:
        return await self.database.do(lambda connection: connection.execute(query).all())

    async def _execute(self, statement: UpdateBase) -> int:
        """Execute one statement and return how many rows it has changed."""
        return await self.database.do(lambda connection: connection.execute(statement).rowcount)


def _of(target: int, owner: str | None) -> Update:
    """An update of a target as long as it has this owner."""
    return update(targets).where(targets.c.id == target, targets.c.owner.is_not_distinct_from(owner))


_KEY = (refusals.c.indicator_id, refusals.c.code, refusals.c.value, refusals.c.kind)


def _refused(target: int) -> Select[*tuple[Any, ...]]:
    return select(refusals).where(refusals.c.target_id == target).order_by(*_KEY)


def _refusal(row: Any) -> RefusalRecord:  # noqa: ANN401  a row has no type of its own
    value = bytes(row.value).decode("utf-8", "surrogatepass")
    return RefusalRecord(row.indicator_id, row.kind, row.code, row.reason, row.label, value)


def _whose(owner: str | None) -> str:
    if owner is None:
        return ""
    host, pid, since = owner.rsplit(":", 2)
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(int(since)))
    return f": process {pid} on {host}, since {started} UTC"


def _is_dead(owner: str) -> bool:
    """Whether the holder of a lease was a process of this host that has gone."""
    host, pid, started = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    if int(pid) == os.getpid():
        return int(started) != _PROCESS
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
