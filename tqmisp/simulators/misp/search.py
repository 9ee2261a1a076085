"""``/attributes/restSearch``, ``/events/restSearch`` and ``/events/index``.

Read in MISP 2.5.1: ``MispAttribute::restSearch``, ``Event::filterEventIds``, ``EventsController::index``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from tqmisp.simulators.misp.answers import event_json, listed_event, searched_attributes
from tqmisp.simulators.misp.attributes import is_uuid
from tqmisp.simulators.misp.call import JSON, TEXT, Answer, Call, answer
from tqmisp.simulators.misp.filters import Filters, Wanted, flags, page_of, since, wanted, within
from tqmisp.simulators.misp.model import Attribute, Event
from tqmisp.simulators.misp.php import empty, text, whole
from tqmisp.simulators.misp.refusals import Refused
from tqmisp.simulators.misp.visibility import sees, sees_attribute
from tqmisp.simulators.misp.warnings import warnings_of

_NO_PARAMETERS = (
    "Restsearch queries using GET and no parameters are not allowed. If you have passed parameters via a JSON body, "
    "make sure you use POST requests."
)
_FORMATS: dict[str, tuple[str, str]] = {
    "json": ("json", JSON),
    "count": ("txt", TEXT),
    "text": ("txt", TEXT),
    "csv": ("csv", "text/csv; charset=UTF-8"),
}
"""What we can write: the export module, MISP's name for its kind of text, the content type."""
_COLUMNS = ["uuid", "event_id", "category", "type", "value", "comment", "to_ids", "date"]
_SORTABLE = {"id", "date", "info", "uuid", "timestamp", "publish_timestamp", "attribute_count", "analysis", "published"}
_RESTRICTED = {"text"}
"""Formats which, unless told otherwise, hold published indicators only (recording 261)."""


def _filters(call: Call) -> tuple[Filters, str]:
    filters: Filters = {**call.named, **call.fields("request")}
    if not filters and call.method == "GET":
        raise Refused(400, _NO_PARAMETERS)
    name = text(filters.get("returnFormat")) or "json"
    name = "json" if name == "download" else name
    if name not in _FORMATS:
        raise Refused(404, "Invalid output format.")
    if name in _RESTRICTED:
        filters = {"to_ids": 1, "published": 1, **filters}
    return filters, name


def _headers(name: str, count: int, skipped: int) -> dict[str, str]:
    return {
        "X-Result-Count": str(count),
        "X-Export-Module-Used": name,
        "X-Response-Format": _FORMATS[name][0],
        "X-Skipped-Elements-Count": str(skipped),
    }


def attributes(call: Call) -> Answer:
    """``POST /attributes/restSearch``."""
    filters, name = _filters(call)
    found = _matching(call, filters)
    page = page_of(found, filters)
    count = len(page)
    skipped = 0
    if not empty(filters.get("enforceWarninglist")):
        page = [attribute for attribute in page if not warnings_of(call.store, attribute)]
        skipped = count - len(page)
    limit = whole(filters.get("limit"))
    if limit > 0 and (len(page) >= limit or not count):
        count += 1  # "there is more" for a full page, and for one past the end (recordings 252 to 254)
    headers = _headers(name, count, skipped)
    if name == "json":
        rows = searched_attributes(
            call.store,
            page,
            warnings=not empty(filters.get("includeWarninglistHits")),
            event_uuid=not empty(filters.get("includeEventUuid")),
        )
        return answer({"response": {"Attribute": rows}}, headers=headers)
    if name == "count":
        body = str(len(page))
    elif name == "text":
        body = "".join(f"{attribute.value}\n" for attribute in page) or "\n"
    else:
        body = _csv(page, filters)
    return Answer(body.encode(), 200, _FORMATS[name][1], headers)


def _matching(call: Call, filters: Filters) -> list[Attribute]:
    """All attributes that the filters let through and the user sees, by id."""
    candidates, answered = _candidates(call, filters)
    found = list(candidates)
    for test in _tests(call, {name: value for name, value in filters.items() if name != answered}):
        found = [attribute for attribute in found if test(attribute)]
    return found


def _candidates(call: Call, filters: Filters) -> tuple[Iterable[Attribute], str | None]:
    """Attributes among which all wanted ones are, by id, and the filter that needs no further look: the best index."""
    store = call.store
    for name in ("uuid", "eventid", "value"):
        sent = filters.get(name)
        if empty(sent) or sent == "all" or not (chosen := wanted(sent)).exact:
            continue
        found: dict[int, Attribute] = {}
        for key in chosen.any_of:
            event = store.event(key) if name == "eventid" or is_uuid(key) else None
            if name != "value" and event is not None:
                found.update((attribute.id, attribute) for attribute in event.attributes)
            if name == "uuid" and (attribute := store.attribute_uuid(key)) is not None:
                found[attribute.id] = attribute
            if name == "value":
                found.update((attribute.id, attribute) for attribute in store.values.find(key))
        return [found[number] for number in sorted(found)], name
    return store.every_attribute(), None


def _seen_by(call: Call) -> Callable[[Attribute], bool]:
    """Whether the user sees an attribute; each event is looked at once."""
    store, user = call.store, call.user
    events: dict[int, bool] = {}

    def seen(attribute: Attribute) -> bool:
        event = attribute.event
        visible = events.get(event.id)
        if visible is None:
            visible = events[event.id] = sees(store, user, event)
        return visible and sees_attribute(store, user, attribute)

    return seen


def _tests(call: Call, filters: Filters) -> list[Callable[[Attribute], bool]]:
    """One test for each filter that is set."""
    now = call.store.time()
    tests = [_seen_by(call)]
    allowed = flags(filters["deleted"]) if not empty(filters.get("deleted")) else {False}
    if len(allowed) == 1:
        only = allowed.pop()
        tests.append(lambda attribute: attribute.deleted is only)
    for name, values in _TEXTS.items():
        if not empty(filters.get(name)) and filters[name] != "all":
            tests.append(_wants(values, wanted(filters[name])))
    for name, flag in _FLAGS.items():
        if filters.get(name) is not None:
            tests.append(_is_one_of(flag, flags(filters[name])))
    for name, stamp in _TIMES.items():
        if filters.get(name) is not None and filters[name] is not False:
            tests.append(_in_span(stamp, since(filters[name], now)))
    return tests


_TEXTS: dict[str, Callable[[Attribute], tuple[str, ...]]] = {
    "uuid": lambda attribute: (attribute.uuid, attribute.event.uuid),
    "eventid": lambda attribute: (attribute.event.uuid, str(attribute.event.id)),
    "value": lambda attribute: (attribute.value1, attribute.value2 or attribute.value1),
    "type": lambda attribute: (attribute.type,),
    "category": lambda attribute: (attribute.category,),
    "comment": lambda attribute: (attribute.comment,),
    "eventinfo": lambda attribute: (attribute.event.info,),
    "tags": lambda attribute: tuple(link.tag.name for link in (*(attribute.tags or ()), *attribute.event.tags)),
}
_FLAGS: dict[str, Callable[[Attribute], bool]] = {
    "to_ids": lambda attribute: attribute.to_ids,
    "published": lambda attribute: attribute.event.published,
}
_TIMES: dict[str, Callable[[Attribute], int]] = {
    "timestamp": lambda attribute: attribute.timestamp,
    "attribute_timestamp": lambda attribute: attribute.timestamp,
    "event_timestamp": lambda attribute: attribute.event.timestamp,
    "publish_timestamp": lambda attribute: attribute.event.publish_timestamp,
    "last": lambda attribute: attribute.event.publish_timestamp,
}


def _wants(values: Callable[[Any], tuple[str, ...]], want: Wanted) -> Callable[[Any], bool]:
    return lambda item: want.takes(*values(item))


def _is_one_of(flag: Callable[[Any], bool], allowed: set[bool]) -> Callable[[Any], bool]:
    return lambda item: flag(item) in allowed


def _in_span(stamp: Callable[[Any], int], span: tuple[int, int | None]) -> Callable[[Any], bool]:
    return lambda item: within(stamp(item), span)


def _csv(found: list[Attribute], filters: Filters) -> str:
    """Recording 260: texts in quotes, flags as numbers."""
    columns = filters.get("requested_attributes") or _COLUMNS
    output = io.StringIO()
    writer = csv.writer(output, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    for attribute in found:
        writer.writerow([_cell(attribute, column) for column in columns])
    header = "" if not empty(filters.get("headerless")) else f"{','.join(columns)}\n"
    return f"{header}{output.getvalue()}\n"


def _cell(attribute: Attribute, column: str) -> str | int:
    if column == "event_id":
        return attribute.event.id
    if column == "date":
        return attribute.timestamp
    found = getattr(attribute, column, "")
    return int(found) if isinstance(found, (bool, int)) else text(found)


def events(call: Call) -> Answer:
    """``POST /events/restSearch``."""
    filters, name = _filters(call)
    found = _matching_events(call, filters)
    page = page_of(found, filters)
    kind = _FORMATS[name][0]
    headers = {
        **_headers(name, len(found), 0),
        "Content-Disposition": f'attachment; filename="misp.event.list.{kind}"',
    }
    if name == "count":
        return Answer(str(len(page)).encode(), 200, TEXT, headers)
    if name != "json":
        rows = [attribute for event in page for attribute in event.attributes if not attribute.deleted]
        body = _csv(rows, filters) if name == "csv" else "".join(f"{row.value}\n" for row in rows) or "\n"
        return Answer(body.encode(), 200, _FORMATS[name][1], headers)
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
            tests.append(_wants(values, wanted(filters[name])))
    if filters.get("published") is not None:
        tests.append(_is_one_of(lambda event: event.published, flags(filters["published"])))
    times: dict[str, Callable[[Event], int]] = {
        "timestamp": lambda event: event.timestamp,
        "event_timestamp": lambda event: event.timestamp,
        "publish_timestamp": lambda event: event.publish_timestamp,
        "last": lambda event: event.publish_timestamp,
    }
    for name, stamp in times.items():
        if filters.get(name) is not None and filters[name] is not False:
            tests.append(_in_span(stamp, since(filters[name], now)))
    if not empty(filters.get("value")):
        holding = {attribute.event.id for attribute in _matching(call, {"value": filters["value"]})}
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
    return Answer(orjson.dumps(shown), 200, JSON, {"X-Result-Count": str(len(found))})


def _minimal(call: Call, event: Event) -> dict[str, Any]:
    return {
        "id": str(event.id),
        "timestamp": str(event.timestamp),
        "sighting_timestamp": "0",
        "published": event.published,
        "uuid": event.uuid,
        "orgc_uuid": call.store.organisations[event.orgc_id].uuid,
    }
