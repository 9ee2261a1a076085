"""What a selection looks like in ThreatQ's query language, and the same once more for rows that come back.

Only operators that are seen in published clients are sent. What those cannot say, and what a server may ignore, is
checked on each row, so that nothing slips through.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tqmisp.errors import ConfigError
from tqmisp.model import Indicator
from tqmisp.pipeline.protocols import Refusal
from tqmisp.threatq.options import Selection

FIELDS = (
    "id",
    "value",
    "type",
    "status",
    "score",
    "description",
    "created_at",
    "published_at",
    "updated_at",
    "touched_at",
    "expires_at",
    "tags",
    "adversaries",
    "sources",
    "attributes",
    "attributes.name",
    "attributes.value",
)
"""What we read of a row. Since 2026 sources and attributes come only when they are asked for."""
FIELD_CHOICES: tuple[Sequence[str] | None, ...] = (
    FIELDS,
    ("*", "sources", "attributes", "attributes.name", "attributes.value"),
    None,
)
"""What to ask for, and what to fall back on where a server refuses it."""

Test = dict[str, Any]


def body(
    selection: Selection,
    *,
    window: tuple[str | None, str | None] = (None, None),
    saved: Mapping[str, Any] | None = None,
    fields: Sequence[str] | None = FIELDS,
) -> dict[str, Any]:
    """The body of ``POST /api/indicators/query``.

    Args:
        selection: what to ask for. Tags, sources and types to leave out are not in it, since no operator for them is
            known; its bounds in time are in the window.
        window: touched after the first moment and before the second, as ThreatQ writes dates; both are left out of
            the window.
        saved: criteria and filters of a data collection, which all else narrows.
        fields: what to give of each row.
    """
    tests: list[Test] = []
    if saved and saved.get("filters"):
        tests.append(dict(saved["filters"]))
    if selection.statuses:
        tests.append(_any("status_name", selection.statuses))
    if selection.score_threshold > 0:
        score = selection.score_threshold
        tests.append({"score": {"+gte": int(score) if score == int(score) else score}})
    if selection.types:
        tests.append(_any("type_name", selection.types))
    after, before = window
    if after is not None or before is not None:
        bounds = {"+gt": after, "+lt": before}
        tests.append({"touched_at": {name: moment for name, moment in bounds.items() if moment is not None}})
    asked: dict[str, Any] = {
        "criteria": dict(saved["criteria"]) if saved and saved.get("criteria") else {},
        "filters": {"+and": tests} if tests else {},
    }
    return asked | asking_for(fields)


def asking_for(fields: Sequence[str] | None) -> dict[str, Any]:
    """The part of a body that names the fields to give of each row."""
    return {} if fields is None else {"fields": list(fields)}


def in_names_of(selection: Selection, types: Collection[str], statuses: Collection[str]) -> Selection:
    """The selection with the names that this ThreatQ uses, and with the types that it leaves out as those that remain.

    Args:
        selection: as the operator wrote it; upper and lower case do not matter.
        types: all that the instance has; empty where they cannot be seen, which changes nothing.
        statuses: likewise.

    Raises:
        ConfigError: the instance has no type or status of a name; a mistyped one would select nothing, or too much.
    """
    wanted = _known("types", selection.types, types)
    unwanted = frozenset(_known("exclude_types", selection.exclude_types, types))
    if unwanted and types:
        wanted = tuple([name for name in wanted or sorted(types) if name not in unwanted])
        if not wanted:
            raise ConfigError("[selection] exclude_types: no type is left that could be exported")
    return replace(selection, types=wanted, statuses=_known("statuses", selection.statuses, statuses))


def widened(selection: Selection) -> Selection:
    """What to ask for where also those are wanted that are not selected any more; rows tell the difference.

    A data collection cannot be told from a row, so that it stays.
    """
    if selection.collection is not None:
        return selection
    return replace(selection, statuses=(), score_threshold=0.0, types=(), exclude_types=())


def _known(key: str, names: Sequence[str], all_names: Collection[str]) -> tuple[str, ...]:
    if not all_names:
        return tuple(names)
    by_fold = {name.casefold(): name for name in all_names}
    for name in names:
        if name.casefold() not in by_fold:
            raise ConfigError(
                f"[selection] {key}: this ThreatQ has no {name!r}; it has: {', '.join(sorted(all_names))}"
            )
    return tuple(dict.fromkeys(by_fold[name.casefold()] for name in names))


def _any(name: str, values: Sequence[str]) -> Test:
    tests = [{name: value} for value in values]
    return tests[0] if len(tests) == 1 else {"+or": tests}


class RowFilter:
    """The selection, applied to the rows that come back.

    Args:
        selection: as the operator wrote it.
        period: touched at or after the first moment and before the second, as ThreatQ writes dates.
    """

    def __init__(self, selection: Selection, period: tuple[str | None, str | None] = (None, None)) -> None:
        self._statuses = frozenset(map(str.casefold, selection.statuses))
        self._score = selection.score_threshold
        self._types = frozenset(map(str.casefold, selection.types))
        self._not_types = frozenset(map(str.casefold, selection.exclude_types))
        self._tags = frozenset(map(str.casefold, selection.tags))
        self._sources = frozenset(map(str.casefold, selection.sources))
        self._since, self._until = period
        self._timeless = period == (None, None)
        self._only_status_and_score = not (self._types or self._not_types or self._tags or self._sources)

    def apply(self, indicators: list[Indicator]) -> tuple[list[Indicator], list[Refusal]]:
        """Part indicators that are selected from those that are not."""
        kept, refused = [], []
        for indicator in indicators:
            code = self._objection(indicator)
            if code is None:
                kept.append(indicator)
            else:
                status = indicator.status if code == "status_not_selected" else ""
                refused.append(Refusal(indicator.id, "filtered", code, _REASONS[code], indicator.type, status=status))
        return kept, refused

    def _objection(self, indicator: Indicator) -> str | None:
        if self._statuses and indicator.status.casefold() not in self._statuses:
            return "status_not_selected"
        if indicator.score < self._score:
            return "score_below_threshold"
        if not self.in_period(indicator.touched_at):
            return "time_not_selected"
        if self._only_status_and_score:
            return None
        kind = indicator.type.casefold()
        if kind in self._not_types:
            return "type_excluded"
        if self._types and kind not in self._types:
            return "type_not_selected"
        if self._tags and self._tags.isdisjoint(map(str.casefold, indicator.tags)):
            return "tag_not_selected"
        if self._sources and self._sources.isdisjoint(source.name.casefold() for source in indicator.sources):
            return "source_not_selected"
        return None

    def in_period(self, touched: str | None) -> bool:
        """Whether a row that was touched then is within the time selected."""
        if self._timeless:
            return True
        if touched is None:
            return False
        if touched[10:11] == "T":
            touched = touched.replace("T", " ", 1)
        return (self._since is None or touched >= self._since) and (self._until is None or touched < self._until)


_REASONS = {
    "status_not_selected": "Its status is not among those selected.",
    "score_below_threshold": "Its score is below the threshold.",
    "time_not_selected": "It was touched outside the time selected.",
    "type_excluded": "Its type is among those to leave out.",
    "type_not_selected": "Its type is not selected.",
    "tag_not_selected": "It has none of the tags selected.",
    "source_not_selected": "None of its sources is selected.",
}
