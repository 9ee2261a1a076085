"""``/attributes/restSearch``. Read in MISP 2.5.1: ``MispAttribute::restSearch`` and ``fetchAttributes``."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable

from tqmisp.simulators.misp.answers import searched_attributes
from tqmisp.simulators.misp.attributes import is_uuid
from tqmisp.simulators.misp.call import JSON, TEXT, Answer, Call, answer
from tqmisp.simulators.misp.filters import Filters, flags, in_span, is_one_of, page_of, since, wanted, wants
from tqmisp.simulators.misp.model import Attribute
from tqmisp.simulators.misp.php import empty, text, whole
from tqmisp.simulators.misp.refusals import Refused
from tqmisp.simulators.misp.visibility import sees, sees_attribute
from tqmisp.simulators.misp.warnings import warnings_of

_NO_PARAMETERS = (
    "Restsearch queries using GET and no parameters are not allowed. If you have passed parameters via a JSON body, "
    "make sure you use POST requests."
)
FORMATS: dict[str, tuple[str, str]] = {
    "json": ("json", JSON),
    "count": ("txt", TEXT),
    "text": ("txt", TEXT),
    "csv": ("csv", "text/csv; charset=UTF-8"),
}
"""What we can write: the export module, MISP's name for its kind of text, the content type."""
_COLUMNS = ["uuid", "event_id", "category", "type", "value", "comment", "to_ids", "date"]
_RESTRICTED = {"text"}
"""Formats which, unless told otherwise, hold published indicators only (recording 261)."""


def read_filters(call: Call) -> tuple[Filters, str]:
    """What a search asks for, and the format that it wants.

    Raises:
        Refused: nothing, or a format that we cannot write.
    """
    filters: Filters = {**call.named, **call.fields("request")}
    if not filters and call.method == "GET":
        raise Refused(400, _NO_PARAMETERS)
    name = text(filters.get("returnFormat")) or "json"
    name = "json" if name == "download" else name
    if name not in FORMATS:
        raise Refused(404, "Invalid output format.")
    if name in _RESTRICTED:
        filters = {"to_ids": 1, "published": 1, **filters}
    return filters, name


def headers_of(name: str, count: int, skipped: int) -> dict[str, str]:
    """What the headers of an answer say: its format, how many were found and how many of these left out."""
    return {
        "X-Result-Count": str(count),
        "X-Export-Module-Used": name,
        "X-Response-Format": FORMATS[name][0],
        "X-Skipped-Elements-Count": str(skipped),
    }


def attributes(call: Call) -> Answer:
    """``POST /attributes/restSearch``."""
    filters, name = read_filters(call)
    found = matching(call, filters)
    page = page_of(found, filters)
    count = len(page)
    skipped = 0
    if not empty(filters.get("enforceWarninglist")):
        page = [attribute for attribute in page if not warnings_of(call.store, attribute)]
        skipped = count - len(page)
    limit = whole(filters.get("limit"))
    if limit > 0 and (len(page) >= limit or not count):
        count += 1  # "there is more" for a full page, and for one past the end (recordings 252 to 254)
    headers = headers_of(name, count, skipped)
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
        body = csv_of(page, filters)
    return Answer(body.encode(), 200, FORMATS[name][1], headers)


def matching(call: Call, filters: Filters) -> list[Attribute]:
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
            tests.append(wants(values, wanted(filters[name])))
    for name, flag in _FLAGS.items():
        if filters.get(name) is not None:
            tests.append(is_one_of(flag, flags(filters[name])))
    for name, stamp in _TIMES.items():
        if filters.get(name) is not None and filters[name] is not False:
            tests.append(in_span(stamp, since(filters[name], now)))
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


def csv_of(found: list[Attribute], filters: Filters) -> str:
    """Attributes as a table: texts in quotes, flags as numbers (recording 260)."""
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
