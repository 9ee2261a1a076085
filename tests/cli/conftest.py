from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tqmisp.cli import job
from tqmisp.config import Settings
from tqmisp.observe import logs
from tqmisp.observe.listener import Listener
from tqmisp.observe.receipt import EventLine, Receipt, TargetReceipt
from tqmisp.pipeline.progress import Progress
from tqmisp.pipeline.stop import Stop

UUIDS = ("8cf61352-9dfc-5bd8-8e2d-3487ad6019e3", "f2de209f-b4c6-5aaf-bdbe-64d0523f82f7")
CONFIG = """\
[threatq]
url = "https://threatq.example"
client_id = "client"
email = "misp@example.org"
password = "threatq-password"
[misp]
url = "https://misp.example"
key = "misp-secret-key"
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder and an environment of one's own; logging is as before afterwards."""
    for name in [name for name in os.environ if name.startswith("TQMISP_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    yield
    logs.register(())
    logs.configure()
    logging.captureWarnings(capture=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of servers that do not exist, where it is found without being named."""
    path = tmp_path / "tqmisp.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    return path


@contextmanager
def started(*argv: str) -> Iterator[subprocess.Popen[str]]:
    """A command of its own, which does not outlive the block."""
    with subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, dict[str, str]]]:
    """A ThreatQ with 6,000 indicators and a connector, and a MISP."""
    with started("-m", "tqmisp", "sandbox", "--indicators", "6000") as process:
        assert process.stdout is not None
        ready: dict[str, dict[str, str]] = json.loads(process.stdout.readline())
        yield ready
        process.terminate()
        process.communicate()


def receipt() -> Receipt:
    """A balanced receipt with something of everything."""
    target = TargetReceipt(
        "misp",
        read=60_000,
        created=58_000,
        updated=12,
        unchanged=100,
        merged=1_620,
        retired=5,
        rejected={"invalid_domain": 40, "invalid_ip": 23},
        quarantined={"server_refused": 100},
        filtered={"tlp_too_strict": 100},
        rescued={"refang": 953},
        balanced=True,
        events=[
            EventLine(
                "8cf61352-9dfc-5bd8-8e2d-3487ad6019e3", 5230, "ThreatQ Export 2026-11-24", "2026-11-24", 25_000, True
            ),
            EventLine(
                "f2de209f-b4c6-5aaf-bdbe-64d0523f82f7", None, "ThreatQ Export 2026-11-24 (2)", "2026-11-24", 0, False
            ),
        ],
        requests=77,
        write_requests=51,
        retries=2,
        seconds_waiting_for={"threatq": 0.5, "mapping": 1.7, "misp": 10.1, "backoff": 0.0},
    )
    return Receipt("17b529fc-79d4-48d6-9d24-322e3d7e67f0", "2026-11-24T10:22:12+00:00", 12.0, {}, [target])


class Runs:
    """Stands in for the export: gives what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.settings: list[Settings] = []
        self.outcome: Callable[[Stop], Receipt] = lambda _: receipt()

    @asynccontextmanager
    async def open(
        self, settings: Settings, *, stop: Stop, listener: Listener | None = None, look: bool = False
    ) -> AsyncIterator[_OneRun]:
        assert listener is None
        assert not look
        self.settings.append(settings)
        yield _OneRun(self, stop)


class _OneRun:
    def __init__(self, runs: Runs, stop: Stop) -> None:
        self.progress = Progress()
        self._runs = runs
        self._stop = stop

    async def run(self) -> Receipt:
        return self._runs.outcome(self._stop)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """No server is needed: exports go nowhere."""
    fake = Runs()
    monkeypatch.setattr(job, "Export", fake)
    return fake
