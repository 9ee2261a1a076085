"""Pages of the documentation that show a terminal, done as they say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.cli.terminal import Terminal

DOCS = Path(__file__).parents[2] / "docs"


def commands(page: str, program: str) -> dict[str, list[str]]:
    """What the page shows of each command of a program: its arguments, and the lines that follow."""
    blocks = re.findall(r"^```console\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    lines = [block.splitlines() for block in blocks]
    return {
        first.removeprefix(f"$ {program}").strip(): rest for first, *rest in lines if first.startswith(f"$ {program}")
    }


def hold(terminal: Terminal, lines: list[str], answers: Mapping[str, str]) -> None:
    """Type what the page types, and find what it shows in its order; dots stand for more.

    Args:
        terminal: on which the command runs.
        lines: of the page.
        answers: what to type this time, by the beginning of the question, where it is not what the page types.
    """
    for line in lines:
        if (asked := _answer(line, answers)) is not None:
            terminal.expect(f"{asked[0]}: ")
            terminal.type(asked[1])
    assert terminal.end() == 0, terminal.shown
    shown = [word for line in terminal.shown.splitlines() for word in _words(line)]
    place = 0
    for line in lines:
        wanted = [] if line == "..." or _answer(line, answers) else _words(line)
        found = next((n for n in range(place, len(shown)) if shown[n : n + len(wanted)] == wanted), None)
        assert found is not None, f"{line!r} is not in {terminal.shown!r}"
        place = found + len(wanted)


def _answer(line: str, answers: Mapping[str, str]) -> tuple[str, str] | None:
    """The question in a line of the page, and what to type."""
    match = re.fullmatch(r"(?P<question>[A-Z][^{]*?(?: \[.*\])?): (?P<typed>\S*)", line)
    if match is None:
        return None
    question: str = match["question"]
    return question, next((typed for start, typed in answers.items() if question.startswith(start)), match["typed"])


def _words(text: str) -> list[str]:
    """What is the same at each time: no numbers, no colours, no way in which a line was broken."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return [re.sub(r"[0-9][0-9,.:-]*", "#", word) for word in plain.split()]
