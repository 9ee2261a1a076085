"""The file or database that outlives a run."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
from sqlalchemy import Connection, Select, event, func, insert, inspect, select, text, update
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from tqmisp.errors import ConfigError, LockHeld
from tqmisp.journal import schema
from tqmisp.journal.schema import events, refusals, runs, slices, targets, watermarks
from tqmisp.pipeline.groups import first_error

_PROCESS = int(time.time())
"""Tells this process from an earlier one with the same number, as in a restarted container."""

LEASE_SECONDS = 60.0
"""How long a run that has died keeps others out."""


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

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

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
        engine: AsyncEngine | None = None
        try:
            engine = await anyio.to_thread.run_sync(_engine, place)
            async with engine.begin() as connection:
                await connection.run_sync(_migrate)
        except (OSError, SQLAlchemyError) as error:
            if engine is not None:
                await engine.dispose()
            if isinstance(place, str) and "://" in place:
                place = "the database of [state] path"  # its URL may hold a password
            raise ConfigError(f"The journal at {place} cannot be used: {_words(error)}") from error
        try:
            yield cls(engine)
        finally:
            with anyio.CancelScope(shield=True):
                await engine.dispose()

    async def target(self, name: str, url: str) -> int:
        """Return the number of a target, adding it when it is new."""
        async with self.engine.begin() as connection:
            found = await connection.scalar(select(targets.c.id).where(targets.c.name == name))
            if found is None:
                result = await connection.execute(insert(targets).values(name=name, url=url))
                found = result.inserted_primary_key[0] if result.inserted_primary_key else 0
        return int(found)

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
                async with self.engine.begin() as connection:
                    await connection.execute(
                        update(targets)
                        .where(targets.c.id == target, targets.c.owner == owner)
                        .values(owner=None, lease_until=None)
                    )

    async def _take(self, target: int, owner: str) -> None:
        now = time.time()
        async with self.engine.begin() as connection:
            row = (await connection.execute(select(targets).where(targets.c.id == target))).one()
            free = row.owner is None or row.lease_until < now or _is_dead(row.owner)
            holder = targets.c.owner.is_(None) if row.owner is None else targets.c.owner == row.owner
            taken = (
                free
                and (
                    await connection.execute(
                        update(targets)
                        .where(targets.c.id == target, holder)
                        .values(owner=owner, lease_until=now + LEASE_SECONDS)
                    )
                ).rowcount
            )
        if not taken:
            host, pid, since = row.owner.rsplit(":", 2)
            started = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(int(since)))
            raise LockHeld(
                f"Another run is at work on target {row.name!r}: process {pid} on {host}, since {started} UTC. "
                "Wait for it to end, or stop it."
            )

    async def _renew(self, target: int, owner: str) -> None:
        while True:
            await anyio.sleep(LEASE_SECONDS / 4)
            async with self.engine.begin() as connection:
                await connection.execute(
                    update(targets)
                    .where(targets.c.id == target, targets.c.owner == owner)
                    .values(lease_until=time.time() + LEASE_SECONDS)
                )

    async def holder(self, target: int) -> str | None:
        """Who is at work on a target now, as ``host:pid:since``; None when nobody is."""
        async with self.engine.connect() as connection:
            row = (await connection.execute(select(targets).where(targets.c.id == target))).one_or_none()
        if row is None or row.owner is None or row.lease_until < time.time() or _is_dead(row.owner):
            return None
        return str(row.owner)

    async def start_run(self, run_id: str, target: int) -> int:
        """Record that a run begins; return its number."""
        async with self.engine.begin() as connection:
            await connection.execute(
                update(runs).where(runs.c.target_id == target, runs.c.outcome == "running").values(outcome="died")
            )
            result = await connection.execute(
                insert(runs).values(run_id=run_id, target_id=target, started_at=time.time(), outcome="running")
            )
        return int(result.inserted_primary_key[0]) if result.inserted_primary_key else 0

    async def end_run(self, run: int, outcome: str, receipt: str | None) -> None:
        """Record how a run ended."""
        async with self.engine.begin() as connection:
            await connection.execute(
                update(runs).where(runs.c.id == run).values(ended_at=time.time(), outcome=outcome, receipt=receipt)
            )

    async def watermark(self, target: int, scope: str) -> str | None:
        """Up to which ``touched_at`` everything within a scope has been accounted for; None if nothing has."""
        async with self.engine.connect() as connection:
            found = await connection.scalar(
                select(watermarks.c.touched_at).where(watermarks.c.target_id == target, watermarks.c.scope == scope)
            )
        return None if found is None else str(found)

    async def set_watermark(self, target: int, scope: str, touched_at: str) -> None:
        """Record up to which ``touched_at`` everything within a scope has been accounted for."""
        here = (watermarks.c.target_id == target) & (watermarks.c.scope == scope)
        async with self.engine.begin() as connection:
            if not (await connection.execute(update(watermarks).where(here).values(touched_at=touched_at))).rowcount:
                await connection.execute(
                    insert(watermarks).values(target_id=target, scope=scope, touched_at=touched_at)
                )

    async def runs(self, limit: int = 10) -> list[RunRecord]:
        """The newest runs first."""
        query = (
            select(runs.c.run_id, targets.c.name, runs.c.started_at, runs.c.ended_at, runs.c.outcome, runs.c.receipt)
            .join(targets, targets.c.id == runs.c.target_id)
            .order_by(runs.c.id.desc())
            .limit(limit)
        )
        return [RunRecord(*row) for row in await self._rows(query)]

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

    async def open_slices(self, target: int) -> int:
        """How many slices were promised and are not confirmed."""
        query = select(func.count()).where(slices.c.target_id == target, slices.c.closed_at.is_(None))
        return int((await self._rows(query))[0][0])

    async def refusal_counts(self, target: int) -> dict[tuple[str, str], int]:
        """How many indicators are refused at present, by kind and code."""
        query = (
            select(refusals.c.kind, refusals.c.code, func.count())
            .where(refusals.c.target_id == target)
            .group_by(refusals.c.kind, refusals.c.code)
        )
        return {(row[0], row[1]): row[2] for row in await self._rows(query)}

    async def refusals(self, target: int, *, code: str | None = None, limit: int = 10) -> list[RefusalRecord]:
        """Some indicators that are refused at present."""
        query = select(refusals).where(refusals.c.target_id == target).limit(limit)
        if code is not None:
            query = query.where(refusals.c.code == code)
        return [
            RefusalRecord(
                row.indicator_id,
                row.kind,
                row.code,
                row.reason,
                row.label,
                bytes(row.value).decode("utf-8", "surrogatepass"),
            )
            for row in await self._rows(query)
        ]

    async def _rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[Any]:
        async with self.engine.connect() as connection:
            return (await connection.execute(query)).all()


def _engine(place: Path | str) -> AsyncEngine:
    if isinstance(place, str) and "://" in place:
        return create_async_engine(place)
    folder = Path(place)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "journal.sqlite"
    path.touch(mode=0o600)
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=60000", "cache_size=-4096"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def _migrate(connection: Connection) -> None:
    """Upgrade the tables; Alembic is loaded only when there is something to do."""
    if inspect(connection).has_table("alembic_version"):
        version = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if version == schema.HEAD:
            return
    from tqmisp.journal import migrations  # noqa: PLC0415  costs memory and time that most runs need not spend

    migrations.upgrade(connection)


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


def _words(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
