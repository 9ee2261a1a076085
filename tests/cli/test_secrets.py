from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote

import pytest

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
    secrets = [*_write(servers, **changes), "proxy-password"]
    Path("tqmisp.toml").chmod(0o644)  # which is warned about, with words
    assert main(["run", *NOISY, "--json", "--type", "MD5"]) == code
    log = Path("noise.log").read_text()
    assert "can be read by every user" in log
    assert "debug    executing" in log, "the libraries are heard"
    kept = b"".join(path.read_bytes() for path in Path("kept").iterdir()).decode("latin-1")
    everything = {"stdout and stderr": "".join(capfd.readouterr()), "log": log, "journal": kept}
    found = [(place, secret) for place, text in everything.items() for secret in secrets if secret in text]
    assert found == []


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
