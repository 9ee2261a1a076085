"""The procedure of the guide to the 2018 connector, done as the page on replacing it shows it."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import started
from tests.cli.pages import DOCS, commands, hold
from tests.cli.terminal import on_terminal
from tqmisp.cli.first_run import FILE

PAGE = "replacing-tq-misp-export.md"
DRIVER = "import sys; from tqmisp.cli.driver import main; sys.exit(main())"


@pytest.mark.long
def test_the_page_is_true(tmp_path: Path) -> None:
    """On a terminal, in its order: folders, first run, export, log folder."""
    with started("-m", "tqmisp", "sandbox", "--indicators", "6000") as process:
        assert process.stdout is not None
        _replay(json.loads(process.stdout.readline()), tmp_path)
        process.terminate()
        process.communicate()


def _replay(servers: dict[str, dict[str, str]], tmp_path: Path) -> None:
    steps = commands(PAGE, "tq-misp-export")
    assert list(steps) == ["-v 3 -ll stdout", "-v 3 -ll stdout -ds", "-v 2 -ll logs"]
    for name in ("config", "logs", "data"):
        (tmp_path / name).mkdir()
    threatq = servers["threatq"]
    answers = {
        "ThreatQ Host": threatq["url"],
        "Client ID": threatq["client_id"],
        "E-Mail Address": threatq["email"],
        "Password": threatq["password"],
    }
    for arguments, lines in steps.items():
        with on_terminal("-c", DRIVER, *arguments.split(), cwd=tmp_path) as terminal:
            hold(terminal, lines, answers)
        assert threatq["password"] not in terminal.shown
        assert servers["misp"]["key"] not in terminal.shown
    assert terminal.shown == "", "the log goes to its folder"
    log = tmp_path / "logs" / "tq-misp-export.log"
    shown = re.search(r"(?s)-ll logs\n```\n```\n(.*?)```", (DOCS / PAGE).read_text())
    assert shown is not None
    assert _without_numbers(log.read_text().splitlines()[-2:]) == _without_numbers(shown[1].splitlines())
    for file in (log, tmp_path / FILE, tmp_path / "state" / "journal.sqlite"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {each.name for each in tmp_path.iterdir()} == {"config", "logs", "data", "state", FILE}


def _without_numbers(lines: list[str]) -> list[str]:
    return [re.sub(r"\d+", "#", line) for line in lines]
