"""Delivery of slices to events: send, look, ask why, and only then say what became of each attribute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack

import anyio

from tqmisp.errors import EventBlocked, MispError, MispFault, MispRefused, MispTooLarge, MispUnclear
from tqmisp.log import get_logger
from tqmisp.misp import event as bodies
from tqmisp.misp import marks
from tqmisp.misp.arrival import arrived, unfinished
from tqmisp.misp.beforehand import adopt, compare
from tqmisp.misp.client import MispClient
from tqmisp.misp.options import EventOptions, MispOptions
from tqmisp.misp.pace import Pace, Slot
from tqmisp.misp.publish import publish
from tqmisp.misp.reading import MispReader
from tqmisp.misp.suspicion import Suspicion
from tqmisp.misp.verdicts import Verdicts, refusal
from tqmisp.model import Change, EventRef, Planned, Sight
from tqmisp.pipeline.adaptive import Knee
from tqmisp.pipeline.groups import first_error
from tqmisp.pipeline.progress import Progress
from tqmisp.pipeline.protocols import Outcome, Slice
from tqmisp.pipeline.retry import RetryPolicy

log = get_logger(__name__)

BLOCKED = "The event was deleted in MISP; what was bound for it stays out."
FAULTS = 2
"""How often a chunk may make the server throw, or be lost without a trace, before it is cut in half."""


def _nothing(_ref: EventRef) -> None:
    """No event takes the place of another."""


class MispSink:
    """Delivers slices to one MISP; implements :class:`tqmisp.pipeline.protocols.Sink`.

    One object serves any number of concurrent consumers: requests in flight are bounded over all of them. Several may
    be on their way to one event, in any order: its UUID and timestamp say what MISP makes of each attribute.

    Args:
        client: the server.
        options: how much to ask of it.
        events: what new events look like.
        retry: when to repeat a request.
        progress: counters to raise.
        on_event: told the reference and the number of each event that is made.
        knee: how many requests of which size an earlier run found best.
        instead: asked for another event where people have deleted one before it could be filled.
        adopts: look for attributes before they are made; for a journal that is new, beside a MISP that may not be.
    """

    def __init__(
        self,
        client: MispClient,
        options: MispOptions,
        events: EventOptions,
        *,
        retry: RetryPolicy,
        progress: Progress | None = None,
        on_event: Callable[[EventRef, int], None] | None = None,
        knee: Knee | None = None,
        instead: Callable[[EventRef], EventRef | None] = _nothing,
        adopts: bool = False,
    ) -> None:
        self.reader = MispReader(client, retry)
        self.pace = Pace(options, knee)
        self._client = client
        self._options = options
        self._events = events
        self._retry = retry
        self._progress = progress or Progress()
        self._on_event = on_event
        self._instead = instead
        self._adopts = adopts
        self._locks: dict[str, anyio.Lock] = {}
        self._there: set[str] = set()
        self._suspicion = Suspicion(client, retry)
        self._verdicts = Verdicts(client, self.reader, retry, self._suspicion)

    async def deliver(self, part: Slice[EventRef, Planned]) -> Outcome[EventRef, Planned]:
        """Bring the attributes of a slice into their event; each one's fate is known afterwards.

        Raises:
            MispUnavailable: the server did not come back within the attempts of the policy.
            MispRefused: it will not take anything from us.
        """
        ref = part.destination
        outcome: Outcome[EventRef, Planned] = Outcome()
        new = [item for item in part.items if not item.base and item.change is not Change.RETIRE]
        if self._adopts:
            new = adopt(ref, new, await self.reader.whole([item.uuid for item in new]), outcome)
        lost = [item for item in new if item.change is Change.REPAIR]
        if lost:  # with an event that people have deleted, what was in it stays out
            await self._bring_new(ref, lost, outcome, _nothing)
            new = [item for item in new if item.change is not Change.REPAIR]
        if new:
            await self._bring_new(ref, new, outcome, self._instead)
        known = [item for item in part.items if item.base or item.change is Change.RETIRE]
        if known:
            await self._bring(ref, await self._compare(ref, known, outcome), outcome)
        return outcome

    async def _bring_new(
        self,
        ref: EventRef,
        items: Sequence[Planned],
        outcome: Outcome[EventRef, Planned],
        instead: Callable[[EventRef], EventRef | None],
    ) -> None:
        """Bring what MISP does not have; another event takes the place of one that people have deleted, if any does."""
        try:
            here = await self._make_event(ref, instead)
        except EventBlocked:
            log.warning("event was deleted in MISP and is left alone", uuid=ref.uuid)
            outcome.refused += [(item, refusal(item, "filtered", "event_blocked", BLOCKED)) for item in items]
            return
        brought: Outcome[EventRef, Planned] = Outcome()
        try:
            await self._bring(here, items, brought)
        except MispRefused as error:
            if error.status != 404 or here.uuid in await self.reader.events([here.uuid]):
                raise
            self._there.discard(here.uuid)  # people have deleted it meanwhile, with whatever had arrived
            await self._bring_new(ref, items, outcome, instead)
            return
        outcome.refused += brought.refused
        outcome.elsewhere += brought.elsewhere
        if here == ref:
            outcome.stored += brought.stored
        else:
            outcome.elsewhere += [(item, here) for item in brought.stored]

    async def _bring(self, ref: EventRef, items: Sequence[Planned], outcome: Outcome[EventRef, Planned]) -> None:
        if items:
            poison = await self._send_all(ref, items)
            await self._look(ref, items, poison, outcome)

    async def _compare(
        self, ref: EventRef, items: Sequence[Planned], outcome: Outcome[EventRef, Planned]
    ) -> list[Planned]:
        """Leave what people have changed out of updates; return those of which something is left in this event."""
        left = []
        for change in compare(items, await self.reader.whole([item.uuid for item in items]), outcome):
            if change.held.event_uuid == ref.uuid:
                left.append(change.item)
            else:
                await self._verdicts.bring_up_to_date(change.item, change.home, outcome)
        return left

    async def look(self, ref: EventRef, promised: Mapping[bytes, bytes]) -> dict[bytes, Sight]:
        """Those attributes of an event that MISP holds, by UUID, of these with the marks that were promised."""
        found = await self.reader.whole(list(promised))
        return {
            uuid: Sight(held.timestamp, b"" if held.deleted else marks.untagged(promised[uuid], held.tags))
            for uuid, held in found.items()
            if held.event_uuid == ref.uuid
        }

    async def publish(self, uuids: Iterable[str]) -> dict[str, MispError]:
        """Publish events, and return those that MISP did not publish, with the reason."""
        return await publish(self._client, uuids, self._retry)

    async def _make_event(self, ref: EventRef, instead: Callable[[EventRef], EventRef | None]) -> EventRef:
        """See to it that an event is there; return the one that takes its place where people have deleted it.

        That it is there already is success, if it is ours to see.

        Raises:
            EventBlocked: it was deleted, and nothing takes its place.
        """
        while True:
            async with self._locks.setdefault(ref.uuid, anyio.Lock()):
                try:
                    await self._see_to(ref)
                except EventBlocked:
                    other = instead(ref)
                    if other is None:
                        raise
                    log.warning("event was deleted in MISP; another takes its place", uuid=ref.uuid, instead=other.uuid)
                    ref = other
                else:
                    return ref

    async def _see_to(self, ref: EventRef) -> None:
        if ref.uuid in self._there:
            return
        state = (await self.reader.events([ref.uuid])).get(ref.uuid)
        if state is None:
            body = bodies.shell(ref, self._events)
            try:
                answer = await self._retry.call(lambda: self._client.write("/events/add/metadata:1", body))
            except EventBlocked:
                raise
            except MispRefused as error:
                # the answer to an earlier attempt may have been lost
                state = (await self.reader.events([ref.uuid])).get(ref.uuid) if error.status == 404 else None
                if state is None:
                    raise
            else:
                number = int(answer.data["Event"]["id"])
                log.info("event made", uuid=ref.uuid, id=number)
                if self._on_event is not None:
                    self._on_event(ref, number)
        if state is not None and state.lacks(self._events.tags):
            body = bodies.tags(self._events.tags)
            await self._retry.call(lambda: self._client.write(f"/events/edit/{ref.uuid}/metadata:1", body))
        self._there.add(ref.uuid)

    async def _send_all(self, ref: EventRef, items: Sequence[Planned]) -> dict[bytes, str]:
        """Send items in chunks, several at a time; return those that make the server throw, with its words."""
        poison: dict[bytes, str] = {}

        async def send(chunk: Sequence[Planned], slot: Slot) -> None:
            await self._send(ref, _Attempts(self, ref, chunk, slot), poison)
            self._progress.sent += len(chunk)

        start = 0
        try:
            with ExitStack() as slots:  # also those of tasks that were cancelled before they began
                async with anyio.create_task_group() as chunks:
                    while start < len(items):
                        slot = await self.pace.take()
                        slots.callback(slot.give)
                        size = self.pace.cut(len(items) - start)
                        name = f"chunk {start} of {ref.uuid}"
                        chunks.start_soon(send, items[start : start + size], slot, name=name)
                        start += size
        except BaseExceptionGroup as group:
            raise first_error(group) from None
        return poison

    async def _send(self, ref: EventRef, attempts: _Attempts, poison: dict[bytes, str]) -> None:
        """Send one chunk as one transaction; a chunk that is too much for the server is cut in half."""
        try:
            await self._retry.call(attempts)
        except MispTooLarge as error:
            await self._halve(ref, attempts, poison, error)
        except _Lost as error:
            await self._suspicion.holds(ref)  # a server that loses everything is waited for
            await self._halve(ref, attempts, poison, error, unclear=True)
        except (_Poison, MispFault) as error:
            await self.reader.alive()  # a server that is down is not our chunk's fault
            await self._halve(ref, attempts, poison, error, unclear=True)

    async def _halve(
        self, ref: EventRef, whole: _Attempts, poison: dict[bytes, str], error: Exception, *, unclear: bool = False
    ) -> None:
        chunk = whole.chunk
        if len(chunk) == 1:
            if isinstance(error, MispTooLarge) or await self._suspicion.holds(ref):
                poison[chunk[0].uuid] = str(error)
            else:
                await self._send(ref, _Attempts(self, ref, chunk, suspect=True, unclear=unclear), poison)
            return
        log.warning("chunk is cut in half", uuid=ref.uuid, attributes=len(chunk), error=str(error))
        middle = len(chunk) // 2
        for half in (chunk[:middle], chunk[middle:]):
            await self._send(ref, _Attempts(self, ref, half, suspect=whole.suspect, unclear=unclear), poison)

    async def post(self, ref: EventRef, chunk: Sequence[Planned]) -> None:
        """One request with a chunk, repeated by nobody."""
        self._progress.requests += 1
        try:
            await self._client.write(f"/events/edit/{ref.uuid}/metadata:1", bodies.chunk(chunk))
        finally:
            self._progress.knee = self.pace.controller.knee

    async def missing(self, ref: EventRef, chunk: Sequence[Planned], *, may_still_run: bool) -> list[Planned]:
        """What is left to send of a chunk, as the event does not hold it as it was sent.

        MISP goes on with a request when its client or a proxy has given up: to send the same again would be a race,
        so that it is looked for a while whether they arrive.
        """
        wait, pause = (self._options.unclear_seconds if may_still_run else 0.0), 1.0
        while True:
            held = await self.reader.whole([item.uuid for item in chunk])
            looks = (unfinished(ref, item, held.get(item.uuid)) for item in chunk)
            left = [item for item in looks if item is not None]
            if not left or wait <= 0:
                return left
            pause = min(2 * pause, wait)
            wait -= pause
            await self._retry.sleep(pause)

    async def _look(
        self, ref: EventRef, items: Sequence[Planned], poison: dict[bytes, str], outcome: Outcome[EventRef, Planned]
    ) -> None:
        """Compare what was sent with what is stored, and ask for the reasons of the difference."""
        new = all(item.change is Change.CREATE for item in items)  # there is no older state that would count as well
        if new and not poison and await self.reader.count(ref.uuid, list(map(bodies.uuid, items))) == len(items):
            outcome.stored += items
            return
        held = await self.reader.attributes([item.uuid for item in items])
        absent = []
        for item in items:
            if arrived(ref, item, held.get(item.uuid)):
                outcome.stored.append(item)
            elif item.uuid in poison:
                outcome.refused.append((item, refusal(item, "quarantined", "server_error", poison[item.uuid])))
            else:
                absent.append(item)
        if absent:
            await self._verdicts.ask(ref, absent, outcome)


class _Poison(Exception):
    """Some value in a chunk makes the server throw, again and again."""


class _Lost(Exception):
    """A chunk is lost again and again, as where it takes longer than the server gives a worker."""


class _Attempts:
    """The attempts to send one chunk; after an unclear one, only what is not there is sent again."""

    def __init__(
        self,
        sink: MispSink,
        ref: EventRef,
        chunk: Sequence[Planned],
        slot: Slot | None = None,
        *,
        suspect: bool = False,
        unclear: bool = False,
    ) -> None:
        self.chunk = chunk
        self.suspect = suspect
        """Whether the server has thrown at it before."""
        self._sink = sink
        self._ref = ref
        self._left = chunk
        self._slot = slot
        self._unclear, self._may_still_run = unclear, False
        self._faults = self._lost = 0

    async def __call__(self) -> None:
        if self._unclear:
            left = await self._sink.missing(self._ref, self._left, may_still_run=self._may_still_run)
            if self._lost >= FAULTS and len(left) == len(self._left) > 1:
                raise _Lost("its requests are lost without a trace")
            self._left = left
            self._unclear = self._may_still_run = False
        slot, self._slot = self._slot or await self._sink.pace.take(), None
        with slot:
            if self._left:
                await self._attempt()

    async def _attempt(self) -> None:
        sink, ref, left = self._sink, self._ref, self._left
        try:
            await sink.pace.send(ref.uuid, len(left), lambda: sink.post(ref, left), suspect=self.suspect)
        except MispUnclear as error:
            self._unclear, self._may_still_run = True, error.may_still_run
            self._lost += 1
            raise
        except MispFault as error:
            self._unclear = True  # when PHP runs out of memory, all may have been saved
            self.suspect = True
            self._faults += 1
            if self._faults >= FAULTS and len(left) > 1:
                raise _Poison(str(error)) from error
            raise
