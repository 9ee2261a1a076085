"""The state of a simulated MISP: what it knows, how it is found, and how it outlives the process."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tqmisp.simulators.misp.accounts import HOST, OURS, Organisation
from tqmisp.simulators.misp.changelog import Change, ChangeLog
from tqmisp.simulators.misp.indexes import ValueIndex
from tqmisp.simulators.misp.model import Attribute, Event, SharingGroup, Tag, Warninglist
from tqmisp.simulators.misp.rows import attribute_row, event_row, read_attribute, read_event, tag_row
from tqmisp.simulators.misp.tagnames import FIRST_TAGS

Table = Literal["event", "attribute"]


class MispStore:
    """Everything that a simulated MISP remembers.

    Handlers change records through the methods below, which keep the indexes right, and end with :meth:`commit`.

    Attributes:
        maintenance: whether ``MISP.live`` is off; may be switched at any time.
        slowness: what all costs are multiplied by; may be changed at any time.
        requests: how often each ``METHOD /controller/action`` was asked for, whatever came of it; not kept in the log.
        write_requests: how many of these came to a route that changes something.
        emails: of the users, by id.
        sharing_groups: made by a site admin; add what a test needs.
        warninglists: those that are enabled; add what a test needs.
        now: gives the time in seconds; replace it for a clock that stands still.
    """

    def __init__(self, state_dir: Path | None = None, *, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.maintenance = False
        self.slowness = 1.0
        self.requests: Counter[str] = Counter()
        self.write_requests = 0
        self.organisations: dict[int, Organisation] = {HOST.id: HOST, OURS.id: OURS}
        self.emails: dict[int, str] = {}
        self.sharing_groups: dict[int, SharingGroup] = {}
        self.warninglists: list[Warninglist] = []
        self.tags: dict[int, Tag] = {}
        self.blocked: set[str] = set()
        self.values = ValueIndex()
        self.next_event = self.next_attribute = 1
        self._last_links: dict[Table, int] = {"event": 0, "attribute": 0}
        self._events: dict[int, Event] = {}
        self._event_uuids: dict[str, Event] = {}
        self._attributes: dict[int, Attribute] = {}
        self._attribute_uuids: dict[str, Attribute] = {}
        self._tag_names: dict[str, Tag] = {}
        self._changes: list[Change] = []
        self._touched_events: dict[int, Event] = {}
        self._touched: dict[int, Attribute] = {}
        for number, (name, colour) in enumerate(FIRST_TAGS, start=1):
            self._put_tag(Tag(number, name, colour))
        self._log = ChangeLog(state_dir) if state_dir is not None else None
        if self._log is not None:
            self._load(self._log)

    # ---- for tests and summaries

    def events(self) -> list[Event]:
        """All events, by id."""
        return list(self._events.values())

    def attributes(self, event_uuid: str, *, deleted: bool = False) -> list[Attribute]:
        """The attributes of an event, by id; with ``deleted`` the soft-deleted ones, too.

        Raises:
            KeyError: there is no such event.
        """
        return [item for item in self._event_uuids[event_uuid].attributes if deleted or not item.deleted]

    def stored_count(self) -> int:
        """The number of attributes on the server that are not soft-deleted."""
        return sum(not attribute.deleted for attribute in self._attributes.values())

    def close(self) -> None:
        """Let the log go."""
        if self._log is not None:
            self._log.close()

    # ---- finding

    def time(self) -> int:
        """The time as MISP stamps it."""
        return int(self.now())

    def event(self, key: str | int) -> Event | None:
        """An event by id or UUID."""
        if isinstance(key, int) or key.isdecimal():
            return self._events.get(int(key)) if len(str(key)) <= 20 else None
        return self._event_uuids.get(key.lower())

    def attribute(self, key: str | int) -> Attribute | None:
        """An attribute by id or UUID; soft-deleted ones, too."""
        if isinstance(key, int) or key.isdecimal():
            return self._attributes.get(int(key)) if len(str(key)) <= 20 else None
        return self._attribute_uuids.get(key.lower())

    def attribute_uuid(self, uuid: str) -> Attribute | None:
        """An attribute by its UUID in lower case."""
        return self._attribute_uuids.get(uuid)

    def every_attribute(self) -> Iterator[Attribute]:
        """All attributes of the server, by id."""
        return iter(self._attributes.values())

    def tag_named(self, name: str) -> Tag | None:
        """A tag by its name in any case (recording 279)."""
        return self._tag_names.get(name.lower())

    # ---- changing

    def put_event(self, event: Event) -> None:
        """Add an event, or say that it was changed."""
        if event.id not in self._events:
            self._events[event.id] = event
            self._event_uuids[event.uuid] = event
            self.next_event = max(self.next_event, event.id + 1)
        self._touched_events[event.id] = event

    def drop_event(self, event: Event) -> None:
        """Delete an event and its attributes, and put its UUID on the blocklist (recordings 75 and 76)."""
        for attribute in event.attributes:
            self._forget(attribute)
        del self._events[event.id], self._event_uuids[event.uuid]
        self._touched_events.pop(event.id, None)
        self.blocked.add(event.uuid)
        self._changes.append(["drop event", event.id])

    def add_attribute(self, attribute: Attribute) -> None:
        """Add a new attribute under the next id."""
        attribute.id = self.next_attribute
        self._put_attribute(attribute)
        self._touched[attribute.id] = attribute

    def change_attribute(self, attribute: Attribute, image: Attribute) -> None:
        """Give a stored attribute the fields of another one."""
        self.values.remove(attribute)
        for name in _CHANGEABLE:
            setattr(attribute, name, getattr(image, name))
        self.values.add(attribute)
        self._touched[attribute.id] = attribute

    def touch_attribute(self, attribute: Attribute) -> None:
        """Say that an attribute's time or tags were changed."""
        self._touched[attribute.id] = attribute

    def drop_attribute(self, attribute: Attribute) -> None:
        """Delete an attribute for good; its UUID and value may be used again (recording 250)."""
        self._forget(attribute)
        attribute.event.attributes.remove(attribute)
        self._changes.append(["drop attribute", attribute.id])

    def add_tag(self, name: str, colour: str) -> Tag:
        """Make a tag."""
        tag = Tag(max(self.tags, default=0) + 1, name, colour)
        self._put_tag(tag)
        self._changes.append(["tag", tag_row(tag)])
        return tag

    def next_link(self, table: Table) -> int:
        """The id of the next tag on an event or on an attribute; each kind has its own numbers."""
        self._last_links[table] += 1
        return self._last_links[table]

    def add_organisation(self, name: str, uuid: str, created_by: int) -> Organisation:
        """Remember an organisation of another server (recording 35)."""
        number = max(self.organisations) + 1
        organisation = Organisation(number, name, uuid, local=False, created_by=created_by)
        self.organisations[number] = organisation
        self._changes.append(["organisation", number, name, uuid, created_by])
        return organisation

    def commit(self) -> None:
        """Write to the log what was changed since the last time."""
        if self._log is not None:
            changes = self._changes
            changes += (["event", event_row(event)] for event in self._touched_events.values())
            by_event: dict[int, list[Any]] = {}
            for attribute in self._touched.values():
                by_event.setdefault(attribute.event.id, []).append(attribute_row(attribute))
            changes += (["attributes", event_id, rows] for event_id, rows in by_event.items())
            if changes:
                self._log.append(changes)
        self._changes = []
        self._touched_events.clear()
        self._touched.clear()

    # ---- inside

    def _put_attribute(self, attribute: Attribute) -> None:
        self._attributes[attribute.id] = attribute
        self._attribute_uuids[attribute.uuid] = attribute
        attribute.event.attributes.append(attribute)
        self.values.add(attribute)
        self.next_attribute = max(self.next_attribute, attribute.id + 1)

    def _forget(self, attribute: Attribute) -> None:
        self.values.remove(attribute)
        del self._attributes[attribute.id], self._attribute_uuids[attribute.uuid]
        self._touched.pop(attribute.id, None)

    def _put_tag(self, tag: Tag) -> None:
        self.tags[tag.id] = tag
        self._tag_names[tag.name.lower()] = tag

    def _load(self, log: ChangeLog) -> None:
        readers: dict[str, Callable[..., None]] = {
            "event": self._load_event,
            "attributes": partial(self._load_attributes, {}),
            "tag": lambda row: self._put_tag(Tag(*row)),
            "organisation": self._load_organisation,
            "drop event": lambda number: self.drop_event(self._events[number]),
            "drop attribute": lambda number: self.drop_attribute(self._attributes[number]),
        }
        gc.disable()  # nothing of a million new objects is garbage
        try:
            for changes in log.read():
                for kind, *rest in changes:
                    readers[kind](*rest)
        finally:
            gc.enable()
        self._changes = []
        self._touched.clear()
        self._touched_events.clear()

    def _load_event(self, row: list[Any]) -> None:
        self.put_event(read_event(row, self._events.get(row[0]), self.tags))
        self._links_seen("event", row[-1])

    def _load_attributes(self, same: dict[str, str], event_id: int, rows: list[list[Any]]) -> None:
        event = self._events[event_id]
        for row in rows:
            image = read_attribute(row, event, self.tags, same)
            known = self._attributes.get(image.id)
            if known is None:
                self._put_attribute(image)
            else:
                self.change_attribute(known, image)
            if image.tags:
                self._links_seen("attribute", row[-1])

    def _load_organisation(self, number: int, name: str, uuid: str, created_by: int) -> None:
        self.organisations[number] = Organisation(number, name, uuid, local=False, created_by=created_by)

    def _links_seen(self, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            self._last_links[table] = max(self._last_links[table], row[0])


_CHANGEABLE = [
    "type",
    "category",
    "value1",
    "value2",
    "to_ids",
    "timestamp",
    "comment",
    "distribution",
    "sharing_group_id",
    "deleted",
    "disable_correlation",
    "first_seen",
    "last_seen",
    "tags",
]
