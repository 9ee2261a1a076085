"""Lines of a crontab, run as cron does: by ``/bin/sh``, at home, with hardly any environment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tqmisp.cli import first_run

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.long

OLD = "0 */4 * * * tq-misp-export -v 3 -ll stdout -ds"


def _as_cron(line: str, home: Path) -> subprocess.CompletedProcess[bytes]:
    """What cron does at the moment that the line names; ``bin`` at home is in the path of this crontab."""
    *moment, command = line.split(maxsplit=5)
    assert len(moment) == 5
    assert all(re.fullmatch(r"[0-9*/,-]+", part) for part in moment)
    assert "%" not in command, "cron would make a line break of it"
    environment = [f"HOME={home}", "LOGNAME=tqmisp", "SHELL=/bin/sh", f"PATH={home}/bin:/usr/bin:/bin"]
    return subprocess.run(  # noqa: S603  our own program
        ["/usr/bin/env", "-i", *environment, "/bin/sh", "-c", command],
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


@pytest.fixture
def home(servers: dict[str, dict[str, str]], tmp_path: Path) -> Path:
    """With both commands in ``bin``, and their configurations; the events have a name that is not ASCII."""
    (tmp_path / "bin").mkdir()
    for name, module in (("tqmisp", "tqmisp.cli"), ("tq-misp-export", "tqmisp.cli.driver")):
        script = tmp_path / "bin" / name
        script.write_text(f"#!{sys.executable}\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
        script.chmod(0o755)
    lines = ["[threatq]", *(f"{name} = {json.dumps(value)}" for name, value in servers["threatq"].items())]
    lines += ["[misp]", *(f"{name} = {json.dumps(value)}" for name, value in servers["misp"].items())]
    lines += ['[events]\nname = "Größe \N{GREEK SMALL LETTER OMEGA}"', '[state]\npath = "state"']
    lines += ['[selection]\ntypes = ["CVE"]']
    for name in ("tqmisp.toml", first_run.FILE):
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def _documented(home: Path) -> str:
    """The line of the page, with the places of this test."""
    line: str
    (line,) = re.findall(r"(?m)^\d+ \*/4 \* \* \* .*tqmisp run.*$", (ROOT / "docs" / "scheduling.md").read_text())
    for theirs, ours in (("/opt/tqmisp/bin/", ""), ("/etc/tqmisp", str(home)), ("/var/lib/tqmisp", str(home))):
        assert theirs in line
        line = line.replace(theirs, ours)
    return line


def test_the_line_of_the_documentation(home: Path) -> None:
    """A good run sends no mail, and leaves its log for its owner only; its receipt can be printed in any locale."""
    shown = _as_cron(_documented(home).replace("> /dev/null", ""), home)
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert "Größe \N{GREEK SMALL LETTER OMEGA}" in shown.stdout.decode()
    done = _as_cron(_documented(home), home)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (home / "tqmisp.log").stat().st_mode & 0o777 == 0o600


def test_a_run_that_fails_sends_mail(home: Path) -> None:
    """What went wrong, and what to do, without a traceback."""
    file = home / "tqmisp.toml"
    text = re.sub(r'(?m)^key = ".*"', 'key = "wrong"', file.read_text())
    file.write_text(text)
    done = _as_cron(_documented(home), home)
    assert done.returncode == 4
    assert done.stdout == b""
    mail = done.stderr.decode()
    assert mail.startswith("error: ")
    assert "hint: mend this and run the same command again" in mail
    assert "Traceback" not in mail


def test_the_line_of_2018(home: Path) -> None:
    """Unchanged: it finds its folder at home, and says what it always said."""
    assert OLD in (ROOT / "docs" / "replacing-tq-misp-export.md").read_text()
    done = _as_cron(OLD, home)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[0].endswith("tqMispExport.tq_driver DEBUG: Set name of connector to MISP Export.")
    assert "Completed execution of the MISP Export Connector in" in lines[-1]
