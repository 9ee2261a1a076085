"""Following the pages of one query. Plain objects without I/O."""

from __future__ import annotations

from typing import Any

from tqmisp.errors import ThreatQRefused


class Pager:
    """Says what to ask for next, by cursor as long as the server gives one, else by offset.

    Both need rows in the order of their ids. An offset goes wrong when rows leave the result while it is read; it is
    then set back by as many rows as the total has shrunk, so that rows come twice rather than not at all.

    Attributes:
        rows: rows that came so far.
        announced: the total that the server named last; None where it names none.
    """

    def __init__(self, limit: int, *, cursor: bool = True) -> None:
        self.rows = 0
        self.announced: int | None = None
        self.done = False
        self.limit = limit
        self._mark: str | None = "*" if cursor else None
        self._marks: set[str] = set()
        self._offset = 0
        self._last_ids: list[int] = []
        self._repeated = 0

    def params(self) -> dict[str, str]:
        """The parameters of the next request."""
        params = {"limit": str(self.limit), "sort": "id"}
        if self._mark is not None:
            return params | {"cursorMark": self._mark}
        return params | {"offset": str(self._offset)}

    def take(self, answer: Any) -> list[Any]:  # noqa: ANN401  whatever JSON holds
        """Take an answer and return its rows.

        Raises:
            ThreatQRefused: the answer is no page, or the pages repeat.
        """
        if not isinstance(answer, dict):
            raise ThreatQRefused("ThreatQ answered a query with something that is no page of rows.")
        given = answer.get("data")
        rows: list[Any] = given if isinstance(given, list) else []  # the last page may hold {}
        if given is None and "total" not in answer:
            raise ThreatQRefused(
                "ThreatQ answered a query without rows. The account may lack the right to read indicators."
            )
        total = answer.get("total")
        shrunk = max(0, (self.announced or 0) - total) if isinstance(total, int) else 0
        self.announced = total if isinstance(total, int) else self.announced
        self.rows += len(rows)
        self._look_for_loops(rows)
        mark = answer.get("nextCursorMark")
        if not rows:
            self.done = True
        elif self._mark is not None and isinstance(mark, str) and mark:
            self.done = mark == self._mark
            if mark in self._marks and not self.done:
                raise ThreatQRefused("ThreatQ's cursor goes round in circles; try again later.")
            self._marks = {self._mark, mark}  # a longer circle shows in the ids
            self._mark = mark
        else:
            self._mark = None
            # this very page may have begun too late: go back to where it would have begun
            self._offset = max(0, self._offset - shrunk) if shrunk else self._offset + len(rows)
            self.done = self.announced is not None and self._offset >= self.announced
        return rows

    def _look_for_loops(self, rows: list[Any]) -> None:
        """The very same rows three times running are no progress; twice may come from a shrinking total."""
        ids = [row["id"] for row in rows if isinstance(row, dict) and type(row.get("id")) is int]
        self._repeated = self._repeated + 1 if ids and ids == self._last_ids else 0
        if self._repeated > 1:
            raise ThreatQRefused("ThreatQ gives the same page again and again; try again later.")
        self._last_ids = ids
