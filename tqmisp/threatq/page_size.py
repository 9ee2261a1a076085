"""How many rows to ask for at once, from how long the answers take. A plain object without I/O."""

from __future__ import annotations

from statistics import median

FIRST = 1_000
"""The largest page that a published client asks this route for."""
MOST = 2_000
"""Pages are not made larger than this: each takes some 3 kB a row until all of it is accounted for."""
LEAST = 100
"""Pages are not made smaller than this; every published client gets pages of this size."""
SLOW_SECONDS = 20.0
"""An answer that takes longer is on its way to a time-out."""
WORTH_SECONDS = 0.1
"""Where an answer takes less, it is mostly rows, of which a larger page has more."""
SAVED = 0.8
"""A larger page must bring this part of the seconds a row, or less."""
ANSWERS = 4
"""So many answers of a size say how long one takes."""


class PageSize:
    """Doubles pages as long as a row costs less for it, since part of each answer's time is the same for any page.

    Args:
        pinned: rows a page, whatever the answers take.

    Attributes:
        rows: how many to ask for now.
    """

    def __init__(self, pinned: int | None = None) -> None:
        self.rows = pinned or FIRST
        self._most = MOST if pinned is None else self.rows
        self._least = LEAST if pinned is None else self.rows
        self._seconds: list[float] = []
        self._before: float | None = None
        """Seconds a row with pages of half the size."""

    def forbid(self, rows: int) -> None:
        """Note that the server takes pages of so many rows at most."""
        self.rows = self._most = min(self._most, rows)
        self._least = min(self._least, rows)
        self._seconds.clear()

    def take(self, asked: int, given: int, seconds: float) -> None:
        """Take note of an answer: rows that were asked for and that came, and how long that took."""
        if given < asked or asked != self.rows:
            return  # the last page of a part, or one that was asked for before the size changed
        if seconds > SLOW_SECONDS and self.rows > self._least:
            self._settle(max(self._least, self.rows // 2))
            return
        self._seconds.append(seconds)
        if len(self._seconds) < ANSWERS:
            return
        usual = median(self._seconds)
        self._seconds.clear()
        if self._before is not None and usual / self.rows > SAVED * self._before:
            self._settle(self.rows // 2)
        elif usual >= WORTH_SECONDS and 2 * self.rows <= self._most:
            self._before = usual / self.rows
            self.rows *= 2
        else:
            self._before = None

    def _settle(self, rows: int) -> None:
        self.rows = self._most = rows
        self._before = None
        self._seconds.clear()
