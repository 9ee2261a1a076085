"""One run on one target, step by step: settle what an earlier run left, read and deliver, withdraw, account for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import TypedDict
from zoneinfo import ZoneInfo

import anyio
import orjson
from sqlalchemy import Connection

from tqmisp.balance import weigh
from tqmisp.config import Settings
from tqmisp.errors import MispFault
from tqmisp.journal.ledger import Ledger
from tqmisp.journal.retirement import Retirement
from tqmisp.journal.settle import Settlement
from tqmisp.journal.store import Journal
from tqmisp.journal.tally import Tally
from tqmisp.log import get_logger
from tqmisp.misp import identity
from tqmisp.misp.account import Account, known_tags
from tqmisp.misp.attribute import Attribute
from tqmisp.misp.client import MispClient
from tqmisp.misp.foresight import Forecast, ForeseeingSink
from tqmisp.misp.mapping import IndicatorMapper
from tqmisp.misp.reading import MispReader
from tqmisp.misp.retire import Retirer
from tqmisp.misp.sink import MispSink
from tqmisp.model import EventRef, Indicator, Planned
from tqmisp.observe.advice import advise
from tqmisp.observe.listener import Heard, Listener
from tqmisp.observe.receipt import Receipt, TargetReceipt
from tqmisp.observe.timeline import CountTypes, count_types
from tqmisp.pipeline.adaptive import Knee
from tqmisp.pipeline.blank import Blank
from tqmisp.pipeline.limits import Limits
from tqmisp.pipeline.progress import Progress
from tqmisp.pipeline.protocols import Mapper, Sink, Source
from tqmisp.pipeline.retry import RetryPolicy
from tqmisp.pipeline.run import run as run_pipeline
from tqmisp.pipeline.stop import Stop
from tqmisp.threatq.recognition import Sighting
from tqmisp.threatq.singles import KEYS_A_PAGE, Singles, in_lists
from tqmisp.threatq.source import ThreatQSource

log = get_logger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a run works, and who watches it."""

    journal: Journal
    target: int
    """The number of the target in the journal."""
    run: int
    """The number of the run in the journal."""
    progress: Progress
    retry: RetryPolicy
    stop: Stop
    listener: Listener
    forecast: Forecast | None = None
    """Told what would be sent, where nothing is to be sent; the journal is a copy then."""


class Transfer:
    """One run on one target. Use :meth:`open`; then call the steps in the order in which they stand here."""

    def __init__(self, settings: Settings, place: Place, misp: MispClient, mapper: IndicatorMapper) -> None:
        space = identity.namespace(settings.threatq.url, settings.events.namespace)
        name, day = settings.events.name, datetime.now(ZoneInfo(settings.events.timezone)).date().isoformat()
        self.ledger = Ledger(
            place.journal,
            target=place.target,
            run=place.run,
            date=day,
            capacity=settings.events.slice_size,
            make_event=lambda part: _event(space, name, day, part),
        )
        self._retirement = Retirement(place.journal, place.target, place.run, self.ledger)
        self._settings = settings
        self._place = place
        self._misp = misp
        self._mapper = mapper
        self._rows_read = 0
        self._sink: MispSink
        self.salt = b""
        """Names all that decides what a row becomes, beside the row and the selection."""

    async def recognise(self, rows: Sequence[Sighting], types: dict[str, dict[str, int]]) -> set[int]:
        """Which rows of the source need no look, as MISP has what was made of them; counts these by type."""
        known = await self.ledger.recognise([(row.key, row.stamp) for row in rows])
        count_types(types, (row.type for row in rows if row.key in known))
        return known

    @classmethod
    async def open(cls, settings: Settings, place: Place, misp: MispClient, account: Account) -> Transfer:
        """Read what earlier runs have left, and find out what their last requests have done.

        Raises:
            MispError: MISP could not be read.
        """
        mapper = await mapper_for(settings, misp, account, place.retry)
        transfer = cls(settings, place, misp, mapper)
        transfer.salt = await anyio.to_thread.run_sync(lambda: mapper.version)  # looks up what is installed
        ledger = transfer.ledger
        await ledger.load()
        knee = Knee.from_json(await place.journal.learned(place.target))
        # beside a MISP that has events of ours, a new journal takes over what is in them, which costs a look at each
        adopts = await place.journal.is_adopting(place.target)
        if ledger.is_new and not adopts:
            adopts = await MispReader(misp, place.retry).has_event_named(settings.events.name)
            await place.journal.set_adopting(place.target, adopting=adopts)
        if place.forecast is None:
            transfer._sink = MispSink(
                misp,
                settings.misp,
                settings.events,
                retry=place.retry,
                progress=place.progress,
                on_event=lambda _, event_id: place.listener.on_event_created(event_id),
                knee=knee,
                instead=ledger.instead,
                adopts=adopts,
            )
        else:
            transfer._sink = ForeseeingSink(
                misp,
                settings.misp,
                settings.events,
                retry=place.retry,
                forecast=place.forecast,
                progress=place.progress,
                knee=knee,
                instead=ledger.instead,
                adopts=adopts,
                may_publish=account.may_publish,
            )
        missing = await transfer._settlement().settle()
        if missing:
            log.warning("an earlier run died; what it had promised is delivered again", attributes=missing)
        return transfer

    async def read(self, source: ThreatQSource, receipt: Receipt, scope: str, *, complete: bool) -> bool:
        """Read a selection to its end and deliver what is new or has changed.

        Args:
            source: what to read.
            receipt: told about types.
            scope: of the reading that can be gone on with where this one is broken off.
            complete: whether the source gives everything that is selected, so that the rest has left.

        Returns:
            Whether everything was read.

        Raises:
            ThreatQError: ThreatQ could not be read to the end.
            MispError: MISP could not be written to.
            Interrupted: stopped before everything that had been read was delivered.
        """
        ledger, journal = self.ledger, self._place.journal
        going_on = await self._go_on(source, scope)
        if complete:
            await ledger.see(begin=going_on is None, with_ledger=going_on is True)
        mapper = CountTypes(self._mapper, attrgetter("type"), receipt.types)
        progress = self._place.progress
        before = progress.read  # of a verification, perhaps
        await self._deliver(source, mapper, progress)
        self._rows_read += progress.read - before
        await ledger.flush()
        if self._mapper.tags_left_out:
            log.warning(
                "MISP lacks some tags, and the role of the key may not make them: they are left out",
                tags=len(self._mapper.tags_left_out),
                examples=sorted(self._mapper.tags_left_out)[:5],
            )
        settlement = self._settlement()
        asked: set[int] = set()
        while not self._place.stop.requested and (left := set(await settlement.left()) - asked):
            asked |= left  # where one has gone, another one may have its attribute
            await self._again(source, in_lists(sorted(left)), count=True)
        if self._place.stop.requested:
            return False
        await settlement.finish()
        await journal.end_sweep(self._place.target)
        if complete and not source.missing:
            await self._retirement.find_absent()
            await journal.set_adopting(self._place.target, adopting=False)
        return True

    async def withdraw(self, source: ThreatQSource) -> str | None:
        """Withdraw what has left the selection.

        Returns:
            Why nothing was withdrawn, where that needs somebody's leave.
        """
        ledger, options = self.ledger, self._settings.retire
        if options.policy == "leave" and not options.statuses and not options.types:
            return None
        retirement = self._retirement
        listed, live = await retirement.listed()
        if not self._settings.run.confirm_retire and options.needs_leave(listed, live):
            return (
                f"{listed} of the {live} indicators that MISP holds have left the selection, more than "
                f"{options.share:.0%} ([retire] share): nothing was withdrawn. "
                "Look whether ThreatQ is well; if it is right, run again with --confirm-retire."
            )
        # that a list does not hold them may have many reasons; each is asked for by itself
        await self._again(source, retirement.absent(KEYS_A_PAGE), count=True)
        if not listed or self._place.stop.requested:
            return None
        self._place.progress.phase = "withdrawing"
        progress = Progress()
        await run_pipeline(retirement, Retirer(options), retirement, self._sinks(progress), **self._bounds(progress))
        await ledger.flush()
        await self._again(source, in_lists(retirement.heirs))
        return None

    async def replay(self, source: ThreatQSource, keys: Sequence[int]) -> None:
        """Deliver some indicators as ThreatQ has them now."""
        await self._again(source, in_lists(keys), count=True)

    async def account(self) -> TargetReceipt:
        """Publish where asked, look once more at every event that was written to, and draw up the balance."""
        line, ledger, progress = TargetReceipt(self._settings.misp.name), self.ledger, self._place.progress
        due, touched = await ledger.due(), dict(ledger.events)
        if self._settings.events.publish:
            progress.phase = "publishing"
            touched |= {ref.number: ref for ref in due}  # also of a run that died before it could
            due = await self._publish(due, line)
        await ledger.settle_due(due)
        progress.phase = "checking"
        await weigh(list(touched.values()), ledger, self._sink.reader, line)
        for each in fields(Tally):
            counted = getattr(ledger.tally, each.name)
            setattr(line, each.name, dict(+counted) if isinstance(counted, Counter) else counted)
        read = self._rows_read + ledger.tally.absent
        if line.accounted() != read:
            line.imbalance.append(f"{read} indicators were read, {line.accounted()} are accounted for.")
        line.balanced = not line.imbalance
        knee = self._sink.pace.controller.knee
        if knee.rate:
            line.requests_in_flight, line.chunk_size = knee.in_flight, knee.chunk
            await self._place.journal.learn(self._place.target, knee.as_json())
        counters, waiting = self._misp.counters, progress.waiting
        line.requests, line.write_requests, line.retries = counters.requests, counters.write_requests, progress.retries
        line.seconds_waiting_for = {
            "threatq": round(waiting.source, 3),
            "mapping": round(waiting.mapping, 3),
            "journal": round(waiting.journal, 3),
            "misp": round(waiting.sink, 3),
            "backoff": round(waiting.backoff, 3),
        }
        correlates = not self._settings.events.disable_correlation
        line.advice = advise(progress, seconds=progress.seconds(), busy=progress.busy(), correlates=correlates).text
        return line

    async def _publish(self, due: Sequence[EventRef], line: TargetReceipt) -> list[EventRef]:
        """Publish events; return those that the next run need not publish."""
        reader = self._sink.reader
        there = await reader.events([ref.uuid for ref in due])  # without what people have deleted, or was never made
        refused = await self._sink.publish(list(there))
        # what MISP fails at may come after it, such as telling another server
        after = await reader.events(list(refused)) if refused else {}
        failed = {uuid: error for uuid, error in refused.items() if uuid not in after or not after[uuid].published}
        line.imbalance += [f"Event {uuid} is not published: {error}" for uuid, error in failed.items()]
        return [ref for ref in due if not isinstance(failed.get(ref.uuid), MispFault)]

    async def _go_on(self, source: ThreatQSource, scope: str) -> bool | None:
        """Note how far the source is accounted for, from where an earlier run broke off.

        Returns:
            None if no run did; otherwise whether the reading that goes on is the one that has filled the ledger.
        """
        place = self._place
        plan = await place.journal.sweep(place.target, scope)
        known: dict[int, str] = {}
        filled: bool | None = None
        if plan is None:
            await place.journal.end_sweep(place.target)  # whoever goes back to that scope begins anew
        else:
            held = orjson.loads(plan)
            filled = bool(held.get("filled"))
            known = {int(part): position for part, position in held["positions"].items()}
            source.resume(held["source"], known)
            log.info("an earlier run broke off; going on where it was", parts=len(known))

        def keep(connection: Connection, positions: Mapping[int, str]) -> None:
            held = {
                "source": source.plan(),
                "positions": {str(part): text for part, text in positions.items()},
                "filled": self.ledger.is_of_this_reading,
            }
            place.journal.keep_sweep(connection, place.target, scope, orjson.dumps(held).decode())

        self.ledger.follow(known, keep)
        return filled

    async def _again(
        self, source: ThreatQSource, keys: AsyncGenerator[list[int], None], *, count: bool = False
    ) -> None:
        """Deliver some indicators as ThreatQ has them now; those that were counted before are not counted again."""
        tally, progress = self.ledger.tally, Progress()
        if not count:
            self.ledger.tally = Tally()
        try:
            await self._deliver(Singles(source, keys), self._mapper, progress)
            await self.ledger.flush()
        finally:
            self.ledger.tally = tally
        self._rows_read += progress.read if count else 0

    async def _deliver(
        self, source: Source[Indicator], mapper: Mapper[Indicator, Attribute], progress: Progress
    ) -> None:
        await run_pipeline(source, mapper, self.ledger, self._sinks(progress), **self._bounds(progress))
        while self.ledger.has_put_off and not self._place.stop.requested:
            await run_pipeline(Blank(), mapper, self.ledger, self._sinks(progress), **self._bounds(progress))

    def _sinks(self, progress: Progress) -> list[Sink[EventRef, Planned]]:
        return [Heard(self._sink, self._place.listener, progress)] * self._settings.misp.consumers

    def _bounds(self, progress: Progress) -> _Bounds:
        limits = Limits(**asdict(self._settings.pipeline) | {"slice_items": self._settings.events.slice_size})
        producers = self._settings.threatq.producers
        return {
            "size_of": _size_of,
            "producers": producers,
            "limits": limits,
            "progress": progress,
            "stop": self._place.stop,
        }

    def _settlement(self) -> Settlement:
        place = self._place
        wait = self._settings.misp.settle_seconds
        return Settlement(place.journal, place.target, self.ledger.refs, self._sink.look, wait=wait)


class _Bounds(TypedDict):
    """What every pipeline of a run is given."""

    size_of: Callable[[Planned], int]
    producers: int
    limits: Limits
    progress: Progress
    stop: Stop


async def mapper_for(
    settings: Settings, misp: MispClient, account: Account | None, retry: RetryPolicy
) -> IndicatorMapper:
    """The mapper of the settings, which sends the tags that the key may make or MISP has.

    Args:
        settings: what is mapped, and how.
        misp: asked for its tags.
        account: whose key it is; None where MISP cannot be asked, and all tags are sent.
        retry: when to repeat that.

    Raises:
        ConfigError: the mapping cannot be used.
        MispError: MISP could not be asked for its tags.
    """
    may_make_tags = account is None or account.may_make_tags
    return IndicatorMapper(
        identity.namespace(settings.threatq.url, settings.events.namespace),
        settings.mapping,
        threatq_url=settings.threatq.url,
        may_make_tags=may_make_tags,
        known_tags=frozenset() if may_make_tags else await known_tags(misp, retry),
    )


def _size_of(item: Planned) -> int:
    return len(item.body)


def _event(space: bytes, name: str, day: str, part: int) -> tuple[str, str]:
    """UUID and title of a part of the day's events."""
    title = f"{name} {day}" if part == 1 else f"{name} {day} ({part})"
    return identity.event_uuid(space, name, day, part), title
