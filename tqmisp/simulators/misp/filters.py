"""What ``restSearch`` makes of the filters in its body.

Read in MISP 2.5.1: ``AppModel::convert_filters``, ``generic_add_filter``, ``resolveTimeDelta``. Filters that are not
known are ignored (recording 265).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tqmisp.simulators.misp.collation import fold
from tqmisp.simulators.misp.php import empty, moment, text, whole

Filters = dict[str, Any]
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which texts a filter lets through."""

    any_of: frozenset[str]
    """Folded; one of these."""
    patterns: tuple[re.Pattern[str], ...]
    """Or like one of these."""
    none_of: frozenset[str]
    """And none of these."""

    def takes(self, *values: str) -> bool:
        """Whether one of the parts of something is wanted, and none is unwanted."""
        folded = [fold(value) for value in values]
        if self.none_of and not self.none_of.isdisjoint(folded):
            return False
        if not self.any_of and not self.patterns:  # only something unwanted was named
            return True
        return not self.any_of.isdisjoint(folded) or any(
            pattern.fullmatch(value) for pattern in self.patterns for value in folded
        )

    @property
    def exact(self) -> bool:
        """Whether the filter only names texts, so that an index answers it."""
        return bool(self.any_of) and not self.patterns and not self.none_of


def wanted(sent: object) -> Wanted:
    """A filter that is one text, ``a&&!b``, a list of these, or ``{"OR": [], "AND": [], "NOT": []}``."""
    positive: list[str] = []
    negative: list[str] = []
    if isinstance(sent, dict):
        for name, entries in sent.items():
            chosen = negative if name == "NOT" else positive
            chosen.extend(text(entry) for entry in (entries if isinstance(entries, list) else [entries]))
    else:
        entries = sent if isinstance(sent, list) else text(sent).split("&&")
        for entry in map(text, entries):
            (negative if entry.startswith("!") else positive).append(entry.removeprefix("!"))
    return Wanted(
        any_of=frozenset(fold(entry) for entry in positive if not _is_pattern(entry)),
        patterns=tuple(_like(entry) for entry in positive if _is_pattern(entry)),
        none_of=frozenset(map(fold, negative)),
    )


def _is_pattern(entry: str) -> bool:
    return entry.startswith("%") or entry.endswith("%")


def _like(entry: str) -> re.Pattern[str]:
    """SQL's ``LIKE``."""
    parts = (
        ".*" if part == "%" else "." if part == "_" else re.escape(part) for part in re.split("([%_])", fold(entry))
    )
    return re.compile("".join(parts), re.DOTALL)


def since(sent: object, now: int) -> tuple[int, int | None]:
    """From when, and until when, a time filter asks: ``5m``, seconds, a date, or two of these."""
    if isinstance(sent, list) and len(sent) == 2:
        first, second = sorted(_instant(one, now) for one in sent)
        return first, second
    return _instant(sent, now), None


def _instant(sent: object, now: int) -> int:
    value = text(sent)
    if value.isdecimal():
        return whole(value)
    unit = _UNITS.get(value[-1:].lower())
    if unit is not None:
        return now - whole(value[:-1]) * unit if value[:-1].replace(".", "", 1).isdecimal() else now + 1
    found = moment(value)
    return now + 1 if found is None else int(found.timestamp())


def within(stamp: int, span: tuple[int, int | None]) -> bool:
    """Whether a time stamp is inside such a span."""
    return stamp >= span[0] and (span[1] is None or stamp <= span[1])


def flags(sent: object) -> set[bool]:
    """The flags that a filter such as ``deleted`` or ``to_ids`` lets through: ``1``, ``[0, 1]``, ``"only"``."""
    entries = sent if isinstance(sent, list) else [sent]
    return {entry == "only" or not empty(entry) for entry in entries}


def page_of(found: list[Any], filters: Filters) -> list[Any]:
    """The page that ``limit`` and ``page`` ask for; all without a limit."""
    limit = whole(filters.get("limit"))
    if limit <= 0:
        return found
    start = limit * (max(whole(filters.get("page"), 1), 1) - 1)
    return found[start : start + limit]


def wants(values: Callable[[Any], tuple[str, ...]], want: Wanted) -> Callable[[Any], bool]:
    """A test of something for its texts."""
    return lambda item: want.takes(*values(item))


def is_one_of(flag: Callable[[Any], bool], allowed: set[bool]) -> Callable[[Any], bool]:
    """A test of something for a flag."""
    return lambda item: flag(item) in allowed


def in_span(stamp: Callable[[Any], int], span: tuple[int, int | None]) -> Callable[[Any], bool]:
    """A test of something for a time."""
    return lambda item: within(stamp(item), span)
