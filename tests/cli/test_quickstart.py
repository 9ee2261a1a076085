"""The page that shows the way to the first export, done as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import started
from tests.cli.terminal import Terminal, on_terminal

PAGE = (Path(__file__).parents[2] / "docs" / "quickstart.md").read_text()
COMMANDS = {
    lines[0].removeprefix("$ tqmisp "): lines[1:]
    for lines in (block.splitlines() for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
}
SECRETS = {"Password": "password", "Authentication key": "key"}
"""Questions after which nothing that is typed is shown."""


def _answer(line: str, ready: dict[str, dict[str, str]]) -> tuple[str, str] | None:
    """The question in a line of the page and what to type, with the addresses that the servers have this time."""
    match = re.fullmatch(r"(?P<question>[A-Z][^{]*?(?: \[.*\])?): (?P<typed>\S*)", line)
    if match is None:
        return None
    question, typed = match["question"], match["typed"]
    known = {"ThreatQ address": ready["threatq"]["url"], "MISP address": ready["misp"]["url"]}
    for beginning, name in SECRETS.items():
        if question.startswith(beginning):
            return question, (ready["threatq"] | ready["misp"])[name]
    return question, known.get(question, typed)


def _words(text: str) -> list[str]:
    """What is the same at each time: no numbers, no colours, no way in which a line was broken."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return [re.sub(r"[0-9][0-9,.:-]*", "#", word) for word in plain.split()]


def _hold(terminal: Terminal, lines: list[str], ready: dict[str, dict[str, str]]) -> None:
    """Type what the page types, and find what it shows in its order; dots stand for more."""
    for line in lines:
        if (asked := _answer(line, ready)) is not None:
            terminal.expect(f"{asked[0]}: ")
            terminal.type(asked[1])
    assert terminal.end() == 0, terminal.shown
    shown = [word for line in terminal.shown.splitlines() for word in _words(line)]
    place = 0
    for line in lines:
        wanted = [] if line == "..." or _answer(line, ready) else _words(line)
        found = next((n for n in range(place, len(shown)) if shown[n : n + len(wanted)] == wanted), None)
        assert found is not None, f"{line!r} is not in {terminal.shown!r}"
        place = found + len(wanted)


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
        for command in rest:
            with on_terminal("-m", "tqmisp", *command.split(), cwd=folder) as terminal:
                _hold(terminal, COMMANDS[command], ready)
        servers.terminate()
        servers.communicate()
