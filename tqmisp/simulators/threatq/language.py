"""ThreatQ's query language: what a request asks for, as tests over a library.

Criteria and filters take the same language: objects whose members must all hold, with ``+and`` and ``+or`` nested to
any depth. Parsing is apart from searching, so that a wrong query is refused whatever the library holds, and so that
what was found can be remembered under the parsed query.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from tqmisp.simulators.threatq.catalog import DATES
from tqmisp.simulators.threatq.columns import ABSENT, as_milliseconds

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "is": operator.eq,
    "+gt": operator.gt,
    "+gte": operator.ge,
    "+lt": operator.lt,
    "+lte": operator.le,
}
TEXTS = ("value", "description", "tags", "sources", "adversaries", "attributes", "mentions")
"""Fields that are looked up in the rows themselves."""
_ALIASES = {"tag": "tags", "tag_name": "tags", "source": "sources", "source_name": "sources", "title": "value"}
_NAMES = {"type": "kind", "type_name": "kind", "status": "status", "status_name": "status"}
_IDS = {"type_id": "kind", "status_id": "status"}
_UNITS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400, "WEEK": 604_800, "MONTH": 2_592_000}
_NOW = re.compile(r"NOW(?:\s*([+-])\s*(\d{1,6})\s*([A-Z]+?)S?)?", re.IGNORECASE)


class LanguageError(Exception):
    """The query cannot be understood.

    Attributes:
        field: the part of the query that is wrong.
    """

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True)
class AllOf:
    """Each of the parts holds."""

    parts: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of the parts holds."""

    parts: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class HasName:
    """The type or the status has this name, however it is spelled."""

    column: str
    name: str


@dataclass(frozen=True, slots=True)
class HasId:
    """The type or the status has this id."""

    column: str
    id: int


@dataclass(frozen=True, slots=True)
class Compared:
    """The id, the score or a date, in milliseconds, passes every comparison; a missing one passes none."""

    field: str
    bounds: tuple[tuple[str, float], ...]

    def holds(self, number: float | None) -> bool:
        """Whether a number passes."""
        return (
            number is not None
            and number != ABSENT
            and all(COMPARISONS[name](number, bound) for name, bound in self.bounds)
        )


@dataclass(frozen=True, slots=True)
class Written:
    """A text is what is asked for, or contains it; letter case does not matter."""

    field: str
    text: str
    part: bool


Test: TypeAlias = AllOf | AnyOf | HasName | HasId | Compared | Written


def parse(criteria: object, filters: object, *, now: float) -> AllOf:
    """What a query asks for.

    Args:
        criteria: the first part of the query.
        filters: the second part; both must hold.
        now: what ``NOW`` stands for, in seconds since 1970.

    Raises:
        LanguageError: the query cannot be understood.
    """
    return AllOf((*_members("criteria", criteria, now), *_members("filters", filters, now)))


def _members(part: str, given: object, now: float) -> tuple[Test, ...]:
    """The tests of an object, with those of a nested ``+and`` beside them."""
    if given is None or given == []:  # PHP writes an empty object as an empty list
        return ()
    if not isinstance(given, dict):
        raise LanguageError(part, f"The {part} must be an object.")
    tests: list[Test] = []
    for name, value in given.items():
        if name == "+and":
            for each in _listed(name, value):
                tests += _members(name, each, now)
        elif name == "+or":
            tests.append(AnyOf(tuple(AllOf(_members(name, each, now)) for each in _listed(name, value))))
        else:
            tests.append(_test(name, value, now))
    return tuple(tests)


def _listed(name: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise LanguageError(name, f"The {name} operator takes a list.")
    return value


def _test(name: str, value: object, now: float) -> Test:
    if name in _NAMES:
        return HasName(_NAMES[name], str(_exact(name, value)).casefold())
    if name in _IDS:
        return HasId(_IDS[name], int(_number(name, _exact(name, value))))
    if name in {"id", "score"}:
        return Compared(name, _bounds(name, value, _number))
    if name in DATES:
        return Compared(name, _bounds(name, value, lambda field, moment: _moment(field, moment, now)))
    field = _ALIASES.get(name, name)
    if field not in TEXTS:
        raise LanguageError(name, f"The field {name} is unknown.")
    if isinstance(value, dict) and list(value) == ["+contains"]:
        return Written(field, str(value["+contains"]).casefold(), part=True)
    return Written(field, str(_exact(name, value)).casefold(), part=field == "mentions")


def _exact(name: str, value: object) -> Any:  # noqa: ANN401  whatever JSON holds
    """A plain value, or the one of an ``is``."""
    if not isinstance(value, (dict, list)):
        return value
    if isinstance(value, dict) and list(value) == ["is"]:
        return _exact(name, value["is"])
    raise LanguageError(name, f"The operator for {name} is unknown.")


def _bounds(name: str, value: object, read: Callable[[str, object], float]) -> tuple[tuple[str, float], ...]:
    given = value if isinstance(value, dict) else {"is": value}
    for operator_name in given:
        if operator_name not in COMPARISONS:
            raise LanguageError(name, f"The operator {operator_name} is unknown.")
    return tuple(sorted((operator_name, read(name, bound)) for operator_name, bound in given.items()))


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise LanguageError(name, f"The {name} must be a number.")
    try:
        return float(value)
    except ValueError:
        raise LanguageError(name, f"The {name} must be a number.") from None


def _moment(name: str, value: object, now: float) -> float:
    """A date, ``NOW``, or a time before or after it such as ``NOW-7DAYS``, in milliseconds since 1970."""
    if isinstance(value, str) and (relative := _NOW.fullmatch(value.strip())):
        sign, count, unit = relative.groups()
        if sign is None:
            return int(now) * 1000
        if unit.upper() in _UNITS:
            return (int(now) + int(f"{sign}{count}") * _UNITS[unit.upper()]) * 1000
    milliseconds = as_milliseconds(value)
    if milliseconds == ABSENT:
        raise LanguageError(name, f"The {name} is not a valid date.")
    return milliseconds
