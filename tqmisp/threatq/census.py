"""What is lacking at the end of a window, and what has only come in while it was read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from tqmisp.log import get_logger
from tqmisp.pipeline.groups import together
from tqmisp.threatq import windows
from tqmisp.threatq.client import HttpRefused
from tqmisp.threatq.rows import as_row
from tqmisp.threatq.search import Search

log = get_logger(__name__)


class Census:
    """Counts the rows of one window by whether they were touched before the reading began.

    A row that is touched during the reading joins a window that is open above, also at an id that the reading has
    passed: the total grows, and the row does not come. It is not lost, since no watermark passes the beginning. So
    where rows are lacking, both sides of that moment are counted once more. One count alone would hide losses: rows
    without a date are on no side, and a server that takes no notice of bounds has all rows on both.

    Rows that were touched again after they had been read make up for as many that are lacking; to tell them apart, all
    ids would have to be kept.

    Args:
        search: counts.
        window: that is read.
        began: when the reading of all windows began, by the clock of the server.
        position: where another census of the same window has stood.
    """

    def __init__(self, search: Search, window: windows.Window, began: str, position: str = "") -> None:
        low, high = window
        since = windows.text(windows.moment(began) - windows.SECOND)  # bounds are left out of what they bound
        self._search = search
        self._is_open = high is None or high > began
        self._end = began
        self._start = max(low or "", since)
        self._windows: list[windows.Window] = [(low, self._end), (self._start, high)]
        self._read_before, self._read_since = map(int, position.split() or (0, 0))

    @property
    def position(self) -> str:
        """What was counted so far, as a text that another census of the same window understands."""
        return f"{self._read_before} {self._read_since}"

    def take(self, rows: Sequence[Any]) -> None:
        """Count the rows of a page."""
        if not self._is_open:
            return
        for given in rows:
            row = as_row(given)
            if row is not None and row.touched_at:
                touched = row.touched_at.replace("T", " ", 1)
                self._read_before += touched < self._end
                self._read_since += touched > self._start

    async def lacking(self, short: int) -> int:
        """How many rows the server has kept back, where it has given so many fewer than it counts."""
        if not self._is_open:
            return short
        try:
            before, since = await together(partial(self._search.count, window) for window in self._windows)
        except HttpRefused as error:
            log.info("ThreatQ does not count by time", error=str(error))
            return short
        if before is None or since is None:
            return short
        lacking = max(before - self._read_before, short - (since - self._read_since), 0)
        return min(lacking, short)
