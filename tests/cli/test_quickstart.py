"""The page that shows the way to the first export, done as it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import started
from tests.cli.pages import commands, hold
from tests.cli.terminal import on_terminal

COMMANDS = commands("quickstart.md", "tqmisp")


@pytest.mark.long
def test_the_page_is_true(tmp_path: Path) -> None:
    """From an empty folder to the first balanced run, in fewer than ten commands."""
    assert list(COMMANDS) == ["sandbox --indicators 2000", "init", "run", "status"]
    folder = tmp_path / "empty"
    folder.mkdir()
    first, *rest = COMMANDS
    with started("-m", "tqmisp", *first.split()) as servers:
        assert servers.stdout is not None
        ready = json.loads(servers.stdout.readline())
        assert ready.keys() == json.loads(COMMANDS[first][0]).keys()
        answers = {
            "ThreatQ address": ready["threatq"]["url"],
            "Password": ready["threatq"]["password"],
            "MISP address": ready["misp"]["url"],
            "Authentication key": ready["misp"]["key"],
        }
        for command in rest:
            with on_terminal("-m", "tqmisp", *command.split(), cwd=folder) as terminal:
                hold(terminal, COMMANDS[command], answers)
        servers.terminate()
        servers.communicate()
