"""How far a run is, for a person who waits: a live picture on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import anyio
from rich.console import Console, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tqmisp.observe.advice import Advice, advise
from tqmisp.pipeline.progress import Progress

LIVE_SECONDS = 0.25
"""Between two pictures on a terminal."""
LINE_SECONDS = 5.0
"""Between two lines elsewhere."""
WIDTH = 80
"""Columns that the picture takes at most: a wider one would be broken by a terminal that is made narrower."""
WINDOW_SECONDS = 10.0
"""Over which a rate is taken."""


class View:
    """The counters of a run, with rates and the time that is left."""

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self.progress = progress
        self._clock = clock
        self._samples: deque[tuple[float, int, int, int]] = deque()

    def sample(self) -> None:
        """Take note of the counters; rates compare what was noted within the last ten seconds."""
        now = self._clock()
        self._samples.append((now, self.progress.read, self._written(), self._dealt_with()))
        while now - self._samples[0][0] > WINDOW_SECONDS and len(self._samples) > 2:
            self._samples.popleft()

    def _written(self) -> int:
        """What has been sent; what is found stored after a repetition counts once."""
        return max(self.progress.stored, min(self.progress.sent, self.progress.admitted))

    def _sent(self) -> str:
        return "sent" if self.progress.sends else "to send"

    def _dealt_with(self) -> int:
        return self.progress.refused + self.progress.settled + self._written()

    def _rate(self, column: int) -> float:
        if len(self._samples) < 2:
            return 0.0
        first, last = self._samples[0], self._samples[-1]
        return (last[column] - first[column]) / (last[0] - first[0]) if last[0] > first[0] else 0.0

    def seconds_left(self) -> float | None:
        """An estimate; None as long as there is nothing to base it on."""
        rate = self._rate(3)
        if self.progress.total is None or rate <= 0:
            return None
        return max(0, self.progress.total - self._dealt_with()) / rate

    def advice(self) -> Advice:
        """What the run waits for, since it began."""
        return advise(self.progress, seconds=self.progress.seconds(), busy=self.progress.busy())

    def line(self) -> str:
        """All of it in one line."""
        progress = self.progress
        total = f" of {progress.total:,}" if progress.total is not None else ""
        parts = [
            f"{progress.phase}: {progress.read:,}{total} read ({self._rate(1):,.0f}/s)",
            f"{self._written():,} {self._sent()} to MISP ({self._rate(2):,.0f}/s)",
        ]
        parts += [f"{count:,} {name}" for count, name in self._rest() if count]
        parts += [self._queue(), self._slices(), *self._requests()]
        left = self.seconds_left()
        if left is not None:
            parts.append(f"{_duration(left)} left")
        limit = self.advice().limit
        return f"{', '.join(parts)}. {limit}" if limit else ", ".join(parts)

    def _rest(self) -> list[tuple[int, str]]:
        progress = self.progress
        return [
            (progress.settled, "unchanged or merged"),
            (progress.refused, "refused"),
            (progress.retries, "retries"),
        ]

    def _queue(self) -> str:
        progress = self.progress
        return f"{max(0, progress.pages_queued)} of {progress.queue_pages} pages queued"

    def _slices(self) -> str:
        return f"{self.progress.slices_in_flight} slices in flight, {self.progress.slices_waiting} waiting"

    def _requests(self) -> list[str]:
        """How MISP is written to, once it has been."""
        knee = self.progress.knee
        return [f"requests of {knee.chunk:,}, {knee.in_flight} at once"] if knee is not None else []

    def picture(self) -> RenderableType:
        """All of it for a terminal; fits into 80 columns, and takes no more."""
        progress = self.progress
        left = self.seconds_left()
        top = Table.grid(padding=(0, 1), expand=True)
        top.add_column(width=11)
        top.add_column(ratio=1)
        top.add_column(justify="right", no_wrap=True)
        total = progress.total
        bar = ProgressBar(total, min(self._dealt_with(), total or 0), pulse=total is None)
        ahead = f"{_duration(left)} left" if left is not None else _duration(progress.seconds())
        top.add_row(Text(progress.phase, style="bold"), bar, ahead)

        below = Table.grid(padding=(0, 2))
        below.add_column(min_width=7, no_wrap=True)
        below.add_column(justify="right", min_width=17, no_wrap=True)
        below.add_column(justify="right", min_width=9, no_wrap=True)
        below.add_column(no_wrap=True)
        of = f" of {total:,}" if total is not None else ""
        below.add_row("ThreatQ", f"{progress.read:,}{of} read", f"{self._rate(1):,.0f}/s", self._queue())
        below.add_row("MISP", f"{self._written():,} {self._sent()}", f"{self._rate(2):,.0f}/s", self._slices())

        grid = Table.grid(expand=True)
        grid.add_row(top)
        grid.add_row(below)
        rest = [f"{count:,} {name}" for count, name in self._rest()]
        rows = [f"{'':9}{', '.join(parts)}" for parts in (rest[:2], [*self._requests(), *rest[2:]])]
        for row in filter(None, [*rows, self.advice().limit]):
            grid.add_row(Text(row, style="dim", no_wrap=True, overflow="ellipsis"))
        return Constrain(grid, WIDTH)


class Display(Console):
    """A console that nobody need look at to the end: after ``| head``, the work goes on without it."""

    def on_broken_pipe(self) -> None:
        """Fall silent; by default rich would end the program, and take stdout along."""
        self.quiet = True


async def show(progress: Progress, console: Console) -> None:
    """Show the counters until cancelled.

    On a terminal the picture is redrawn in place and goes away at the end. Elsewhere, and where a terminal cannot move
    its cursor, a line is written now and then.
    """
    view = View(progress)
    if not console.is_terminal or console.is_dumb_terminal:
        while True:
            view.sample()
            await anyio.sleep(LINE_SECONDS)
            view.sample()
            console.print(Text(view.line()), soft_wrap=True)
    # stdout belongs to the result, so only stderr passes through the picture
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as live:
        while True:
            view.sample()
            live.update(view.picture(), refresh=True)
            await anyio.sleep(LIVE_SECONDS)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
