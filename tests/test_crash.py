"""Whatever is killed at whatever moment, MISP and the ledger hold in the end what they hold where nobody was killed.

A short form of ``python -m benchmarks.crash``; see docs/guarantees.md.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import spoiled
from benchmarks.corpora import three_moments
from benchmarks.holdings import differences, read
from benchmarks.lives import CAPACITY, Life, Stage, disturbed, undisturbed
from tqmisp.simulators.misp import MispStore
from tqmisp.simulators.misp.model import Attribute

INDICATORS = 3_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all state is kept."""
    return tmp_path_factory.mktemp("lives")


@pytest.fixture(scope="module")
def stages(home: Path) -> list[Stage]:
    """An export, and an incremental one after changes."""
    first, second, _ = three_moments(home, INDICATORS)
    return [Stage(first), Stage(second)]


@pytest.fixture(scope="module")
def calm(home: Path, stages: list[Stage]) -> Life:
    """A life in which nobody is killed."""
    return undisturbed(home / "calm", stages)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_kills_at_random_moments_leave_no_trace(home: Path, stages: list[Stage], calm: Life) -> None:
    """After SIGKILLs of the exporter and of both servers: nothing lost, nothing twice, and no field is different."""
    assert calm.problems == []
    assert calm.runs == calm.receipts == 2
    life = disturbed(home / "wild", stages, calm, seed=12, exporter=8, servers=1)
    assert life.problems == []
    assert (life.killed("exporter"), life.killed("servers")) == (8, 1)
    assert life.promised > 0, "no kill has hit anything"


def _change(store: MispStore, attribute: Attribute) -> None:
    store.change_attribute(attribute, replace(attribute, comment="other"))


def _lose(store: MispStore, attribute: Attribute) -> None:
    store.drop_attribute(attribute)


def _double(store: MispStore, attribute: Attribute) -> None:
    store.add_attribute(replace(attribute, uuid="00000000-0000-4000-8000-000000000000"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_change, []),
        (_lose, ["MISP does not hold it"]),
        (_double, ["MISP holds the", "the ledger does not say so"]),
    ],
    ids=["changed", "lost", "doubled"],
)
def test_a_difference_is_seen(
    tmp_path: Path, home: Path, calm: Life, spoil: Callable[[MispStore, Attribute], None], words: list[str]
) -> None:
    """What is spoiled behind the exporter's back is found."""
    shutil.copytree(home / "calm", tmp_path, dirs_exist_ok=True)
    misp, journal = tmp_path / "servers" / "misp", tmp_path / "journal" / "journal.sqlite"
    assert differences(read(misp, journal, CAPACITY), calm.holdings[-1]) == []
    store = MispStore(misp)
    spoil(store, random.Random(1).choice(list(store.every_attribute())))
    store.commit()
    store.close()
    found = read(misp, journal, CAPACITY)
    assert len(differences(found, calm.holdings[-1])) == 1
    assert len(found.problems) == len(words)
    assert all(word in problem for word, problem in zip(words, found.problems, strict=True))


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE slices SET closed_at = NULL WHERE id = 1",
        "UPDATE ledger SET state = 4 WHERE uuid = (SELECT min(uuid) FROM ledger WHERE state = 0)",
        "DELETE FROM ledger WHERE uuid = (SELECT min(uuid) FROM ledger WHERE state = 0)",
    ],
)
def test_a_ledger_that_is_not_right_is_seen(tmp_path: Path, home: Path, spoil: str) -> None:
    """A promise without a confirmation, an attribute in doubt, and one that the ledger does not know."""
    shutil.copytree(home / "calm", tmp_path, dirs_exist_ok=True)
    journal = tmp_path / "journal" / "journal.sqlite"
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute(spoil)
    assert read(tmp_path / "servers" / "misp", journal, CAPACITY).problems


@pytest.mark.long
@pytest.mark.timeout(300)
def test_bad_rows_cost_no_other_and_a_second_run_writes_nothing(tmp_path: Path) -> None:
    """Each bad row ends under its code, all others arrive; then nothing is written but what has changed."""
    figures, problems = spoiled.run(tmp_path, indicators=1_000, bad=40)
    assert problems == []
    assert "960 delivered" in figures[0]
