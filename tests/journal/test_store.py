from __future__ import annotations

import stat
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import Connection, Engine, create_engine, event, update

from tqmisp.errors import ConfigError, LockHeld
from tqmisp.journal import Journal, migrations, schema, store
from tqmisp.journal.history import History
from tqmisp.journal.rows import Merged, Rows
from tqmisp.journal.settle import Settlement
from tqmisp.model import Sight


async def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    """A new journal, for which none is run, and one that has been through all of them are the same to the letter."""

    def words(connection: Connection) -> list[list[str]]:
        made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
        return [sql.split() for (sql,) in [*made, *version]]

    def migrated() -> list[list[str]]:
        engine = create_engine(f"sqlite:///{tmp_path / 'migrated.sqlite'}")
        try:
            with engine.begin() as connection:
                migrations.upgrade(connection)
                return words(connection)
        finally:
            engine.dispose()

    async with Journal.open(tmp_path) as journal:
        assert await journal.database.do(words) == await anyio.to_thread.run_sync(migrated)


async def test_a_journal_whose_making_was_broken_off_is_made_by_the_next_run(tmp_path: Path) -> None:
    """A process that dies between two tables leaves none of them."""
    tables = 0

    def die(*given: Any) -> None:
        nonlocal tables
        tables += "CREATE TABLE" in given[2]
        if tables > 3:
            raise RuntimeError("killed")

    event.listen(Engine, "before_cursor_execute", die)
    try:
        with pytest.raises(RuntimeError):
            async with Journal.open(tmp_path):
                pass
    finally:
        event.remove(Engine, "before_cursor_execute", die)
    async with Journal.open(tmp_path) as journal:
        assert await journal.targets() == []


async def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """Nobody else may read what is kept, and opening again finds it."""
    folder = tmp_path / "new" / "folder"
    async with Journal.open(folder) as journal:
        assert await journal.target("misp", "https://misp.test") == 1
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    assert modes.pop("folder") == 0o700
    assert {"journal.sqlite", "journal.sqlite-wal"} <= set(modes)
    assert set(modes.values()) == {0o600}
    async with Journal.open(folder) as journal:
        assert await journal.targets() == [(1, "misp", "https://misp.test")]
        assert await journal.target("misp", "https://misp.test") == 1
        assert await journal.target("other", "https://other.test") == 2


async def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A file where a folder should be, and a file that is no journal, are errors of the configuration."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        async with Journal.open(tmp_path / "file"):
            pass
    (tmp_path / "journal.sqlite").write_text("this is no database, but it is long enough to be taken for one" * 20)
    with pytest.raises(ConfigError, match="not a database"):
        async with Journal.open(tmp_path):
            pass


async def test_an_sqlite_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is made, and with what to do."""
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 26, 0))
    with pytest.raises(ConfigError, match=r"needs SQLite 3\.33 or newer.*PostgreSQL"):
        async with Journal.open(tmp_path / "state"):
            pass
    assert not (tmp_path / "state").exists()


async def test_two_runs_on_one_target_exclude_one_another(tmp_path: Path) -> None:
    """The second is told who is at work; another target is free, and so is the first one afterwards."""
    async with Journal.open(tmp_path) as first, Journal.open(tmp_path) as second:
        target, other = await first.target("misp", "u"), await first.target("other", "u")
        async with first.lease(target):
            assert await second.holder(target) is not None
            with pytest.raises(LockHeld, match=r"process \d+ on .* since .* UTC"):
                async with second.lease(target):
                    pass
            async with second.lease(other):
                pass
        assert await second.holder(target) is None
        async with second.lease(target):
            pass


async def test_the_lease_of_a_dead_process_is_free(tmp_path: Path) -> None:
    """A run that was killed keeps nobody out."""
    code = (
        "import sys, os, anyio\n"
        "from tqmisp.journal import Journal\n"
        "async def main():\n"
        "    async with Journal.open(sys.argv[1]) as journal:\n"
        "        async with journal.lease(await journal.target('misp', 'u')):\n"
        "            os._exit(9)\n"
        "anyio.run(main)\n"
    )
    done = await anyio.run_process([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == 9
    async with Journal.open(tmp_path) as journal, journal.lease(await journal.target("misp", "u")):
        pass


async def test_a_run_that_lost_its_lease_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a machine that slept: somebody else is at work now, also where that is another host."""
    monkeypatch.setattr(store, "LEASE_SECONDS", 0.04)
    async with Journal.open(tmp_path) as journal:
        target = await journal.target("misp", "u")

        async def work_on_while_another_takes_over() -> None:
            async with journal.lease(target):
                theirs = update(schema.targets).values(owner="other:1:1", lease_until=9e9)
                await journal.database.do(lambda connection: connection.execute(theirs))
                await anyio.sleep_forever()

        with pytest.raises(LockHeld, match="taken its place"):
            await work_on_while_another_takes_over()
        assert await journal.holder(target) == "other:1:1"


async def test_what_a_target_has_taught_is_remembered(tmp_path: Path) -> None:
    """As JSON, and for each target by itself."""
    async with Journal.open(tmp_path) as journal:
        target, other = await journal.target("misp", "u"), await journal.target("other", "u")
        assert await journal.learned(target) is None
        await journal.learn(target, '{"chunk":500}')
        assert await journal.learned(target) == '{"chunk":500}'
        assert await journal.learned(other) is None


async def test_errors_inside_a_lease_come_out_as_they_are(tmp_path: Path) -> None:
    """The task that renews the lease wraps nothing in a group."""
    async with Journal.open(tmp_path) as journal:
        target = await journal.target("misp", "u")
        with pytest.raises(KeyError, match="mine"):
            async with journal.lease(target):
                raise KeyError("mine")


async def test_runs_and_watermarks_are_remembered(tmp_path: Path) -> None:
    """The newest run comes first; one that never ended is called dead when the next begins."""
    async with Journal.open(tmp_path) as journal:
        target = await journal.target("misp", "u")
        await journal.start_run("one", target)
        run = await journal.start_run("two", target)
        await journal.end_run(run, "done", "{}")
        assert [(record.run_id, record.outcome) for record in await journal.runs()] == [
            ("two", "done"),
            ("one", "died"),
        ]
        assert await journal.watermark(target, "scope") is None
        for moment in ("2026-01-01 00:00:00", "2026-01-02 00:00:00"):
            await journal.set_watermark(target, "scope", moment)
            assert await journal.watermark(target, "scope") == moment
        assert await journal.watermark(target, "another scope") is None


async def test_what_an_older_journal_wanted_to_be_sent_again_still_is(tmp_path: Path) -> None:
    """Journals of before said so by a fingerprint that no attribute has."""

    def age(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE targets DROP COLUMN adopting")
        connection.exec_driver_sql("DROP INDEX ledger_aside")
        connection.exec_driver_sql("DROP TABLE holders")
        connection.exec_driver_sql("DROP TABLE new_holders")
        connection.exec_driver_sql("CREATE INDEX ledger_uuid ON ledger (uuid, target_id)")
        connection.exec_driver_sql("ALTER TABLE ledger DROP COLUMN stamp")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0003'")
        for key, fingerprint in ((1, bytes(8)), (2, b"as it is")):
            connection.exec_driver_sql(
                "INSERT INTO ledger VALUES (?, 1, ?, ?, 0, 1, 1, 1, 0, ?)", (key, bytes(16), fingerprint, b"marks")
            )

    async with Journal.open(tmp_path) as journal:
        await journal.database.do(age)
    async with Journal.open(tmp_path) as journal:
        assert await Settlement(journal, 1, {}, _look).left() == [1]
        assert await journal.database.do(lambda connection: Rows(1).strange(connection, [(1, 0), (2, 0)])) == {1}
        assert await History(journal).of_attributes([bytes(16)]) == [1, 2]


async def test_the_index_by_uuid_of_an_older_journal_is_whole(tmp_path: Path) -> None:
    """Journals of before kept its newest entries in an order; what has moved already may be among them."""

    def age(connection: Connection) -> None:
        Rows(1).add_merged(connection, [Merged(key, bytes([key]) * 16, b"first...", 0, 1) for key in (1, 2)])
        connection.exec_driver_sql("ALTER TABLE targets DROP COLUMN adopting")
        connection.exec_driver_sql("CREATE TABLE ordered AS SELECT * FROM new_holders")
        connection.exec_driver_sql("DROP TABLE new_holders")
        connection.exec_driver_sql(
            "CREATE TABLE new_holders (uuid BLOB NOT NULL, target_id SMALLINT NOT NULL, indicator_id BIGINT NOT NULL, "
            "PRIMARY KEY (uuid, target_id, indicator_id)) WITHOUT ROWID"
        )
        connection.exec_driver_sql("INSERT INTO new_holders SELECT * FROM ordered")
        connection.exec_driver_sql("INSERT INTO holders SELECT * FROM ordered WHERE indicator_id = 1")
        connection.exec_driver_sql("DROP TABLE ordered")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0005'")

    async with Journal.open(tmp_path) as journal:
        await journal.database.do(age)
    async with Journal.open(tmp_path) as journal:
        assert await History(journal).of_attributes([b"\x01" * 16, b"\x02" * 16]) == [1, 2]


async def test_looking_up_does_not_read_the_whole_ledger(tmp_path: Path) -> None:
    """SQLite searches by what is asked for, not through all rows of a target."""
    asked: list[tuple[str, tuple[object, ...]]] = []
    async with Journal.open(tmp_path) as journal:
        owner = Merged(3, b"1" * 16, b"first...", 0, 1)
        await journal.database.do(lambda connection: Rows(1).add_merged(connection, [owner]))

        @event.listens_for(journal.database.engine, "before_cursor_execute")
        def note(_c: Any, _cursor: Any, statement: str, parameters: tuple[object, ...], *_: Any) -> None:
            asked.append((statement, parameters))

        wanted = [(1, b"1" * 16), (2, b"2" * 16)]
        await journal.database.do(lambda connection: Rows(1).look_up(connection, wanted))
        await journal.database.do(lambda connection: Rows(1).strange(connection, [(1, 11)]))
        await journal.database.do(lambda connection: Rows(1).restamp(connection, {wanted[0]: 11}))
        await journal.database.do(lambda connection: Rows(1).drop_planned(connection, [1]))
        await Settlement(journal, 1, {}, _look).left()
        await journal.database.do(lambda connection: Rows(1).sharers(connection, [b"1" * 16]))
        await journal.database.do(lambda connection: Rows(1).set_deleted(connection, [b"1" * 16]))
        of_holders = ("SEARCH holders USING PRIMARY KEY (uuid=?",)
        indexes = [
            ["indicator_id=?"],
            of_holders,
            ["SCAN new_holders"],  # once, and few
            ["SEARCH ledger USING PRIMARY KEY (indicator_id=? AND target_id=? AND uuid=?)"],
            ["indicator_id=?"],
            ["indicator_id=?"],
            ["ledger_aside"],
            ["ledger_aside"],
            [*of_holders, "indicator_id=?"],
            [*of_holders, "indicator_id=?"],
        ]
        for (statement, parameters), used in zip(list(asked), indexes, strict=True):
            plan = str(await journal.database.do(partial(_explain, statement, parameters)))
            assert [index for index in used if index not in plan] == []
            assert "SCAN ledger" not in plan


async def _look(_event: object, _promised: object) -> dict[bytes, Sight]:
    return {}


def _explain(statement: str, parameters: tuple[object, ...], connection: Connection) -> Sequence[object]:
    return connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
