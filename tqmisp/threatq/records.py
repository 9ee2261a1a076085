"""Rows of ThreatQ, in whatever view they come, as indicators. Pure but for a warning; never raises for a row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat
from typing import Any

from tqmisp.log import get_logger
from tqmisp.model import Indicator, Source
from tqmisp.pipeline.protocols import Refusal
from tqmisp.threatq.rows import Named, Row, as_row
from tqmisp.tlp import STRICTNESS, tlp_named

log = get_logger(__name__)

TLP_BY_ID = {1: "RED", 2: "AMBER", 3: "GREEN", 4: "CLEAR"}
"""Ids of the four that ThreatQ ships; the id of AMBER+STRICT is not known, its name is used where there is one."""
MALWARE_ATTRIBUTES = frozenset({"malware family", "malware", "malware name"})
"""Names of attributes that hold the name of a malware family."""
SAMPLE_CHARACTERS = 1_000
MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Lookups:
    """Names of types and statuses by their ids, which differ between instances."""

    types: Mapping[int, str] = field(default_factory=dict)
    statuses: Mapping[int, str] = field(default_factory=dict)


def to_indicators(
    rows: Sequence[Any], lookups: Lookups, stamps: Sequence[int] = ()
) -> tuple[list[Indicator], list[Refusal]]:
    """Turn rows into indicators, and those that lack what is needed into refusals.

    Args:
        rows: of whatever view.
        lookups: names behind ids.
        stamps: those of the rows, where they have any.
    """
    indicators: list[Indicator] = []
    refusals: list[Refusal] = []
    for row, stamp in zip(rows, stamps or repeat(0), strict=False):
        read = to_indicator(row, lookups, stamp)
        if isinstance(read, Indicator):
            indicators.append(read)
        else:
            refusals.append(read)
    return indicators, refusals


def to_indicator(given: Any, lookups: Lookups, stamp: int = 0) -> Indicator | Refusal:  # noqa: ANN401  whatever JSON holds
    """One row as an indicator, or why it is none."""
    row = as_row(given)
    if row is None:
        shown = (_plain(given) or "")[:SAMPLE_CHARACTERS]
        return Refusal(-1, "rejected", "malformed_row", "ThreatQ sent a row that is no object.", "", shown)
    key = whole(row.id)
    if key is None or not 0 <= key <= MAX_ID:
        return _refused(-1, row, "missing_id", "The row has no id.")
    value = row.value
    if type(value) is not str:
        value = None if isinstance(value, bool) else _plain(value)
    if not value:
        return _refused(key, row, "missing_value", "The row has no value.")
    kind = type_of(row, lookups)
    if not kind:
        return _refused(key, row, "missing_type", "The row has no type, or one that ThreatQ does not list.")
    attributes = _pairs(row.attributes) if row.attributes else ()
    return Indicator(
        key,
        kind,
        value,
        _name(row.status, row.status_id, lookups.statuses) or "",
        _score(row.score),
        row.description or "",
        row.created_at or None,
        row.published_at or None,
        row.updated_at or None,
        row.touched_at or None,
        row.expires_at or row.expired_at or None,
        _sources(row.sources) if row.sources else (),
        _names(row.tags) if row.tags else (),
        _names(row.adversaries) if row.adversaries else (),
        _malware(row.malware, attributes),
        attributes,
        stamp,
    )


def type_of(row: Row, lookups: Lookups) -> str:
    """The name of the type of a row; empty where it has none that is known."""
    return _name(row.type, row.type_id, lookups.types) or ""


def whole(value: object) -> int | None:
    """A whole number that may be written as text."""
    if type(value) is int:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return None


def spelled(name: str) -> str:
    """A name with lone surrogates spelled out, since neither the journal nor the JSON of a receipt can hold them."""
    return name if name.isascii() else name.encode(errors="backslashreplace").decode()


def _refused(key: int, row: Row, code: str, reason: str) -> Refusal:
    label = _name(row.type, None, {}) or ""
    shown = _plain(row.value) or ""
    return Refusal(key, "rejected", code, reason, label[:100], shown[:SAMPLE_CHARACTERS])


def _plain(value: object) -> str | None:
    """A text or a number as text; None for what is empty or holds further values, which may be nested without end."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) or (isinstance(value, int) and -MAX_ID <= value <= MAX_ID):
        return str(value)  # larger ones than ThreatQ has may be too long for text
    return None


def _name(given: object, number: object, known: Mapping[int, str]) -> str | None:
    """The name of a type or status: plain, in an object, or by its id."""
    if type(given) is str and given:
        return spelled(given)
    if isinstance(given, dict):
        name = given.get("name")
        if type(name) is str and name:
            return spelled(name)
        number = given.get("id", number)
    identity = whole(number)
    return known.get(identity) if identity is not None else None


def _score(given: object) -> float:
    """The effective score: a manual one wins; missing means 0; outside 0..10 is clamped."""
    if (type(given) is int or type(given) is float) and 0 <= given <= 10:  # as most are
        return float(given)
    if isinstance(given, dict):
        manual = given.get("manual_score")
        given = given.get("generated_score") if manual is None else manual
    if not isinstance(given, (int, float, str)):
        return 0.0
    try:
        number = float(given)
    except ValueError:
        return 0.0
    except OverflowError:  # a whole number of hundreds of digits
        return 10.0 if isinstance(given, int) and given > 0 else 0.0
    return 0.0 if math.isnan(number) else min(max(number, 0.0), 10.0)


def _names(given: object) -> tuple[str, ...]:
    """Names in a list of texts, or of objects that have a name."""
    if not isinstance(given, list):
        return ()
    found = []
    for each in given:
        name = (each.get("name") or each.get("value")) if isinstance(each, dict) else each
        if type(name) is str and name:
            found.append(name)
    return tuple(found)


def _sources(given: list[Named]) -> tuple[Source, ...]:
    sources = []
    for each in given:
        name, tlp, number = each.name, each.tlp_name, each.tlp_id
        source = _source(
            name if type(name) is str else "",
            tlp if type(tlp) is str else "",
            number if type(number) is int else whole(number),
        )
        if source is not None:
            sources.append(source)
    return tuple(sources)


@lru_cache(maxsize=256)
def _source(name: str, tlp: str, number: int | None) -> Source | None:
    """One of the few sources that an instance has; None where nothing is known of it."""
    known = tlp_named(tlp)
    if known is None and number is not None:
        known = TLP_BY_ID.get(number)
    if known is None and (tlp.strip() or number is not None):
        known = _unknown(tlp.strip() or f"id {number}")
    return Source(name, known) if name or known else None


@lru_cache(maxsize=256)
def _unknown(tlp: str) -> str:
    """What a TLP counts as that is not known: the strictest, since any other might let a secret out."""
    log.warning(
        "a source has a TLP that is not known; it counts as the strictest", tlp=tlp[:100], counts_as=STRICTNESS[0]
    )
    return STRICTNESS[0]


def _pairs(given: list[Named]) -> tuple[tuple[str, str], ...]:
    """Attributes that have both a name and a value; ThreatQ holds some that do not."""
    pairs = []
    for each in given:
        name, value = each.name, each.value
        if type(value) is not str:
            value = _plain(value)
        if type(name) is str and name and value:
            pairs.append((name, value))
    return tuple(pairs)


def _malware(given: object, attributes: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Malware families, related objects first, each once."""
    names = _names(given) if given else ()
    if attributes:
        names += tuple([value for name, value in attributes if name.lower() in MALWARE_ATTRIBUTES])
    return tuple(dict.fromkeys(names)) if len(names) > 1 else names
