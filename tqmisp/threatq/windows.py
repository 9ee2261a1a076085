"""Dividing a result by the time at which its rows were touched. Plain functions but for the counting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import attrgetter, itemgetter
from typing import NamedTuple

from tqmisp.pipeline.groups import together

Window = tuple[str | None, str | None]
"""Touched after the first moment and before the second; None is open."""
Count = Callable[[Window], Awaitable[int]]

MAX_COUNTS = 96
"""Requests that planning may cost."""
WINDOWS_A_PART = 2
"""So many windows are made for each of those that read: with more, none would be left with a long one at the end, but
the ids of a page would lie further apart, and the journal keeps its rows in the order of the ids."""
SECOND = timedelta(seconds=1)


def moment(text: str) -> datetime:
    """A date of ThreatQ, ``YYYY-MM-DD`` or with time and fraction; UTC where it names no zone.

    Raises:
        ValueError: it is none.
    """
    when = datetime.fromisoformat(text)
    return when if when.tzinfo is None else when.astimezone(UTC).replace(tzinfo=None)


def text(when: datetime) -> str:
    """A date as ThreatQ writes it."""
    return when.strftime("%Y-%m-%d %H:%M:%S")


async def plan(
    first: datetime, last: datetime, total: int, count: Count, *, parts: int, least: int = 0
) -> list[Window]:
    """Cut the time between two moments into windows with about equally many rows, of which few need be below ``least``.

    Windows that are too large are halved, all of them at the same time, so that rows that crowd in a short time do not
    end up in one. The earliest window is open below and the latest one open above. A window begins a second early,
    since its lower bound is left out and rows may carry fractions of a second: a row can be in two windows, never in
    none.

    Returns:
        The windows, those with the most rows first, so that the last ones to be read are small.
    """
    if first >= last or parts < 2:
        return [(None, None)]
    pieces = [_Piece(first, last + SECOND, total)]
    enough = max(1, least, total // (parts * WINDOWS_A_PART))
    counts = 0
    while counts < MAX_COUNTS:
        large = [piece for piece in pieces if piece.rows > enough and piece.end - piece.start >= 2 * SECOND]
        large = sorted(large, key=attrgetter("rows"), reverse=True)[: MAX_COUNTS - counts]
        if not large:
            break
        lefts = await together(partial(count, (text(each.start - SECOND), text(each.middle))) for each in large)
        counts += len(lefts)
        for piece, left in zip(large, lefts, strict=True):
            pieces.remove(piece)
            pieces.append(_Piece(piece.start, piece.middle, left))
            pieces.append(_Piece(piece.middle, piece.end, max(0, piece.rows - left)))
    pieces = sorted(piece for piece in pieces if piece.rows > 0)
    edges = [piece.start for piece in pieces[1:]]
    lows = [None, *(text(edge - SECOND) for edge in edges)]
    highs = [*(text(edge) for edge in edges), None]
    sizes = [piece.rows for piece in pieces]
    found = sorted(zip(sizes, lows, highs, strict=True), key=itemgetter(0), reverse=True)
    return [(low, high) for _, low, high in found]


class _Piece(NamedTuple):
    """A stretch of time, its end left out, with the number of rows that were touched in it."""

    start: datetime
    end: datetime
    rows: int

    @property
    def middle(self) -> datetime:
        """Where it is cut."""
        return (self.start + (self.end - self.start) / 2).replace(microsecond=0)
