"""Handlers of ``/tags/...``."""

from __future__ import annotations

from typing import Any

from tqmisp.simulators.misp import tags
from tqmisp.simulators.misp.answers import tag_json
from tqmisp.simulators.misp.attributes import is_uuid
from tqmisp.simulators.misp.call import Answer, Call, answer, saved
from tqmisp.simulators.misp.filters import wanted
from tqmisp.simulators.misp.model import Attribute, Event, Tag
from tqmisp.simulators.misp.php import empty, text, whole
from tqmisp.simulators.misp.refusals import Refused, SaveFailed, ServerFault
from tqmisp.simulators.misp.visibility import sees, sees_attribute


def attach_tag(call: Call) -> Answer:
    """``POST /tags/attachTagToObject {"uuid", "tag"}`` (recordings 283 to 286)."""
    target, kind = _target(call)
    sent = _tag_sent(call)
    known = _find_tag(call, sent)
    tag = known or (tags.make(call.store, sent) if call.user.may("perm_tag_editor") and not sent.isdecimal() else None)
    if tag is None:
        raise _tag_failed("Tag not found and insufficient privileges to create it.")
    links = list(target.tags or ())
    if not tags.attach(call.store, "event" if kind == "Event" else "attribute", links, tag, {}):
        return _tag_saved(
            f"{kind} already has the requested tag attached, no changes had to be made for tag {tag.name}."
        )
    target.tags = links
    _touch(call, target)
    return _tag_saved(f"Global tag {tag.name}({tag.id}) successfully attached to {kind}({target.id}).")


def remove_tag(call: Call) -> Answer:
    """``POST /tags/removeTagFromObject {"uuid", "tag"}`` (recording 287)."""
    target, kind = _target(call)
    tag = _find_tag(call, _tag_sent(call))
    if tag is None:
        raise Refused(405, "Invalid Tag.")
    links = list(target.tags or ())
    link = tags.linked(links, tag)
    if link is None:
        raise Refused(404, f"Could not remove tag as it is not attached to the target {kind}")
    links.remove(link)
    target.tags = links
    _touch(call, target)
    message = f"Global tag {tag.name} ({tag.id}) successfully removed from {kind}({target.id})."
    return saved(message, "/tags/removeTagFromObject")


def _tag_saved(message: str) -> Answer:
    return saved(message, "/tags/attachTagToObject")


def _tag_failed(message: str) -> SaveFailed:
    return SaveFailed("attachTagToObject Tag", "/tags/attachTagToObject", message)


def _tag_sent(call: Call) -> str:
    sent = call.args[1] if len(call.args) > 1 else call.fields("Tag").get("tag")
    if empty(sent):
        raise Refused(405, "Invalid tag")
    return text(sent).strip()


def _find_tag(call: Call, sent: str) -> Tag | None:
    return call.store.tags.get(whole(sent)) if sent.isdecimal() else call.store.tag_named(sent)


def _target(call: Call) -> tuple[Event | Attribute, str]:
    """What is to be tagged.

    Raises:
        Refused: it is not there, or another organisation's.
        ServerFault: what was sent is not a UUID.
    """
    uuid = call.args[0] if call.args else call.fields("Tag").get("uuid")
    if empty(uuid):
        raise Refused(405, "Invalid object uuid")
    if not is_uuid(uuid):
        raise ServerFault
    target: Event | Attribute | None = call.store.event(text(uuid)) or call.store.attribute(text(uuid))
    event = target.event if isinstance(target, Attribute) else target
    if target is None or event is None or not sees(call.store, call.user, event):
        raise Refused(404, "Invalid Target.")
    if isinstance(target, Attribute) and not sees_attribute(call.store, call.user, target):
        raise Refused(404, "Invalid Target.")
    if not call.user.site_admin and event.orgc_id != call.user.org_id:
        raise Refused(
            403,
            "Cannot alter the tags of this data, only the organisation that has created the data (orgc) can modify "
            "global tags.",
        )
    return target, type(target).__name__


def _touch(call: Call, target: Event | Attribute) -> None:
    now = call.store.time()
    event = target.event if isinstance(target, Attribute) else target
    if isinstance(target, Attribute):
        target.timestamp = now
        call.store.touch_attribute(target)
    event.unpublish(now)
    call.store.put_event(event)


def search_tags(call: Call) -> Answer:
    """``POST /tags/search {"tag"}`` or ``GET /tags/search/<name>``; a colon in the path hides it (recording 288)."""
    data = call.data
    sent = data.get("tag", data) if isinstance(data, dict) and data else data or (call.args[0] if call.args else "")
    want = wanted([text(one) for one in (sent if isinstance(sent, list) else [sent])])
    found = sorted((tag for tag in call.store.tags.values() if want.takes(tag.name)), key=lambda tag: tag.id)
    return answer([{"Tag": tag_json(tag), **(tag.taxonomy or {})} for tag in found])


def list_tags(call: Call) -> Answer:
    """``GET /tags/index``, by name, with the number of events and attributes that carry each (recording 291)."""
    counts = {number: [0, 0] for number in call.store.tags}
    for event in call.store.events():
        for link in event.tags:
            counts[link.tag.id][0] += 1
        for attribute in event.attributes:
            for link in attribute.tags or ():
                counts[link.tag.id][1] += 1
    shown = []
    for tag in sorted(call.store.tags.values(), key=lambda tag: tag.name.lower()):
        events, attributes = counts[tag.id]
        shown.append(
            {**tag_json(tag), "favourite": False, **_listed(tag), "count": events, "attribute_count": attributes}
        )
    return answer({"Tag": shown})


def _listed(tag: Tag) -> dict[str, Any]:
    """The taxonomy of a tag as the list of tags shows it."""
    taxonomy, predicate = ((tag.taxonomy or {}).get(name) for name in ("Taxonomy", "TaxonomyPredicate"))
    if not isinstance(taxonomy, dict) or not isinstance(predicate, dict):
        return {}
    return {"Taxonomy": {**taxonomy, "expanded": predicate["expanded"]}}


def add_tag(call: Call) -> Answer:
    """``POST /tags/add {"name", "colour"}``; a known name gives the known tag (recording 294)."""
    fields = call.fields("Tag")
    name = text(fields.get("name"))
    tag = call.store.tag_named(name) or tags.make(call.store, name, text(fields.get("colour")) or None)
    if tag is None:
        raise Refused(405, "Could not add the Tag. [name]: This field is required.")
    return answer({"Tag": tag_json(tag)})
