from __future__ import annotations

import csv
import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.observe.documents import HOSTILE
from tests.observe.test_report import sound
from tqmisp.cli import main
from tqmisp.cli import report as command
from tqmisp.journal.store import Journal


def _mode(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_of_real_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The newest run, or the one that is named: its receipt, its timeline, the types, and what was refused."""
    for _ in range(2):
        assert main(["run", "--sandbox", "--indicators", "2000", "--no-progress", "--state", "kept"]) == 0
    capsys.readouterr()
    assert main(["report", "--state", "kept", "--json", "--samples", "2"]) == 0
    document = json.loads(capsys.readouterr().out)
    second, first = document["runs"]
    assert document["run"] == second
    assert main(["report", "--state", "kept", "--json", "--run", first["run_id"][:8]]) == 0
    receipt = json.loads(capsys.readouterr().out)["receipt"]
    [target] = receipt["targets"]
    assert receipt["run_id"] == first["run_id"]
    assert receipt["timeline"][-1]["stored"] == target["created"] > 0
    assert sum(counts["read"] for counts in receipt["types"].values()) <= target["read"]
    assert sum(counts["refused"] for counts in receipt["types"].values()) <= sum(target["rejected"].values())
    assert not Path("tqmisp-report.html").exists()

    assert main(["report", "--state", "kept", "--run", first["run_id"]]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", "The report is in tqmisp-report.html.\n")
    page = sound(Path("tqmisp-report.html").read_text())
    assert f"Balanced: {target['read']:,} of {target['read']:,} indicators accounted for." in page.text
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    url = document["targets"][0]["url"]
    assert links == [f"{url}/events/view/{event['id']}" for event in target["events"]]
    assert _mode("tqmisp-report.html") == 0o600


async def _start(place: Path) -> None:
    async with Journal.open(place) as journal:
        await journal.start_run("ab" * 16, await journal.target("misp", "https://misp.example"))


def _refuse(place: Path) -> None:
    """A journal in which values of the worst kind are refused, for reasons of the same kind."""
    anyio.run(_start, place)
    with closing(sqlite3.connect(place / "journal.sqlite")) as database, database:
        for number, text in enumerate((*HOSTILE, "=1+1")):
            said = text.encode(errors="replace").decode()
            database.execute(
                "INSERT INTO refusals (target_id, run_id, indicator_id, kind, code, reason, label, value) "
                "VALUES (1, 1, ?, 'rejected', 'x', ?, ?, ?)",
                (number, said, said, text.encode("utf-8", "surrogatepass")),
            )


def test_of_hostile_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As a page, which shows some, and as a table, which has all of them, page by page, and no formula."""
    monkeypatch.setattr(command, "ROWS", 4)
    _refuse(tmp_path)
    argv = ["report", "--state", str(tmp_path), "--output", "page.html", "--rejects", "rows.csv", "--samples", "5"]
    assert main(argv) == 0
    count = len(HOSTILE) + 1
    assert capsys.readouterr().err == f"{count} refused indicators are in rows.csv.\nThe report is in page.html.\n"
    assert f"5 of {count} indicators" in sound(Path("page.html").read_text()).text
    with Path("rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["indicator_id"] for row in rows] == [str(number) for number in range(count)]
    assert rows[0]["value"] == rows[0]["reason"] == HOSTILE[0]
    assert rows[-1]["value"] == "'=1+1"
    assert _mode("rows.csv") == _mode("page.html") == 0o600


def test_a_table_of_rows_that_are_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rows without an id may be the same in every word; each is in the table, whatever a page holds."""
    anyio.run(_start, tmp_path)
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as database, database:
        for number in [-1] * 7 + [1, 1, 2]:
            database.execute(
                "INSERT INTO refusals (target_id, run_id, indicator_id, kind, code, reason, label, value) "
                "VALUES (1, 1, ?, 'rejected', 'x', '', '', x'')",
                (number,),
            )
    for rows in range(1, 12):
        monkeypatch.setattr(command, "ROWS", rows)
        assert main(["report", "--state", str(tmp_path), "--rejects", "rows.csv"]) == 0
        with Path("rows.csv").open(newline="") as file:
            assert [row["indicator_id"] for row in csv.DictReader(file)] == ["-1"] * 7 + ["1", "1", "2"]


def test_without_a_journal(capsys: pytest.CaptureFixture[str]) -> None:
    """There is a page, which says so; a run that is named is missed."""
    assert main(["report", "--state", "nowhere", "--rejects", "rows.csv", "--output", "page.html"]) == 0
    assert "No run has been recorded here." in Path("page.html").read_text()
    assert Path("rows.csv").read_text().count("\n") == 1
    assert not Path("nowhere").exists()
    capsys.readouterr()
    assert main(["report", "--state", "nowhere", "--run", "17b5"]) == 2
    assert "error: There is no run '17b5'" in capsys.readouterr().err


def test_a_place_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, and why."""
    assert main(["report", "--state", "nowhere", "--output", "absent/page.html"]) == 2
    assert "error: absent/page.html cannot be written: No such file or directory." in capsys.readouterr().err
