from __future__ import annotations

import json
from pathlib import Path

import pytest

from tqmisp.check import Finding
from tqmisp.cli import common, main, render


def _check(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = main(["check", *argv])
    out, err = capsys.readouterr()
    assert err == ""
    return code, out


def _config(servers: dict[str, dict[str, str]], place: Path, **misp: str) -> str:
    """A configuration for the servers, with other values in [misp]."""
    lines = [f"[threatq]\n{_keys(servers['threatq'])}", f"[misp]\n{_keys(servers['misp'] | misp)}"]
    path = place / "check.toml"
    path.write_text("\n".join([*lines, '[state]\npath = "state"\n']))
    path.chmod(0o600)
    return str(path)


def _keys(values: dict[str, str]) -> str:
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())


def test_servers_that_will_take_it(
    servers: dict[str, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people area by area, for machines as one document."""
    path = _config(servers, tmp_path)
    code, out = _check(capsys, "--config", path)
    assert code == 0
    assert out.endswith("A run will work. 0 failures, 0 warnings.\n")
    assert [line for line in out.splitlines() if not line.startswith(("ok", " ")) and line][:3] == [
        "This machine",
        "ThreatQ",
        "MISP",
    ]
    code, out = _check(capsys, "--config", path, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["counts"] == {"ok": len(document["findings"]), "warning": 0, "failure": 0}
    assert set(document["findings"][0]) == {"area", "name", "level", "reason", "fix"}


def test_a_failure(servers: dict[str, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is that of the run which would fail, and the fix stands below."""
    path = _config(servers, tmp_path, key="0" * 40)
    code, out = _check(capsys, "--config", path)
    assert code == 4
    assert "failure  key" in out
    assert "Fix: Make a new key under Administration" in out
    assert out.endswith("A run would fail. 1 failure, 0 warnings.\n")
    assert "0" * 40 not in out
    assert main(["run", "--config", path, "--no-progress"]) == code


def test_what_servers_say_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """Foreign words are escaped for the terminal."""
    common.print_result(render.findings([Finding("misp", "answer", "failure", "evil\x1b[31m", "mend\x07 it")]))
    out = capsys.readouterr().out
    assert r"evil\x1b[31m" in out
    assert r"mend\x07 it" in out
