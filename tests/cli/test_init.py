from __future__ import annotations

import json
import shutil
import stat
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.terminal import on_terminal
from tests.transport.tls import demanding, make_certificates
from tqmisp.cli import main
from tqmisp.config import load
from tqmisp.config.inherit import inherit
from tqmisp.config.write import document

Servers = dict[str, dict[str, str]]


@pytest.fixture
def secrets(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The secrets of the servers in the environment; gives options that refer to them."""
    monkeypatch.setenv("SOME_PASSWORD", servers["threatq"]["password"])
    monkeypatch.setenv("SOME_KEY", servers["misp"]["key"])
    return ["--password", "env:SOME_PASSWORD", "--misp-key", "env:SOME_KEY"]


def _answers(servers: Servers) -> list[str]:
    """Options for all that is no secret."""
    there = servers["threatq"]
    known = ["--threatq-url", there["url"], "--client-id", there["client_id"], "--email", there["email"]]
    return [*known, "--misp-url", servers["misp"]["url"], "--state", "state"]


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_without_questions(
    servers: Servers, secrets: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file holds references and no secret, is readable by its owner only, and works."""
    assert main(["init", "--yes", *_answers(servers), *secrets, "--score-threshold", "5", "--type", "FQDN"]) == 0
    out, err = capsys.readouterr()
    assert out == "Wrote tqmisp.toml, which you alone can read.\nNext: tqmisp run\n"
    assert "The selection has" in err
    file = tmp_path / "tqmisp.toml"
    text = file.read_text()
    assert _mode(file) == 0o600
    assert servers["misp"]["key"] not in text
    written = tomllib.loads(text)
    assert written["selection"] == {"score_threshold": 5.0, "types": ["FQDN"]}
    assert written["threatq"]["password"] == "env:SOME_PASSWORD"
    assert "# The least score, 0..10.\nscore_threshold" in text
    assert main(["run", "--no-progress", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"][0]["balanced"]


@pytest.mark.parametrize("wanted", ["option", "environment"])
def test_for_machines(
    wanted: str,
    servers: Servers,
    secrets: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One document, and nothing else on stdout."""
    if wanted == "environment":
        monkeypatch.setenv("TQMISP_JSON", "1")
    option = ["--json"] if wanted == "option" else []
    assert main(["init", "--yes", *option, *_answers(servers), *secrets]) == 0
    assert json.loads(capsys.readouterr().out) == {"config": "tqmisp.toml", "secrets": {}, "findings": []}


def test_what_is_there_is_not_replaced(servers: Servers, secrets: list[str], tmp_path: Path) -> None:
    """Unless it is asked for."""
    file = tmp_path / "tqmisp.toml"
    file.write_text("# mine")
    assert main(["init", "--yes", *_answers(servers), *secrets]) == 2
    assert file.read_text() == "# mine"
    assert main(["init", "--yes", "--force", *_answers(servers), *secrets]) == 0
    assert _mode(file) == 0o600


@pytest.mark.parametrize("option", ["--password", "--client-secret", "--misp-key"])
def test_no_secret_on_the_command_line(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every user could read it; the error does not repeat it."""
    assert main(["init", "--yes", option, "hunter2hunter2"]) == 2
    err = capsys.readouterr().err
    assert f"{option} is a reference" in err
    assert "hunter2hunter2" not in err
    assert not list(tmp_path.iterdir())


def test_missing_answers_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """All of them at once, before any server is asked."""
    assert main(["init", "--yes", "--no-check"]) == 2
    err = capsys.readouterr().err
    assert "threatq.url" in err
    assert "threatq.client_id" in err
    assert "misp.key" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [("--misp-key", "key", 4), ("--password", "login", 3)])
def test_answers_that_a_server_refuses(
    servers: Servers,
    secrets: list[str],
    wrong: tuple[str, str, int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is written but where nobody wants to know."""
    option, name, code = wrong
    (tmp_path / "wrong").write_text("0" * 40)
    answers = ["init", "--yes", *_answers(servers), *secrets, option, "file:wrong"]
    assert main(answers) == code
    err = capsys.readouterr().err
    assert f"failure  {name}" in err
    assert "Fix: " in err
    assert not (tmp_path / "tqmisp.toml").exists()
    assert main([*answers, "--no-check"]) == 0
    assert (tmp_path / "tqmisp.toml").exists()


_CONVERSATION = [
    ("ThreatQ address: ", "{url}"),
    ("Client ID", "{client_id}"),
    ("E-mail address", "{email}"),
    ("Password", "wrong password"),
    ("refuses the login", None),
    ("Keep these answers all the same? (y/n) [n]: ", ""),
    ("[{url}]: ", ""),
    ("[{client_id}]: ", ""),
    ("[{email}]: ", ""),
    ("[as before]: ", "{password}"),
    ("can log in", None),
    ("Least score, 0 to 10 [0]: ", "eleven"),
    ("Least score, 0 to 10 [0]: ", "4"),
    ("The selection has", None),
    ("MISP address: ", "{misp}"),
    ("Authentication key", "{key}"),
    ("Who may see the events", "4"),
    ("Id of the sharing group [1]: ", "7"),
    ("in no sharing group 7", None),
    ("Keep these answers", "n"),
    ("MISP address [{misp}]: ", ""),
    ("[as before]: ", ""),
    ("[4]: ", "0"),
]
"""What is shown, and what is typed then."""


def test_a_conversation(servers: Servers, tmp_path: Path) -> None:
    """A wrong password is noticed at once; what is typed is not shown, and is kept in files of its own."""
    there, here = servers["threatq"], servers["misp"]
    with on_terminal("-m", "tqmisp", "init", "--state", "state", cwd=tmp_path) as terminal:
        for expected, typed in _CONVERSATION:
            terminal.expect(expected.format(**there, misp=here["url"]))
            if typed is not None:
                terminal.type(typed.format(**there, misp=here["url"], key=here["key"]))
        terminal.expect("misp.key is kept in file:secrets/misp-key.")
        assert terminal.end() == 0
        shown = terminal.shown
    assert there["password"] not in shown
    assert here["key"] not in shown
    settings = load(tmp_path / "tqmisp.toml", env={})
    assert settings.misp.key.get_secret_value() == here["key"]
    assert settings.threatq.password is not None
    assert settings.threatq.password.get_secret_value() == there["password"]
    assert settings.selection.score_threshold == 4
    assert settings.events.distribution == 0
    assert {path.name: _mode(path) for path in (tmp_path / "secrets").iterdir()} == {
        "threatq-password": 0o600,
        "misp-key": 0o600,
    }


def test_a_private_client(servers: Servers, tmp_path: Path) -> None:
    """It has a secret and no address; plain secrets are kept on request."""
    there, here = servers["threatq"], servers["misp"]
    with on_terminal("-m", "tqmisp", "init", "--secrets", "plain", cwd=tmp_path) as terminal:
        for question, answer in (
            ("ThreatQ address", there["url"]),
            ("Client ID", there["client_id"]),
            ("E-mail address", "-"),
            ("Client secret", there["client_secret"]),
            ("Least score", ""),
            ("MISP address", here["url"]),
            ("Authentication key", here["key"]),
            ("Who may see", ""),
        ):
            terminal.expect(question)
            terminal.type(answer)
        assert terminal.end() == 0
    written = tomllib.loads((tmp_path / "tqmisp.toml").read_text())
    assert written["threatq"]["client_secret"] == there["client_secret"]
    assert written["misp"]["key"] == here["key"]
    assert "email" not in written["threatq"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
async def test_certificates_are_asked_for(servers: Servers, tmp_path: Path) -> None:
    """Once it is seen that they are needed: that of the server's authority, ours, and what can be used in its place."""
    await make_certificates(tmp_path)
    there = servers["threatq"]
    who = ("MISP address", ""), ("Authentication key", "")
    with demanding(tmp_path) as url, on_terminal("-m", "tqmisp", "init", cwd=tmp_path) as terminal:
        for question, answer in (
            ("ThreatQ address", there["url"]),
            ("Client ID", there["client_id"]),
            ("E-mail address", "-"),
            ("Client secret", there["client_secret"]),
            ("Least score", ""),
            ("MISP address", url),
            ("Authentication key", "the key"),
            ("Who may see", ""),
            ("is not trusted", None),
            ("Keep these answers", "n"),
            *who,
            ("File with its authority", "server.pem"),
            ("Who may see", ""),
            ("does not let us in", None),
            ("Keep these answers", "n"),
            *who,
            ("File with the certificate that it wants to see", "client.pem"),
            ("File with the key of that", "none.key"),
            ("Who may see", ""),
            ("No such file", None),
            ("Keep these answers", "n"),
            *who,
            ("File with the certificate that it wants to see", ""),
            ("File with the key of that", "client.key"),
            ("Who may see", ""),
            ("no MISP", None),
            ("Keep these answers", "y"),
        ):
            terminal.expect(question)
            if answer is not None:
                terminal.type(answer)
        assert terminal.end() == 0
    misp = tomllib.loads((tmp_path / "tqmisp.toml").read_text())["misp"]
    named = {name: value for name, value in misp.items() if name.endswith("_file")}
    assert named == {"ca_file": "server.pem", "client_cert_file": "client.pem", "client_key_file": "client.key"}


def test_nobody_to_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As from cron: it does not hang."""
    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert main(["init"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_end_of_input_at_a_secret(tmp_path: Path) -> None:
    """Ctrl-D there is no answer, as at the other questions."""
    with on_terminal("-m", "tqmisp", "init", cwd=tmp_path) as terminal:
        for question in ("ThreatQ address", "Client ID", "E-mail address"):
            terminal.expect(question)
            terminal.type("x.example")
        terminal.expect("Password")
        terminal.expect(": ")
        terminal.press(b"\x04")
        assert terminal.end() == 2
    assert "\nerror: There is nobody to ask: standard input ended." in terminal.shown


def test_relative_places_in_another_folder(servers: Servers, secrets: list[str], tmp_path: Path) -> None:
    """What was meant from here is written so that it is meant the same from there."""
    (tmp_path / "key").write_text(servers["misp"]["key"])
    target = tmp_path / "etc" / "export.toml"
    answers = [*_answers(servers), *secrets, "--misp-key", "file:key", "--config", str(target)]
    assert main(["init", "--yes", *answers]) == 0
    settings = load(target)
    assert settings.misp.key.get_secret_value() == servers["misp"]["key"]
    assert settings.state.path == str(tmp_path / "state")


def test_the_folder_of_our_own_driver(
    servers: Servers, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Login and journal are taken over from its file, the rest from ThreatQ's user interface."""
    old = tmp_path / "old"
    old.mkdir()
    answers = [servers["threatq"][name] for name in ("url", "client_id", "email", "password")]
    with (tmp_path / "answers").open("w+") as stdin:
        stdin.write("\n".join([answers[0], "", *answers[1:], ""]))
        stdin.seek(0)
        monkeypatch.setattr(sys, "stdin", stdin)
        from tqmisp.cli import driver  # noqa: PLC0415  it sets up logging

        assert driver.main(["-c", str(old)]) == 0
    assert main(["init", "--yes", "--from", str(old)]) == 0
    settings = load(tmp_path / "tqmisp.toml")
    assert settings.misp.url == servers["misp"]["url"]
    assert settings.misp.key.get_secret_value() == servers["misp"]["key"]
    assert settings.state.path == str(old / "state")
    assert servers["threatq"]["password"] not in (tmp_path / "tqmisp.toml").read_text()
    assert servers["threatq"]["password"] not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "misp.json",
            '{"host": "192.0.2.1", "auth": {"client_id": "abc", "client_secret": "s3cret"}, "score_threshold": 3}',
        ),
        ("misp.conf", "[threatq]\nhost = 192.0.2.1\nclient_id = abc\nclient_secret = s3cret\nscore threshold = 3\n"),
        ("config", "host=192.0.2.1\nClient ID=abc\nClientSecret=s3cret\nscore_threshold=3\nuser=x\npassword=y\n"),
    ],
)
def test_a_folder_of_2018(tmp_path: Path, name: str, text: str) -> None:
    """Its format is not public: what says what it is, is taken."""
    (tmp_path / name).write_text(text)
    (tmp_path / "a-log.txt").write_text("2018-04-09 13:57:40 - [x] nothing: here")
    (tmp_path / "a.bin").write_bytes(b"\xff\xfe")
    found = inherit(tmp_path)
    assert found.file == tmp_path / name
    assert set(found.values) == {
        "threatq.url",
        "threatq.client_id",
        "threatq.client_secret",
        "selection.score_threshold",
    }
    assert found.values["threatq.client_secret"].get_secret_value() == "s3cret"
    assert found.values["selection.score_threshold"] == 3


def test_a_folder_without_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, and what to do instead."""
    assert main(["init", "--from", str(tmp_path)]) == 2
    assert "answer the questions" in capsys.readouterr().err
    assert main(["init", "--from", str(tmp_path / "absent")]) == 2
    assert "is no folder" in capsys.readouterr().err


class _Keyring(ModuleType):
    """Stands in for the package, which needs a desktop."""

    def __init__(self) -> None:
        super().__init__("keyring")
        self.held: dict[tuple[str, str], str] = {}
        self.errors = ModuleType("keyring.errors")
        self.errors.KeyringError = RuntimeError  # type: ignore[attr-defined]

    def get_password(self, service: str, name: str) -> str | None:
        return self.held.get((service, name))

    def set_password(self, service: str, name: str, secret: str) -> None:
        self.held[service, name] = secret


def test_secrets_in_the_keyring(
    servers: Servers, secrets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are referred to, and put there where they were typed."""
    fake = _Keyring()
    monkeypatch.setitem(sys.modules, "keyring", fake)
    monkeypatch.setitem(sys.modules, "keyring.errors", fake.errors)
    fake.held["misp", "me"] = servers["misp"]["key"]
    answers = [*_answers(servers), *secrets, "--misp-key", "keyring:misp/me"]
    assert main(["init", "--yes", *answers]) == 0
    assert load(tmp_path / "tqmisp.toml").misp.key.get_secret_value() == servers["misp"]["key"]
    (tmp_path / "old.json").write_text(json.dumps({"host": servers["threatq"]["url"], "misp key": "typed", "e": 1}))
    options = ["--from", str(tmp_path), "--secrets", "keyring", "--no-check", "--force", "--misp-url", "https://x.test"]
    assert main(["init", "--yes", *options, "--client-id", "c", "--email", "e@x.test", *secrets[:2]]) == 0
    assert fake.held["tqmisp", "misp-key"] == "typed"
    assert load(tmp_path / "tqmisp.toml").misp.key.get_secret_value() == "typed"


def test_no_keyring(
    servers: Servers,
    secrets: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The extra is named, and so is a secret that is not there."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    answers = ["init", "--yes", *_answers(servers), *secrets, "--misp-key", "keyring:misp/me"]
    assert main(answers) == 2
    assert "tqmisp[keyring]" in capsys.readouterr().err
    fake = _Keyring()
    monkeypatch.setitem(sys.modules, "keyring", fake)
    monkeypatch.setitem(sys.modules, "keyring.errors", fake.errors)
    assert main(answers) == 2
    assert "keyring:misp/me, which the keyring does not hold" in capsys.readouterr().err


@given(st.text(), st.lists(st.text()), st.dictionaries(st.text(), st.text()), st.booleans())
def test_what_is_written_is_what_is_read(text: str, texts: list[str], table: dict[str, str], truth: bool) -> None:  # noqa: FBT001
    """Whatever was answered."""
    values = {
        "threatq.client_id": text,
        "misp.key": None,
        "selection.tags": texts,
        "mapping.clusters": table,
        "events.publish": truth,
    }
    assert tomllib.loads(document(values, "one\ntwo")) == {
        "threatq": {"client_id": text},
        "selection": {"tags": texts},
        "mapping": {"clusters": table},
        "events": {"publish": truth},
    }
