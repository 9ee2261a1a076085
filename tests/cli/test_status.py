from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from sqlalchemy import insert

from tqmisp.cli import main
from tqmisp.journal import schema
from tqmisp.journal.store import Journal

HOSTILE = "evil\x1b[31m\ud800"


def _status(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = main(["status", *argv])
    out, err = capsys.readouterr()
    assert err == ""
    return code, out


def test_no_journal_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Looking makes nothing, and needs neither a configuration nor a server."""
    code, out = _status(capsys, "--state", str(tmp_path / "state"))
    assert code == 0
    assert "No run has been recorded here." in out
    assert not (tmp_path / "state").exists()
    code, out = _status(capsys, "--state", str(tmp_path / "state"), "--json")
    assert json.loads(out) == {"state": str(tmp_path / "state"), "runs": [], "targets": []}


def test_after_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest run first, the events, and what was refused, with samples."""
    place = str(tmp_path / "kept")
    for _ in range(2):
        assert main(["run", "--sandbox", "--indicators", "3000", "--no-progress", "--state", place]) == 0
    capsys.readouterr()
    _, out = _status(capsys, "--state", place, "--json", "--samples", "1")
    document = json.loads(out)
    second, first = document["runs"]
    (target,) = document["targets"]
    assert (first["outcome"], second["outcome"]) == ("done", "done")
    assert (first["balanced"], second["balanced"]) == (True, True)
    assert first["created"] == sum(event["attributes"] for event in target["events"])
    assert second["created"] == 0
    assert target["name"] == "sandbox"
    assert target["lock"] is None
    assert target["open_slices"] == 0
    assert first["refused"] == sum(each["count"] for each in target["refused"]) > 0
    assert all(len(each["samples"]) == 1 for each in target["refused"])
    _, out = _status(capsys, "--state", place, "--runs", "1")
    assert out.count(" done ") == 1
    assert "Nobody is at work." in out
    assert all(f"{each['kind']}: {each['code']}" in out for each in target["refused"])


async def _leave(place: Path) -> None:
    """A journal with a run that died, an open slice, and a refused indicator with a hostile value."""
    async with Journal.open(place) as journal:
        target = await journal.target("misp", "https://misp.example")
        run = await journal.start_run("first", target)
        await journal.start_run("second", target)
        refused = {
            "target_id": target,
            "run_id": run,
            "kind": "rejected",
            "code": "x",
            "reason": "It is none.",
        }
        hostile = {"indicator_id": 7, "label": "FQDN", "value": HOSTILE.encode("utf-8", "surrogatepass")}
        slices = {"target_id": target, "run_id": run, "event_id": 1, "items": 5, "opened_at": 0.0}
        event = {"target_id": target, "uuid": "u", "info": "ThreatQ Export", "date": "2026-11-24", "part": 1}
        await journal.database.do(
            lambda connection: (
                connection.execute(insert(schema.refusals).values(refused | hostile)),
                connection.execute(insert(schema.events).values(**event, attributes=5)),
                connection.execute(insert(schema.slices).values(slices)),
            )
        )


async def _while_at_work(place: Path, look: Callable[[], None]) -> None:
    async with Journal.open(place) as journal, journal.lease(await journal.target("misp", "https://misp.example")):
        await anyio.to_thread.run_sync(look)


def test_after_trouble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that died, what it left open, and hostile values, which are escaped for terminals and kept for machines."""
    anyio.run(_leave, tmp_path)
    _, out = _status(capsys, "--state", str(tmp_path))
    assert "died" in out
    assert "Slices promised and not confirmed: 1" in out
    assert "  1970-01-01 00:00  5 attributes for ThreatQ Export" in out
    assert "It is none." in out
    assert r"7 FQDN evil\x1b[31m\ud800" in out
    _, out = _status(capsys, "--state", str(tmp_path), "--json")
    (sample,) = json.loads(out)["targets"][0]["refused"][0]["samples"]
    assert sample == {"id": 7, "type": "FQDN", "value": "evil\x1b[31m\\ud800", "reason": "It is none."}


def test_samples_of_one_code_and_two_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each kind has its own, however few are shown."""
    anyio.run(_leave, tmp_path)
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as database, database:
        database.execute(
            "INSERT INTO refusals (target_id, run_id, indicator_id, kind, code, reason, label, value) "
            "SELECT target_id, run_id, 8, 'quarantined', code, 'MISP said no.', label, value FROM refusals"
        )
    _, out = _status(capsys, "--state", str(tmp_path), "--json", "--samples", "1")
    refused = json.loads(out)["targets"][0]["refused"]
    assert [(each["kind"], [sample["id"] for sample in each["samples"]]) for each in refused] == [
        ("quarantined", [8]),
        ("rejected", [7]),
    ]


def test_who_is_at_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Process, host and since when, for whoever was kept out."""
    seen: list[str] = []

    def look() -> None:
        seen.append(_status(capsys, "--state", str(tmp_path))[1])

    anyio.run(_while_at_work, tmp_path, look)
    assert f"At work now: process {os.getpid()} on " in seen[0]
    assert "Nobody is at work." in _status(capsys, "--state", str(tmp_path))[1]


def test_the_password_of_a_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is in none of the places that name the journal."""
    url = f"sqlite:///file:{tmp_path}/journal.db?uri=true&password=hush-hush"
    shown = [_status(capsys, "--state", url, *option)[1] for option in ([], ["--json"])]
    assert main(["report", "--state", url, "--output", "page.html"]) == 0
    shown.append((tmp_path / "page.html").read_text())
    lines = ["".join(text.split()) for text in shown]  # where a terminal has broken them
    assert all("journal.db" in text and "hush" not in text for text in lines)


def test_a_journal_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Something else under its name is a mistake of the configuration."""
    (tmp_path / "journal.sqlite").write_text("this is no database, but it is long enough to be taken for one" * 20)
    assert main(["status", "--state", str(tmp_path)]) == 2
    assert "error: The journal at" in capsys.readouterr().err
