"""Three-way comparison: what we last sent, what MISP holds, and what ThreatQ says now. Pure.

A field that MISP holds as we last sent it is ours to change; one that differs was changed by people and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from msgspec.structs import replace

from tqmisp.misp import marks
from tqmisp.misp.marks import Marks
from tqmisp.misp.reading import Whole
from tqmisp.model import Planned

FIELDS = ("to_ids", "category", "comment", "first_seen", "last_seen")
DATES = ("first_seen", "last_seen")
DELETED = "deleted"


class Merged(NamedTuple):
    """What is left to send after the comparison."""

    item: Planned
    """With the body to send, the timestamp that MISP will take for newer, and marks of how the attribute will be."""
    kept: tuple[str, ...]
    """Names of fields that stay as people made them."""
    changes: bool
    """Whether anything has to be sent at all."""


def merge(item: Planned, held: Whole) -> Merged | None:
    """Reduce an update to what is ours to change.

    Args:
        item: with the whole attribute as ThreatQ has it now, or ``to_ids`` and ``deleted`` alone to withdraw one, and
            with the marks of what we have sent before; without those, every field is ours.
        held: the attribute in MISP.

    Returns:
        None where people have deleted the attribute.
    """
    bases = marks.unpacked(item.base)
    if held.deleted and not any(base.deleted for base in bases):
        return None
    wanted: dict[str, Any] = orjson.loads(item.body)
    if "comment" in wanted:  # the whole attribute: a date that it lacks is to be cleared, which "" does and null not
        wanted = {"first_seen": "", "last_seen": ""} | wanted
    here = held.marks()
    fields, kept, result = _fields(wanted, here, bases)
    first, last = (fields.get(name, getattr(held, name)) for name in DATES)
    if first and last and last < first:  # MISP would refuse the whole attribute
        kept += [name for name in DATES if fields.pop(name, None) is not None]
        result = result._replace(first_seen=here.first_seen, last_seen=here.last_seen)
    tags, kept_tags, numbers = _tags(wanted, held.tags, bases)
    kept += kept_tags
    withdraw = bool(wanted.get(DELETED))
    if withdraw and not here.deleted and _touched(here, bases):
        withdraw = False  # people have worked on it: no longer for detection, but still there
        kept.append(DELETED)
    if withdraw != here.deleted:
        fields[DELETED] = int(withdraw)
    if tags:
        fields["Tag"] = tags
    timestamp = max(item.timestamp, held.timestamp + 1)
    body = {"uuid": wanted["uuid"], "timestamp": str(timestamp)} | fields
    final = result._replace(tags=numbers, deleted=withdraw)
    return Merged(
        replace(
            item,
            body=orjson.dumps(body),
            timestamp=timestamp if fields else held.timestamp,
            marks=final.packed(),
            deletes=withdraw,
        ),
        tuple(kept),
        bool(fields),
    )


def withdrawal(uuid: str, timestamp: int, *, delete: bool) -> bytes:
    """The body that withdraws an attribute."""
    return orjson.dumps({"uuid": uuid, "timestamp": str(timestamp), "to_ids": False} | ({DELETED: 1} if delete else {}))


def _fields(wanted: Mapping[str, Any], here: Marks, bases: Sequence[Marks]) -> tuple[dict[str, Any], list[str], Marks]:
    """The fields to send, the names of those that people have changed, and what MISP will hold of ours then."""
    new = marks.of(
        to_ids=bool(wanted.get("to_ids")),
        deleted=False,
        category=wanted.get("category", ""),
        comment=wanted.get("comment", ""),
        first_seen=wanted.get("first_seen"),
        last_seen=wanted.get("last_seen"),
        tags=(),
    )
    fields: dict[str, Any] = {}
    kept: list[str] = []
    result: dict[str, Any] = {}
    for name in FIELDS:
        now, then = getattr(here, name), getattr(new, name)
        ours = not bases or any(getattr(base, name) == now for base in bases)
        if not ours:  # and stays so, even where people and ThreatQ happen to agree
            result[name] = getattr(bases[-1], name)
            kept += [name] if name in wanted and now != then else []
        elif name in wanted and now != then:
            fields[name], result[name] = wanted[name], then
        else:
            result[name] = now
    return fields, kept, here._replace(**result)


def _tags(
    wanted: Mapping[str, Any], held: Iterable[str], bases: Sequence[Marks]
) -> tuple[list[dict[str, Any]], list[str], frozenset[int]]:
    """The tags to put and to take away, whether people have changed ours, and the tags that we have sent in all."""
    here = {marks.tag(name): name for name in held}
    ours = frozenset[int]().union(*(base.tags for base in bases))
    # what an update of a dead run was to put may never have arrived: that it is not there says nothing about people
    sure = ours.intersection(*(base.tags for base in bases))
    if "comment" not in wanted:  # a withdrawal leaves the tags as they are
        return [], [], sure | (ours & here.keys())
    new = {marks.tag(name): name for name in _names(wanted)}
    put = [{"name": name} for number, name in new.items() if number not in here and number not in sure]
    away = [{"name": name, "deleted": True} for number, name in here.items() if number in ours and number not in new]
    taken_by_people = (sure & new.keys()) - here.keys()
    return put + away, ["tags"] if taken_by_people else [], frozenset(new)


def _touched(here: Marks, bases: Sequence[Marks]) -> bool:
    """Whether any field is as we have never sent it."""
    return bool(bases) and any(
        all(getattr(base, name) != getattr(here, name) for base in bases) for name in (*FIELDS, "tags")
    )


def _names(wanted: Mapping[str, Any]) -> Iterator[str]:
    for each in wanted.get("Tag", ()):
        yield each["name"]
