"""Inserting, changing and finding many rows at once at the driver's speed.

SQLite's driver lets go of the interpreter at each row of ``executemany`` and of an answer, and waits for it again while
the event loop is busy: measured on two cores, 97 microseconds a row. So statements carry many rows, which leaves 7, and
questions are put so that the usual answer is short.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, CursorResult, Dialect, Select, Table, text

T = TypeVar("T")
Blob = bytearray
"""How to hand over bytes: for each value that is ``bytes``, SQLite's driver looks for somebody to adapt it, which takes
0.29 microseconds; making it one of these and handing that over takes 0.13."""
ROWS = 1024
"""Rows a statement at most; SQLite takes 32,766 values at once, or more. Statements have a power of two of rows, since
the driver keeps 128 of them, which would be much memory if they were of all sizes."""


def insert_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], *, known: bool = False) -> None:
    """Insert rows that are tuples in the order of the table's columns.

    Args:
        connection: where to.
        table: likewise.
        rows: as the driver takes their values.
        known: some of them may be there already, and stay as they are.
    """
    names = ", ".join(column.name for column in table.columns)
    end = " ON CONFLICT DO NOTHING" if known else ""
    sql = f"INSERT INTO {table.name} ({names}) VALUES {_LIST}{end}"  # noqa: S608  names of ours; values go apart
    for part in _padded(rows) if known else _whole(rows):
        _execute(connection, sql, part)


def change_rows(
    connection: Connection, table: Table, keys: Sequence[str], names: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Set columns of rows that are known by others.

    Args:
        connection: where.
        table: likewise.
        keys: the columns by which a row is known.
        names: the columns to set.
        rows: values of the former, then of the latter.
    """
    given = [f"given.column{number}" for number in range(1, len(keys) + len(names) + 1)]
    setting = ", ".join(f"{name} = {value}" for name, value in zip(names, given[len(keys) :], strict=True))
    here = " AND ".join(f"{table.name}.{name} = {value}" for name, value in zip(keys, given, strict=False))
    sql = f"UPDATE {table.name} SET {setting} FROM given WHERE {here}"  # noqa: S608  names of ours; values go apart
    for part in _padded(rows):
        _execute(connection, f"WITH given AS (VALUES {_LIST}) {sql}", part)


def select_in(
    connection: Connection, query: Select[Any], column: Column[Any], values: Sequence[object]
) -> Sequence[Any]:
    """The rows of a query whose column is among these values.

    Args:
        connection: where to ask.
        query: without a parameter of its own; the same object each time, so that it is compiled once.
        column: in which to look.
        values: as the driver takes them; an ``IN`` of SQLAlchemy would make a parameter with a name of each.
    """
    sql = _compiled(query, column, connection.dialect)
    found: list[Any] = []
    for part in _padded(values):
        marks = ",".join([_mark(connection)] * len(part))
        found += connection.exec_driver_sql(sql.replace(_LIST, marks), tuple(part)).all()
    return found


def select_from(connection: Connection, query: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The answers to a query about rows that are given with it, as the table ``given`` of ``column1`` and so on."""
    return [
        found
        for part in _padded(rows)
        for found in _execute(connection, f"WITH given AS (VALUES {_LIST}) {query}", part).all()
    ]


_LIST = ":::"
"""Stands where the values come."""


@lru_cache(maxsize=16)
def _compiled(query: Select[Any], column: Column[Any], dialect: Dialect) -> str:
    """A query as SQL; to make it takes as long as to ask for 500 rows."""
    here: ColumnElement[bool] = column.in_(text(_LIST))
    return str(query.where(here).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _whole(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Parts of which each holds a power of two of rows."""
    start, size = 0, ROWS
    while start < len(rows):
        while len(rows) - start < size:
            size //= 2
        yield rows[start : start + size]
        start += size


def _padded(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The same, the last one with its last row again and again; for statements to which that makes no difference."""
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        yield [*part, *[part[-1]] * ((1 << (len(part) - 1).bit_length()) - len(part))]


def _execute(connection: Connection, sql: str, rows: Sequence[tuple[Any, ...]]) -> CursorResult[Any]:
    row = f"({','.join([_mark(connection)] * len(rows[0]))})"
    return connection.exec_driver_sql(sql.replace(_LIST, ",".join([row] * len(rows))), tuple(chain.from_iterable(rows)))


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"
