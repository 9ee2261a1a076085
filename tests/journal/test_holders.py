"""The index of the ledger by UUID: two tables that are one to whoever asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from tqmisp.journal import Journal
from tqmisp.journal.holders import Holders, having
from tqmisp.journal.rows import Merged, Rows
from tqmisp.journal.schema import holders, ledger, new_holders

UUIDS = [bytes([number]) * 16 for number in range(7)]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
async def test_an_attribute_is_found_wherever_its_entry_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Entries move in parts; a row that went and came back, and so has two entries, is one row."""
    monkeypatch.setattr("tqmisp.journal.holders.NEW_ROWS", limit)

    def work(connection: Connection) -> None:
        rows = Rows(1)
        for key, uuid in enumerate(UUIDS[:5]):
            rows.add_merged(connection, [Merged(key, uuid, b"first...", 0, 1)])
        rows.drop(connection, [(1, UUIDS[1]), (2, UUIDS[2])])
        rows.add_merged(connection, [Merged(2, UUIDS[2], b"again...", 0, 1)])
        kept = sum(connection.scalar(select(func.count()).select_from(each)) or 0 for each in (holders, new_holders))
        # entries that have moved are there once, those that have not may be there twice
        assert kept == {1: 5, 2: 5, 3: 5, 4: 6, 100: 6}[limit]
        places = {(key, UUIDS[key]) for key in range(5)}
        assert set(rows.holders.places(connection, UUIDS)) == set(Holders(1).places(connection, UUIDS)) == places
        found = connection.execute(select(ledger.c.indicator_id, ledger.c.fingerprint).where(having(UUIDS)))
        assert sorted(map(tuple, found)) == [(0, b"first..."), (2, b"again..."), (3, b"first..."), (4, b"first...")]

    async with Journal.open(tmp_path) as journal:
        await journal.database.do(work)


async def test_entries_of_one_attribute_are_no_more_than_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many indicators share an attribute, all of them are found, and few of them are kept apart."""
    monkeypatch.setattr("tqmisp.journal.holders.NEW_ROWS", 4)

    def work(connection: Connection) -> None:
        rows = Rows(1)
        for key in range(10):
            rows.add_merged(connection, [Merged(key, UUIDS[0], b"first...", 0, 1)])
        assert connection.scalar(select(func.count()).select_from(new_holders)) == 2
        assert sorted(rows.holders.places(connection, UUIDS)) == [(key, UUIDS[0]) for key in range(10)]

    async with Journal.open(tmp_path) as journal:
        await journal.database.do(work)


async def test_the_entries_of_other_targets_stay_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run moves its own, since another one may be adding some at the same time."""
    monkeypatch.setattr("tqmisp.journal.holders.NEW_ROWS", 2)

    def work(connection: Connection) -> None:
        for target, key in ((1, 1), (2, 2), (2, 3)):
            Rows(target).add_merged(connection, [Merged(key, UUIDS[key], b"first...", 0, 1)])
        assert connection.scalars(select(new_holders.c.target_id)).all() == [1]
        assert connection.scalars(select(holders.c.target_id)).all() == [2, 2]
        assert connection.scalars(select(ledger.c.indicator_id).where(having(UUIDS))).all() == [1, 2, 3]

    async with Journal.open(tmp_path) as journal:
        await journal.database.do(work)
