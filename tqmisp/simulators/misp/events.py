"""Adding, editing, publishing and deleting events.

Read in MISP 2.5.1: ``Event::_add``, ``Event::_edit``, ``EventsController``.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, date, datetime
from typing import Any

from tqmisp.simulators.misp import capture, tags
from tqmisp.simulators.misp.accounts import User
from tqmisp.simulators.misp.attributes import LARGEST_INT, Row, check_text, is_uuid, timestamp
from tqmisp.simulators.misp.model import Event, Tag
from tqmisp.simulators.misp.php import empty, text, whole
from tqmisp.simulators.misp.refusals import (
    BAD_SHARING_GROUP,
    BAD_UUID,
    BLOCKED,
    EXISTS,
    Refused,
    SaveFailed,
    ServerFault,
    WorkerDied,
)
from tqmisp.simulators.misp.store import MispStore
from tqmisp.simulators.misp.visibility import may_use

Fields = dict[str, Any]
"""An event as the client sent it."""
Tagged = capture.Tagged

_NOT_NEWER = "Event could not be saved: Event in the request not newer than the local copy."
_NOT_AUTHORISED = (
    "Event could not be saved: The user used to edit the event is not authorised to do so. This can be caused by the "
    "user not being of the same organisation as the original creator of the event whilst also not being a site "
    "administrator."
)
_NO_GROUP = (
    "Event could not be saved: Sharing group chosen as the distribution level, but no sharing group specified. Make "
    "sure that the event includes a valid sharing_group_id or change to a different distribution level."
)
_FOREIGN_GROUP = "Event could not be saved: Invalid sharing group or you don't have access to that sharing group."
_EMPTY_PUBLISHED = "Received a published event that was empty. Event add process blocked."
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ANALYSIS = {"Initial": "0", "Ongoing": "1", "Completed": "2"}
_CHOICES = {
    "threat_level_id": ({"1", "2", "3", "4"}, "Options : 1, 2, 3, 4 (for High, Medium, Low, Undefined)"),
    "distribution": (
        {"0", "1", "2", "3", "4"},
        "Options : Your organisation only, This community only, Connected communities, All communities",
    ),
    "analysis": ({"0", "1", "2"}, "Options : 0, 1, 2 (for Initial, Ongoing, Completed)"),
}


def add(
    store: MispStore,
    user: User,
    fields: Fields,
    *,
    base_url: str,
    default_distribution: int,
    rows: int | None = None,
    tagged: bool = True,
) -> Event:
    """``POST /events/add``: the event, then its attributes one by one, whatever happens to those after.

    Args:
        store: the state.
        user: who sends it.
        fields: the event.
        base_url: of the server, for the ``Location`` of an event that is known.
        default_distribution: of an event that names none.
        rows: attributes after which the worker dies; None: it lives.
        tagged: whether it lives until the event has its tags.

    Raises:
        Refused: known, blocked, or a sharing group that is not the user's.
        SaveFailed: a field of the event is not valid.
        ServerFault: the database refuses something; what came before it is saved.
        WorkerDied: after ``rows`` attributes, or before the tags.
    """
    fields = {"distribution": default_distribution, "analysis": 0, "threat_level_id": 4, **fields}
    if text(fields["distribution"]) == "4" and not may_use(store, user, fields.get("sharing_group_id")):
        raise Refused(405, BAD_SHARING_GROUP)
    sent_uuid = text(fields.get("uuid")).lower()
    if sent_uuid in store.blocked:
        raise Refused(403, BLOCKED)
    attributes = attribute_rows(fields)
    publish = not empty(fields.get("published"))
    if publish and not attributes and empty(fields.get("Object")) and empty(fields.get("EventReport")):
        raise SaveFailed("add Event", "/events/add", {"Event": _EMPTY_PUBLISHED})
    known = store.event(sent_uuid) if is_uuid(sent_uuid) else None
    if known is not None:
        raise Refused(404, EXISTS, headers={"Location": f"{base_url}/events/{known.id}"})
    attributes = [_without_foreign_group(store, user, row) for row in attributes]
    orgc_id = _creator(store, user, fields)
    made: dict[str, Tag] = {}
    event_tags = _capture_tags(store, user, fields, made)
    attribute_tags = [_capture_tags(store, user, row, made) for row in attributes]
    event = Event(
        id=store.next_event,
        uuid=str(uuid.uuid4()),
        info="",
        date="",
        org_id=user.org_id,
        orgc_id=orgc_id,
        user_id=user.id,
        timestamp=store.time(),
        locked=not empty(fields.get("locked")),
    )
    errors = _take(store, event, fields)
    if errors:
        raise SaveFailed("add Event", "/events/add", {"Event": errors})
    event.published = publish and user.may("perm_publish")
    store.put_event(event)
    if not tagged:
        raise WorkerDied
    for tag, entry in event_tags:
        tags.attach(store, "event", event.tags, tag, entry, local=not empty(entry.get("local")))
    _capture_all(store, user, event, list(zip(attributes, attribute_tags, strict=True)), rows)
    if event.published:
        event.publish_timestamp = store.time()
    return event


def _capture_tags(store: MispStore, user: User, fields: Fields, made: dict[str, Tag]) -> Tagged:
    """The tags of an event or attribute, made where the role may; all are made before anything is saved."""
    found: Tagged = []
    for entry in tags.tag_list(fields.get("Tag")):
        name = text(entry["name"])
        tag = made.get(name) or tags.capture(store, user, entry)
        if tag is not None:
            made[name] = tag
            found.append((tag, entry))
    return found


def _capture_all(
    store: MispStore, user: User, event: Event, attributes: list[tuple[Row, Tagged]], rows: int | None
) -> None:
    """Save the attributes that do not repeat one before them to the letter (recording 195)."""
    seen: set[tuple[str, str, str]] = set()
    for number, (row, tagged) in enumerate(attributes):
        if number == rows:
            raise WorkerDied
        if empty(row.get("deleted")):
            key = text(row.get("value")), text(row.get("type")), text(row.get("category"))
            if key in seen:
                continue
            seen.add(key)
        capture.capture(store, user, event, row, unique=False, tagged=tagged)


def edit(
    store: MispStore,
    user: User,
    event: Event,
    fields: Fields,
    *,
    fast: bool = False,
    tags_to_live: int | None = None,
) -> None:
    """``POST /events/edit``: the event's fields, then its attributes in one transaction, then its tags.

    Args:
        store: the state.
        user: who sends it.
        event: the one that the path names; the answer shows it, even if ``fields`` name another.
        fields: what to change; a ``uuid`` in it wins over the path (recording 66).
        fast: ``fast_update``.
        tags_to_live: attributes that get their tags before the worker dies; None: it lives.

    Raises:
        SaveFailed: not newer, not the user's, or not valid.
        ServerFault: the database refuses an attribute; none is saved, but the event's own fields are.
        WorkerDied: after the attributes, before all of them and the event had their tags.
    """
    target = store.event(text(fields["uuid"])) if fields.get("uuid") is not None else event
    if target is None:
        raise _edit_failed(event, "Event could not be saved: Could not find the local event.")
    objection = _objection(store, user, target, fields)
    if objection is not None:
        raise _edit_failed(event, objection)
    now = store.time()
    before = _told(target)
    errors = _take(store, target, fields)
    if errors:
        raise _edit_failed(event, errors)
    if fields.get("timestamp") is None:
        target.timestamp = now
    publish = not empty(fields.get("published")) and user.may("perm_publish")
    target.published = publish
    store.put_event(target)
    changed = before != _told(target)
    rows = attribute_rows(fields)
    if rows:
        changed |= capture.edit(store, user, target, rows, fast=fast, tags_to_live=tags_to_live)
    if tags_to_live is not None:
        raise WorkerDied
    changed |= tags.edit(store, user, "event", target.tags, fields.get("Tag"))
    if changed and publish:
        target.publish_timestamp = now


def _objection(store: MispStore, user: User, event: Event, fields: Fields) -> str | None:
    """Why an event may not be edited like that."""
    sent = fields.get("timestamp")
    if sent is not None and timestamp(sent) <= event.timestamp:
        return _NOT_NEWER
    if text(fields.get("distribution")) == "4":
        if fields.get("sharing_group_id") is None:
            return _NO_GROUP
        if not may_use(store, user, fields["sharing_group_id"]):
            return _FOREIGN_GROUP
    if event.orgc_id == user.org_id or (user.may("perm_sync") and event.locked) or user.site_admin:
        return None
    return _NOT_AUTHORISED


def _edit_failed(event: Event, errors: Any) -> SaveFailed:  # noqa: ANN401 - JSON
    return SaveFailed("edit Event", f"/events/edit/{event.id}", errors, id=event.id)


def _told(event: Event) -> tuple[object, ...]:
    """The fields that decide whether an edit changed the event."""
    return event.analysis, event.threat_level_id, event.info, event.distribution, event.date


def attribute_rows(fields: Fields) -> list[Row]:
    """The attributes of an event: a list, or one object (recording 419).

    Raises:
        ServerFault: something else.
    """
    sent = fields.get("Attribute")
    if empty(sent):
        return []
    if isinstance(sent, dict):
        sent = list(sent.values()) if all(key.isdecimal() for key in sent) else [sent]
    if not isinstance(sent, list) or not all(isinstance(row, dict) for row in sent):
        raise ServerFault
    return sent


def _without_foreign_group(store: MispStore, user: User, row: Row) -> Row:
    """An attribute for a sharing group that is not the user's becomes one for the organisation only (recording 414)."""
    if text(row.get("distribution")) == "4" and not may_use(store, user, row.get("sharing_group_id")):
        return {**row, "distribution": 0, "sharing_group_id": 0}
    return row


def _creator(store: MispStore, user: User, fields: Fields) -> int:
    """The id of the creator organisation: another's, where a sync user or site admin says so (recordings 35 and 36)."""
    sent = fields.get("Orgc")
    if not isinstance(sent, dict) or not (user.may("perm_sync") or user.site_admin):
        return user.org_id
    uuid_, name = text(sent.get("uuid")).lower(), text(sent.get("name"))
    for organisation in store.organisations.values():
        if uuid_ == organisation.uuid or (not uuid_ and name == organisation.name):
            return organisation.id
    return store.add_organisation(name, uuid_ if is_uuid(uuid_) else str(uuid.uuid4()), user.id).id


def _take(store: MispStore, event: Event, fields: Fields) -> dict[str, list[str]]:
    """Give an event the fields that were sent, or say what is wrong and leave it alone.

    Raises:
        ServerFault: the database refuses one (recordings 393 and 394).
    """
    errors: dict[str, list[str]] = {}
    values: dict[str, Any] = {}
    day = fields.get("date") or event.date or f"{datetime.fromtimestamp(store.time(), UTC):%Y-%m-%d}"
    if _is_date(text(day)):
        values["date"] = text(day)
    else:
        errors["date"] = ["Expected date format: YYYY-MM-DD"]
    for name, (allowed, words) in _CHOICES.items():
        sent = text(fields[name]) if fields.get(name) is not None else str(getattr(event, name))
        sent = _ANALYSIS.get(sent, sent) if name == "analysis" else sent
        if sent in allowed:
            values[name] = int(sent)
        else:
            errors[name] = [words]
    info = text(fields["info"]) if fields.get("info") is not None else event.info
    if not info.strip():
        errors["info"] = ["valueNotEmpty" if "info" not in fields else "Info cannot be empty."]
    values["info"] = info
    sent_uuid = fields.get("uuid")
    if not empty(sent_uuid):
        if is_uuid(sent_uuid):
            values["uuid"] = text(sent_uuid).lower()
        else:
            errors["uuid"] = [BAD_UUID]
    if errors:
        return errors
    check_text(info)
    _take_rest(event, fields, values)
    for name, value in values.items():
        setattr(event, name, value)
    return {}


def _take_rest(event: Event, fields: Fields, values: dict[str, Any]) -> None:
    """The fields that MISP does not check."""
    if not empty(fields.get("timestamp")):
        values["timestamp"] = timestamp(fields["timestamp"])
        if values["timestamp"] > LARGEST_INT:
            raise ServerFault
    if "disable_correlation" in fields:
        values["disable_correlation"] = not empty(fields["disable_correlation"])
    if fields.get("extends_uuid") is not None:
        values["extends_uuid"] = text(fields["extends_uuid"]).lower()
    if values["distribution"] != 4:
        values["sharing_group_id"] = 0
    elif "sharing_group_id" in fields:
        values["sharing_group_id"] = whole(fields["sharing_group_id"], event.sharing_group_id)


def _is_date(value: str) -> bool:
    if not _DATE.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True
