"""What a delivery would do to MISP, found out by looking at it alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from tqmisp.errors import EventBlocked, MispError, MispRefused
from tqmisp.misp import event as bodies
from tqmisp.misp.beforehand import compare
from tqmisp.misp.client import Answer, MispClient
from tqmisp.misp.merge import DELETED
from tqmisp.misp.options import EventOptions, MispOptions
from tqmisp.misp.reading import COUNTED, EventState, MispReader
from tqmisp.misp.sink import BLOCKED, MispSink
from tqmisp.misp.verdicts import DELETED as STAYS_DELETED
from tqmisp.misp.verdicts import refusal
from tqmisp.model import Change, EventRef, Planned
from tqmisp.pipeline.adaptive import Knee
from tqmisp.pipeline.progress import Progress
from tqmisp.pipeline.protocols import Outcome
from tqmisp.pipeline.retry import RetryPolicy

_TOLD_AS = {
    Change.CREATE: "created",
    Change.RETRY: "created",
    Change.REPAIR: "created",
    Change.UPDATE: "updated",
    Change.REVIVE: "updated",
    Change.RETIRE: "retired",
}
"""Under which name a change is counted; an attribute that only passes to another indicator is under none."""


class Before(Protocol):
    """What was known of MISP when the looking began."""

    async def promised(self, uuids: Sequence[bytes]) -> Collection[bytes]:
        """Those of these attributes that had been delivered."""
        ...

    async def filled(self, ref: EventRef) -> bool:
        """Whether anything had been delivered to an event for certain."""
        ...


@dataclass(slots=True)
class Forecast:
    """What would be sent, as a :class:`ForeseeingSink` finds out."""

    before: Before
    attributes: int = 0
    """That would be sent."""
    bytes: int = 0
    """Of the bodies that would carry them."""
    reads: int = 0
    """Requests that would look at what was sent."""
    writes: int = 0
    """Requests that would change something."""
    changes: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    """By UUID of the event and type of the attribute: how many would be ``created``, ``updated`` and ``retired``."""
    titles: dict[str, str] = field(default_factory=dict)
    """Of these events."""

    def change(self, ref: EventRef, kind: str, change: Change) -> None:
        """Count what becomes of an attribute."""
        if change in _TOLD_AS:
            self.changes.setdefault((ref.uuid, kind), Counter())[_TOLD_AS[change]] += 1
            self.titles.setdefault(ref.uuid, ref.info)

    def send(self, items: Sequence[Planned], chunk: int) -> None:
        """Count the requests that bring items to an event, so many at a time."""
        requests = math.ceil(len(items) / chunk)
        self.attributes += len(items)
        self.writes += requests
        self.reads += math.ceil(len(items) / COUNTED)
        self.bytes += sum(len(item.body) + 1 for item in items) + requests * (len(bodies.chunk([])) - 1)


class Onlooker(MispClient):
    """The same server over the same connections, without the way to change anything."""

    def __init__(self, client: MispClient) -> None:  # the rest is shared with the other one
        vars(self).update(vars(client))

    async def write(self, path: str, body: bytes, *, method: str = "POST") -> Answer:
        """Refuse to.

        Raises:
            MispRefused: always.
        """
        raise MispRefused(f"{method} {path}: {len(body)} bytes were not sent, since MISP is only looked at now.")


class ForeseeingReader(MispReader):
    """Sees events as they would be afterwards.

    Attributes:
        made: events that MISP does not have yet.
        written: UUIDs of events that would be written to, and so unpublished.
        published: UUIDs of those that would be published at the end.
        more: how many more attributes, not deleted, would be in an event, by UUID.
    """

    def __init__(self, client: MispClient, retry: RetryPolicy) -> None:
        super().__init__(client, retry)
        self.made: dict[str, EventRef] = {}
        self.written: set[str] = set()
        self.published: set[str] = set()
        self.more: Counter[str] = Counter()

    async def events(self, uuids: Sequence[str]) -> dict[str, EventState]:
        """Those that are there or would be."""
        found = await super().events([uuid for uuid in uuids if uuid not in self.made])
        for uuid in uuids:
            if uuid in self.made:
                ref = self.made[uuid]
                found[uuid] = EventState(uuid, 0, ref.info, ref.date, 0, 0, published=False, org_id="", orgc_id="")
        return {uuid: self._afterwards(state) for uuid, state in found.items()}

    def _afterwards(self, state: EventState) -> EventState:
        published = state.uuid in self.published or (state.published and state.uuid not in self.written)
        return state._replace(attributes=state.attributes + self.more[state.uuid], published=published)

    async def count(self, event: str, uuids: Sequence[str] = ()) -> int:
        """How many there would be."""
        if event in self.made:
            return self.more[event]
        return await super().count(event, uuids) + self.more[event]


class ForeseeingSink(MispSink):
    """Says of each slice what would become of it, and brings nothing; the rest is as for the sink that does.

    What it cannot know: values that MISP's own validation refuses though we find nothing wrong with them, and values
    that people have put into our events themselves.

    Args:
        client: the server.
        options: how much would be asked of it.
        events: what new events would look like.
        retry: when to repeat a request.
        forecast: told what would be sent.
        progress: counters to raise.
        knee: how many requests of which size an earlier run found best.
        instead: asked for another event where people have deleted one before it could be filled.
        adopts: look for attributes before they are made.
        may_publish: whether the role of the key allows it.
    """

    reader: ForeseeingReader

    def __init__(
        self,
        client: MispClient,
        options: MispOptions,
        events: EventOptions,
        *,
        retry: RetryPolicy,
        forecast: Forecast,
        progress: Progress | None = None,
        knee: Knee | None = None,
        instead: Callable[[EventRef], EventRef | None],
        adopts: bool,
        may_publish: bool,
    ) -> None:
        only = Onlooker(client)
        super().__init__(
            only, options, events, retry=retry, progress=progress, knee=knee, instead=instead, adopts=adopts
        )
        self.reader = ForeseeingReader(only, retry)
        self._forecast = forecast
        self._may_publish = may_publish

    async def publish(self, uuids: Iterable[str]) -> dict[str, MispError]:
        """Say which events would not be published."""
        if not self._may_publish:
            return {uuid: MispRefused("the role of the key may not publish") for uuid in uuids}
        there = await self.reader.events(list(uuids))
        self._forecast.writes += len(there)
        self.reader.published.update(there)
        return {}

    async def _see_to(self, ref: EventRef) -> None:
        if ref.uuid in self._there:
            return
        if ref.uuid not in await self.reader.events([ref.uuid]):
            self._forecast.writes += 1
            self._forecast.bytes += len(bodies.shell(ref, self._events))
            if await self._forecast.before.filled(ref):
                raise EventBlocked(BLOCKED)  # MISP keeps the UUIDs of deleted events on a list
            self.reader.made[ref.uuid] = ref
        self._there.add(ref.uuid)

    async def _bring(self, ref: EventRef, items: Sequence[Planned], outcome: Outcome[EventRef, Planned]) -> None:
        if not items:
            return
        # where the journal is new, it was looked before whether MISP has them
        held = {} if self._adopts else await self.reader.attributes([item.uuid for item in items])
        self._would_send(ref.uuid, items)
        for item in items:
            here = held.get(item.uuid)
            if here is not None and here.deleted:
                outcome.refused.append((item, refusal(item, "filtered", "deleted_in_misp", STAYS_DELETED)))
                continue
            home = ref
            if here is None or here.event_uuid == ref.uuid:
                outcome.stored.append(item)
            else:
                home = EventRef(0, here.event_uuid, here.event_info, "")
                outcome.elsewhere.append((item, home))
                self._forecast.writes += 1
            self.reader.more[home.uuid] += here is None
            self._forecast.change(home, _body(item)["type"], item.change)

    async def _compare(
        self, ref: EventRef, items: Sequence[Planned], outcome: Outcome[EventRef, Planned]
    ) -> list[Planned]:
        """Say what becomes of changes; nothing is left to be sent."""
        held = await self.reader.whole([item.uuid for item in items])
        absent = [item.uuid for item in items if item.uuid not in held]
        new = set(absent).difference(await self._forecast.before.promised(absent)) if absent else set()
        known = [item for item in items if item.uuid not in new]
        here: list[Planned] = [item for item in items if item.uuid in new]  # which MISP would have by now
        for left in compare(known, held, outcome):
            if left.held.event_uuid == ref.uuid:
                here.append(left.item)
            else:
                self._would_send(left.home.uuid, [left.item])
                outcome.elsewhere.append((left.item, left.home))
            deleted = _body(left.item).get(DELETED)
            self.reader.more[left.held.event_uuid] += 0 if deleted is None else left.held.deleted - bool(deleted)
            self._forecast.change(left.home, left.held.type, left.item.change)
        if here:
            self._would_send(ref.uuid, here)
            outcome.stored += here
        return []

    def _would_send(self, event: str, items: Sequence[Planned]) -> None:
        self._forecast.send(items, self.pace.cut(len(items)))
        self.reader.written.add(event)
        self._progress.sent += len(items)


def _body(item: Planned) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(item.body)
    return body
