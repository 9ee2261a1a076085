"""ThreatQ's query language: criteria and filters, nested to any depth, over a library."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from tqmisp.simulators.threatq.library import DELETED, STATUSES, Library, Row, as_seconds, where

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "+gt": operator.gt,
    "+gte": operator.ge,
    "+lt": operator.lt,
    "+lte": operator.le,
}
DATES = frozenset({"created_at", "updated_at", "touched_at", "published_at", "expires_at", "expired_at"})


class LanguageError(Exception):
    """The query cannot be understood; the text is what the server says."""


def find(library: Library, criteria: object, filters: object) -> list[int]:
    """The places of the rows that both criteria and filters let through, in the order of the ids."""
    key = orjson.dumps([criteria, filters], option=orjson.OPT_SORT_KEYS)
    return library.match(key, lambda held: _find(held, [criteria, filters]))


def _find(library: Library, given: list[object]) -> Iterable[int]:
    tests = [test for each in given for test in _conjunction(each)]
    dated = [
        test["touched_at"] for test in tests if list(test) == ["touched_at"] and isinstance(test["touched_at"], dict)
    ]
    rest = [test for test in tests if not (list(test) == ["touched_at"] and isinstance(test["touched_at"], dict))]
    key = b"base" + orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)
    base = library.match(key, lambda held: where(_mask(held, {"+and": rest})))
    if not dated:
        return base
    touched = library.columns.touched
    low, high = -(2**62), 2**62
    for test in dated:
        for name, moment in test.items():
            second = _second(moment)
            if name in {"+gt", "+gte"}:
                low = max(low, second + (name == "+gt"))
            elif name in {"+lt", "+lte"}:
                high = min(high, second - (name == "+lt"))
            else:
                raise LanguageError(f"Unknown operator {name}")
    return [place for place in base if low <= touched[place] <= high]


def _conjunction(given: object) -> list[dict[str, Any]]:
    """The tests of a nest of ``+and``."""
    if not given:
        return []
    if not isinstance(given, dict):
        raise LanguageError("criteria and filters must be objects")
    if list(given) == ["+and"] and isinstance(given["+and"], list):
        return [test for each in given["+and"] for test in _conjunction(each)]
    return [{name: value} for name, value in given.items()]


def _mask(library: Library, given: dict[str, Any]) -> bytes:
    """A byte for each row: 1 where the test lets it through."""
    size = len(library)
    here = _table(library.columns.status, lambda status: status != DELETED)
    for name, value in given.items():
        if name == "+and":
            parts = [_mask(library, each) for each in value]
            mask = _all(parts, size)
        elif name == "+or":
            mask = _any([_mask(library, each) for each in value], size)
        else:
            mask = _test(library, name, value)
        here = _all([here, mask], size)
    return here


def _all(masks: list[bytes], size: int) -> bytes:
    number = int.from_bytes(b"\1" * size)
    for mask in masks:
        number &= int.from_bytes(mask)
    return number.to_bytes(size)


def _any(masks: list[bytes], size: int) -> bytes:
    number = 0
    for mask in masks:
        number |= int.from_bytes(mask)
    return number.to_bytes(size)


def _table(column: bytearray, test: Callable[[int], bool]) -> bytes:
    """A test of one small number over a whole column."""
    return bytes(column.translate(bytes(test(number) for number in range(256))))


def _test(library: Library, name: str, value: Any) -> bytes:  # noqa: ANN401  whatever JSON holds
    columns = library.columns
    if name == "score":
        bounds = value if isinstance(value, dict) else {"is": value}
        return _table(columns.score, lambda tenths: _compare(tenths / 10, bounds))
    if name in {"status_name", "status"}:
        wanted = str(_is(value)).casefold()
        return _table(columns.status, lambda number: STATUSES.get(number, ("",))[0].casefold() == wanted)
    if name == "status_id":
        return _table(columns.status, lambda number: number == int(_is(value)))
    if name in {"type_name", "type"}:
        wanted = str(_is(value)).casefold()
        kinds = columns.kinds
        return _table(columns.kind, lambda place: 0 < place <= len(kinds) and kinds[place - 1].casefold() == wanted)
    if name == "type_id":
        return _table(columns.kind, lambda place: place == int(_is(value)))
    rows = (library.row(place) for place in range(len(library)))
    if name in DATES:
        return bytes(_dated(row.get(name), value) for row in rows)
    if name in {"value", "id", "title"}:
        return bytes(_text_test(str(row.get(name, "")), value) for row in rows)
    if name in {"tag", "tags", "sources", "source", "mentions"}:
        return bytes(_mentions(row, name, str(_is(value)).casefold()) for row in rows)
    raise LanguageError(f"Unknown field {name}")


def _is(value: Any) -> Any:  # noqa: ANN401  whatever JSON holds
    return value["is"] if isinstance(value, dict) and "is" in value else value


def _compare(number: float, bounds: dict[str, Any]) -> bool:
    for name, bound in bounds.items():
        if name == "is":
            if number != float(bound):
                return False
        elif name not in COMPARISONS:
            raise LanguageError(f"Unknown operator {name}")
        elif not COMPARISONS[name](number, float(bound)):
            return False
    return True


def _dated(given: object, bounds: object) -> bool:
    if not isinstance(given, str) or not isinstance(bounds, dict):
        return False
    return all(COMPARISONS[name](as_seconds(given), _second(moment)) for name, moment in bounds.items())


def _second(moment: object) -> int:
    if moment == "NOW":
        return int(datetime.now(UTC).timestamp())
    if not isinstance(moment, str) or not re.match(r"\d{4}-\d\d-\d\d", moment):
        raise LanguageError(f"Unknown date {moment}")
    return as_seconds(moment)


def _text_test(text: str, value: Any) -> bool:  # noqa: ANN401  whatever JSON holds
    if isinstance(value, dict) and "+contains" in value:
        return str(value["+contains"]).casefold() in text.casefold()
    return text.casefold() == str(_is(value)).casefold()


def _mentions(row: Row, name: str, wanted: str) -> bool:
    if name == "mentions":
        return wanted in orjson.dumps(row).decode().casefold()
    given = row.get("tags" if name.startswith("tag") else "sources") or []
    names = [each.get("name") if isinstance(each, dict) else each for each in given]
    return any(str(each).casefold() == wanted for each in names)
