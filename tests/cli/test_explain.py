from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.cli.conftest import started
from tqmisp.cli import explain, main, render_dossier
from tqmisp.dossier import Dossier, Held, Place, Subject

EVIL = "evil\x1b[2J\u202e\u05d0\ud800[red]" + "x" * 64_000


def shown(dossier: Dossier) -> str:
    """A dossier as it is printed."""
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(render_dossier.dossier(dossier))
    return capture.get()


def test_nobody_knows_it(
    servers: dict[str, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everybody was asked: that is an answer, and no journal is made for it."""
    argv = ["explain", "--config", str(servers["config"]), "--state", str(tmp_path / "state"), "--no-progress"]
    assert main([*argv, "nobody.example"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("Neither ThreatQ nor the journal knows nobody.example.\n", "")
    assert not (tmp_path / "state").exists()


def test_an_indicator_that_was_not_exported(
    servers: dict[str, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its id, as text and as one document."""
    argv = ["explain", "50000", "--config", str(servers["config"]), "--state", str(tmp_path), "--no-progress"]
    assert main(argv) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("Indicator 50000\n")
    assert "selected" in out
    assert out.endswith("No run has delivered or refused it.\n") or "on target" in out
    assert main([*argv, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["id"] for each in document["indicators"]] == [50000]
    assert document["indicators"][0]["steps"]


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(("asked", "code"), [("a.example", 3)])
def test_servers_that_do_not_answer(asked: str, code: int, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both are named, at once, and the exit code says that the answer is not whole."""
    text = config.read_text()
    for name in ("threatq", "misp"):
        text = text.replace(f"https://{name}.example", "http://127.0.0.1:1")
    config.write_text(text)
    assert main(["explain", asked, "--no-progress"]) == code
    out, _ = capsys.readouterr()
    assert "ThreatQ could not be asked: " in out
    assert "MISP could not be asked: " in out
    assert "Nobody who could be asked knows a.example." in out
    assert main(["explain", asked, "--json"]) == code
    assert set(json.loads(capsys.readouterr().out)["not_asked"]) == {"threatq", "misp"}


@pytest.fixture
def silent(config: Path) -> Iterator[socket.socket]:
    """Both servers: it accepts, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        text = config.read_text()
        for name in ("threatq", "misp"):
            text = text.replace(f"https://{name}.example", f"http://127.0.0.1:{server.getsockname()[1]}")
        config.write_text(text)
        yield server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_servers_are_silent(number: signal.Signals, silent: socket.socket) -> None:
    """The first one, with the exit code of all commands."""
    with started("-m", "tqmisp", "explain", "a.example", "--no-progress") as process:
        connection, _ = silent.accept()
        with connection:
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "")
    assert f"Stopped by {number.name}" in err


@pytest.mark.usefixtures("silent")
def test_silent_servers_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is configured for a run: here somebody is waiting."""
    monkeypatch.setattr(explain, "READ_TIMEOUT", 0.1)
    assert main(["explain", "a.example", "--no-progress"]) == 3
    out, _ = capsys.readouterr()
    assert "ThreatQ could not be asked: " in out
    assert "MISP could not be asked: " in out


def test_hostile_words_cannot_act() -> None:
    """Whatever ThreatQ and MISP hold is spelled out and cut, in every place where it is shown."""
    row = {"value": EVIL, "type": EVIL, "status": EVIL, "score": 5.0, "touched_at": EVIL}
    held = Held(EVIL, 1, True, False, EVIL, EVIL, EVIL, [EVIL], [EVIL])
    place = Place(EVIL, "uuid", "merged", EVIL, EVIL, 7, EVIL, EVIL, confirmed=False, leaves=EVIL, misp=held)
    refused = {"kind": EVIL, "code": EVIL, "reason": EVIL}
    subject = Subject(
        8,
        EVIL,
        row,
        selected=False,
        why_not={"code": EVIL, "reason": EVIL},
        steps=[{"rule": EVIL, "before": EVIL, "after": EVIL}],
        becomes={"type": EVIL, "value": EVIL, "to_ids": True},
        refused=refused,
        places=[place],
        refusals=[refused | {"target": EVIL, "run": EVIL}],
    )
    text = shown(Dossier(EVIL, [subject], {"misp": EVIL}))
    assert "evil\\x1b[2J\\u202e" in text
    assert not {"\x1b", "\u202e", "\ud800"} & set(text)
    assert "shares the attribute of indicator 7" in text
    assert len(text) < 40_000
    json.dumps(Dossier(EVIL, [subject]).as_json(), ensure_ascii=False).encode()
    assert "Neither ThreatQ nor the journal knows" in shown(Dossier(EVIL))
