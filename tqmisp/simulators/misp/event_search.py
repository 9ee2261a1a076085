"""``/events/restSearch`` and ``/events/index``.

Read in MISP 2.5.1: ``Event::filterEventIds``, ``EventsController::index``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tqmisp.simulators.misp.answers import event_json, listed_event
from tqmisp.simulators.misp.attributes import is_uuid
from tqmisp.simulators.misp.call import TEXT, Answer, Call, answer
from tqmisp.simulators.misp.filters import Filters, flags, in_span, is_one_of, page_of, since, wanted, wants
from tqmisp.simulators.misp.model import Event
from tqmisp.simulators.misp.php import empty, text
from tqmisp.simulators.misp.search import FORMATS, csv_of, headers_of, matching, read_filters
from tqmisp.simulators.misp.visibility import sees

_SORTABLE = {"id", "date", "info", "uuid", "timestamp", "publish_timestamp", "attribute_count", "analysis", "published"}


def events(call: Call) -> Answer:
    """``POST /events/restSearch``."""
    filters, name = read_filters(call)
    found = _matching_events(call, filters)
    page = page_of(found, filters)
    kind = FORMATS[name][0]
    headers = {
        **headers_of(name, len(found), 0),
        "Content-Disposition": f'attachment; filename="misp.event.list.{kind}"',
    }
    if name == "count":
        return Answer(str(len(page)).encode(), 200, TEXT, headers)
    if name != "json":
        rows = [attribute for event in page for attribute in event.attributes if not attribute.deleted]
        body = csv_of(rows, filters) if name == "csv" else "".join(f"{row.value}\n" for row in rows) or "\n"
        return Answer(body.encode(), 200, FORMATS[name][1], headers)
    metadata = not empty(filters.get("metadata"))
    deleted = not empty(filters.get("deleted"))
    shown = [event_json(call.store, call.user, event, metadata=metadata, deleted=deleted) for event in page]
    return answer({"response": shown}, headers=headers)


def _matching_events(call: Call, filters: Filters) -> list[Event]:
    """All events that the filters let through and the user sees, by id."""
    store, now = call.store, call.store.time()
    found = [event for event in _event_candidates(call, filters) if sees(store, call.user, event)]
    tests: list[Callable[[Event], bool]] = []
    texts: dict[str, Callable[[Event], tuple[str, ...]]] = {
        "eventid": lambda event: (event.uuid, str(event.id)),
        "eventinfo": lambda event: (event.info,),
        "org": lambda event: (
            str(event.orgc_id),
            store.organisations[event.orgc_id].name,
            store.organisations[event.orgc_id].uuid,
        ),
        "tags": lambda event: tuple(link.tag.name for link in event.tags),
    }
    for name, values in texts.items():
        if not empty(filters.get(name)) and filters[name] != "all":
            tests.append(wants(values, wanted(filters[name])))
    if filters.get("published") is not None:
        tests.append(is_one_of(lambda event: event.published, flags(filters["published"])))
    times: dict[str, Callable[[Event], int]] = {
        "timestamp": lambda event: event.timestamp,
        "event_timestamp": lambda event: event.timestamp,
        "publish_timestamp": lambda event: event.publish_timestamp,
        "last": lambda event: event.publish_timestamp,
    }
    for name, stamp in times.items():
        if filters.get(name) is not None and filters[name] is not False:
            tests.append(in_span(stamp, since(filters[name], now)))
    if not empty(filters.get("value")):
        holding = {attribute.event.id for attribute in matching(call, {"value": filters["value"]})}
        tests.append(lambda event: event.id in holding)
    return [event for event in found if all(test(event) for test in tests)]


def _event_candidates(call: Call, filters: Filters) -> list[Event]:
    """Events with a wanted UUID, or with an attribute that has it; all events where no UUID is asked for."""
    store = call.store
    if empty(filters.get("uuid")):
        return store.events()
    want = wanted(filters["uuid"])
    if not want.exact:
        return [event for event in store.events() if want.takes(event.uuid)]
    found: dict[int, Event] = {}
    for uuid in want.any_of:
        event = store.event(uuid) if is_uuid(uuid) else None
        holder = store.attribute_uuid(uuid)
        for one in (event, holder.event if holder is not None else None):
            if one is not None:
                found[one.id] = one
    return [found[number] for number in sorted(found)]


def index(call: Call) -> Answer:
    """``GET`` or ``POST /events/index``; its ``X-Result-Count`` is the number of all matches (recordings 55 to 59)."""
    asked = {**call.named, **call.fields("request")}
    filters = {name.lower().removeprefix("search"): value for name, value in asked.items()}
    found = [event for event in call.store.events() if sees(call.store, call.user, event)]
    minimal = not empty(filters.get("minimal"))
    if minimal:
        found = [event for event in found if event.attribute_count]
    if not empty(filters.get("eventid")):
        pieces = filters["eventid"] if isinstance(filters["eventid"], list) else text(filters["eventid"]).split("|")
        want = wanted(pieces)
        found = [event for event in found if want.takes(event.uuid, str(event.id))]
    if not empty(filters.get("eventinfo")):
        part = text(filters["eventinfo"]).lower()
        found = [event for event in found if part in event.info.lower()]
    if text(filters.get("published", "2")) in {"", "0", "1"}:
        allowed = not empty(filters["published"])
        found = [event for event in found if event.published is allowed]
    if (order := text(filters.get("sort"))) in _SORTABLE:
        found.sort(key=lambda event: getattr(event, order))
        if text(filters.get("direction")).lower() == "desc":
            found.reverse()
    shown = [_minimal(call, event) if minimal else listed_event(call.store, event) for event in page_of(found, filters)]
    return answer(shown, headers={"X-Result-Count": str(len(found))})


def _minimal(call: Call, event: Event) -> dict[str, Any]:
    return {
        "id": str(event.id),
        "timestamp": str(event.timestamp),
        "sighting_timestamp": "0",
        "published": event.published,
        "uuid": event.uuid,
        "orgc_uuid": call.store.organisations[event.orgc_id].uuid,
    }
