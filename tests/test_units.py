"""The units of systemd, as far as they can be tried without one that runs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tqmisp.cli import app

UNITS = sorted((Path(__file__).parents[1] / "docs" / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]

systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="There is no systemd-analyze.")


def _values(unit: Path, key: str) -> list[str]:
    return re.findall(rf"(?m)^{key}=(.*)$", unit.read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The units, with a program that is there."""
    for unit in UNITS:
        text = unit.read_text().replace("/opt/tqmisp/bin/tqmisp", str(Path(sys.executable).resolve()))
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def _analyze(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *argv], capture_output=True, text=True, check=False)  # noqa: S603, S607


@systemd
def test_systemd_takes_them(folder: Path) -> None:
    """Without an unknown key, and without a word."""
    done = _analyze("verify", "--man=no", *map(str, sorted(folder.iterdir())))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@systemd
@pytest.mark.parametrize("name", [unit.name for unit in SERVICES])
def test_they_are_hardened(folder: Path, name: str) -> None:
    """By the measure of systemd itself, from 0 to 10: at most 2."""
    version = int(_analyze("--version").stdout.split()[1])
    if version < 250:
        pytest.skip(f"systemd {version} cannot measure a unit that is not installed.")
    done = _analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(folder / name))
    assert done.returncode == 0, done.stdout


@systemd
def test_the_timer_knows_its_moments() -> None:
    """The calendar of systemd understands when."""
    (timer,) = (unit for unit in UNITS if unit.suffix == ".timer")
    (when,) = _values(timer, "OnCalendar")
    assert "Normalized form: *-*-* 00/4:00:00" in _analyze("calendar", when).stdout
    assert timer.with_suffix(".service") in SERVICES


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_the_command_line_is_ours(unit: Path) -> None:
    """Each option of ``ExecStart`` is one of ``tqmisp run``, and the services differ in how often they run."""
    (start,) = _values(unit, "ExecStart")
    program, command, *arguments = shlex.split(start)
    assert (program, command) == ("/opt/tqmisp/bin/tqmisp", "run")
    context = app.get_command(app.app).commands["run"].make_context("run", arguments)  # type: ignore[attr-defined]
    stays = _values(unit, "Type") == ["notify"]
    assert context.params["every"] == ("4h" if stays else "0")
    assert str(context.params["config"]) == "/etc/tqmisp/tqmisp.toml"


def test_both_services_are_hardened_alike() -> None:
    """What one may not do, the other may not."""
    mark = "nothing else.\n"
    one, other = (unit.read_text().partition(mark)[2].partition("\n[")[0].split() for unit in SERVICES)
    assert one == other
    assert len(one) > 25
