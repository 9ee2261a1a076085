"""How far each part of a source is accounted for, without a gap. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping


class Read:
    """A page that was read: accounted for when nothing of it is outstanding."""

    __slots__ = ("outstanding", "position")

    def __init__(self, position: str) -> None:
        self.position = position
        self.outstanding = 0


class Positions:
    """Keeps the place up to which every page of a part is accounted for, whatever order the pages are settled in.

    Args:
        known: where the parts stood when an earlier run ended, by the number of the part.
    """

    def __init__(self, known: Mapping[int, str] | None = None) -> None:
        self.settled: dict[int, str] = dict(known or {})
        self._read: dict[int, deque[Read]] = {}

    def read(self, position: tuple[int, str] | None) -> Read | None:
        """Note a page, given as the number of its part and the place behind it; None where a source has none."""
        if position is None:
            return None
        part, place = position
        page = Read(place)
        self._read.setdefault(part, deque()).append(page)
        return page

    def move(self) -> bool:
        """Go on as far as everything is accounted for; whether that was any further."""
        moved = False
        for part, pages in self._read.items():
            while pages and not pages[0].outstanding:
                self.settled[part] = pages.popleft().position
                moved = True
        return moved
