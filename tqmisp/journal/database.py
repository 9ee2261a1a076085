"""The database behind a journal: one thread for its work, one hop there and back for each transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from tqmisp.errors import ConfigError
from tqmisp.journal import schema

R = TypeVar("R")
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "busy_timeout=60000",
    "cache_size=-16384",
    "wal_autocheckpoint=16000",
)
"""What each connection to SQLite is told.

A log of up to 64 MiB takes up the same page many times before it is written back.
"""

OLDEST_SQLITE = (3, 33)
"""The first with ``UPDATE ... FROM``; of August 2020."""

FILE = "journal.sqlite"


class Database:
    """Runs transactions one after the other, off the event loop. Use :meth:`open`.

    A transaction that has begun is finished also when whoever waits for it is cancelled.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._one = anyio.CapacityLimiter(1)

    @classmethod
    @asynccontextmanager
    async def open(cls, place: Path | str, *, read_only: bool = False) -> AsyncIterator[Database]:
        """Open a database, creating or upgrading the tables.

        Args:
            place: a folder, or a URL.
            read_only: change nothing; it must be there, and its tables stay as they are.

        Raises:
            ConfigError: the place cannot be used.
        """
        engine: Engine | None = None
        try:
            engine = await anyio.to_thread.run_sync(_reading if read_only else _engine, place)
            database = cls(engine)
            await database.do(version if read_only else _migrate)
        except BaseException as error:
            if engine is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(engine.dispose)
            if not isinstance(error, OSError | SQLAlchemyError):
                raise
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
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ConfigError(
            f"The journal needs SQLite {'.'.join(map(str, OLDEST_SQLITE))} or newer; this Python comes with "
            f"{sqlite3.sqlite_version}. Use a newer Python, or a PostgreSQL in [state] path."
        )
    folder = Path(place)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / FILE
    path.touch(mode=0o600)
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        try:
            cursor = connection.cursor()
            for pragma in PRAGMAS:
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()
        except BaseException:
            connection.close()  # nobody else knows of it yet
            raise

    return engine


def _reading(place: Path | str) -> Engine:
    if isinstance(place, str) and "://" in place:
        return create_engine(place).execution_options(postgresql_readonly=True)
    address = f"{(Path(place) / FILE).absolute().as_uri()}?mode=rw"  # mode=ro would leave files of its own beside it

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, timeout=60, uri=True, check_same_thread=False)
        connection.execute("PRAGMA query_only=1")
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=QueuePool)


def version(connection: Connection) -> str | None:
    """The newest migration that a journal has been through; None where there are no tables."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")))


def _migrate(connection: Connection) -> None:
    """Make the tables, or upgrade them; Alembic is loaded only for that."""
    if version(connection) == schema.HEAD:
        return
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # or each table would be a transaction of its own
    if not inspect(connection).get_table_names():
        schema.create(connection)
        return
    from tqmisp.journal import migrations  # noqa: PLC0415  8 MB and 0.1 s that most runs need not spend

    migrations.upgrade(connection)


def _words(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
