"""How an indicator looks: in the Threat Library, whose view queries give, and in the database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from tqmisp.simulators.threatq import codec
from tqmisp.simulators.threatq.catalog import Row
from tqmisp.simulators.threatq.library import Library

View = Callable[[Library, int], bytes]
"""Gives the row at a place as JSON."""
CONTEXT = frozenset({"sources", "attributes"})
"""What the default answer leaves out since July 2026."""
_ALWAYS = (
    "id",
    "type_id",
    "status_id",
    "class",
    "hash",
    "value",
    "description",
    "last_detected_at",
    "expires_at",
    "expired_at",
    "expires_calculated_at",
    "created_at",
    "updated_at",
    "touched_at",
)
"""What the database view gives of every indicator, whatever is asked for."""
_MADE = "2021-03-02 08:00:00"
"""When types and statuses were made."""


def library_view(fields: Collection[str], *, answer_of_2026: bool) -> View:
    """How rows look in the answer to a query with such a list of fields, or with none.

    With names in the list, type and status come as plain names; ``*`` stands for the default answer.
    """
    absent = CONTEXT - set(fields) if answer_of_2026 else frozenset[str]()
    if "*" in fields or not fields:
        return _without(absent) if absent else Library.raw
    names = list(dict.fromkeys(["id", *(name.partition(".")[0] for name in fields)]))

    def cut(library: Library, place: int) -> bytes:
        row = library.row(place)
        shown = {name: row[name] for name in names if name in row}
        for name in ("type", "status"):
            if isinstance(given := shown.get(name), dict):
                shown[name] = given["name"]
        return codec.dumps(shown)

    return cut


def _without(absent: Collection[str]) -> View:
    def cut(library: Library, place: int) -> bytes:
        return codec.dumps({name: value for name, value in library.row(place).items() if name not in absent})

    return cut


def database_view(row: Row, wanted: Iterable[str]) -> Row:
    """A row as ``GET /api/indicators`` gives it: relations only where ``with`` names them, the score as an object."""
    shown = {name: row.get(name) for name in _ALWAYS}
    for name in wanted:
        relation = _RELATIONS.get(name)
        if relation is not None:
            shown[name] = relation(row)
    return shown


def type_row(identity: int, name: str, kind: str) -> Row:
    """A type as ``/api/indicator/types`` lists it."""
    made = {"created_at": _MADE, "updated_at": _MADE}
    return {"id": identity, "name": name, "class": kind, "score": None, "wildcard_matching": "Y"} | made


def status_row(identity: int, name: str, description: str) -> Row:
    """A status as ``/api/indicator/statuses`` lists it."""
    flags = {"user_editable": "N", "visible": "Y", "include_in_export": "Y"}
    protected = "Y" if name in {"Active", "Expired", "Whitelisted"} else "N"
    made = {"created_at": _MADE, "updated_at": _MADE}
    return {"id": identity, "name": name, "description": description} | flags | {"protected": protected} | made


def _type(row: Row) -> Row:
    kind = row.get("type") or {}
    return type_row(kind.get("id", 0), kind.get("name", ""), kind.get("class", "host"))


def _status(row: Row) -> Row:
    status = row.get("status") or {}
    return status_row(status.get("id", 0), status.get("name", ""), status.get("description", ""))


def _score(row: Row) -> Row:
    dates = {"created_at": row.get("created_at"), "updated_at": row.get("created_at")}
    shown = {"id": row["id"] + 38_000, "indicator_id": row["id"], "generated_score": f"{row.get('score') or 0:.2f}"}
    return shown | {"manual_score": None, "score_config_hash": "c0ffee00c0ffee00c0ffee00c0ffee00"} | dates


def _sources(row: Row) -> list[Row]:
    return [
        {
            "id": source.get("source_id"),
            "type": source.get("source_type"),
            "reference_id": source.get("reference_id"),
            "name": source.get("name"),
            "tlp_id": source.get("tlp_id"),
            **{name: source.get(name) for name in ("created_at", "updated_at", "published_at")},
            "pivot": {
                "indicator_id": row["id"],
                "source_id": source.get("source_id"),
                "id": source.get("id"),
                "creator_source_id": source.get("creator_source_id"),
            },
        }
        for source in row.get("sources") or []
    ]


def _attributes(row: Row) -> list[Row]:
    return [
        attribute | {"sources": [], "attribute": {"id": attribute.get("attribute_id"), "name": attribute.get("name")}}
        for attribute in row.get("attributes") or []
    ]


def _adversaries(row: Row) -> list[Row]:
    return [
        adversary | {"pivot": {"id": adversary["id"], "indicator_id": row["id"], "adversary_id": adversary["id"]}}
        for adversary in row.get("adversaries") or []
    ]


def _tags(row: Row) -> list[Row]:
    return [{"id": number, "name": tag} for number, tag in enumerate(row.get("tags") or [], 1)]


_RELATIONS: dict[str, Callable[[Row], Any]] = {
    "type": _type,
    "status": _status,
    "score": _score,
    "sources": _sources,
    "attributes": _attributes,
    "adversaries": _adversaries,
    "tags": _tags,
    "comments": lambda _: [],
}
"""The relations that ``with`` can name; others are ignored."""
