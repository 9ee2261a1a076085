"""Rows of ThreatQ, in whatever view they come, as indicators. Pure; never raises for a row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqmisp.model import Indicator, Source
from tqmisp.pipeline.protocols import Refusal

TLP_BY_ID = {1: "RED", 2: "AMBER", 3: "GREEN", 4: "CLEAR"}
"""Ids of the four that ThreatQ ships; the id of AMBER+STRICT is not known, its name is used."""
_TLP_NAMES = {"WHITE": "CLEAR", "CLEAR": "CLEAR", "GREEN": "GREEN", "AMBER": "AMBER", "RED": "RED"}
_TLP_NAMES |= {"AMBER+STRICT": "AMBER+STRICT", "AMBER STRICT": "AMBER+STRICT"}
MALWARE_ATTRIBUTES = frozenset({"malware family", "malware", "malware name"})
"""Names of attributes that hold the name of a malware family."""
SAMPLE_CHARACTERS = 1_000
MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Lookups:
    """Names of types and statuses by their ids, which differ between instances."""

    types: Mapping[int, str] = field(default_factory=dict)
    statuses: Mapping[int, str] = field(default_factory=dict)


def to_indicators(rows: Sequence[Any], lookups: Lookups) -> tuple[list[Indicator], list[Refusal]]:
    """Turn rows into indicators, and those that lack what is needed into refusals."""
    indicators: list[Indicator] = []
    refusals: list[Refusal] = []
    for row in rows:
        read = to_indicator(row, lookups)
        if isinstance(read, Indicator):
            indicators.append(read)
        else:
            refusals.append(read)
    return indicators, refusals


def to_indicator(row: Any, lookups: Lookups) -> Indicator | Refusal:  # noqa: ANN401  whatever JSON holds
    """One row as an indicator, or why it is none."""
    if not isinstance(row, dict):
        return Refusal(-1, "rejected", "malformed_row", "ThreatQ sent a row that is no object.", "", str(row)[:200])
    get = row.get
    key = get("id")
    if type(key) is not int:
        key = _whole(key)
    value = get("value")
    if key is None or not 0 <= key <= MAX_ID:
        return _refused(-1, row, "missing_id", "The row has no id.")
    if not isinstance(value, str):
        if value is None or isinstance(value, (dict, list, bool)):
            return _refused(key, row, "missing_value", "The row has no value.")
        value = str(value)
    kind = _name(get("type"), get("type_id"), lookups.types)
    if not kind:
        return _refused(key, row, "missing_type", "The row has no type, or one that ThreatQ does not list.")
    attributes = _pairs(get("attributes"))
    return Indicator(
        key,
        kind,
        value,
        _name(get("status"), get("status_id"), lookups.statuses) or "",
        _score(get("score")),
        _text(get("description")) or "",
        _text(get("created_at")),
        _text(get("published_at")),
        _text(get("updated_at")),
        _text(get("touched_at")),
        _text(get("expires_at")) or _text(get("expired_at")),
        _sources(get("sources")),
        _names(get("tags")),
        _names(get("adversaries")),
        _malware(get("malware"), attributes),
        attributes,
    )


def _refused(key: int, row: dict[str, Any], code: str, reason: str) -> Refusal:
    label = _name(row.get("type"), None, {}) or ""
    return Refusal(key, "rejected", code, reason, label[:100], str(row.get("value", ""))[:SAMPLE_CHARACTERS])


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return None


def _name(given: object, number: object, known: Mapping[int, str]) -> str | None:
    """The name of a type or status: plain, in an object, or by its id."""
    if isinstance(given, str) and given:
        return given
    if isinstance(given, dict):
        name = given.get("name")
        if isinstance(name, str) and name:
            return name
        number = given.get("id", number)
    identity = number if type(number) is int else _whole(number)
    return known.get(identity) if identity is not None else None


def _score(given: object) -> float:
    """The effective score: a manual one wins; missing means 0; outside 0..10 is clamped."""
    if isinstance(given, dict):
        manual = given.get("manual_score")
        given = given.get("generated_score") if manual is None else manual
    if isinstance(given, (int, float)):
        number = float(given)
    elif isinstance(given, str):
        try:
            number = float(given)
        except ValueError:
            return 0.0
    else:
        return 0.0
    return 0.0 if math.isnan(number) else min(max(number, 0.0), 10.0)


def _names(given: object) -> tuple[str, ...]:
    """Names in a list of texts, or of objects that have a name."""
    if not isinstance(given, list) or not given:
        return ()
    if isinstance(given[0], str):
        return tuple([each for each in given if isinstance(each, str) and each])
    found = [each.get("name") or each.get("value") for each in given if isinstance(each, dict)]
    return tuple([name for name in found if isinstance(name, str) and name])


def _sources(given: object) -> tuple[Source, ...]:
    if not isinstance(given, list):
        return ()
    sources = []
    for each in given:
        if not isinstance(each, dict):
            continue
        name = each.get("name")
        tlp = each.get("tlp_name")
        known = _TLP_NAMES.get(tlp.upper().removeprefix("TLP:").strip()) if isinstance(tlp, str) else None
        if known is None:
            number = each.get("tlp_id")
            known = TLP_BY_ID.get(number) if isinstance(number, int) else None
        sources.append(Source(name if isinstance(name, str) else "", known))
    return tuple(sources)


def _pairs(given: object) -> tuple[tuple[str, str], ...]:
    """Attributes that have both a name and a value; ThreatQ holds some that do not."""
    if not isinstance(given, list) or not given:
        return ()
    pairs = []
    for each in given:
        if isinstance(each, dict):
            name, value = each.get("name"), each.get("value")
            if isinstance(name, str) and name and value is not None and value != "":
                pairs.append((name, value if isinstance(value, str) else str(value)))
    return tuple(pairs)


def _malware(given: object, attributes: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Malware families, related objects first, each once."""
    names = [*_names(given)]
    if attributes:
        names += [value for name, value in attributes if name.lower() in MALWARE_ATTRIBUTES]
    return tuple(dict.fromkeys(names)) if names else ()
