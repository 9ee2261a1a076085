from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Runs, receipt
from tqmisp.cli import common, daemon, main
from tqmisp.errors import Interrupted, LockHeld, MispUnavailable
from tqmisp.observe.receipt import Receipt
from tqmisp.pipeline.stop import Stop
from tqmisp.schedule.options import ScheduleOptions


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


class Manager:
    """Starts the service as systemd would, and hears what it says."""

    def __init__(self, folder: Path, *argv: str) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listener.settimeout(60)
        self.listener.bind(str(folder / "notify"))
        env = os.environ | {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "600000000"}
        self.process = subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, "-m", "tqmisp", "run", *argv],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, *parts: str) -> str:
        """Listen until a message has all of these parts."""
        while True:
            said = self.listener.recv(4096).decode()
            if all(part in said for part in parts):
                return said


@pytest.fixture
def ports() -> tuple[int, int]:
    """For health and metrics."""
    return _free_port(), _free_port()


@pytest.fixture
def config(servers: dict[str, dict[str, str]], ports: tuple[int, int], tmp_path: Path) -> Path:
    """The right ThreatQ, and a MISP that is away."""
    path = tmp_path / "tqmisp.toml"
    lines = ["[threatq]", *(f"{name} = {json.dumps(value)}" for name, value in servers["threatq"].items())]
    lines += ["[misp]", 'url = "http://127.0.0.1:9"', f'key = "{servers["misp"]["key"]}"', "patience = 0.01"]
    lines += ["attempts = 1", '[state]\npath = "journal"', '[selection]\ntypes = ["CVE"]', '[events]\nname = "Service"']
    lines += ["[schedule]", f"health_port = {ports[0]}", f"[metrics]\nport = {ports[1]}"]
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    return path


@pytest.fixture
def manager(config: Path) -> Iterator[Manager]:
    """A service with an interval of a second, which does not outlive the test."""
    manager = Manager(config.parent, "--every", "1s", "--json", "--log-format", "json", "-v")
    with manager.listener, manager.process:
        yield manager
        manager.process.kill()


def test_a_service_from_start_to_end(
    manager: Manager, config: Path, ports: tuple[int, int], servers: dict[str, dict[str, str]]
) -> None:
    """A server that is away does not end it, SIGHUP takes what has been mended, SIGTERM ends it in order."""
    manager.wait_for("READY=1")
    manager.wait_for("STATUS=next run at", "last run failed with exit code 4", "2 failures in a row")
    status, body = _get(ports[0], "/health")
    health = json.loads(body)
    assert status == 503
    assert (health["healthy"], health["last_run"]["outcome"]) == (False, "failed")
    assert health["failures_in_a_row"] >= 2
    assert "127.0.0.1:9 cannot be reached" in health["last_run"]["text"]
    assert 'tqmisp_run_outcome{outcome="failed",target="misp"} 1.0' in _get(ports[1], "/metrics")[1]

    text = config.read_text()
    config.write_text(text.replace("[misp]", "[mips]"))
    manager.process.send_signal(signal.SIGHUP)
    manager.wait_for("RELOADING=1\nMONOTONIC_USEC=")
    manager.wait_for("READY=1")
    manager.wait_for("configuration refused")
    assert "mips is no section" in json.loads(_get(ports[0], "/health")[1])["configuration_refused"]

    config.write_text(text.replace("http://127.0.0.1:9", servers["misp"]["url"]))
    manager.process.send_signal(signal.SIGHUP)
    manager.wait_for("STATUS=next run at", "last run done with exit code 0")
    status, body = _get(ports[0], "/health")
    assert (status, json.loads(body)["configuration_refused"]) == (200, None)
    assert 'tqmisp_run_outcome{outcome="done",target="misp"} 1.0' in _get(ports[1], "/metrics")[1]

    manager.process.send_signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1")
    out, err = manager.process.communicate(timeout=60)
    assert manager.process.returncode == 0, err
    receipts = [json.loads(line) for line in out.splitlines()]
    assert all(each["targets"][0]["balanced"] for each in receipts)
    assert receipts[0]["targets"][0]["read"] > 0
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert events.count("the run failed") == json.loads(body)["failures"]
    assert "the configuration was read again" in events
    assert servers["misp"]["key"] not in out + err


ARGV = ["run", "--every", "1s", "--no-progress"]


def _turns(runs: Runs, *outcomes: Receipt | Exception, last: str = "SIGTERM", signals: int = 1) -> None:
    """Let the runs end like this; the signal comes during the last."""
    left = list(outcomes)

    def outcome(stop: Stop) -> Receipt:
        this = left.pop(0)
        if not left:
            for _ in range(signals):
                stop.request(last)
        if isinstance(this, Exception):
            raise this
        return this

    runs.outcome = outcome


@pytest.mark.usefixtures("config")
def test_what_a_run_finds_is_told(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """Each receipt on stdout; on stderr who was at work, what failed and what needs somebody."""
    unbalanced, refusing = receipt(), receipt()
    unbalanced.targets[0].balanced = False
    unbalanced.targets[0].imbalance = ["one is off"]
    _turns(runs, unbalanced, LockHeld("Run 4711 is at work."), MispUnavailable("MISP is away"), refusing)
    assert main([*ARGV, "-v", "--max-rejects", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.count("17b529fc-79d4-48d6-9d24-322e3d7e67f0") == 2
    lines = [line[21:] for line in err.splitlines()]
    assert lines == [
        "warning  the run needs somebody exit_code=6 reason=one is off",
        "info     another run is at work; this turn is left out reason=Run 4711 is at work.",
        "error    the run failed error=MISP is away",
    ]


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(("last", "signals", "code"), [("SIGTERM", 1, 0), ("SIGINT", 1, 0), ("SIGTERM", 2, 143)])
def test_how_it_ends(last: str, signals: int, code: int, runs: Runs) -> None:
    """To be stopped is how a service ends; a second signal does not wait for what has begun."""
    _turns(runs, Interrupted("Stopped before everything was delivered."), last=last, signals=signals)
    assert main(ARGV) == code


def test_an_interval_in_the_configuration(runs: Runs, config: Path) -> None:
    """Makes a service of every run, but of one that is told otherwise; so does the variable."""
    config.write_text(config.read_text().replace("[schedule]", '[schedule]\nevery = "1s"'))
    _turns(runs, receipt(), receipt())
    assert main(["run", "--no-progress"]) == 0
    assert len(runs.settings) == 2
    _turns(runs, receipt())
    assert main(["run", "--no-progress", "--every", "0"]) == 0
    assert len(runs.settings) == 3


def test_no_verification_is_warned_about_in_each_run(
    runs: Runs, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service reminds its operator as often as a crontab line would."""
    config.write_text(config.read_text().replace("[misp]", "[misp]\nverify_tls = false"))
    _turns(runs, receipt(), receipt(), receipt())
    assert main(ARGV) == 0
    assert capsys.readouterr().err.count("misp.verify_tls is false: whoever is in between can read") == 3


async def test_a_reload_without_an_interval(runs: Runs, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A service cannot become a single run; and its ports stay what they are."""
    settings = common.settings(config, {"every": "1s"})
    once = replace(settings, schedule=ScheduleOptions())
    elsewhere = replace(settings, schedule=replace(settings.schedule, health_port=None))
    reloads = [once, elsewhere]

    def outcome(stop: Stop) -> Receipt:
        if reloads:
            os.kill(os.getpid(), signal.SIGHUP)
        else:
            stop.request("SIGTERM")
        return receipt()

    runs.outcome = outcome
    assert await daemon.keep_exporting(settings, lambda: reloads.pop(0), lambda _receipt, _settings: None) == 0
    assert runs.settings == [settings, settings, elsewhere]
    err = capsys.readouterr().err
    assert "the earlier one stays error=schedule.every is missing" in err
    assert "the ports of [schedule] and [metrics] change with the next start only" in err


def test_a_health_port_that_is_taken(config: Path, ports: tuple[int, int], capsys: pytest.CaptureFixture[str]) -> None:
    """The service does not start, and says why."""
    assert config.exists()
    with socket.create_server(("127.0.0.1", ports[0])):
        assert main(ARGV) == 2
    assert f"127.0.0.1 port {ports[0]} cannot be served" in capsys.readouterr().err


def test_a_sandbox_ends_with_its_run(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it cannot be a service, whatever the environment says."""
    assert main(["run", "--sandbox", "--every", "4h"]) == 2
    monkeypatch.setenv("TQMISP_EVERY", "4h")
    monkeypatch.setenv("TQMISP_SCHEDULE__EVERY", "4h")
    assert main(["run", "--sandbox", "--indicators", "5", "--no-progress"]) == 0
    assert len(runs.settings) == 1
