from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.cli.conftest import started
from tqmisp.cli import driver, main

Servers = dict[str, dict[str, str]]

NOISY = ["-vvv", "--log-file", "noise.log", "--no-progress"]


def _write(servers: Servers, **changes: str) -> list[str]:
    """A configuration with plain secrets; gives all of them, in the forms in which they travel."""
    threatq, misp = servers["threatq"], servers["misp"]
    values = {
        "threatq.url": threatq["url"],
        "threatq.client_id": threatq["client_id"],
        "threatq.client_secret": threatq["client_secret"],
        "misp.url": misp["url"],
        "misp.key": misp["key"],
    } | {name.replace("__", "."): value for name, value in changes.items()}
    sections: dict[str, list[str]] = {"state": ['path = "kept"']}
    for dotted, value in values.items():
        section, key = dotted.split(".")
        sections.setdefault(section, []).append(f'{key} = "{value}"')
    Path("tqmisp.toml").write_text(
        "".join(f"[{section}]\n" + "\n".join(lines) + "\n" for section, lines in sections.items())
    )
    secrets = [values["misp.key"], values["threatq.client_secret"]]
    pair = f"{values['threatq.client_id']}:{values['threatq.client_secret']}"
    return [*secrets, *map(quote, secrets), base64.b64encode(pair.encode()).decode(), "Bearer ey"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"misp__key": "wrong-key-of-forty-characters-0123456789"}, 4),
        ({"threatq__client_secret": "wrong secret, 100 % wrong"}, 3),
        ({"misp__proxy": "http://me:proxy-password@127.0.0.1:1"}, 4),
    ],
    ids=["good", "wrong key", "wrong login", "proxy"],
)
def test_no_secret_is_shown(
    changes: dict[str, str],
    code: int,
    servers: Servers,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not with everything logged, the libraries included; not in errors, tracebacks and results; not in the journal."""
    monkeypatch.setenv("TQMISP_MISP__ATTEMPTS", "1")
    monkeypatch.setenv("TQMISP_MISP__PATIENCE", "0")
    secrets = [*_write(servers, **changes), "proxy-password"]
    Path("tqmisp.toml").chmod(0o644)  # which is warned about, with words
    assert main(["run", *NOISY, "--json", "--type", "MD5"]) == code
    log = Path("noise.log").read_text()
    assert "can be read by every user" in log
    assert "debug    Using selector" in log, "the libraries are heard"
    kept = b"".join(path.read_bytes() for path in Path("kept").iterdir()).decode("latin-1")
    everything = {"stdout and stderr": "".join(capfd.readouterr()), "log": log, "journal": kept}
    found = [(place, secret) for place, text in everything.items() for secret in secrets if secret in text]
    assert found == []


HOOK = "webhook-token-0123456789"


class Outside(ThreadingHTTPServer):
    """Takes the notification of a run, and looks at the run from outside while it waits for the answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.seen: dict[str, str] = {}
        self.metrics = ""

    def look(self, body: bytes) -> None:
        """What is sent, what Prometheus would read, and what every user of the machine sees of its processes."""
        lines = [path.read_bytes().replace(b"\0", b" ").decode() for path in _processes()]
        with urlopen(self.metrics) as answer:  # noqa: S310  the address is ours
            self.seen |= {"notification": body.decode(), "port": answer.read().decode(), "processes": "\n".join(lines)}


class _Hook(BaseHTTPRequestHandler):
    server: Outside

    def do_POST(self) -> None:
        self.server.look(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


def _processes() -> Iterator[Path]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            path.read_bytes()
            yield path


@pytest.fixture
def outside() -> Iterator[Outside]:
    """Serve as long as a test runs."""
    with Outside() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


FAULTS = "misp:events/edit=maintenance; threatq:indicators/query=token-expired@1x"


def test_a_faulty_run_shows_no_secret_to_anybody(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither log, traceback, journal, metrics, notification, report and table, nor the list of processes has one."""
    for name in ("MISP__ATTEMPTS", "MISP__PATIENCE", "MISP__BACKOFF"):
        monkeypatch.setenv(f"TQMISP_{name}", "1" if name.endswith("ATTEMPTS") else "0")
    port = _free_port()
    monkeypatch.setenv("TQMISP_METRICS__PORT", str(port))
    outside.metrics = f"http://127.0.0.1:{port}/metrics"
    with started("-m", "tqmisp", "sandbox", "--indicators", "2000", "--faults", FAULTS) as sandbox:
        assert sandbox.stdout is not None
        servers = json.loads(sandbox.stdout.readline())
        webhook = f"http://127.0.0.1:{outside.server_port}/{HOOK}"
        secrets = _write(servers, metrics__textfile="tqmisp.prom", notify__webhook=webhook)
        Path("tqmisp.toml").chmod(0o600)
        with started("-m", "tqmisp", "run", *NOISY) as run:
            out, err = run.communicate(timeout=60)
        assert run.returncode == 4, err
    assert "Traceback (most recent call last):" in err
    assert "-m tqmisp run -vvv" in outside.seen["processes"]
    assert "-m tqmisp sandbox" in outside.seen["processes"]
    assert "tqmisp_run_indicators_read_total" in outside.seen["port"]
    assert '"event":"run_failed"' in outside.seen["notification"]
    assert main(["report", *NOISY, "--rejects", "rows.csv", "--output", "page.html"]) == 0
    names = ["noise.log", "tqmisp.prom", "page.html", "rows.csv", *map(str, Path("kept").iterdir())]
    everything = {name: Path(name).read_bytes().decode("latin-1") for name in names}
    everything |= outside.seen | {"stdout": out, "stderr": err}
    assert all(everything[name] for name in names)
    shown = [(place, secret) for place, text in everything.items() for secret in [*secrets, HOOK] if secret in text]
    assert shown == []
    assert "debug    " in everything["noise.log"], "everything is heard"


def test_no_secret_is_shown_by_the_driver(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The key that ThreatQ's user interface gives is masked as soon as it is known."""
    secrets = _write(servers)
    Path("tqmisp.toml").rename("tq-misp-export.toml")
    monkeypatch.setenv("TQMISP_TYPE", "MD5")
    assert driver.main(["-v", "3"]) == 0
    shown = "".join(capfd.readouterr())
    assert "Completed execution" in shown
    assert [secret for secret in secrets if secret in shown] == []
