"""The live view of a run, in a real terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.cli.terminal import Terminal, on_terminal, screen

DRAW = """
import anyio, sys, termios
from rich.console import Console
from tqmisp.observe.progress import show
from tqmisp.pipeline.progress import Progress

async def main():
    progress = Progress(total=100_000, phase="reading")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(show, progress, Console(file=sys.stderr))
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            if line == "end\\n":
                break
            progress.retries = int(line)
        tasks.cancel_scope.cancel()

quiet = termios.tcgetattr(0)
quiet[3] &= ~termios.ECHO
termios.tcsetattr(0, termios.TCSANOW, quiet)
print("before")
anyio.run(main)
print("after")
"""
"""Draws how many retries there were, a number that is typed and not shown."""

EXPORT = """
import os, sys
os.dup2(os.open("out", os.O_WRONLY | os.O_CREAT), 1)
from tqmisp.cli import main
sys.exit(main(["run", "--sandbox", "--indicators", "20000", "--state", "kept"]))
"""
"""Exports, with stdout in a file."""


@pytest.fixture(autouse=True)
def _size(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the terminal."""
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def drawing(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal of 100 columns that shows the progress of nothing."""
    with on_terminal("-c", DRAW, cwd=tmp_path) as terminal:
        terminal.resize(100)
        yield terminal


def _draw(terminal: Terminal, number: int) -> str:
    """Have another number drawn; what was shown since the one before."""
    begin = len(terminal.shown)
    terminal.type(str(number))
    terminal.expect(f"{number:,} retries")
    return terminal.shown[begin:]


def test_the_size_of_the_window_changes(drawing: Terminal) -> None:
    """What is drawn fits at each size; at the end the terminal holds what was there before, and nothing of it."""
    drawing.expect("retries")
    for columns in (100, 60, 40, 132, 80):
        drawing.resize(columns)
        _draw(drawing, columns * 7)  # may still have been drawn in the size before
        lines = screen(_draw(drawing, columns * 8))
        assert max(map(cell_len, lines)) <= min(columns, 80)
    drawing.type("end")
    assert drawing.end() == 0


def test_wider_and_narrower_down_to_80_columns(drawing: Terminal) -> None:
    """Nothing is left over of any picture, since none was wider."""
    drawing.expect("retries")
    for columns in (100, 80, 132, 90):
        drawing.resize(columns)
        _draw(drawing, columns * 7)
        drawn = [line for line in screen(drawing.shown, columns) if line]
        assert sum("ThreatQ" in line for line in drawn) == 1
        assert sum("reading" in line for line in drawn) == 1
    drawing.type("end")
    assert drawing.end() == 0
    assert [line for line in screen(drawing.shown) if line] == ["before", "after"]


@pytest.mark.long
def test_a_run_on_a_terminal(tmp_path: Path) -> None:
    """Stages, rates, queue, slices and time left while it lasts; stdout has the receipt and nothing else."""
    with on_terminal("-c", EXPORT, cwd=tmp_path) as terminal:
        terminal.resize(80)
        for part in ("reading", "ThreatQ", "/s", "of 2 pages queued", "MISP", "slices in flight", "at once"):
            terminal.expect(part)
        assert terminal.end() == 0
    assert re.search(r"\d:\d\d:\d\d left", terminal.shown)
    assert "\x1b[3" not in terminal.shown.replace("\x1b[3F", ""), "NO_COLOR"
    assert "Balanced" not in terminal.shown
    out = (tmp_path / "out").read_text()
    assert out.startswith("Run ")
    assert "Balanced: " in out
    assert "\x1b" not in out
    (kept,) = [line for line in screen(terminal.shown) if line]
    assert kept.startswith("Sandbox and journal are kept in kept")
