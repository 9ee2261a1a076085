"""Leaving out rows that somebody knows as they are, before anything is made of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from tqmisp.threatq.records import MAX_ID, Lookups, type_of
from tqmisp.threatq.rows import Row


class Sighting(Struct, frozen=True, gc=False):
    """A row that has come by."""

    key: int
    """The id of the indicator."""
    stamp: int
    """Changes when anything in the row changes, or in what is made of it: positive, 63 bits."""
    type: str
    """The name of its type; empty where it has none."""


Recognise = Callable[[Sequence[Sighting]], Awaitable[Collection[int]]]
"""Gives the ids of those rows of which nothing needs to be made."""


class Sifted(NamedTuple):
    """The rows of a page."""

    recognised: list[int]
    """Ids of rows of which nothing needs to be made."""
    touched: list[str | None]
    """When these were touched."""
    rows: list[Any]
    """All others."""
    stamps: list[int]
    """Theirs; 0 for rows that cannot be recognised."""


async def sift(
    rows: list[Any],
    recognise: Recognise | None,
    salt: int,
    lookups: Lookups,
    in_period: Callable[[str | None], bool],
) -> Sifted:
    """Part rows that are known as they are from all others.

    Args:
        rows: of a page.
        recognise: knows them; None where nothing is known yet, and the rows only get their stamps.
        salt: 63 bits, of all else that decides what is made of a row.
        lookups: names of types.
        in_period: whether a row that was touched then is wanted at all.
    """
    stamps = [_stamp(row, salt) for row in rows]
    if recognise is None:
        return Sifted([], [], rows, stamps)
    known = await recognise(
        [
            Sighting(row.id, stamp, type_of(row, lookups))
            for row, stamp in zip(rows, stamps, strict=True)
            if stamp and in_period(row.touched_at)
        ]
    )
    sifted = Sifted([], [], [], [])
    for row, stamp in zip(rows, stamps, strict=True):
        if stamp and row.id in known:
            sifted.recognised.append(row.id)
            sifted.touched.append(row.touched_at)
        else:
            sifted.rows.append(row)
            sifted.stamps.append(stamp)
    return sifted


def _stamp(row: Any, salt: int) -> int:  # noqa: ANN401  whatever JSON holds
    """A number that changes with the row; 0 for a row of another form than usual."""
    if not isinstance(row, Row) or not row.digest or not row.touched_at:
        return 0
    key = row.id
    if type(key) is not int or not 0 <= key <= MAX_ID:
        return 0
    return row.digest ^ salt or 1
