from __future__ import annotations

import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tqmisp.config import LocalSettings, Settings, ThreatQSettings, keyring, load, load_part
from tqmisp.config.database import without_password
from tqmisp.config.describe import example, purposes
from tqmisp.config.layers import SHORT, variable
from tqmisp.config.load import section_kinds
from tqmisp.config.rules import RULES
from tqmisp.errors import ConfigError

ROOT = Path(__file__).parents[1]

SMALL = """\
[threatq]
url = "threatq.example"
client_id = "client"
email = "misp@example.org"
password = "threatq-password"
[misp]
url = "https://misp.example"
key = "misp-secret-key"
"""


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of this machine is found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def _write(text: str, name: str = "tqmisp.toml") -> Path:
    path = Path.cwd() / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def _settings(more: str = "", env: dict[str, str] | None = None, **overrides: Any) -> Settings:
    return load(_write(SMALL + more), env=env or {}, overrides=overrides)


def _problem(text: str, env: dict[str, str] | None = None, **overrides: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(_write(text), env=env or {}, overrides=overrides)
    return str(caught.value).replace(f"{Path.cwd()}{os.sep}", "")


def test_a_small_file_is_enough() -> None:
    """Two addresses and two logins; the rest has defaults."""
    loaded = _settings()
    assert loaded.misp.url == "https://misp.example"
    assert loaded.misp.key.get_secret_value() == "misp-secret-key"
    assert loaded.selection.statuses == ("Active",)
    assert loaded.warnings == ()


def test_who_counts_more() -> None:
    """The command line before the environment, the environment before the file, the file before the defaults."""
    file = "[selection]\nscore_threshold = 1\n"
    env = {"TQMISP_SELECTION__SCORE_THRESHOLD": "2"}
    assert _settings().selection.score_threshold == 0
    assert _settings(file).selection.score_threshold == 1
    assert _settings(file, env).selection.score_threshold == 2
    short = env | {"TQMISP_SCORE_THRESHOLD": "3"}
    assert _settings(file, short).selection.score_threshold == 3
    assert _settings(file, short, score_threshold=4).selection.score_threshold == 4
    assert _settings(file, short, score_threshold=None, status=[]).selection.score_threshold == 3


@pytest.mark.parametrize(
    ("name", "value", "section", "key", "expected"),
    [
        ("TQMISP_MISP__CONSUMERS", "4", "misp", "consumers", 4),
        ("TQMISP_MISP__VERIFY_TLS", "false", "misp", "verify_tls", False),
        ("TQMISP_PUBLISH", "1", "events", "publish", True),
        ("TQMISP_TYPE", "FQDN, IP Address", "selection", "types", ("FQDN", "IP Address")),
        ("TQMISP_SOURCE", '["Foo, Inc.", "Bar"]', "selection", "sources", ("Foo, Inc.", "Bar")),
        ("TQMISP_EVENTS__SHARING_GROUP_ID", "7", "events", "sharing_group_id", 7),
        ("TQMISP_STATE", "/var/lib/tqmisp", "state", "path", "/var/lib/tqmisp"),
        ("TQMISP_MAPPING__CLUSTERS", '{"Bear": "x"}', "mapping", "clusters", {"Bear": "x"}),
        ("TQMISP_LOG_FORMAT", "json", "output", "log_format", "json"),
        ("TQMISP_MISP__PROXY", "", "misp", "proxy", None),  # empty is not set
    ],
)
def test_variables_are_read_as_what_is_needed(name: str, value: str, section: str, key: str, expected: object) -> None:
    """Text in the environment becomes numbers, truth, lists and tables."""
    assert getattr(getattr(_settings(env={name: value}), section), key) == expected


def test_variables_of_ones_own() -> None:
    """What a secret refers to may look like a setting, and so may what Kubernetes sets; what is empty is not set."""
    text = SMALL.replace("misp-secret-key", "env:TQMISP_MISP_KEY")
    env = {"TQMISP_MISP_KEY": "mine", "TQMISP_MISP_VERIFY_TLS": "", "TQMISP_METRICS_PORT": "tcp://10.0.0.7:9100"}
    loaded = load(_write(text), env=env)
    assert loaded.misp.key.get_secret_value() == "mine"


def test_dates_may_stand_without_quotes() -> None:
    """TOML's own dates are taken; one with a zone is brought to UTC."""
    loaded = _settings("[selection]\nsince = 2026-01-01\nuntil = 2026-02-01T02:00:00+02:00\n")
    assert (loaded.selection.since, loaded.selection.until) == ("2026-01-01", "2026-02-01 00:00:00")


MISTAKES: list[tuple[str, dict[str, str], dict[str, Any], str]] = [
    # unknown words
    ("[misp]\nkye = 'hush'", {}, {}, "tqmisp.toml: misp.kye is not known; did you mean misp.key?"),
    ("[mips]\nkey = 'hush'", {}, {}, "tqmisp.toml: mips is no section; did you mean misp?"),
    ("[zzz]", {}, {}, "tqmisp.toml: zzz is no section; expected one of state, output, "),
    ("", {"TQMISP_MIPS__KEY": "hush"}, {}, "TQMISP_MIPS in the environment is no section; did you mean TQMISP_MISP?"),
    (
        "",
        {"TQMISP_MISP__KYE": "hush"},
        {},
        "TQMISP_MISP__KYE in the environment is not known; did you mean TQMISP_MISP__KEY?",
    ),
    (
        "",
        {"TQMISP_SCORE_TRESHOLD": "1"},
        {},
        "TQMISP_SCORE_TRESHOLD in the environment is no setting; did you mean TQMISP_SCORE_THRESHOLD?",
    ),
    ("", {"TQMISP_MISP_VERIFY_TLS": "no"}, {}, "is no setting; did you mean TQMISP_MISP__VERIFY_TLS?"),
    ("", {"TQMISP_RETIRE_POLICY": "leave"}, {}, "is no setting; did you mean TQMISP_RETIRE__POLICY?"),
    ("", {"TQMISP_EVENTS_PUBLISH": "yes"}, {}, "is no setting; did you mean TQMISP_EVENTS__PUBLISH?"),
    (
        "",
        {"TQMISP_MISP_KEY": "hush"},
        {},
        "TQMISP_MISP_KEY in the environment is no setting; did you mean TQMISP_MISP__",
    ),
    # what has moved
    ("[pipeline]\nslice_items = 10", {}, {}, "pipeline.slice_items is not known; did you mean events.slice_size?"),
    ("", {"TQMISP_PIPELINE__SLICE_ITEMS": "1"}, {}, "is not known; did you mean TQMISP_EVENTS__SLICE_SIZE?"),
    # wrong types; text is no number in a file
    ("[events]\nslice_size = '10'", {}, {}, "events.slice_size is '10'; expected a whole number from 1 to 25,000."),
    ("[misp]\nverify_tls = 'no'", {}, {}, "tqmisp.toml: misp.verify_tls is 'no'; expected true or false."),
    ("[events]\npublish = 1", {}, {}, "tqmisp.toml: events.publish is 1; expected true or false."),
    ("[run]\nmax_rejects = true", {}, {}, "run.max_rejects is true; expected a whole number, 0 or more."),
    ("[selection]\ntypes = 'FQDN'", {}, {}, "selection.types is 'FQDN'; expected a list of texts."),
    ("[output]\nlog_format = 'xml'", {}, {}, "output.log_format is 'xml'; expected one of text, json."),
    ("[mapping]\nclusters = 3", {}, {}, "mapping.clusters is 3; expected a table."),
    (
        "[mapping.types.FQDN]\ntyp = 'domain'",
        {},
        {},
        "mapping.types has a mistake at FQDN.typ: unexpected keyword argument.",
    ),
    (
        "[misp]\nkey = 1234567",
        {},
        {},
        "misp.key is not text; expected text, or env:NAME, file:PATH or keyring:SERVICE/NAME for where to",
    ),
    (
        "",
        {"TQMISP_MISP__CONSUMERS": "many"},
        {},
        "TQMISP_MISP__CONSUMERS in the environment is 'many'; expected a whole number, 1 or more.",
    ),
    # out of range
    ("[events]\nslice_size = 0", {}, {}, "events.slice_size is 0; expected a whole number from 1 to 25,000."),
    ("[events]\nslice_size = 25001", {}, {}, "events.slice_size is 25001; expected"),
    ("[events]\ndistribution = 5", {}, {}, "events.distribution is 5; expected a whole number from 0 to 4."),
    ("[events]\nthreat_level = 0", {}, {}, "events.threat_level is 0; expected a whole number from 1 to 4."),
    ("[events]\nanalysis = 3", {}, {}, "events.analysis is 3; expected a whole number from 0 to 2."),
    ("[events]\ntimezone = 'Mars'", {}, {}, "events.timezone is 'Mars'; expected the name of a time zone"),
    ("[events]\ntimezone = '../x'", {}, {}, "events.timezone is '../x'; expected the name of a time zone"),
    ("[selection]\nscore_threshold = 11", {}, {}, "selection.score_threshold is 11; expected a number from 0 to 10."),
    ("[selection]\nscore_threshold = nan", {}, {}, "selection.score_threshold is NaN; expected a number from 0 to"),
    ("[selection]\nsince = 'yesterday'", {}, {}, "selection.since is 'yesterday'; expected YYYY-MM-DD or"),
    ("[selection]\nsince = '2026-02-30'", {}, {}, "selection.since is '2026-02-30'; expected YYYY-MM-DD or"),
    ("[misp]\nread_timeout = inf", {}, {}, "misp.read_timeout is Infinity; expected a number of seconds, more than 0."),
    ("", {}, {"score_threshold": 11}, "--score-threshold is 11; expected a number from 0 to 10."),
    ("[retire]\nshare = 10", {}, {}, "retire.share is 10; expected a number from 0 to 1, such as 0.1 for a tenth."),
    ("[retire]\nshare = -0.1", {}, {}, "retire.share is -0.1; expected a number from 0 to 1"),
    # addresses
    ("", {"TQMISP_MISP__URL": "misp.example"}, {}, "is 'misp.example'; expected an address such as https://misp"),
    ("", {"TQMISP_MISP__URL": "ftp://misp.example"}, {}, "is 'ftp://misp.example'; expected an address such as"),
    ("", {"TQMISP_MISP__URL": "https://"}, {}, "is 'https://'; expected an address such as"),
    ("", {"TQMISP_MISP__URL": "https://[::1"}, {}, "is 'https://[::1'; expected an address such as"),
    ("", {"TQMISP_MISP__URL": "https://u:hush@m.example"}, {}, "is an address with a user or password; expected"),
    ("", {"TQMISP_MISP__URL": "u:hush@m.example"}, {}, "is an address with a user or password; expected"),
    ("", {"TQMISP_MISP__PROXY": "u:hush@proxy:3128"}, {}, "is an address with a user or password; expected an address"),
    ("", {"TQMISP_THREATQ__URL": "u:hush@tq.example"}, {}, "is an address with a user or password; expected"),
    (
        "[state]\npath = ['u:hush@db/tq']",
        {},
        {},
        "state.path is an address with a user or password; expected some text.",
    ),
    ("", {"TQMISP_THREATQ__URL": "a b"}, {}, "is 'a b'; expected an address such as https://threatq.example"),
    # values that do not go together
    ("[events]\ndistribution = 4", {}, {}, "events.sharing_group_id (or TQMISP_EVENTS__SHARING_GROUP_ID in the"),
    (
        "[selection]\nsince = '2026-02-01'\nuntil = '2026-01-01'",
        {},
        {},
        "selection.until is 2026-01-01; expected a moment after selection.since, 2026-02-01.",
    ),
    ("", {"TQMISP_MISP__CLIENT_KEY_FILE": "k"}, {}, "is missing; expected it beside misp.client_key_file."),
    ("", {}, {"type": ["FQDN"], "exclude_type": ["FQDN"]}, "--exclude-type names 'FQDN', which selection.types"),
    ("[mapping]\ndefault_tlp = 'PINK'", {}, {}, "tqmisp.toml: mapping.default_tlp is 'PINK'; expected one of RED,"),
    # references
    ("", {"TQMISP_MISP__KEY": "env:NOWHERE"}, {}, "refers to the environment variable NOWHERE, which is not set."),
    ("", {"TQMISP_MISP__KEY": "file:/nowhere/key"}, {}, "refers to /nowhere/key, which cannot be read: No such file"),
    ("", {"TQMISP_MISP__KEY": "\r\n"}, {}, "TQMISP_MISP__KEY in the environment is empty; expected text, or env:NAME"),
    ("", {"TQMISP_MISP__KEY": "hu\nsh"}, {}, "TQMISP_MISP__KEY in the environment holds a line break or another"),
    ("[misp]\nkey = 'env:K'", {"K": "hush\0"}, {}, "misp.key holds a line break or another character that no header"),
    ("", {"TQMISP_THREATQ__CLIENT_SECRET": "hush\thush"}, {}, "CLIENT_SECRET in the environment holds a line break or"),
    # hostile text is spelled out
    ("", {"TQMISP_STATUS": "x", "TQMISP_EVENTS__TIMEZONE": "\x1b[31m\u202e"}, {}, r"is '\x1b[31m\u202e'; expected"),
]


@pytest.mark.parametrize(("more", "env", "overrides", "expected"), MISTAKES, ids=lambda value: ascii(value)[:50])
def test_mistakes_are_named(more: str, env: dict[str, str], overrides: dict[str, Any], expected: str) -> None:
    """Each mistake is told with its place, what was found and what was expected, and never with a secret."""
    head, _, tail = SMALL.partition("[misp]\n")
    text = head + "[misp]\n" + more.removeprefix("[misp]\n") + "\n" if more.startswith("[misp]") else SMALL + more
    if more.startswith("[misp]"):
        text += "".join(line + "\n" for line in tail.splitlines() if line.split(" ")[0] not in more)
    told = _problem(text, env, **overrides)
    assert expected in re.sub(r", line \d+:", ":", told)
    assert not re.search("hush|misp-secret-key|threatq-password|1234567", told)


def test_mistakes_are_named_with_their_line() -> None:
    """Also inside the table of a ThreatQ type, whose name may be in quotation marks."""
    more = '\n[mapping]\nscore = 7\n[mapping.types."IP Address"]\ntype = "ip-src"\nto_idz = true\n'
    first = SMALL.count("\n") + 1
    told = _problem(SMALL + more, {})
    assert f"tqmisp.toml, line {first + 2}: mapping.score is 7" in told
    assert f"tqmisp.toml, line {first + 5}: mapping.types has a mistake at IP Address.to_idz" in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[threatq\nurl = 'x'", "tqmisp.toml, line 1, column 9: not TOML: Expected ']'"),
        ("[threatq]\nurl =\n", "tqmisp.toml, line 2, column 6: not TOML: Invalid value."),
        ("[a]\n[a]\n", "tqmisp.toml, line 2, column 3: not TOML: Cannot declare"),
        ("[misp]\nkey = 'hush", "tqmisp.toml, end of document: not TOML: "),
        ("key = 'hush'", "tqmisp.toml: key stands outside any section; expected it below a line such as [threatq]."),
        ("[[misp]]\nkey = 'hush'", "tqmisp.toml: misp stands outside any section"),
    ],
)
def test_bad_toml_is_told_by_line(text: str, expected: str) -> None:
    """A slip of the pen is found by its line."""
    told = _problem(text)
    assert expected in told
    assert "hush" not in told


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    """Another encoding, a folder and an absent file are told apart."""
    (tmp_path / "latin").write_bytes(b"[misp]\nname = '\xe9'")
    with pytest.raises(ConfigError, match=r"latin: not UTF-8 text \(byte 15\); expected a TOML file"):
        load(tmp_path / "latin", env={})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, env={})
    with pytest.raises(ConfigError, match="absent: cannot be read: No such file"):
        load(tmp_path / "absent", env={})


def test_all_that_is_missing_is_named_at_once() -> None:
    """Somebody who begins sees the places that were looked at, and every value that is needed."""
    with pytest.raises(ConfigError) as caught:
        load(env={})
    first, *rest = str(caught.value).splitlines()
    assert first.startswith("There is no configuration file: neither tqmisp.toml nor ")
    assert [line.partition(" ")[0] for line in rest] == ["threatq.url", "threatq.client_id", "misp.url", "misp.key"]
    assert "(or TQMISP_MISP__KEY in the environment) is missing; expected: The authentication key" in rest[3]


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ("email", "threatq.email (or TQMISP_THREATQ__EMAIL in the environment) is missing; expected it beside"),
        ("password", "threatq.password (or TQMISP_THREATQ__PASSWORD in the environment) is missing; expected it"),
        ("email|password", "threatq.client_secret (or TQMISP_THREATQ__CLIENT_SECRET in the environment) is missing"),
    ],
)
def test_a_login_must_be_whole(gone: str, expected: str) -> None:
    """Half a login is told before any server is asked."""
    assert expected in _problem(re.sub(rf"(?m)^({gone}) = .*\n", "", SMALL))


def test_the_first_place_that_exists_is_taken(tmp_path: Path) -> None:
    """The current folder comes before the user's."""
    home = tmp_path / "config" / "tqmisp"
    home.mkdir(parents=True)
    (home / "tqmisp.toml").write_text(SMALL + "[events]\nname = 'home'\n")
    assert load(env={}).events.name == "home"
    _write(SMALL + "[events]\nname = 'here'\n")
    assert load(env={}).events.name == "here"


def test_secrets_may_be_references(tmp_path: Path) -> None:
    """``env:`` and ``file:`` point elsewhere; the line break at the end of a file is not part of a secret."""
    (tmp_path / "password").write_text("from a file\n")
    text = SMALL.replace('"misp-secret-key"', '"env:MY_KEY"').replace('"threatq-password"', '"file:password"')
    loaded = load(_write(text), env={"MY_KEY": "from elsewhere"})
    assert loaded.misp.key.get_secret_value() == "from elsewhere"
    assert loaded.threatq.password is not None
    assert loaded.threatq.password.get_secret_value() == "from a file"


@pytest.mark.parametrize(
    ("written", "env"),
    [("env:MY_KEY", {"MY_KEY": "key\n"}), ("keyring:misp/me", {}), ("x", {"TQMISP_MISP__KEY": "key\r\n"})],
)
def test_a_line_break_is_no_part_of_a_secret(
    written: str, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was kept: no header could carry it."""
    monkeypatch.setattr(keyring, "read", {"misp/me": "key\n"}.__getitem__)
    loaded = load(_write(SMALL.replace("misp-secret-key", written)), env=env)
    assert loaded.misp.key.get_secret_value() == "key"
    given = _settings("", None, **{"misp.key": SecretStr("key\n")})
    assert given.misp.key.get_secret_value() == "key"


def test_a_reference_that_counts_less_is_not_followed() -> None:
    """A key in the environment is enough, whatever the file refers to."""
    text = SMALL.replace('"misp-secret-key"', '"env:NOT_SET"')
    assert load(_write(text), env={"TQMISP_MISP__KEY": "here"}).misp.key.get_secret_value() == "here"


def test_a_secret_of_others_is_never_a_reference() -> None:
    """What comes as a SecretStr, as from ThreatQ's user interface, cannot make us read a file."""
    loaded = _settings("", None, **{"misp.key": SecretStr("file:/etc/hostname")})
    assert loaded.misp.key.get_secret_value() == "file:/etc/hostname"


def test_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    """A file can be moved with what it names; a path on the command line is relative to where one stands."""
    (tmp_path / "etc").mkdir()
    path = _write(SMALL + "ca_file = 'ca.pem'\n[state]\npath = 'state'\n", "etc/tqmisp.toml")
    loaded = load(path, env={})
    assert loaded.misp.ca_file == str(tmp_path / "etc" / "ca.pem")
    assert loaded.state.place == tmp_path / "etc" / "state"
    assert load(path, env={}, overrides={"state": "here"}).state.place == Path("here")


def test_the_state_may_be_a_database() -> None:
    """A URL stays one, and its password is a secret."""
    loaded = _settings("[state]\npath = 'postgresql+psycopg://tq:hush%21hush@db.example/tq'\n")
    assert loaded.state.place == "postgresql+psycopg://tq:hush%21hush@db.example/tq"
    assert {"hush%21hush", "hush!hush"} <= set(loaded.secrets())


def test_the_state_may_be_a_database_whose_password_is_a_parameter() -> None:
    """One is as secret there as before the host."""
    path = "postgresql+psycopg://db/tq?user=tq&password=hush%21hush&sslpassword=key-hush&passfile=/etc/pass"
    assert {"hush%21hush", "hush!hush", "key-hush"} <= set(_settings("", {"TQMISP_STATE": path}).secrets())
    assert without_password(path) == "postgresql+psycopg://db/tq?user=tq"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://tq:hush@db.example/tq", "postgresql://tq@db.example/tq"),
        ("postgresql://tq:hush@db.example:5432/tq?user=me", "postgresql://tq@db.example:5432/tq?user=me"),
        ("postgresql://tq:not@all/hush@db.example/tq", "postgresql://…"),
        ("postgresql://tq:hush@db.example:port/tq", "postgresql://…"),
        ("postgresql://db.example/tq?sslmode=require", "postgresql://db.example/tq?sslmode=require"),
    ],
)
def test_the_url_of_a_database_without_its_password(url: str, shown: str) -> None:
    """It is shown in a status, where others look on."""
    assert without_password(url) == shown


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o640, 0), (0o644, 2)])
def test_a_file_that_everybody_reads(mode: int, warned: int) -> None:
    """Plain secrets in it are warned about, one by one; others and references are not."""
    path = _write(SMALL)
    path.chmod(mode)
    warnings = load(path, env={}).warnings
    assert len(warnings) == warned
    assert all("can be read by every user of this machine; run: chmod 600" in warning for warning in warnings)
    path.write_text(SMALL.replace('"misp-secret-key"', '"env:K"').replace('"threatq-password"', '"env:K"'))
    assert load(path, env={"K": "value"}).warnings == ()


def test_no_verification_is_warned_about() -> None:
    """Whoever switches it off is reminded on every run."""
    assert (
        _settings("verify_tls = false\n")
        .warnings[0]
        .endswith("misp.verify_tls is false: whoever is in between can read the key and the data.")
    )


def test_no_repr_shows_a_secret() -> None:
    """Not of the whole, nor of a part of it; passwords in addresses are secrets, too."""
    env = {
        "TQMISP_MISP__PROXY": "http://me:proxy-password@proxy.example:3128",
        "TQMISP_THREATQ__CLIENT_SECRET": "cs-12",
    }
    shown = repr(_settings("", env))
    assert "misp.example" in shown
    assert not re.search("misp-secret-key|threatq-password|proxy-password|cs-12", shown)


def test_a_part_needs_no_server() -> None:
    """What looks at the journal only asks for no login; a misspelt key is a mistake all the same."""
    path = _write("[state]\npath = 'x'\n[misp]\nurl = 'https://misp.example'\n")
    assert load_part(LocalSettings, path, env={}).state.path.endswith("x")
    with pytest.raises(ConfigError, match=r"threatq\.url"):
        load_part(ThreatQSettings, path, env={})
    path.write_text("[misp]\nulr = 'x'\n")
    with pytest.raises(ConfigError, match=r"did you mean misp\.url"):
        load_part(LocalSettings, path, env={})


def test_overrides_have_names_for_errors() -> None:
    """A value that came from elsewhere is called by its name there."""
    with pytest.raises(ConfigError, match=r"^MISP URL in ThreatQ is 'x'; expected"):
        load(_write(SMALL), env={}, overrides={"misp.url": "x"}, names={"misp.url": "MISP URL in ThreatQ"})


def _keys() -> list[str]:
    return [f"{name}.{each.name}" for name, kind in section_kinds(Settings).items() for each in fields(kind)]


def test_tables_name_keys_that_exist() -> None:
    """No rule and no short name is about a key that has gone."""
    assert set(RULES) <= set(_keys())
    assert set(SHORT.values()) <= set(_keys())


@pytest.mark.parametrize("dotted", _keys())
def test_every_key_says_what_it_is_for(dotted: str) -> None:
    """The option objects describe each key."""
    section, key = dotted.split(".")
    assert purposes(section_kinds(Settings)[section]).get(key), f"{dotted} has no docstring"


def _documented() -> str:
    page = (ROOT / "docs" / "configuration.md").read_text()
    return page.partition("```toml\n")[2].partition("```")[0]


def test_the_documentation_shows_every_setting() -> None:
    """The example on the page is the one that the option objects make."""
    assert _documented().strip() == example(section_kinds(Settings)).strip()


def test_the_documented_example_can_be_loaded() -> None:
    """As it stands, and with every comment taken away."""
    env = {"THREATQ_PASSWORD": "p", "MISP_KEY": "k", "TQMISP_WEBHOOK": "https://chat.example/hooks/abc"}
    plain = load(_write(_documented()), env=env)
    assert plain.misp.key.get_secret_value() == "k"
    secret = _write("s", "secret")
    every = re.sub(r"(?m)^# ", "", _documented()).replace("/run/secrets/threatq", str(secret))
    full = load(_write(every), env=env)
    assert full.events.sharing_group_id == 7
    assert full.pipeline == plain.pipeline


def test_variable_names() -> None:
    """A dotted key has one name in the environment."""
    assert variable("misp.key") == "TQMISP_MISP__KEY"
