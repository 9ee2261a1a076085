"""What filters and sorts look at, kept apart from the rows so that a million rows take milliseconds."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Generic, TypeVar

from tqmisp.simulators.threatq.catalog import DATES, Named, Row, status_of, type_of

Value = TypeVar("Value", bound=Hashable)
ABSENT = -(2**62)
"""In a column of dates: the row has none."""
MOST = 256
"""Different values that a column with a byte a row can hold."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  ThreatQ writes dates without a zone


class Coded(Generic[Value]):
    """A column with few different values: a byte a row, so that a test over all rows is one ``translate``.

    Attributes:
        codes: for each row, where its value is in ``values``.
    """

    def __init__(self, values: Iterable[Value] = (), codes: bytes = b"") -> None:
        self.values = list(values)
        self.codes = bytearray(codes)
        self._places = {value: code for code, value in enumerate(self.values)}

    def __getitem__(self, place: int) -> Value:
        return self.values[self.codes[place]]

    def append(self, value: Value) -> None:
        """Take the value of a further row."""
        self.codes.append(self._code(value))

    def set(self, place: int, value: Value) -> None:
        """Take another value for a row."""
        self.codes[place] = self._code(value)

    def mask(self, test: Callable[[Value], bool]) -> bytes:
        """A byte a row: 1 where its value passes the test."""
        table = bytes(map(test, self.values))
        return bytes(self.codes.translate(table + bytes(MOST - len(table))))

    def _code(self, value: Value) -> int:
        code = self._places.get(value)
        if code is None:
            if len(self.values) == MOST:
                raise ValueError(f"there are more than {MOST} different statuses, types or scores")
            code = self._places[value] = len(self.values)
            self.values.append(value)
        return code


class Columns:
    """Status, type, score and dates of every row; dates are in milliseconds since 1970.

    Attributes:
        alive: a byte a row, 1 as long as it is not deleted.
    """

    def __init__(
        self,
        status: Coded[Named] | None = None,
        kind: Coded[Named] | None = None,
        score: Coded[float | None] | None = None,
        dates: dict[str, array[int]] | None = None,
    ) -> None:
        self.status = status if status is not None else Coded[Named]()
        self.kind = kind if kind is not None else Coded[Named]()
        self.score = score if score is not None else Coded[float | None]()
        self.dates = dates if dates is not None else {name: array("q") for name in DATES}
        self.alive = bytearray(b"\1" * len(self.status.codes))

    def append(self, row: Row) -> None:
        """Take the values of a further row."""
        self.status.append(status_of(row))
        self.kind.append(type_of(row))
        self.score.append(_number(row.get("score")))
        for name, column in self.dates.items():
            column.append(as_milliseconds(row.get(name)))
        self.alive.append(1)

    def set(self, place: int, row: Row) -> None:
        """Take the values of a row that has changed."""
        self.status.set(place, status_of(row))
        self.kind.set(place, type_of(row))
        self.score.set(place, _number(row.get("score")))
        for name, column in self.dates.items():
            column[place] = as_milliseconds(row.get(name))


def as_milliseconds(text: object) -> int:
    """A date of ThreatQ, with or without a fraction, in milliseconds since 1970; ``ABSENT`` where there is none."""
    return _milliseconds(text) if isinstance(text, str) else ABSENT


@lru_cache(maxsize=1 << 16)  # many rows share a date
def _milliseconds(text: str) -> int:
    try:
        return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return ABSENT


@lru_cache(maxsize=1 << 16)
def as_text(seconds: int) -> str:
    """Seconds since 1970 as ThreatQ writes a date."""
    return str(_EPOCH + timedelta(seconds=seconds))  # four times as fast as strftime


def _number(score: object) -> float | None:
    return score if isinstance(score, (int, float)) else None
