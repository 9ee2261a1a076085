"""Finding the rows that pass a test, and putting them into an order."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from itertools import compress, count

from tqmisp.simulators.threatq import codec
from tqmisp.simulators.threatq.catalog import DATES, Row
from tqmisp.simulators.threatq.columns import ABSENT
from tqmisp.simulators.threatq.language import AllOf, AnyOf, Compared, HasId, HasName, Test, Written
from tqmisp.simulators.threatq.library import Library, Places


def find(library: Library, query: AllOf) -> Places:
    """The places of the rows that pass, in the order of their ids."""
    dated = tuple(part for part in query.parts if isinstance(part, Compared) and part.field in DATES)
    rest = AllOf(tuple(part for part in query.parts if part not in dated))
    found = library.remember(rest, lambda: _where(_mask(library, rest, bytes(library.columns.alive))))
    for test in dated:
        found = _between(library, rest, found, test)
        rest = AllOf((*rest.parts, test))
    return found


def _between(library: Library, query: AllOf, found: Places, test: Compared) -> Places:
    """Those of the places found whose date passes: a slice of them in the order of that date.

    Whoever reads many windows of one result, or counts them, pays for the order once.
    """
    dates = library.columns.dates[test.field]
    ordered = library.remember((query, test.field), lambda: _as_places(sorted(found, key=dates.__getitem__)))
    low, high = ABSENT + 1, 2**62
    for name, bound in test.bounds:
        moment = int(bound)
        if name in {"+gt", "+gte", "is"}:
            low = max(low, moment + (name == "+gt"))
        if name in {"+lt", "+lte", "is"}:
            high = min(high, moment - (name == "+lt"))
    first = bisect_left(ordered, low, key=dates.__getitem__)
    last = max(first, bisect_right(ordered, high, key=dates.__getitem__))
    # the slice, and not the test, is the key: NOW moves on and mostly finds the same
    return library.remember((query, test.field, first, last), lambda: _as_places(sorted(ordered[first:last])))


def _as_places(places: Iterable[int]) -> Places:
    return array("I", places)


def _where(mask: bytes) -> Places:
    return _as_places(compress(count(), mask))


def _mask(library: Library, test: Test, within: bytes) -> bytes:
    """A byte a row: 1 where it passes the test, and is within a mask."""
    columns = library.columns
    match test:
        case AllOf(parts):
            for part in sorted(parts, key=_slowness):
                within = _mask(library, part, within)
            return within
        case AnyOf(parts):
            return _combined([_mask(library, part, within) for part in parts], within)
        case HasName(column, name):
            return _both((columns.kind if column == "kind" else columns.status).mask(_has_name(name)), within)
        case HasId(column, identity):
            return _both(
                (columns.kind if column == "kind" else columns.status).mask(lambda at: at.id == identity), within
            )
        case Compared("score"):
            return _both(columns.score.mask(test.holds), within)
        case Compared(field):
            numbers = library.ids if field == "id" else columns.dates[field]
            return bytes(inside and test.holds(number) for inside, number in zip(within, numbers, strict=True))
        case Written():
            return bytes(inside and _is_written(library.row(place), test) for place, inside in enumerate(within))


def _has_name(name: str) -> Callable[[tuple[int, str]], bool]:
    return lambda named: named[1].casefold() == name


def _slowness(test: Test) -> int:
    """Tests that need the rows themselves come last, when few rows are left."""
    match test:
        case HasName() | HasId() | Compared("score"):
            return 0
        case Compared():
            return 1
        case AllOf(parts) | AnyOf(parts):
            return max(map(_slowness, parts), default=0)
        case Written():
            return 2


def _both(mask: bytes, within: bytes) -> bytes:
    return (int.from_bytes(mask, "big") & int.from_bytes(within, "big")).to_bytes(len(within), "big")


def _combined(masks: list[bytes], within: bytes) -> bytes:
    number = 0
    for mask in masks:
        number |= int.from_bytes(mask, "big")
    return number.to_bytes(len(within), "big")


def _is_written(row: Row, test: Written) -> bool:
    if test.field == "mentions":
        return test.text in codec.dumps(row).decode().casefold()
    return any(test.text in text if test.part else test.text == text for text in _texts(row, test.field))


def _texts(row: Row, field: str) -> Iterable[str]:
    given = row.get(field)
    for each in given if isinstance(given, list) else [given]:
        text = each.get("name") if isinstance(each, dict) else each
        if isinstance(text, str):
            yield text.casefold()
