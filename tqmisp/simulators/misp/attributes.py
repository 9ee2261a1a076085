"""What becomes of an attribute in a request: defaults, rules, and what the database refuses.

Read in MISP 2.5.1: ``MispAttribute::beforeValidateMassage``, ``captureAttribute``, ``editAttribute``, ``$validate``.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from tqmisp.simulators.misp.accounts import User
from tqmisp.simulators.misp.model import Attribute, Event
from tqmisp.simulators.misp.normalise import ASTRAL
from tqmisp.simulators.misp.php import empty, moment, text, whole
from tqmisp.simulators.misp.refusals import BAD_UUID, SIMILAR, UUID_TAKEN, ServerFault
from tqmisp.simulators.misp.store import MispStore
from tqmisp.simulators.misp.types import LARGEST_TEXT, TOO_LONG, TypeRule, categories, too_long, type_rules
from tqmisp.simulators.misp.visibility import may_use

Row = dict[str, Any]
"""An attribute as the client sent it."""
Errors = dict[str, list[str]]
"""Texts by field."""

LARGEST_INT = 2_147_483_647
_LEAST_INT = -LARGEST_INT - 1
_UUID = re.compile("[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-5][0-9a-fA-F]{3}-[089aAbB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}")
_BOOLEANS = (True, False, "0", "1")
_BAD_DISTRIBUTION = (
    "Options: Your organisation only, This community only, Connected communities, All communities, Sharing group, "
    "Inherit event"
)
_NO_MORE_THAN = "Last seen value should be greater than first seen value"
_UNSEEN = "Invalid ISO 8601 format"
_UNCHANGED = object()


def is_uuid(value: object) -> bool:
    """Whether MISP takes it for a UUID: versions 0 to 5."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def examine(
    store: MispStore,
    event: Event,
    row: Row,
    *,
    stored: Attribute | None = None,
    unique: bool = True,
    capture: bool = False,
) -> Attribute | Errors:
    """The attribute that a row would become, or what MISP has against it.

    Args:
        store: where else the value and the UUID may be.
        event: where the attribute is to live.
        row: what was sent.
        stored: the attribute that the row changes; what the row leaves out is taken from it.
        unique: whether a value that the event has already is refused.
        capture: the row comes by a route that adds, which takes any truth for ``to_ids`` (recording 149).
    """
    type_ = row.get("type") or (stored.type if stored is not None else None)
    if empty(type_):
        return {"type": ["No type set."]}
    rule = type_rules().get(type_) if isinstance(type_, str) else None
    if rule is None:
        return {"type": ["Invalid type."]}
    if isinstance(row.get("value"), (list, dict)):
        return {"value": ["Value is an array."]}
    errors: Errors = {}
    image = _image(store, event, row, rule=rule, stored=stored, errors=errors, capture=capture)
    if unique and "value" not in errors and not image.deleted and store.values.twin(image) is not None:
        errors["value"] = [SIMILAR]
    if "value" not in errors and (too_long(image.value1) or too_long(image.value2)):
        errors["value"] = [TOO_LONG]
    return errors or image


def _image(
    store: MispStore,
    event: Event,
    row: Row,
    *,
    rule: TypeRule,
    stored: Attribute | None,
    errors: Errors,
    capture: bool,
) -> Attribute:
    """The attribute after the row, with whatever is wrong in ``errors``."""
    category = text(row.get("category")) or (stored.category if stored is not None else rule.category)
    if category not in rule.categories:
        errors["type"] = ["Options depend on the selected category."]
        if category not in categories():
            errors["category"] = [
                "Options : Payload delivery, Antivirus detection, Payload installation, Files dropped ..."
            ]
    sent = row.get("value")
    value, objection = rule.value_of(stored.value if sent is None and stored is not None else sent)
    if objection is not None:
        errors["value"] = [objection]
    value1, value2 = value, ""
    if rule.composite:
        value1, _, value2 = value.partition("|")
    to_ids = row.get("to_ids")
    if to_ids is None:
        to_ids = stored.to_ids if stored is not None else rule.to_ids
    elif not capture and to_ids not in _BOOLEANS:
        errors["to_ids"] = ["boolean"]
    comment = row.get("comment")
    if comment is None:
        comment = stored.comment if stored is not None else ""
    time = row.get("timestamp")
    image = Attribute(
        id=stored.id if stored is not None else 0,
        uuid=stored.uuid if stored is not None else _uuid(store, row, errors),
        event=event,
        type=rule.name,
        category=categories().get(category, category),
        value1=value1,
        value2=value2,
        to_ids=not empty(to_ids),
        timestamp=store.time() if empty(time) else timestamp(time),
        comment="" if empty(comment) else text(comment),
    )
    if stored is not None:
        image.distribution, image.sharing_group_id = stored.distribution, stored.sharing_group_id
        image.deleted, image.disable_correlation = stored.deleted, stored.disable_correlation
        image.first_seen, image.last_seen = stored.first_seen, stored.last_seen
        image.tags = stored.tags
    if not _PLAIN.issuperset(row):
        _unusual(row, image, errors)
    return image


_PLAIN = frozenset({"uuid", "type", "category", "value", "to_ids", "comment", "timestamp", "Tag"})
"""Fields that need no look at the ones below."""


def _unusual(row: Row, image: Attribute, errors: Errors) -> None:
    """The fields that most attributes do without."""
    if row.get("distribution") is not None:
        distribution = text(row["distribution"])
        if distribution in {"0", "1", "2", "3", "4", "5"}:
            image.distribution = int(distribution)
        else:
            errors["distribution"] = [_BAD_DISTRIBUTION]
    if row.get("sharing_group_id") is not None:
        image.sharing_group_id = whole(row["sharing_group_id"])
    if image.distribution != 4:
        image.sharing_group_id = 0
    if row.get("deleted") is not None:
        image.deleted = not empty(row["deleted"])
    if row.get("disable_correlation") is not None:
        image.disable_correlation = not empty(row["disable_correlation"])
    for name in ("first_seen", "last_seen"):
        if row.get(name) is not None:
            _seen(row[name], name, image, errors)
    if image.first_seen and image.last_seen and "last_seen" not in errors and image.first_seen > image.last_seen:
        errors["last_seen"] = [_NO_MORE_THAN]


def _seen(sent: object, name: str, image: Attribute, errors: Errors) -> None:
    """A date in UTC with microseconds (recording 186); an empty one takes the stored one away."""
    if sent == "":
        setattr(image, name, None)
        return
    found = moment(text(sent))
    if found is None:
        errors[name] = [_UNSEEN]
        return
    setattr(image, name, found.isoformat(timespec="microseconds"))


def _uuid(store: MispStore, row: Row, errors: Errors) -> str:
    """The UUID of a new attribute."""
    sent = row.get("uuid")
    if empty(sent):
        return str(uuid.uuid4())
    if type(sent) is not str or _UUID.fullmatch(sent) is None:
        errors["uuid"] = [BAD_UUID]
        return ""
    lowered = sent.lower()
    if store.attribute_uuid(lowered) is not None:
        errors["uuid"] = [UUID_TAKEN]
    return lowered


def timestamp(sent: object) -> int:
    """A time stamp; one that the database cannot hold becomes larger than any it can."""
    try:
        return int(sent) if isinstance(sent, (int, str)) else int(float(text(sent)))
    except (ValueError, OverflowError):
        return LARGEST_INT + 1


def check_columns(attribute: Attribute) -> None:
    """What the database itself refuses (recordings 132, 153 and 185).

    Raises:
        ServerFault: a comment with characters of four bytes or of more than 65,535 bytes, a time stamp outside 32 bits.
    """
    if not _LEAST_INT <= attribute.timestamp <= LARGEST_INT:
        raise ServerFault
    check_text(attribute.comment)


def check_text(value: str) -> None:
    """The same for a column of the type ``text``.

    Raises:
        ServerFault: as above.
    """
    if value.isascii():
        if len(value) > LARGEST_TEXT:
            raise ServerFault
    elif ASTRAL.search(value) or len(value.encode("utf-8", "surrogatepass")) > LARGEST_TEXT:
        raise ServerFault


def take_off_foreign_group(store: MispStore, user: User, row: Row) -> Row:
    """A row without a sharing group that the user is not in."""
    if empty(row.get("sharing_group_id")) or may_use(store, user, row["sharing_group_id"]):
        return row
    return {name: value for name, value in row.items() if name != "sharing_group_id"}
