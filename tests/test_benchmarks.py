"""The benchmarks: they run from end to end, and their verdicts are those that the figures allow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.report import BEGIN, END, insert
from benchmarks.scenario import catalogue
from benchmarks.verdicts import Verdict, used, verdicts
from benchmarks.watch import Recorder, recorded


@pytest.mark.long
def test_every_contender_runs_and_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One round of 300 indicators: each contender stores them, and figures, table and pictures are written."""
    main(["--scenarios", "instant", "--sizes", "300", "--rounds", "1", "--output", str(tmp_path)])
    document = json.loads((tmp_path / "results.json").read_text())
    runs = document["scenarios"]["instant-300"]["contenders"]
    assert set(runs) == {"first", "second", "floor", "pymisp"}
    assert runs["floor"]["stored"] == runs["first"]["stored"] > 250
    assert runs["floor"]["write_requests"] == runs["first"]["write_requests"]
    assert (runs["second"]["stored"], runs["second"]["write_requests"]) == (0, 0)
    assert runs["pymisp"]["stored"] > 250
    assert all(run["peak_rss_mb"] > 10 and run["cpu_seconds"] > 0 and run["samples"] for run in runs.values())
    assert "PyMISP exporter" in (tmp_path / "table.md").read_text()
    assert len(list(tmp_path.glob("*.svg"))) == 3
    assert "300 indicators, instant MISP" in capsys.readouterr().out


def test_all_scenarios_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """``--list`` names what ``--scenarios`` takes."""
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(catalogue())


def _run(rate: float, **more: Any) -> dict[str, Any]:
    indicators = more.pop("indicators", 900_000)
    each = {"indicators_per_second": rate, "microseconds_each": 1e6 / rate, "seconds": indicators / rate}
    return each | {"indicators": indicators, "peak_rss_mb": 150.0, "write_requests": 100.0} | more


def _scenarios(first: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    small = {"first": _run(24_000, indicators=90_000)}
    return {"instant-100000": {"contenders": small}, "instant-1000000": {"contenders": {"first": first, **others}}}


@pytest.mark.parametrize(
    ("first", "others", "failing"),
    [
        (_run(24_000), {"floor": _run(50_000), "second": _run(41_000, write_requests=0.0)}, []),
        (_run(19_000), {}, ["at least 20,000", "the cost of an indicator"]),  # too slow, and slower than the small one
        (_run(24_000), {"floor": _run(80_000)}, ["3 times the floor"]),
        (_run(24_000), {"pymisp": _run(4_000)}, ["8 times as fast as PyMISP"]),
        (_run(24_000, peak_rss_mb=210.0), {}, ["at most 200 MB", "within 10 %"]),
        (_run(24_000), {"second": _run(39_000, write_requests=1.0)}, ["at least 40,000", "no write request"]),
    ],
)
def test_verdicts(first: dict[str, Any], others: dict[str, dict[str, Any]], failing: list[str]) -> None:
    """A figure on the wrong side of its limit fails its claim, and only that."""
    found = [each for each in verdicts(_scenarios(first, **others)) if each.holds is False]
    assert len(found) == len(failing)
    assert all(words in each.claim for each, words in zip(found, failing, strict=True))


@pytest.mark.parametrize(("stored", "faults", "holds"), [(900, 7, True), (899, 7, False), (900, 0, False)])
def test_faults_must_have_struck_and_cost_nothing(stored: int, faults: int, holds: bool) -> None:  # noqa: FBT001
    """Everything is stored in spite of faults; a run without any proves nothing."""
    quiet = {"contenders": {"first": _run(24_000, stored=900)}}
    faulty = {"title": "faults", "contenders": {"first": _run(12_000, stored=stored, faults=faults)}}
    found = verdicts({"instant-1000": quiet, "faulty-1000": faulty})
    assert [each.holds for each in found if each.claim.startswith("faults")] == [holds]


def test_what_was_not_measured_is_neither_passed_nor_failed() -> None:
    """Without figures, the claims about slow servers are open."""
    assert {each.holds for each in verdicts({})} == {None}
    assert str(Verdict("a claim", "not measured", None)).startswith("----")


def _writes(workers: int, requests: int, seconds: float) -> list[tuple[float, float, int, int]]:
    """Requests with 1,000 attributes, so many at a time."""
    return [
        (number // workers * seconds, (number // workers + 1) * seconds, 1_000, workers) for number in range(requests)
    ]


def test_a_busy_server_is_used_to_the_full() -> None:
    """Two workers that save 1,000 attributes in 2 seconds can save 1,000 a second: all of it, or half, is used."""
    assert used(_writes(2, 100, 2.0), saturated=1_000) == pytest.approx(1.0)
    assert used(_writes(1, 100, 2.0), saturated=1_000) == pytest.approx(0.5)


def test_a_server_that_becomes_slow_is_expected_to_do_less() -> None:
    """From the middle on requests take twice as long, and half as much is possible."""
    quick = _writes(1, 50, 1.0)
    slow = [(50 + 2 * at, 52 + 2 * at, 1_000, 1) for at in range(50)]
    assert used([*quick, *slow], saturated=1_000, halves_after=50_000) == pytest.approx(1.0)


def test_too_few_requests_prove_nothing() -> None:
    """A run that ends while the client learns has used nothing."""
    assert used(_writes(2, 15, 1.0), saturated=1_000) == 0.0


def test_requests_are_recorded_as_they_were(tmp_path: Path) -> None:
    """Path and body come back, whatever is in the body."""
    sent = [("/events/add", b'{"a": 1}\n{"b"'), ("/events/edit/7/metadata:1", b""), ("/x?y=1", bytes(range(256)))]
    recorder = Recorder(str(tmp_path / "requests"))
    for path, body in sent:
        recorder.record(path, body)
    assert [tuple(each) for each in recorded(tmp_path / "requests")] == sent


def test_figures_go_between_their_marks(tmp_path: Path) -> None:
    """What was between the marks is replaced; a page without marks is refused."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    insert(page, "new\n")
    assert page.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "memory-over-time.svg").touch()
    insert(page, "new\n", tmp_path / "results")
    assert "![memory over time](results/memory-over-time.svg)" in page.read_text()
    page.write_text("no marks")
    with pytest.raises(ValueError, match="has no lines"):
        insert(page, "new\n")
