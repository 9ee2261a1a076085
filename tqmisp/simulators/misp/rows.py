"""Records of the model as rows of JSON, for the log of changes."""

from __future__ import annotations

from typing import Any

from tqmisp.simulators.misp.model import Attribute, Event, Tag, TagLink

Row = list[Any]

_EVENT_FIELDS = [
    "uuid",
    "info",
    "date",
    "org_id",
    "orgc_id",
    "user_id",
    "timestamp",
    "distribution",
    "sharing_group_id",
    "threat_level_id",
    "analysis",
    "published",
    "publish_timestamp",
    "attribute_count",
    "disable_correlation",
    "extends_uuid",
    "locked",
]


def event_row(event: Event) -> Row:
    """All of an event but its attributes."""
    return [event.id, *(getattr(event, name) for name in _EVENT_FIELDS), _link_rows(event.tags)]


def read_event(row: Row, event: Event | None, tags: dict[int, Tag]) -> Event:
    """The event of a row: the given one, changed, or a new one."""
    fields = dict(zip(_EVENT_FIELDS, row[1:-1], strict=True))
    if event is None:
        event = Event(id=row[0], **fields)
    else:
        for name, value in fields.items():
            setattr(event, name, value)
    event.tags = _links(row[-1], tags)
    return event


def attribute_row(attribute: Attribute) -> Row:
    """An attribute without its event: eight items for the usual one, all of them for one with more to tell."""
    row = [
        attribute.id,
        attribute.uuid,
        attribute.type,
        attribute.category,
        attribute.value1,
        attribute.to_ids,
        attribute.timestamp,
        attribute.comment,
    ]
    if (
        attribute.value2
        or attribute.tags
        or attribute.deleted
        or attribute.first_seen
        or attribute.last_seen
        or attribute.distribution != 5
        or attribute.disable_correlation
        or attribute.sharing_group_id
    ):
        row += (
            attribute.value2,
            attribute.distribution,
            attribute.sharing_group_id,
            attribute.deleted,
            attribute.disable_correlation,
            attribute.first_seen,
            attribute.last_seen,
            _link_rows(attribute.tags or []),
        )
    return row


def read_attribute(row: Row, event: Event, tags: dict[int, Tag], same: dict[str, str]) -> Attribute:
    """The attribute of a row.

    Args:
        row: of :func:`attribute_row`.
        event: where it lives.
        tags: the tags of the server.
        same: remembers names of types and categories, so that a million attributes share a few strings.
    """
    type_, category = same.setdefault(row[2], row[2]), same.setdefault(row[3], row[3])
    if len(row) == 8:
        return Attribute(row[0], row[1], event, type_, category, row[4], "", row[5], row[6], row[7])
    more = (*row[9:15], _links(row[15], tags) or None)
    return Attribute(row[0], row[1], event, type_, category, row[4], row[8], row[5], row[6], row[7], *more)


def tag_row(tag: Tag) -> Row:
    """A tag, without the text of its taxonomy."""
    return [tag.id, tag.name, tag.colour, tag.exportable, tag.hide_tag, tag.local_only]


def _link_rows(links: list[TagLink]) -> list[Row]:
    return [[link.id, link.tag.id, link.local, link.relationship_type] for link in links]


def _links(rows: list[Row], tags: dict[int, Tag]) -> list[TagLink]:
    return [TagLink(row[0], tags[row[1]], row[2], row[3]) for row in rows]
