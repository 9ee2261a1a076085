"""Dividing a result by the time at which its rows were touched. Plain functions but for the counting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

Window = tuple[str | None, str | None]
"""Touched after the first moment and before the second; None is open."""
Count = Callable[[Window], Awaitable[int]]

MAX_COUNTS = 64
"""Requests that planning may cost."""
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

    The largest window is halved until there are enough small ones, so that rows that crowd in a short time do not end
    up in one. The first window is open below and the last one open above. A window begins a second early, since its
    lower bound is left out and rows may carry fractions of a second: a row can be in two windows, never in none.
    """
    if first >= last or parts < 2:
        return [(None, None)]
    pieces: list[tuple[datetime, datetime, int]] = [(first, last + SECOND, total)]
    enough = max(1, least, total // (parts * 2))
    for _ in range(MAX_COUNTS):
        largest = max(pieces, key=lambda piece: piece[2])
        start, end, rows = largest
        if rows <= enough or end - start < 2 * SECOND:
            break
        middle = (start + (end - start) / 2).replace(microsecond=0)
        left = await count((text(start - SECOND), text(middle)))
        pieces.remove(largest)
        pieces += [(start, middle, left), (middle, end, max(0, rows - left))]
    pieces = sorted(piece for piece in pieces if piece[2] > 0)
    edges = [piece[0] for piece in pieces[1:]]
    lows = [None, *(text(edge - SECOND) for edge in edges)]
    highs = [*(text(edge) for edge in edges), None]
    return list(zip(lows, highs, strict=True))
