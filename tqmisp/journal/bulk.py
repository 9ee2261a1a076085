"""Inserting and finding many rows at once at the driver's speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, insert, text


def insert_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows that are tuples in the order of the table's columns.

    SQLAlchemy compiles the statement, the driver takes the rows as they are: a third of the time of
    ``connection.execute(insert(table), dicts)``, which looks at each value of each row.
    """
    if not rows:
        return
    compiled = insert(table).compile(dialect=connection.dialect, column_keys=[column.name for column in table.columns])
    names = [column.name for column in table.columns]
    if compiled.positional:
        connection.exec_driver_sql(str(compiled), list(rows))
    else:
        connection.exec_driver_sql(str(compiled), [dict(zip(names, row, strict=True)) for row in rows])


def select_in(
    connection: Connection, query: Select[Any], column: Column[Any], values: Sequence[object]
) -> Sequence[Any]:
    """The rows of a query whose column is among these values.

    Args:
        connection: where to ask.
        query: without a parameter of its own.
        column: in which to look.
        values: as the driver takes them; an ``IN`` of SQLAlchemy would make a parameter with a name of each.
    """
    if not values:
        return []
    here: ColumnElement[bool] = column.in_(text(_LIST))
    sql = str(query.where(here).compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    return connection.exec_driver_sql(sql.replace(_LIST, ",".join([mark] * len(values))), tuple(values)).all()


_LIST = ":::"
"""Stands where the values come."""
