"""What a selection looks like in ThreatQ's query language, and the same once more for rows that come back.

Only operators that are seen in published clients are sent. What those cannot say, and what a server may ignore, is
checked on each row, so that nothing slips through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
    types: Iterable[str] = (),
    saved: Mapping[str, Any] | None = None,
    fields: Sequence[str] | None = FIELDS,
) -> dict[str, Any]:
    """The body of ``POST /api/indicators/query``.

    Args:
        selection: what to ask for.
        window: touched after the first moment and before the second, as ThreatQ writes dates; both are left out of
            the window.
        types: the types to ask for, where the selection names those that it does not want.
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
    wanted = tuple(selection.types) or tuple(types)
    if wanted:
        tests.append(_any("type_name", wanted))
    after, before = window
    if after is not None or before is not None:
        bounds = {"+gt": after, "+lt": before}
        tests.append({"touched_at": {name: moment for name, moment in bounds.items() if moment is not None}})
    asked: dict[str, Any] = {
        "criteria": dict(saved["criteria"]) if saved and saved.get("criteria") else {},
        "filters": {"+and": tests} if tests else {},
    }
    if fields is not None:
        asked["fields"] = list(fields)
    return asked


def _any(name: str, values: Sequence[str]) -> Test:
    tests = [{name: value} for value in values]
    return tests[0] if len(tests) == 1 else {"+or": tests}


class RowFilter:
    """The selection, applied to the rows that come back."""

    def __init__(self, selection: Selection) -> None:
        self._statuses = frozenset(map(str.casefold, selection.statuses))
        self._score = selection.score_threshold
        self._types = frozenset(map(str.casefold, selection.types))
        self._not_types = frozenset(map(str.casefold, selection.exclude_types))
        self._tags = frozenset(map(str.casefold, selection.tags))
        self._sources = frozenset(map(str.casefold, selection.sources))
        self._only_status_and_score = not (self._types or self._not_types or self._tags or self._sources)

    def apply(self, indicators: list[Indicator]) -> tuple[list[Indicator], list[Refusal]]:
        """Part indicators that are selected from those that are not."""
        kept, refused = [], []
        for indicator in indicators:
            code = self._objection(indicator)
            if code is None:
                kept.append(indicator)
            else:
                refused.append(Refusal(indicator.id, "filtered", code, _REASONS[code], indicator.type))
        return kept, refused

    def _objection(self, indicator: Indicator) -> str | None:
        if self._statuses and indicator.status.casefold() not in self._statuses:
            return "status_not_selected"
        if indicator.score < self._score:
            return "score_below_threshold"
        if self._only_status_and_score:
            return None
        kind = indicator.type.casefold()
        if (self._types and kind not in self._types) or kind in self._not_types:
            return "type_not_selected"
        if self._tags and self._tags.isdisjoint(map(str.casefold, indicator.tags)):
            return "tag_not_selected"
        if self._sources and self._sources.isdisjoint(source.name.casefold() for source in indicator.sources):
            return "source_not_selected"
        return None


_REASONS = {
    "status_not_selected": "Its status is not among those selected.",
    "score_below_threshold": "Its score is below the threshold.",
    "type_not_selected": "Its type is not selected.",
    "tag_not_selected": "It has none of the tags selected.",
    "source_not_selected": "None of its sources is selected.",
}
