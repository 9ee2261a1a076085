"""Copies of a journal that are thrown away, for what must leave it as it is."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
from sqlalchemy import Connection, create_engine, select

from tqmisp.errors import ConfigError
from tqmisp.journal import schema
from tqmisp.journal.bulk import insert_rows
from tqmisp.journal.database import FILE, version

ROWS = 5_000
"""Rows at a time, where a database other than SQLite is copied."""


@asynccontextmanager
async def throw_away_folder() -> AsyncIterator[Path]:
    """A folder for one's own use among the temporary files, which is gone afterwards."""
    folder = await anyio.to_thread.run_sync(lambda: tempfile.TemporaryDirectory(prefix="tqmisp-"))
    try:
        yield Path(folder.name)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(folder.cleanup)


def copy_to(connection: Connection, folder: Path) -> None:
    """Write everything that a journal holds at this moment into a journal of its own, in an empty folder."""
    path = folder / FILE
    path.touch(mode=0o600)
    source = connection.connection.driver_connection
    if isinstance(source, sqlite3.Connection):
        with closing(sqlite3.connect(path)) as target:
            source.backup(target)
    else:
        copy_tables(connection, path)


def copy_tables(connection: Connection, path: Path) -> None:
    """The same row by row, out of a database of any kind into an SQLite file.

    Raises:
        ConfigError: the tables are those of another version.
    """
    found = version(connection)
    if found is None:
        return
    if found != schema.HEAD:
        raise ConfigError("The journal was made by another version of tqmisp; tqmisp status brings it up to date.")
    engine = create_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as target:
            schema.create(target)
            for table in schema.metadata.sorted_tables:
                rows = connection.execution_options(stream_results=True).execute(select(table))
                for part in rows.partitions(ROWS):
                    insert_rows(target, table, [tuple(row) for row in part])
    finally:
        engine.dispose()
