"""Whether an attribute has arrived as it was sent, tags and all. Pure.

``/events/edit`` saves the attributes of a request in one transaction and puts their tags on afterwards, one by one
(MISP 2.5.1, ``editAttributePostProcessing``): when a worker or the database dies in between, attributes stay without.
"""

from __future__ import annotations

from typing import Any

import orjson
from msgspec.structs import replace

from tqmisp.misp import event as bodies
from tqmisp.misp import marks
from tqmisp.misp.reading import Held, Whole
from tqmisp.model import Change, EventRef, Planned


def arrived(ref: EventRef, item: Planned, held: Held | Whole | None) -> bool:
    """Whether an event holds an attribute in the version that was sent, or a later one."""
    if held is None or held.event_uuid != ref.uuid or held.timestamp < item.timestamp:
        return False
    return not held.deleted or item.change is Change.RETIRE


def unfinished(ref: EventRef, item: Planned, held: Whole | None) -> Planned | None:
    """What is to be sent so that an attribute is as it should be: all of it, or what its tags lack; None for nothing.

    MISP leaves alone what is not newer than what it has, so that tags need a later timestamp than the attribute.
    """
    if held is None or not arrived(ref, item, held):
        return item
    sent: dict[str, Any] = orjson.loads(item.body)
    here = {marks.tag(name) for name in held.tags}
    tags = [each for each in sent.get("Tag", ()) if (marks.tag(each["name"]) in here) == bool(each.get("deleted"))]
    if not tags:
        return None
    timestamp = held.timestamp + 1
    body = orjson.dumps({"uuid": bodies.uuid(item), "timestamp": str(timestamp), "Tag": tags})
    return replace(item, body=body, timestamp=timestamp)
