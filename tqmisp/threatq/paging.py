"""Following the pages of one query. Plain objects without I/O."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from tqmisp.errors import ThreatQRefused, ThreatQUnavailable
from tqmisp.threatq.page_size import LEAST

MOST_TEARS = 12
"""So often the pager goes back to look for a row before it gives up on overlapping pages."""


class _Position(NamedTuple):
    """Where a pager stands."""

    mark: str | None
    offset: int
    last: int | None
    highest: int
    rows: int
    sorted: bool
    done: bool


class Pager:
    """Says what to ask for next, by cursor as long as the server gives one, else by offset.

    Both need rows in the order of their ids. Rows that leave the result while it is read move all later ones to the
    front, past an offset. So a page by offset begins with the row that ended the page before: where that row is not in
    its place, the pager goes back until it is. From a server that does not sort by id it takes the pages as they come,
    and goes back only by as many rows as the total has shrunk. Rows may then come twice, which is harmless.

    Args:
        limit: rows a page.
        cursor: whether to ask for a cursor.
        position: where another pager over the same query has stood.

    Attributes:
        limit: rows a page; :meth:`concede` lowers it.
        conceding: whether it was lowered since the last answer.
        rows: rows that came so far.
        announced: the total that the server named last; None where it names none.
        done: there is nothing more to ask for.
    """

    def __init__(self, limit: int, *, cursor: bool = True, position: str = "") -> None:
        self.limit = limit
        self.conceding = False
        self.rows = 0
        self.announced: int | None = None
        self.done = False
        self._cursor = cursor
        self._mark: str | None = "*" if cursor else None
        self._offset = 0
        self._sorted = True
        self._last: int | None = None
        """The id with which this page must begin."""
        self._highest = -1
        self._tears = 0
        self._back = 0
        self._landmark, self._steps, self._stride = "*", 0, 1
        self._page: tuple[object, ...] = ()
        self._repeated = 0
        if position:
            stood = _Position(*orjson.loads(position))
            self._mark, self._offset, self._last, self._highest, self.rows, self._sorted, _ = stood
            self._landmark = self._mark or "*"
            self.done = stood.done

    @property
    def position(self) -> str:
        """Where the next request begins, as a text that another pager over the same query understands."""
        return orjson.dumps(
            [self._mark, self._offset, self._last, self._highest, self.rows, self._sorted, self.done]
        ).decode()

    @property
    def by_cursor(self) -> bool:
        """Whether the next request carries a cursor."""
        return self._mark is not None

    def params(self) -> dict[str, str]:
        """The parameters of the next request."""
        params = {"limit": str(self.limit), "sort": "id"}
        if self._mark is not None:
            return params | {"cursorMark": self._mark}
        return params | {"offset": str(self._offset)}

    def concede(self) -> bool:
        """Ask for less after a refusal: without a cursor, then for smaller pages; False where nothing is left to try.

        A cursor that was not to blame is asked for again with the smaller page.
        """
        if self.rows == 0 and self._mark is not None:
            self._mark = None
            return True
        if self.limit <= LEAST:
            return False
        self.limit = max(LEAST, self.limit // 2)
        self.conceding = True
        if self.rows == 0 and self._cursor:
            self._mark = "*"
        return True

    def take(self, answer: Any) -> list[Any]:  # noqa: ANN401  whatever JSON holds
        """Take an answer and return its rows; none does not mean that it was the last one, see :attr:`done`.

        Raises:
            ThreatQRefused: the answer is no page.
            ThreatQUnavailable: the pages repeat.
        """
        rows = rows_of(answer)
        total = total_of(answer)
        shrunk = max(0, (self.announced or 0) - total) if total is not None else 0
        self.announced = total if total is not None else self.announced
        self._look_for_repetition(rows)
        mark = answer.get("nextCursorMark")
        if not rows:
            self._end(shrunk)
        elif self._mark is not None and isinstance(mark, str) and mark:
            self._follow(mark, rows)
        else:
            self._mark = None
            rows = self._step(rows, shrunk)
        self.rows += len(rows)
        return rows

    def _follow(self, mark: str, rows: list[Any]) -> None:
        """Go on with the next mark, unless it is the same again, or one from long ago.

        The same mark again is the end. Where rows are missing then, they are looked for by offset.

        One earlier mark is remembered, and moved after twice as many steps each time: a circle of any length is
        noticed without keeping all marks.
        """
        if mark == self._mark:
            self.done = self.announced is None or self.rows + len(rows) >= self.announced
            if not self.done:
                self._leave_cursor(rows)
            return
        if mark == self._landmark:
            self._mark = None  # try it once more from the start, by offset
            return
        self._steps += 1
        if self._steps == self._stride:
            self._landmark, self._steps, self._stride = mark, 0, self._stride * 2
        self._mark = mark

    def _leave_cursor(self, rows: list[Any]) -> None:
        """Go on by offset, with the row that ended this page."""
        self._mark = None
        self._offset = self.rows
        self._step(rows, 0)

    def _step(self, rows: list[Any], shrunk: int) -> list[Any]:
        """Move the offset behind these rows, or back where rows were passed over; return the rows that are new."""
        ids = [identity if type(identity) is int else None for identity in map(_id, rows)]
        self._sorted = self._sorted and _rise(ids)
        first, last = ids[0], ids[-1]
        if not self._sorted or first is None or last is None:
            self._last = None
            if shrunk and self._offset > 0:
                self._retreat(shrunk)
            else:
                self._offset += len(rows)
                self.done = self.announced is not None and self._offset >= self.announced
            return rows
        if self._offset > 0 and (shrunk if self._last is None else first > self._last):
            self._go_back(shrunk)
            return []
        self._back = 0
        in_place = self._last is None or first == self._last
        self.done = in_place and self.announced is not None and self._offset + len(rows) >= self.announced
        new = rows[1:] if first == self._last else rows
        if last > self._highest:
            self._highest, self._tears = last, 0
        overlap = len(rows) > 1
        self._offset += len(rows) - overlap
        self._last = last if overlap else None
        return new

    def _end(self, shrunk: int) -> None:
        """An empty page is the last one, unless so many rows have left that the offset is behind the end."""
        if self._mark is None and self._offset > 0 and (shrunk or self._last is not None):
            self._go_back(shrunk)
        else:
            self.done = True

    def _go_back(self, shrunk: int) -> None:
        """Go back, further each time, until the row that ended the page before is found, or the start.

        Where that happens over and over without a new row, offsets do not mean to the server what they mean to us: the
        rows are then read from the start without an overlap.
        """
        if self._last is None:
            self._retreat(shrunk)
            return
        self._tears += self._back == 0
        self._back = self._back * 2 or self.limit
        self._retreat(self._back)
        if self._tears > MOST_TEARS:
            self._sorted, self._offset, self._last = False, 0, None

    def _retreat(self, rows: int) -> None:
        self._offset = max(0, self._offset - rows)
        self._page = ()  # further to the front the same rows may well come again

    def _look_for_repetition(self, rows: list[Any]) -> None:
        """The very same rows three times running are no progress; twice may come from going back."""
        page = (len(rows), rows[0], rows[-1]) if rows else ()
        self._repeated = self._repeated + 1 if page and page == self._page else 0
        if self._repeated > 1:
            raise ThreatQUnavailable("ThreatQ gives the same page of indicators again and again; try again later.")
        self._page = page


def rows_of(answer: object) -> list[Any]:
    """The rows of a page; the last page of some servers holds ``{}`` instead of ``[]``.

    Raises:
        ThreatQRefused: it is no page; ``{}`` is the answer to an account that may not see indicators.
    """
    if not isinstance(answer, dict):
        raise ThreatQRefused("ThreatQ answered a query with something that is no page of rows.")
    given = answer.get("data")
    if not isinstance(given, (list, dict)) and type(answer.get("total")) is not int:
        raise ThreatQRefused(
            "ThreatQ answered a query without rows and without a total. The account may lack the right to read "
            "indicators: give it at least the role Read Only."
        )
    return given if isinstance(given, list) else []


def total_of(answer: object) -> int | None:
    """How many rows a page says there are in all; None where it does not say.

    Raises:
        ThreatQRefused: it is no page.
    """
    rows_of(answer)
    total = answer.get("total") if isinstance(answer, dict) else None
    return total if type(total) is int and total >= 0 else None


def _id(row: object) -> object:
    return row.get("id") if isinstance(row, dict) else getattr(row, "id", None)


def _rise(ids: list[int | None]) -> bool:
    previous = -1
    for identity in ids:
        if identity is None or identity <= previous:
            return False
        previous = identity
    return True
