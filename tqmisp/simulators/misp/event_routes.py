"""Handlers of ``/events/...``, without the searches."""

from __future__ import annotations

from typing import Any

from tqmisp.simulators.misp import events
from tqmisp.simulators.misp.answers import event_json
from tqmisp.simulators.misp.call import HTML, Answer, Call, answer, saved
from tqmisp.simulators.misp.model import Event
from tqmisp.simulators.misp.php import empty
from tqmisp.simulators.misp.refusals import Refused, SaveFailed, ServerFault, WorkerDied
from tqmisp.simulators.misp.visibility import may_modify, may_publish, sees


def add(call: Call) -> Answer:
    """``POST /events/add``."""
    if empty(call.data):
        raise Refused(405, "No valid event data received.")
    event = events.add(
        call.store,
        call.user,
        call.fields("Event"),
        base_url=call.base_url,
        default_distribution=call.options.default_distribution,
        rows=call.rows_to_live,
        tagged=not call.dies_untagged,
    )
    return answer(event_json(call.store, call.user, event, metadata=call.metadata))


def edit(call: Call) -> Answer:
    """``POST /events/edit/<id|uuid>``."""
    event = _editable(call)
    fields = call.fields("Event")
    fast = not empty(fields.get("fast_update", call.named.get("fast_update")))
    if call.rows_to_live is not None and not call.dies_untagged:
        raise WorkerDied  # one transaction: nothing is left of it
    events.edit(call.store, call.user, event, fields, fast=fast, tags_to_live=call.rows_to_live)
    return answer(event_json(call.store, call.user, event, metadata=call.metadata))


def populate(call: Call) -> Answer:
    """``POST /events/populate/<id|uuid>``: as edit, for attributes and tags only."""
    event = _editable(call)
    sent = call.fields("Event")
    fields: dict[str, Any] = {name: sent[name] for name in ("Attribute", "Tag") if name in sent}
    events.edit(call.store, call.user, event, fields)
    return answer(event_json(call.store, call.user, event, metadata=call.metadata))


def _editable(call: Call) -> Event:
    event = call.visible_event()
    if not may_modify(call.user, event) and not call.user.may("perm_sync"):
        raise Refused(403, "You are not authorised to do that.")
    return event


def view(call: Call) -> Answer:
    """``GET`` or ``HEAD /events/view/<id|uuid>``; it ignores ``metadata:1`` (recording 68)."""
    if call.method == "HEAD":
        event = call.store.event(call.args[0]) if call.args else None
        there = event is not None and sees(call.store, call.user, event)
        return Answer(status=200 if there else 404, content_type=HTML)
    event = call.visible_event()
    deleted = call.named.get("deleted", "0") not in {"0", ""} and call.user.may("perm_sync")
    return answer(event_json(call.store, call.user, event, page=True, deleted=deleted))


def publish(call: Call) -> Answer:
    """``POST /events/publish/<id|uuid>``; without background jobs it is done at once (recordings 67 and 427)."""
    event = call.store.event(call.args[0]) if call.args else None
    if event is None:
        raise Refused(404, "Invalid event.")
    if not may_publish(call.user, event):
        raise Refused(405, "You do not have the permission to do that.")
    if not call.posted:
        raise ServerFault  # the form is for browsers (recording 73)
    url = f"/events/publish/{event.id}"
    if call.options.background_jobs:
        return saved("Job queued", url, id=str(event.id))
    event.published = True
    event.publish_timestamp = call.store.time()
    call.store.put_event(event)
    return saved("Event published without alerts", url, id=str(event.id))


def unpublish(call: Call) -> Answer:
    """``POST /events/unpublish/<id|uuid>``."""
    event = call.store.event(call.args[0]) if call.args else None
    if event is None or not may_modify(call.user, event):
        raise Refused(403, "You do not have the permission to do that.")
    event.published = False
    call.store.put_event(event)
    return saved("Event unpublished.", f"/events/unpublish/{event.id}", id=str(event.id))


def delete(call: Call) -> Answer:
    """``DELETE`` or ``POST /events/delete/<id|uuid>``; the UUID is blocked from then on (recording 76)."""
    key = call.args[0] if call.args else ""
    event = call.store.event(key)
    if event is None or not may_modify(call.user, event):
        raise SaveFailed("delete Event", "/events/delete", "Event was not deleted.")
    call.store.drop_event(event)
    return saved("Event deleted.", f"/events/delete/{key}", id=key)


def toggle_correlation(call: Call) -> Answer:
    """``POST /events/toggleCorrelation/<id>``: for site admins only, as ``MISP.allow_disabling_correlation`` is off."""
    if not call.user.site_admin:
        raise Refused(405, "Disabling the correlation is not permitted on this instance.")
    event = call.visible_event()
    for attribute in event.attributes:
        call.store.values.remove(attribute)
    event.disable_correlation = not event.disable_correlation
    for attribute in event.attributes:
        call.store.values.add(attribute)
    call.store.put_event(event)
    state = "disabled" if event.disable_correlation else "enabled"
    return saved(f"Correlation {state}", f"/events/toggleCorrelation/{event.id}", id=str(event.id))


def checkuuid(_: Call) -> Answer:
    """``GET /events/checkuuid/<uuid>``: broken in MISP 2.5.1 (recordings 46 and 47)."""
    raise ServerFault
