"""Handlers of ``/attributes/...``, without the searches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tqmisp.simulators.misp import tags
from tqmisp.simulators.misp.answers import attribute_json, saved_attribute_json, short_tag_json
from tqmisp.simulators.misp.attributes import Row, check_columns, examine, timestamp
from tqmisp.simulators.misp.call import HTML, Answer, Call, answer, saved
from tqmisp.simulators.misp.capture import capture
from tqmisp.simulators.misp.model import Attribute
from tqmisp.simulators.misp.php import empty, text
from tqmisp.simulators.misp.refusals import (
    BAD_SHARING_GROUP,
    NOT_YOURS,
    Refused,
    SaveFailed,
    ServerFault,
    WorkerDied,
)
from tqmisp.simulators.misp.types import described
from tqmisp.simulators.misp.visibility import may_modify, may_use, sees, sees_attribute

_INVALID = "Invalid attribute"


def add(call: Call) -> Answer:
    """``POST /attributes/add/<event id|uuid>``: each attribute is saved for itself."""
    event = call.visible_event()
    if not may_modify(call.user, event):
        raise Refused(403, NOT_YOURS)
    rows = _rows(call)
    update_known = call.named.get("breakOnDuplicate") == "0"
    kept: list[Attribute] = []
    failed: dict[str, Any] = {}
    for number, row in enumerate(rows):
        if number == call.rows_to_live:
            if call.dies_untagged:
                capture(call.store, call.user, event, row, tagged=[], update_known=update_known)
            raise WorkerDied
        result = capture(call.store, call.user, event, row, update_known=update_known)
        if isinstance(result, Attribute):
            kept.append(result)
            call.store.put_event(event)
        else:
            failed[f"attribute_{number}"] = result
    if not kept:
        raise SaveFailed("add Attribute", "/attributes/add", failed if len(rows) > 1 else failed["attribute_0"])
    event.unpublish(call.store.time())
    return answer(_kept(kept) | ({"errors": failed} if failed else {}))


def _rows(call: Call) -> list[Row]:
    """The attributes in the body: an object, a list, or an object whose value is a list (recording 113).

    Raises:
        Refused: one object for a sharing group that is not the user's (recording 144).
        ServerFault: something that PHP cannot take apart.
    """
    data = call.data
    sent = data["Attribute"] if isinstance(data, dict) and data.get("Attribute") is not None else data
    if empty(sent):
        return [{}]
    if isinstance(sent, list):
        if not all(isinstance(row, dict) for row in sent):
            raise ServerFault
        return sent
    if not isinstance(sent, dict):
        raise ServerFault
    if text(sent.get("distribution")) == "4" and not may_use(call.store, call.user, sent.get("sharing_group_id")):
        raise Refused(403, BAD_SHARING_GROUP)
    value = sent.get("value")
    if isinstance(value, (list, dict)) and value:
        return [{**sent, "value": one} for one in (value.values() if isinstance(value, dict) else value)]
    return [sent]


def _kept(attributes: list[Attribute]) -> dict[str, Any]:
    """The saved attributes: in one shape for one of them, in another for more (recordings 101 and 102)."""
    if len(attributes) == 1:
        attribute = attributes[0]
        return {
            "Attribute": saved_attribute_json(attribute),
            "AttributeTag": [
                {
                    "id": str(link.id),
                    "attribute_id": str(attribute.id),
                    "event_id": str(attribute.event.id),
                    "tag_id": str(link.tag.id),
                    "local": link.local,
                    "relationship_type": link.relationship_type,
                    "Tag": short_tag_json(link.tag),
                }
                for link in attribute.tags or ()
            ],
        }
    shown = []
    for attribute in sorted(attributes, key=lambda one: one.id):
        row = saved_attribute_json(attribute)
        if attribute.tags:
            row["Tag"] = [short_tag_json(link.tag) for link in attribute.tags]
        shown.append(row)
    return {"Attribute": shown}


def _attribute(call: Call, status: int) -> Attribute:
    """The attribute that the path names, if it is there for the user and not deleted."""
    attribute = call.store.attribute(call.args[0]) if call.args else None
    if (
        attribute is None
        or attribute.deleted
        or not sees(call.store, call.user, attribute.event)
        or not sees_attribute(call.store, call.user, attribute)
    ):
        raise Refused(status, _INVALID)
    return attribute


def view(call: Call) -> Answer:
    """``GET`` or ``HEAD /attributes/view/<id|uuid>``; what is not there is a 405 (recording 223)."""
    if call.method == "HEAD":
        try:
            _attribute(call, 404)
        except Refused:
            return Answer(status=404, content_type=HTML)
        return Answer(content_type=HTML)
    attribute = _attribute(call, 405)
    return answer({"Attribute": {**attribute_json(attribute), "event_uuid": attribute.event.uuid}})


def edit(call: Call) -> Answer:
    """``POST`` or ``PUT /attributes/edit/<id|uuid>``."""
    attribute = _attribute(call, 404)
    if not may_modify(call.user, attribute.event):
        raise Refused(403, NOT_YOURS)
    row = call.fields("Attribute")
    if text(row.get("distribution")) == "4" and not may_use(call.store, call.user, row.get("sharing_group_id")):
        raise Refused(403, BAD_SHARING_GROUP)
    if row.get("timestamp") is not None and timestamp(row["timestamp"]) <= attribute.timestamp:
        raise Refused(405, "Attribute could not be saved: Attribute in the request not newer than the local copy.")
    image = examine(call.store, attribute.event, row, stored=attribute)
    if isinstance(image, dict):
        raise SaveFailed("edit Attribute", "/attributes/edit", image)
    check_columns(image)
    links = list(attribute.tags or ())
    if call.dies_untagged:
        image.tags = links or None
        call.store.change_attribute(attribute, image)
        raise WorkerDied
    tags.edit(call.store, call.user, "attribute", links, row.get("Tag"))
    image.tags = links or None
    call.store.change_attribute(attribute, image)
    _touch_event(call, attribute)
    return answer({"Attribute": attribute_json(attribute)})


def _touch_event(call: Call, attribute: Attribute) -> None:
    attribute.event.unpublish(call.store.time())
    call.store.put_event(attribute.event)


def delete(call: Call) -> Answer:
    """``POST`` or ``DELETE /attributes/delete/<id|uuid>[/1]``: soft, or with ``/1`` for good."""
    hard = not empty(call.args[1] if len(call.args) > 1 else call.fields("Attribute").get("hard"))
    attribute = call.store.attribute(call.args[0]) if call.args else None
    if attribute is None or (attribute.deleted and not hard):
        raise Refused(404, _INVALID)
    _delete(call, attribute, hard=hard)
    return answer({"message": "Attribute deleted."})


def _delete(call: Call, attribute: Attribute, *, hard: bool) -> None:
    event = attribute.event
    if not call.user.site_admin and call.user.org_id != event.orgc_id:
        raise Refused(403, NOT_YOURS)
    if hard:
        if not attribute.deleted:
            event.attribute_count = max(event.attribute_count - 1, 0)
        call.store.drop_attribute(attribute)
    else:
        call.store.change_attribute(attribute, replace(attribute, deleted=True, timestamp=call.store.time()))
        event.attribute_count = max(event.attribute_count - 1, 0)
    _touch_event(call, attribute)


def delete_selected(call: Call) -> Answer:
    """``POST /attributes/deleteSelected/<event id>``: numeric ids only (recordings 246 to 248)."""
    fields = call.fields("Attribute")
    sent = fields.get("id", list(fields.values()))
    ids = {text(one) for one in sent} if isinstance(sent, list) else {text(sent)} - {""}
    everything = ids == {"all"}
    if not ids:
        raise Refused(404, "No matching attributes found.")
    event_id = call.args[0] if call.args else text(fields.get("event_id"))
    if not event_id:
        raise Refused(405, "No event ID set.")
    event = call.store.event(event_id) if event_id.isdecimal() else None
    if event is None:
        raise Refused(404, "Invalid event")
    if not may_modify(call.user, event):
        raise Refused(403, NOT_YOURS)
    hard_too = not empty(fields.get("allow_hard_delete"))
    chosen = [
        attribute
        for attribute in event.attributes
        if (everything or str(attribute.id) in ids) and (hard_too or not attribute.deleted)
    ]
    if not chosen:
        raise Refused(404, "No matching attributes found.")
    for attribute in chosen:
        _delete(call, attribute, hard=attribute.deleted)
    missing = 0 if everything else len(ids) - len(chosen)
    if missing:
        raise SaveFailed(
            "deleteSelected Attribute",
            "/attributes/deleteSelected",
            f"{len(chosen)} attribute{'s' * (len(chosen) != 1)} deleted, but {missing} attribute{'s' * (missing != 1)} "
            "could not be deleted.",
        )
    number = len(chosen)
    message = "1 attribute deleted." if number == 1 else f"{number} attributes deleted"
    return saved(message, f"/attributes/deleteSelected/{event_id}", id=event_id)


def restore(call: Call) -> Answer:
    """``POST /attributes/restore/<id>``: by number only; a redirect to the attribute (recordings 242 and 243)."""
    number = call.args[0] if call.args else ""
    attribute = call.store.attribute(number) if number.isdecimal() else None
    if attribute is None or not may_modify(call.user, attribute.event):
        raise Refused(405, "Invalid Attribute")
    back = replace(attribute, deleted=False, timestamp=call.store.time())
    if call.store.values.twin(back) is None:  # else nothing is saved, and the answer is the same
        call.store.change_attribute(attribute, back)
        attribute.event.attribute_count += 1
        _touch_event(call, attribute)
    return Answer(status=302, headers={"Location": f"{call.base_url}/attributes/view/{attribute.id}"})


def edit_field(call: Call) -> Answer:
    """``POST /attributes/editField/<id>``: made for MISP's own pages (recording 234)."""
    _attribute(call, 404)
    raise Refused(405, "Invalid field.")


def describe_types(_: Call) -> Answer:
    """``GET /attributes/describeTypes``."""
    return Answer(described())
