from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, select
from sqlalchemy.exc import OperationalError

from tqmisp.errors import ConfigError
from tqmisp.journal import Journal, copying, migrations, schema, store
from tqmisp.journal.copying import copy_tables
from tqmisp.journal.database import FILE
from tqmisp.journal.rows import Rows
from tqmisp.pipeline.protocols import Refusal


async def test_looking_makes_and_changes_nothing(tmp_path: Path) -> None:
    """An absent journal is an empty one, whose folder is not made; one that is there can be read and not written."""
    absent = tmp_path / "absent"
    async with Journal.look(absent) as journal:
        assert await journal.runs() == []
    assert not absent.exists()
    async with Journal.open(tmp_path) as journal:
        await journal.target("misp", "https://misp.test")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    async with Journal.look(tmp_path) as journal:
        assert await journal.targets() == [(1, "misp", "https://misp.test")]
        with pytest.raises(OperationalError, match="readonly"):
            await journal.target("other", "https://other.test")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("by", [copying.copy_to, lambda connection, folder: copy_tables(connection, folder / FILE)])
async def test_a_copy_is_a_journal_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: Callable[[Connection, Path], None]
) -> None:
    """It has everything, also where the rows of another database are copied; what is done to it is gone with it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(store, "copy_to", by)

    async def rows(journal: Journal) -> list[list[Any]]:
        return [
            list(await journal.database.do(lambda connection, table=table: connection.execute(select(table)).all()))  # type: ignore[misc]
            for table in schema.metadata.sorted_tables
        ]

    async with Journal.open(f"sqlite:///{tmp_path / 'database'}") as journal:
        target = await journal.target("misp", "https://misp.test")
        await journal.end_run(await journal.start_run("first", target), "done", "{}")
        refused = [Refusal(number, "rejected", "x", "It is none.", "FQDN", "v") for number in range(12_000)]
        await journal.database.do(lambda connection: Rows(target).add_refusals(connection, refused, 1))
        there = await rows(journal)
        async with journal.copy() as copy:
            assert await rows(copy) == there
            await copy.start_run("second", target)
        assert await rows(journal) == there
    assert [path.name for path in tmp_path.iterdir()] == ["database"]


async def test_a_journal_of_an_earlier_version_is_read_from_a_copy(tmp_path: Path) -> None:
    """Which is brought up to date; the journal itself stays as it is."""

    def make() -> None:
        engine = create_engine(f"sqlite:///{tmp_path / FILE}")
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
        engine.dispose()

    await anyio.to_thread.run_sync(make)
    before = (tmp_path / FILE).read_bytes()
    async with Journal.look(tmp_path) as journal:
        assert await journal.events(1) == []
    assert (tmp_path / FILE).read_bytes() == before


async def test_no_room_for_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names where it should have gone, and what to do."""

    def full(_connection: Connection, _folder: Path) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store, "copy_to", full)
    async with Journal.open(tmp_path) as journal:
        with pytest.raises(ConfigError, match=r"disk is full.*TMPDIR names another folder"):
            async with journal.copy():
                pass
