from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tqmisp import errors
from tqmisp.cli import common

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "errors.md").read_text()
# two pieces of a text that stand in two lines are one, whatever is put between them
SOURCES = re.sub(r'"\s*f?"', "", "\n".join(path.read_text() for path in sorted((ROOT / "tqmisp").rglob("*.py"))))


def _rows(heading: str) -> Iterator[str]:
    """The first cells of the table below a heading."""
    part = PAGE.partition(f"{heading}\n")[2].partition("\n## ")[0]
    return (line.split("|")[1].strip() for line in part.splitlines() if re.match(r"\| (?!---)", line))


def _exit_codes(kind: type[errors.TqmispError]) -> Iterator[int]:
    yield kind.exit_code
    for child in kind.__subclasses__():
        yield from _exit_codes(child)


def test_every_exit_code_is_listed() -> None:
    """Those of errors and those of runs that ended; and 129, 130 and 143, with which a shell names a signal."""
    listed = {
        int(code) for row in _rows("# What does an exit code or an error mean?") for code in re.findall(r"\d+", row)
    }
    made = {*_exit_codes(errors.TqmispError), common.NOT_BALANCED, common.TOO_MANY_REJECTS}
    assert listed == made | {0, common.stopped_code("SIGTERM"), common.stopped_code("SIGHUP")}


def test_what_the_texts_say_stands_in_the_texts() -> None:
    """Whoever searches the page for the words on the screen finds them."""
    phrases = [
        phrase
        for heading in ("## The way to either server", "## ThreatQ", "## MISP", "## This machine")
        for row in _rows(heading)
        for phrase in re.split(r", | \.\.\. ", row)
        if phrase != "the text says"
    ]
    assert len(phrases) > 25
    assert [phrase for phrase in phrases if phrase.casefold() not in SOURCES.casefold()] == []
