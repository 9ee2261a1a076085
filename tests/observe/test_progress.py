from __future__ import annotations

import io
import re
from typing import NoReturn

import anyio
import pytest
from rich.cells import cell_len
from rich.console import Console

from tqmisp.observe import progress as shown
from tqmisp.observe.progress import Display, View, show
from tqmisp.pipeline.adaptive import Knee
from tqmisp.pipeline.progress import Progress


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Unread(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, _text: str) -> NoReturn:
        raise BrokenPipeError


def half_way(total: int | None = 60_000) -> tuple[Progress, View]:
    """A run that has done 20,000 indicators in the last five seconds."""
    progress, clock = Progress(total=total, phase="reading"), Clock()
    view = View(progress, clock)
    view.sample()
    clock.now += 5
    progress.read, progress.admitted, progress.sent, progress.stored = 25_000, 19_000, 17_000, 10_000
    progress.settled, progress.refused, progress.retries = 2_000, 1_000, 3
    progress.pages_queued, progress.slices_in_flight, progress.slices_waiting = 3, 2, 1
    progress.queue_pages, progress.knee = 4, Knee(2, 1000, 3400.0)
    view.sample()
    return progress, view


def test_one_line_says_all() -> None:
    """Counts, rates and the time that is left: 40,000 more at 4,000 a second."""
    _, view = half_way()
    assert view.line() == (
        "reading: 25,000 of 60,000 read (5,000/s), 17,000 sent to MISP (3,400/s), "
        "2,000 unchanged or merged, 1,000 refused, 3 retries, 3 of 4 pages queued, "
        "2 slices in flight, 1 waiting, requests of 1,000, 2 at once, 0:00:10 left"
    )


def test_time_left_needs_a_total_and_a_rate() -> None:
    """Nothing is promised that nothing supports."""
    _, view = half_way(total=None)
    assert view.seconds_left() is None
    assert view.line().startswith("reading: 25,000 read (5,000/s), ")
    assert View(Progress(total=10), Clock()).seconds_left() is None


def test_rates_forget() -> None:
    """A rate is that of the last ten seconds, not of the whole run."""
    progress, clock = Progress(total=10_000), Clock()
    view = View(progress, clock)
    for rate in [1_000] * 30 + [100] * 11:
        view.sample()
        progress.read += rate
        clock.now += 1
    view.sample()
    assert "(100/s)" in view.line()


def test_what_is_sent_twice_counts_once() -> None:
    """Repeated chunks raise the counter of what was sent beyond what there is to send."""
    progress = Progress(admitted=100, sent=150, stored=90)
    assert "100 sent" in View(progress).line()


def _drawn(view: View, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(view.picture())
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 60, 20, 200])
def test_the_picture_fits(width: int) -> None:
    """No line is wider than the terminal, or than 80 columns, in which nothing is lost."""
    _, view = half_way()
    lines = _drawn(view, width)
    assert len(lines) == 5
    assert all(cell_len(line) <= min(width, 80) for line in lines)
    if width >= 80:
        assert [re.sub("[ ━╸]{2,}", "  ", line).strip() for line in lines] == [
            "reading  0:00:10 left",
            "ThreatQ  25,000 of 60,000 read  5,000/s  3 of 4 pages queued",
            "MISP  17,000 sent  3,400/s  2 slices in flight, 1 waiting",
            "2,000 unchanged or merged, 1,000 refused",
            "requests of 1,000, 2 at once, 3 retries",
        ]


def test_millions_fit() -> None:
    """Ten million indicators at a hundred thousand a second take no more than 80 columns, and nothing is cut off."""
    progress, clock = Progress(total=99_999_999, phase="withdrawing", queue_pages=4, pages_queued=4), Clock()
    view = View(progress, clock)
    view.sample()
    clock.now += 1000
    progress.read, progress.admitted, progress.sent, progress.settled = 99_999_999, 60_000_000, 60_000_000, 30_000_000
    progress.refused, progress.retries, progress.knee = 9_999_999, 99_999, Knee(16, 2000, 1.0)
    progress.slices_in_flight, progress.slices_waiting = 2, 1
    view.sample()
    lines = _drawn(view, 80)
    assert all(cell_len(line) <= 80 for line in lines)
    assert "…" not in "".join(lines)


def test_nothing_about_requests_before_there_are_any() -> None:
    """Only the retries, as of ThreatQ."""
    progress = Progress(total=10, retries=2)
    assert _drawn(View(progress), 80)[-1].strip() == "2 retries"
    assert "requests" not in View(progress).line()


def test_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is obeyed: the bar is drawn without any."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    _, view = half_way()
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=True).print(view.picture())
    assert "\x1b[3" not in out.getvalue()
    assert "\x1b[9" not in out.getvalue()


async def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file gets a line now and then, without control characters."""
    monkeypatch.setattr(shown, "LINE_SECONDS", 0)
    progress, _ = half_way()
    out = io.StringIO()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(show, progress, Console(file=out, width=20))
        with anyio.fail_after(5):
            while out.getvalue().count("\n") < 2:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    line = out.getvalue().splitlines()[0]
    assert line.startswith("reading: 25,000 of 60,000 read")
    assert "\x1b" not in out.getvalue()


async def test_a_reader_that_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The display falls silent, and what it tells of goes on."""
    monkeypatch.setattr(shown, "LINE_SECONDS", 0)
    progress, _ = half_way()
    console = Display(file=Unread(), width=80)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(show, progress, console)
        with anyio.fail_after(5):
            while not console.quiet:
                await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


async def test_lines_where_the_cursor_cannot_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an editor's shell."""
    monkeypatch.setattr(shown, "LINE_SECONDS", 0)
    monkeypatch.setenv("TERM", "dumb")
    progress, _ = half_way()
    out = io.StringIO()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(show, progress, Console(file=out, width=80, force_terminal=True))
        with anyio.fail_after(5):
            while "\n" not in out.getvalue():
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert "\x1b" not in out.getvalue()


async def test_the_picture_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end the terminal is as it was: the lines are cleared and the cursor is back."""
    monkeypatch.setattr(shown, "LIVE_SECONDS", 0)
    monkeypatch.setenv("TERM", "xterm")
    progress, _ = half_way()
    out = io.StringIO()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(show, progress, Console(file=out, width=80, force_terminal=True))
        with anyio.fail_after(5):
            while out.getvalue().count("25,000 of 60,000 read") < 2:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert "\x1b[?25h" in out.getvalue().rpartition("25,000 of 60,000 read")[2]
    assert out.getvalue().rstrip().endswith("\x1b[2K")
