from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.cli.terminal import on_terminal
from tests.transport.tls import make_certificates
from tqmisp.cli import driver, main
from tqmisp.threatq import connectors
from tqmisp.threatq.connectors import ConnectorSettings

DRIVER = "import sys; from tqmisp.cli.driver import main; sys.exit(main())"
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d - "
FILE = "tq-misp-export.toml"


def _answers(servers: dict[str, dict[str, str]], **changes: str) -> list[str]:
    threatq = servers["threatq"] | {"name": "MISP Export"} | changes
    return [threatq[key] for key in ("url", "name", "client_id", "email", "password")]


def _configure(servers: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch, **changes: str) -> int:
    """The first run, with its answers on standard input."""
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(_answers(servers, **changes)) + "\n"))
    return driver.main([])


def _texts(log: str) -> list[str]:
    """The lines of the log without their moments."""
    assert all(re.match(STAMP, line) for line in log.splitlines()), log
    return [re.sub(STAMP, "", line) for line in log.splitlines()]


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The command line of 2018, option by option."""
    assert driver.main(["-h"]) == 0
    kept = (Path(__file__).parent / "help" / "tq-misp-export.txt").read_text()
    assert _words(capsys.readouterr().out) == _words(kept)


def _words(text: str) -> list[str]:
    """The help without its line breaks, and without what Python 3.13 leaves out: ``-c CONFIG, --config CONFIG``."""
    return re.sub(r"(?m)^( +-\w+) \S+, --", r"\1, --", text).split()


@pytest.mark.parametrize("argv", [["-v", "4"], ["-v", "x"], ["--nonsense"], ["-ll"], ["here"]])
def test_wrong_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What the command line does not know ends with 2."""
    assert driver.main(argv) == 2
    assert "usage: tq-misp-export" in capsys.readouterr().err


def test_the_first_run_on_a_terminal(servers: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """The questions and lines of the guide, in their order; the password is not shown, and the answers are kept."""
    host, _, client, email, password = _answers(servers)
    with on_terminal("-c", DRIVER, "-v", "3", "-ll", "stdout", cwd=tmp_path) as terminal:
        terminal.expect("tqMispExport.tq_driver DEBUG: Set name of connector to MISP Export.\n")
        terminal.expect("tqMispExport.tq_driver DEBUG: Successfully parsed command line arguments.\n")
        terminal.expect("threatqcc.custom_connector DEBUG: Using Current working directory for config path\n")
        terminal.expect("ThreatQ Host: ")
        terminal.type("")  # asked again: there is no default
        terminal.expect("ThreatQ Host: ")
        terminal.type(host)
        terminal.expect("Connector Name: ")
        terminal.type("")
        terminal.expect("Client ID: ")
        terminal.type(client)
        terminal.expect("E-Mail Address: ")
        terminal.type(email)
        terminal.expect("Password: ")
        terminal.type(password)
        terminal.expect("\nConnector configured. Set information in UI.\n")
        terminal.expect("tqMispExport.tq_driver INFO: Further configuration is required in the UI.\n")
        assert terminal.end() == 0
        assert password not in terminal.shown
    file = tmp_path / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = tomllib.loads(file.read_text())
    assert kept["threatq"] == {
        "url": host,
        "client_id": client,
        "email": email,
        "password": password,
        "verify_tls": True,
    }
    assert kept["connector"] == {"name": "MISP Export"}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_ctrl_c_at_a_question(tmp_path: Path) -> None:
    """Leaves at once, and leaves nothing behind."""
    with on_terminal("-c", DRIVER, cwd=tmp_path) as terminal:
        terminal.expect("ThreatQ Host: ")
        assert terminal.interrupt() == 130
        assert "Traceback" not in terminal.shown
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_input_at_the_password(tmp_path: Path) -> None:
    """Ctrl-D there is no answer, as at the other questions."""
    with on_terminal("-c", DRIVER, cwd=tmp_path) as terminal:
        for question in ("ThreatQ Host: ", "Connector Name: ", "Client ID: ", "E-Mail Address: "):
            terminal.expect(question)
            terminal.type("x.example")
        terminal.expect("Password: ")
        terminal.press(b"\x04")
        assert terminal.end() == 2
    assert re.search("\n[^\n]* ERROR: There is no configuration yet, and nobody to ask", terminal.shown)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("argv", "code"), [(["-v", "3", "-c", "absent"], 2), ([], 1)], ids=["log", "question"])
def test_a_reader_that_leaves(argv: list[str], code: int) -> None:
    """``tq-misp-export ... | head`` goes on quietly, though nobody reads the rest of the log; it asks nobody."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", DRIVER, *argv],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (code, "")


def test_the_run_of_the_guide(
    servers: dict[str, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """``-v 3 -ll stdout -ds``: line by line as in 2018, with the settings from the user interface of ThreatQ."""
    assert _configure(servers, monkeypatch) == 0
    capsys.readouterr()
    assert driver.main(["-v", "3", "-ll", "stdout", "-ds"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    guide = [
        "tqMispExport.tq_driver DEBUG: Set name of connector to MISP Export.",
        "tqMispExport.tq_driver DEBUG: MISP SSL Verify is set to False.",
        "tqMispExport.tq_driver DEBUG: Successfully parsed command line arguments.",
        "threatqcc.custom_connector DEBUG: Using Current working directory for config path",
        (
            "tqMispExport.tq_driver DEBUG: Private Connection Established. "
            "Beginning execution of the MISP Export Connector."
        ),
        "tqMispExport.tq_driver DEBUG: Establishing MISP communications.",
        "tqMispExport.tq_driver DEBUG: Processing [N] indicators.",
        "tqMispExport.tq_driver DEBUG: Creating Event in MISP.",
        "tqMispExport.tq_driver DEBUG: Event [N] created in MISP.",
        "tqMispExport.tq_driver DEBUG: Purged processed indicators - [0] indicators remaining.",
        "tqMispExport.tq_driver INFO: Completed execution of the MISP Export Connector in N seconds",
    ]
    lines = [re.sub(r"\[[1-9]\d*\]|\b\d+(?= seconds)", lambda m: "[N]" if "[" in m[0] else "N", t) for t in _texts(out)]
    position = -1
    for line in guide:
        position = lines.index(line, position + 1)
    assert any("misp.verify_tls, by -ds, is false" in line for line in lines)
    assert not any(secret in out for secret in (servers["misp"]["key"], servers["threatq"]["password"]))
    assert (tmp_path / "state" / "journal.sqlite").exists()


def test_a_quiet_run_in_a_folder(
    servers: dict[str, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """``-c`` and ``-ll`` name folders; by default nothing is said when all is well, so that cron stays silent."""
    for name in ("config", "logs"):
        (tmp_path / name).mkdir(exist_ok=True)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(_answers(servers)) + "\n"))
    assert driver.main(["-c", "config", "-ll", "logs"]) == 0
    capsys.readouterr()
    assert driver.main(["-c", "config", "-ll", "logs"]) == 0
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "logs" / "tq-misp-export.log").read_text() == ""
    assert driver.main(["-c", "config", "-ll", "logs", "-v", "2"]) == 0
    log = _texts((tmp_path / "logs" / "tq-misp-export.log").read_text())
    assert any("Completed execution of the MISP Export Connector in" in line for line in log)
    assert not any("DEBUG" in line for line in log)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
def test_the_way_to_threatq_is_remembered(
    servers: dict[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the environment named for the first run is kept, with its files where they are, and found by the second."""
    anyio.run(make_certificates, tmp_path)
    (tmp_path / "config").mkdir()
    proxy = servers["threatq"]["url"]  # it takes a request to a proxy as one to itself
    files = {"ca_file": "server.pem", "client_cert_file": "client.pem", "client_key_file": "client.key"}
    with monkeypatch.context() as patched:
        for key, value in {**files, "proxy": proxy}.items():
            patched.setenv(f"TQMISP_THREATQ__{key.upper()}", value)
        patched.setattr("sys.stdin", io.StringIO("\n".join(_answers(servers)) + "\n"))
        assert driver.main(["-c", "config"]) == 0
    kept = tomllib.loads((tmp_path / "config" / FILE).read_text())["threatq"]
    assert {key: kept[key] for key in files} == {key: str(tmp_path / name) for key, name in files.items()}
    assert kept["proxy"] == proxy
    assert driver.main(["-c", "config"]) == 0


@contextmanager
def _connector(monkeypatch: pytest.MonkeyPatch, settings: ConnectorSettings | Exception | None) -> Iterator[None]:
    """ThreatQ's user interface says this."""

    async def read(_client: object, _name: str) -> ConnectorSettings | None:
        if isinstance(settings, Exception):
            raise settings
        return settings

    with monkeypatch.context() as patched:
        patched.setattr(connectors, "read", read)
        yield


def test_no_connector_in_threatq(
    servers: dict[str, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The log says where the settings belong instead; once they are there, the run goes through."""
    assert _configure(servers, monkeypatch, name="Another") == 0
    out = capsys.readouterr().out
    file = tmp_path / FILE
    assert f"ThreatQ has no connector 'Another'; set MISP's url and key in the section [misp] of {file}." in out
    assert driver.main(["-v", "2"]) == 2
    lines = _texts(capsys.readouterr().out)
    assert "tqMispExport.tq_driver INFO: Further configuration is required in the UI." in lines
    assert any(line.startswith(f"tqMispExport.tq_driver ERROR: {file}: misp.url (or ") for line in lines)
    misp = servers["misp"]
    text = file.read_text().replace('# url = "https://misp.example"', f'url = "{misp["url"]}"')
    file.write_text(text.replace('# key = "the authentication key"', f'key = "{misp["key"]}"'))
    assert driver.main(["-v", "2"]) == 0
    assert "Completed execution of the MISP Export Connector" in capsys.readouterr().out


def test_registering_the_connector(
    servers: dict[str, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On request it is tried; a server that refuses is quoted, and the settings of the file do as well."""
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(_answers(servers, name="Another")) + "\n"))
    assert driver.main(["--register"]) == 0
    refused = "WARNING: ThreatQ did not register the connector 'Another': POST /api/connectors: ThreatQ refused (405"
    out = capsys.readouterr().out
    assert refused in out
    assert "ThreatQ has no connector 'Another'; set MISP's url and key in the section [misp]" in out
    file = tmp_path / FILE
    misp = servers["misp"]
    text = file.read_text().replace('# url = "https://misp.example"', f'url = "{misp["url"]}"')
    file.write_text(text.replace('# key = "the authentication key"', f'key = "{misp["key"]}"'))
    assert driver.main(["-v", "2", "--register"]) == 0
    out = capsys.readouterr().out
    assert refused in out
    assert "Completed execution of the MISP Export Connector" in out
    assert driver.main(["-v", "2"]) == 0
    assert "did not register" not in capsys.readouterr().out


def test_a_connector_that_was_registered(
    servers: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log says what to do next; one that is there already is left alone."""
    made = []

    async def register(_client: object, name: str) -> ConnectorSettings:
        made.append(name)
        return ConnectorSettings(True, None, None, 0.0)

    monkeypatch.setattr(connectors, "register", register)
    for name, told in (("MISP Export", False), ("Another", True)):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(_answers(servers, name=name)) + "\n"))
        assert driver.main(["-v", "2", "--register"]) == 0
        out = capsys.readouterr().out
        assert ("INFO: ThreatQ has registered the connector 'Another'; fill in its fields in the UI." in out) is told
        assert "WARNING" not in out
        Path(FILE).unlink()
    assert made == ["Another"]


@pytest.mark.parametrize(
    ("settings", "code", "told"),
    [
        (
            ConnectorSettings(True, "misp.example", "k" * 40, 0.0),
            2,
            "ERROR: MISP URL of the connector 'MISP Export' in ThreatQ is 'misp.example'; expected an address",
        ),
        (
            ConnectorSettings(True, "https://misp.example", "k" * 40, 11.0),
            2,
            "ERROR: Score Threshold of the connector 'MISP Export' in ThreatQ is 11.0; expected a number from 0 to 10.",
        ),
        (
            ValueError("the Score Threshold of the connector is 'much', which is no number"),
            2,
            "ERROR: The Score Threshold of the connector is 'much', which is no number.",
        ),
        (
            ConnectorSettings(False, "https://misp.example", "k" * 40, 0.0),
            0,
            "WARNING: The connector 'MISP Export' is switched off in ThreatQ's user interface; nothing is exported.",
        ),
        (ConnectorSettings(True, None, None, None), 2, "misp.url (or TQMISP_MISP__URL in the environment) is missing"),
    ],
)
def test_settings_of_the_user_interface(
    *,
    settings: ConnectorSettings | Exception,
    code: int,
    told: str,
    servers: dict[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An invalid value makes the run fail with an error in the log that names the field."""
    assert _configure(servers, monkeypatch) == 0
    capsys.readouterr()
    with _connector(monkeypatch, settings):
        assert driver.main([]) == code
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"password": "wrong"}, 3, "ERROR: POST /api/token: ThreatQ refused the login"),
        ({"url": "a b"}, 2, "ERROR: ThreatQ Host is 'a b'; expected an address such as https://threatq.example"),
        ({"email": ""}, 2, "ERROR: E-Mail Address is empty; expected some text."),
    ],
)
def test_answers_that_do_not_work(
    *,
    changes: dict[str, str],
    code: int,
    told: str,
    servers: dict[str, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They are tried before they are kept: nothing is written, and the next run asks again."""
    assert _configure(servers, monkeypatch, **changes) == code
    assert told in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_nobody_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Started by cron before it was set up: it says what to do, and does not wait."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert driver.main([]) == 2
    assert "ERROR: There is no configuration yet, and nobody to ask" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["-ll", "absent"], "The log location absent must be a folder that exists and can be written to."),
        (["-c", "absent"], "The configuration folder absent does not exist; make it, or name another by -c."),
    ],
)
def test_folders_must_exist(argv: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They are not made: a slip would send the log, or a password, to a new place."""
    assert driver.main(argv) == 2
    assert f"{told}\n" in "".join(capsys.readouterr())


def test_the_new_command_takes_the_folder_over(
    servers: dict[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What tq-misp-export keeps is a configuration of tqmisp, with the same journal."""
    assert _configure(servers, monkeypatch) == 0
    assert driver.main([]) == 0
    capsys.readouterr()
    monkeypatch.setenv("TQMISP_MISP__URL", servers["misp"]["url"])
    monkeypatch.setenv("TQMISP_MISP__KEY", servers["misp"]["key"])
    assert main(["run", "--config", FILE, "--json", "--full"]) == 0
    target: dict[str, Any] = json.loads(capsys.readouterr().out)["targets"][0]
    assert (target["created"], target["write_requests"]) == (0, 0)
    assert target["unchanged"] > 5_000
