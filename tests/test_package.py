from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_what_is_not_code(tmp_path: Path) -> None:
    """Every file of the package is in the wheel: the mark that it is typed, and the migrations, too; no test is.

    The units of systemd lie beside the package, where the environment keeps what it shares.
    """
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    held = {name for name in names if ".data/" not in name}
    units = {f"share/tqmisp/systemd/{unit.name}" for unit in (ROOT / "docs" / "systemd").iterdir()}
    assert {name.partition(".data/data/")[2] for name in names - held} == units
    files = (path for path in (ROOT / "tqmisp").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert held == {path.relative_to(ROOT).as_posix() for path in files}
    assert "tqmisp/py.typed" in held
    assert any(re.fullmatch(r"tqmisp/journal/migrations/versions/0001_\w+\.py", name) for name in held)


@pytest.mark.parametrize("command", ["tqmisp", "tq-misp-export"])
def test_each_command_leads_to_a_function(command: str) -> None:
    """The scripts that installing puts into the path can be called."""
    [point] = entry_points(group="console_scripts", name=command)
    assert callable(point.load())
