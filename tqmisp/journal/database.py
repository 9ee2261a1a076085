"""The database behind a journal: one thread for its work, one hop there and back for each transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from tqmisp.errors import ConfigError
from tqmisp.journal import schema

R = TypeVar("R")


class Database:
    """Runs transactions one after the other, off the event loop. Use :meth:`open`.

    A transaction that has begun is finished also when whoever waits for it is cancelled.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._one = anyio.CapacityLimiter(1)

    @classmethod
    @asynccontextmanager
    async def open(cls, place: Path | str) -> AsyncIterator[Database]:
        """Open a database, creating or upgrading the tables.

        Raises:
            ConfigError: the place cannot be used.
        """
        engine: Engine | None = None
        try:
            engine = await anyio.to_thread.run_sync(_engine, place)
            database = cls(engine)
            await database.do(_migrate)
        except (OSError, SQLAlchemyError) as error:
            if engine is not None:
                await anyio.to_thread.run_sync(engine.dispose)
            if isinstance(place, str) and "://" in place:
                place = "the database of [state] path"  # its URL may hold a password
            raise ConfigError(f"The journal at {place} cannot be used: {_words(error)}") from error
        try:
            yield database
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(engine.dispose)

    async def do(self, work: Callable[[Connection], R]) -> R:
        """Do something in one transaction; what it raises undoes it."""
        return await anyio.to_thread.run_sync(self._do, work, limiter=self._one)

    def _do(self, work: Callable[[Connection], R]) -> R:
        with self.engine.begin() as connection:
            return work(connection)


def _engine(place: Path | str) -> Engine:
    if isinstance(place, str) and "://" in place:
        return create_engine(place)
    folder = Path(place)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "journal.sqlite"
    path.touch(mode=0o600)
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
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


def _words(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
