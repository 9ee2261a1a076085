"""What a user does with the package as it is installed, from no more than its commands.

``python tests/installed.py FOLDER`` with the Python of that environment; ``nox -s package`` does it with a wheel.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

BIN = Path(sys.executable).parent
FIRST_RUN = "Connector configured. Set information in UI."
ALL_WELL = "Completed execution of the MISP Export Connector in"


def the_guide_of_2018(folder: Path) -> None:
    """Folders, first run, export, log folder, as the guide to tq-misp-export has them."""
    for name in ("config", "logs", "data"):
        (folder / name).mkdir()
    with subprocess.Popen([BIN / "tqmisp", "sandbox", "--indicators", "500"], stdout=subprocess.PIPE) as servers:  # noqa: S603  our own program
        try:
            assert servers.stdout is not None
            threatq = json.loads(servers.stdout.readline())["threatq"]
            answers = [threatq["url"], "", threatq["client_id"], threatq["email"], threatq["password"]]
            assert FIRST_RUN in _export(folder, "-v", "3", "-ll", "stdout", answers=answers)
            assert ALL_WELL in _export(folder, "-v", "3", "-ll", "stdout", "-ds")
            assert _export(folder, "-v", "2", "-ll", "logs") == ""
            assert ALL_WELL in (folder / "logs" / "tq-misp-export.log").read_text()
        finally:
            servers.terminate()


def _export(folder: Path, *options: str, answers: list[str] | None = None) -> str:
    done = subprocess.run(  # noqa: S603  our own program
        [BIN / "tq-misp-export", "-c", "config", *options],
        cwd=folder,
        input="\n".join([*(answers or []), ""]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def the_units_of_systemd() -> None:
    """They are where the documentation says."""
    units = {unit.name for unit in Path(sys.prefix, "share", "tqmisp", "systemd").iterdir()}
    assert units == {"tqmisp.service", "tqmisp-run.service", "tqmisp-run.timer"}


if __name__ == "__main__":
    assert "site-packages" in str(distribution("tqmisp").locate_file("tqmisp")), "this is not what was installed"
    the_guide_of_2018(Path(sys.argv[1]))
    the_units_of_systemd()
