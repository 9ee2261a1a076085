from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Runs, receipt, started
from tqmisp.cli import main
from tqmisp.errors import Interrupted
from tqmisp.observe.receipt import Receipt
from tqmisp.pipeline.stop import Stop


def _changed(**changes: Any) -> Callable[[Stop], Receipt]:
    result = receipt()
    for name, value in changes.items():
        setattr(result if hasattr(result, name) and name != "balanced" else result.targets[0], name, value)
    return lambda _: result


@pytest.mark.usefixtures("config")
def test_options_reach_the_export(runs: Runs) -> None:
    """What is given on the command line is what the export is opened with."""
    argv = ["run", "--no-progress", "--full", "--publish"]
    for option, value in [
        ("score-threshold", "7"),
        ("type", "FQDN"),
        ("type", "IP Address"),
        ("status", "Review"),
        ("exclude-type", "MD5"),
        ("tag", "a"),
        ("source", "Foo, Inc."),
        ("collection", "c"),
        ("since", "2026-01-01"),
        ("until", "2026-02-01"),
        ("slice-size", "9"),
        ("distribution", "4"),
        ("sharing-group-id", "3"),
        ("event-tag", "tlp:green"),
        ("requests-in-flight", "5"),
        ("chunk-size", "700"),
        ("max-rejects", "100000"),
        ("state", "here"),
    ]:
        argv += [f"--{option}", value]
    assert main(argv) == 0
    (settings,) = runs.settings
    selection, events = settings.selection, settings.events
    assert (selection.score_threshold, selection.types) == (7, ("FQDN", "IP Address"))
    assert (selection.statuses, selection.exclude_types, selection.tags) == (("Review",), ("MD5",), ("a",))
    assert (selection.sources, selection.collection) == (("Foo, Inc.",), "c")
    assert (selection.since, selection.until) == ("2026-01-01", "2026-02-01")
    assert (events.publish, events.slice_size, events.distribution, events.sharing_group_id) == (True, 9, 4, 3)
    assert events.tags == ("tlp:green",)
    assert (settings.misp.requests_in_flight, settings.misp.chunk_size) == (5, 700)
    assert (settings.run.max_rejects, settings.run.full, settings.state.place) == (100_000, True, Path("here"))


def test_a_configuration_by_name_or_variable(runs: Runs, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--config`` and ``TQMISP_CONFIG`` name a file; the option counts more."""
    one, two = config.rename("one.toml"), Path("two.toml")
    two.write_text(one.read_text().replace("misp.example", "two.example"))
    monkeypatch.setenv("TQMISP_CONFIG", "two.toml")
    assert main(["run", "--no-progress"]) == 0
    assert main(["run", "--no-progress", "--config", "one.toml"]) == 0
    assert [each.misp.url for each in runs.settings] == ["https://two.example", "https://misp.example"]


@pytest.mark.usefixtures("config", "runs")
def test_json_is_the_only_thing_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """One document, the receipt; nothing on stderr, since there is no terminal."""
    assert main(["run", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == receipt().as_json()
    assert out.count("\n") == 1
    assert err == ""


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    ("outcome", "argv", "code"),
    [
        (_changed(), [], 0),
        (_changed(), ["--max-rejects", "163"], 0),  # 63 rejected and 100 quarantined
        (_changed(), ["--max-rejects", "162"], 5),
        (_changed(balanced=False, imbalance=["one is off"]), ["--max-rejects", "0"], 6),
        (_changed(stopped_by="SIGINT"), [], 130),
        (_changed(stopped_by="SIGTERM"), ["--max-rejects", "0"], 143),
        (_changed(stopped_by="SIGTERM", balanced=False), [], 6),
    ],
)
def test_exit_codes_of_a_run(
    outcome: Callable[[Stop], Receipt], argv: list[str], code: int, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not balanced is worse than stopped, stopped worse than too many rejects; the receipt is printed all the same."""
    runs.outcome = outcome
    assert main(["run", "--no-progress", *argv]) == code
    assert "17b529fc-79d4-48d6-9d24-322e3d7e67f0" in capsys.readouterr().out


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(("reason", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("abort", 130)])
def test_exit_code_of_an_interruption(reason: str, code: int, runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopped before the end of the draining: the code says by which signal."""

    def outcome(stop: Stop) -> Receipt:
        stop.request(reason)
        raise Interrupted("Stopped before everything was delivered; run again to go on.")

    runs.outcome = outcome
    assert main(["run", "--no-progress"]) == code
    assert capsys.readouterr().err == "error: Stopped before everything was delivered; run again to go on.\n"


def test_an_export_in_the_sandbox(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real HTTP, no server needed; the same state again, read in full, finds nothing to do."""
    argv = ["run", "--sandbox", "--indicators", "500", "--json", "--state", str(tmp_path / "kept")]
    assert main(argv) == 0
    first = json.loads(capsys.readouterr().out)["targets"][0]
    assert main([*argv, "--full"]) == 0
    second = json.loads(capsys.readouterr().out)["targets"][0]
    assert first["balanced"]
    assert first["created"] > 400
    assert (second["created"], second["updated"], second["write_requests"]) == (0, 0, 0)
    assert second["unchanged"] == first["created"]


def test_a_sandbox_without_a_place_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    """A fresh temporary folder, named on stderr; the receipt is a table on stdout."""
    assert main(["run", "--sandbox", "--indicators", "50", "--no-progress"]) == 0
    out, err = capsys.readouterr()
    assert "Balanced: " in out
    folder = Path(err.split()[6].rstrip(";"))
    assert (folder / "journal.sqlite").exists()
    assert f"--state {folder} goes on from there." in err


def test_a_sandbox_reaches_no_real_server(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Addresses, keys and the journal of real servers in the environment are left alone; other settings count."""
    monkeypatch.setenv("TQMISP_MISP__URL", "https://misp.example")
    monkeypatch.setenv("TQMISP_MISP__KEY", "misp-secret-key")
    monkeypatch.setenv("TQMISP_THREATQ__URL", "https://threatq.example")
    monkeypatch.setenv("TQMISP_STATE", str(tmp_path / "real"))
    monkeypatch.setenv("TQMISP_CONFIG", str(tmp_path / "real.toml"))
    monkeypatch.setenv("TQMISP_MISP__CONSUMERS", "5")
    assert main(["run", "--sandbox", "--indicators", "5", "--no-progress"]) == 0
    (settings,) = runs.settings
    assert settings.misp.url.startswith("http://127.0.0.1:")
    assert settings.threatq.url.startswith("http://127.0.0.1:")
    assert settings.misp.key.get_secret_value() != "misp-secret-key"
    assert (settings.misp.name, settings.misp.consumers) == ("sandbox", 5)
    assert tmp_path / "real" not in Path(str(settings.state.place)).parents
    assert str(settings.state.place) != str(tmp_path / "real")
    assert capsys.readouterr().out


def test_a_sandbox_that_cannot_start(capsys: pytest.CaptureFixture[str]) -> None:
    """An absent corpus is a mistake of usage."""
    assert main(["run", "--sandbox", "--corpus", "absent.ndjson.gz"]) == 2
    assert "error: The simulators did not start: The corpus absent.ndjson.gz cannot be read" in capsys.readouterr().err


def test_a_signal_stops_a_run_cleanly(tmp_path: Path) -> None:
    """SIGTERM in the middle: what has begun is finished and accounted for, and the next run brings the rest."""
    argv = ["-m", "tqmisp", "run", "--sandbox", "--indicators", "80000", "--json", "-v"]
    argv += ["--state", str(tmp_path / "kept"), "--slice-size", "5000"]
    with started(*argv) as process:
        assert process.stderr is not None
        assert any("event made" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    stopped = json.loads(out)
    (target,) = stopped["targets"]
    assert target["balanced"], target["imbalance"]
    assert stopped["stopped_by"] == "SIGTERM"
    assert process.returncode == 143
    assert 0 < target["created"] < 60_000
    with started(*argv) as process:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    (rest,) = json.loads(out)["targets"]
    assert rest["balanced"]
    assert rest["unchanged"] <= target["created"]
    assert rest["read"] < 80_000, "what was accounted for is not read again"
