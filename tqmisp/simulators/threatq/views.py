"""The two views of an indicator: of the Threat Library, and of the database."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from tqmisp.simulators.threatq.library import Row

CONTEXT = frozenset({"sources", "attributes"})
"""What the default answer leaves out since July 2026."""


def library_view(fields: object, *, answer_of_2026: bool) -> Callable[[Row], Row]:
    """How rows look in the answer to a query with such a list of fields."""
    names = [str(name) for name in fields] if isinstance(fields, list) else []
    if not names:
        return _without(CONTEXT) if answer_of_2026 else _whole
    if "*" in names:
        absent = CONTEXT - set(names) if answer_of_2026 else frozenset[str]()
        return _without(absent)
    plain = [name for name in dict.fromkeys(names) if "." not in name]
    if "id" not in plain:
        plain.insert(0, "id")

    def cut(row: Row) -> Row:
        shown = {name: row[name] for name in plain if name in row}
        for name in ("type", "status"):
            if isinstance(given := shown.get(name), dict):
                shown[name] = given["name"]
        return shown

    return cut


def _whole(row: Row) -> Row:
    return row


def _without(absent: Collection[str]) -> Callable[[Row], Row]:
    return lambda row: {name: value for name, value in row.items() if name not in absent}


def database_view(row: Row, wanted: Collection[str]) -> Row:
    """A row as ``GET /api/indicators`` gives it: relations only where they are asked for, the score as an object."""
    relations = {"type", "status", "score", "sources", "attributes", "adversaries", "tags"}
    shown: dict[str, Any] = {name: value for name, value in row.items() if name not in relations}
    shown.setdefault("description", None)
    for name in relations & set(wanted):
        value = row.get(name)
        if name == "score":
            value = {"indicator_id": row["id"], "generated_score": f"{value or 0:.2f}", "manual_score": None}
        elif name == "tags":
            value = [{"id": number, "name": tag} for number, tag in enumerate(value or [], 1)]
        elif name == "sources":
            value = [{inner: each for inner, each in source.items() if inner != "tlp_name"} for source in value or []]
        shown[name] = value
    return shown
