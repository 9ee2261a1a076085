"""The export: opens both servers and the journal, runs the pipeline, and gives the receipt.

The only module that knows ThreatQ, MISP and the journal at once.
"""

from __future__ import annotations

import gc
import hashlib
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from zoneinfo import ZoneInfo

import anyio
import orjson
import structlog

from tqmisp.config import Settings
from tqmisp.errors import Interrupted
from tqmisp.journal.ledger import Ledger
from tqmisp.journal.store import Journal
from tqmisp.misp import identity
from tqmisp.misp.account import Account, known_tags, sign_in
from tqmisp.misp.client import MispClient
from tqmisp.misp.mapping import IndicatorMapper
from tqmisp.misp.publish import publish
from tqmisp.misp.sink import MispSink
from tqmisp.model import EventRef, Planned
from tqmisp.observe.listener import Listener, Silent
from tqmisp.observe.receipt import EventLine, Receipt, TargetReceipt
from tqmisp.observe.timeline import CountTypes, recorded
from tqmisp.pipeline.progress import Progress
from tqmisp.pipeline.protocols import Outcome, Slice
from tqmisp.pipeline.retry import RetryPolicy
from tqmisp.pipeline.run import run as run_pipeline
from tqmisp.pipeline.stop import Stop
from tqmisp.threatq.client import ThreatQClient
from tqmisp.threatq.source import ThreatQSource

log = structlog.get_logger(__name__)

OVERLAP = timedelta(minutes=10)
"""How far an incremental run goes back behind the last one, for rows that reached the search index late."""


class Export:
    """One ThreatQ, one MISP and one journal, ready to run. Use :meth:`open`.

    Attributes:
        progress: live counters, to be read at any time.
        account: who we are in MISP.
    """

    def __init__(
        self,
        settings: Settings,
        threatq: ThreatQClient,
        misp: MispClient,
        journal: Journal,
        *,
        stop: Stop,
        listener: Listener,
    ) -> None:
        self.progress = Progress()
        self.account: Account | None = None
        self._settings = settings
        self._threatq = threatq
        self._misp = misp
        self._journal = journal
        self._stop = stop
        self._listener = listener
        self._retry = RetryPolicy(
            attempts=settings.misp.attempts,
            backoff=settings.misp.backoff,
            backoff_max=settings.misp.backoff_max,
            hook=self._on_retry,
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, *, stop: Stop | None = None, listener: Listener | None = None
    ) -> AsyncIterator[Export]:
        """Open connections and journal.

        Args:
            settings: what to export from where to where.
            stop: where somebody may ask the run to end early.
            listener: told about the landmarks of a run.

        Raises:
            ConfigError: the journal or a certificate file cannot be used.
            ThreatQError: ThreatQ cannot be reached or does not let us in.
        """
        async with (
            Journal.open(settings.state.place) as journal,
            ThreatQClient.connect(settings.threatq) as threatq,
            MispClient.connect(settings.misp) as misp,
        ):
            yield cls(settings, threatq, misp, journal, stop=stop or Stop(), listener=listener or Silent())

    async def run(self, *, full: bool | None = None) -> Receipt:
        """Export everything that is selected, or what has changed since the last run, and account for it.

        Args:
            full: read everything; by default what the settings say.

        Returns:
            The receipt; look at ``balanced`` and ``stopped_by``.

        Raises:
            LockHeld: another run works on the same journal and MISP.
            ThreatQError: ThreatQ could not be read to the end.
            MispError: MISP could not be written to.
            Interrupted: stopped before everything that had been read was delivered.
        """
        settings = self._settings
        target = await self._journal.target(settings.misp.name, settings.misp.url)
        receipt = Receipt(run_id=str(uuid.uuid4()), started_at=datetime.now(UTC).isoformat(timespec="seconds"))
        async with self._journal.lease(target):
            number = await self._journal.start_run(receipt.run_id, target)
            outcome = "failed"
            try:
                with _tuned(), structlog.contextvars.bound_contextvars(run=receipt.run_id[:8]):
                    async with recorded(self.progress, receipt.timeline):
                        await self._run(target, number, receipt, full=settings.run.full if full is None else full)
                outcome = "stopped" if receipt.stopped_by else "done"
            except (Interrupted, anyio.get_cancelled_exc_class()):
                outcome = "stopped"
                raise
            finally:
                receipt.seconds = round(self.progress.seconds(), 3)
                self.progress.phase = "done"
                with anyio.CancelScope(shield=True):
                    text = orjson.dumps(receipt.as_json()).decode() if receipt.targets else None
                    await self._journal.end_run(number, outcome, text)
        return receipt

    async def _run(self, target: int, number: int, receipt: Receipt, *, full: bool) -> None:
        settings = self._settings
        self.account = await sign_in(self._misp, self._retry)
        self._listener.on_misp_ready()
        space = identity.namespace(settings.threatq.url, settings.events.namespace)
        may_make_tags = self.account.may_make_tags
        mapper = IndicatorMapper(
            space,
            settings.mapping,
            threatq_url=settings.threatq.url,
            may_make_tags=may_make_tags,
            known_tags=frozenset() if may_make_tags else await known_tags(self._misp, self._retry),
        )
        day = datetime.now(ZoneInfo(settings.events.timezone)).date().isoformat()
        ledger = Ledger(
            self._journal,
            target=target,
            run=number,
            date=day,
            capacity=settings.events.slice_size,
            make_event=lambda part: _event(space, settings.events.name, day, part),
        )
        sink = MispSink(
            self._misp,
            settings.misp,
            settings.events,
            retry=self._retry,
            progress=self.progress,
            on_event=lambda _, event_id: self._listener.on_event_created(event_id),
        )
        await ledger.load()
        missing = await ledger.settle(sink.look)
        if missing:
            log.warning("an earlier run died; what it had promised is delivered again", attributes=missing)

        scope = _scope(settings)
        mark = None if full else await self._journal.watermark(target, scope)
        selection = settings.selection
        if mark is not None:
            selection = replace(selection, since=max(filter(None, (selection.since, _before(mark)))))
        source = ThreatQSource(self._threatq, selection, on_total=self._on_total)
        await run_pipeline(
            source,
            CountTypes(mapper, attrgetter("type"), receipt.types),
            ledger,
            [_Heard(sink, self._listener, self.progress)] * settings.misp.consumers,
            size_of=lambda item: len(item.body),
            limits=replace(settings.pipeline, slice_items=settings.events.slice_size),
            progress=self.progress,
            stop=self._stop,
        )
        receipt.source = source.description() | {"incremental_since": selection.since if mark is not None else None}
        receipt.stopped_by = self._stop.reason
        if mapper.tags_left_out:
            log.warning(
                "MISP lacks some tags, and the role of the key may not make them: they are left out",
                tags=len(mapper.tags_left_out),
                examples=sorted(mapper.tags_left_out)[:5],
            )
        await ledger.flush()
        if not self._stop.requested:
            await ledger.finish()
        line = await self._account_for(ledger, sink)
        receipt.targets.append(line)
        if line.balanced and not self._stop.requested and source.watermark is not None:
            await self._journal.set_watermark(target, scope, max(source.watermark, mark or ""))

    async def _account_for(self, ledger: Ledger, sink: MispSink) -> TargetReceipt:
        """Publish where asked, look once more at every event that was written to, and draw up the balance."""
        line = TargetReceipt(self._settings.misp.name)
        refs = list(ledger.events.values())
        if self._settings.events.publish:
            self.progress.phase = "publishing"
            unpublished = await publish(self._misp, [ref.uuid for ref in refs], self._retry)
            line.imbalance += [f"Event {uuid} is not published: {said}" for uuid, said in unpublished.items()]
        self.progress.phase = "checking"
        found = await sink.reader.events([ref.uuid for ref in refs])
        for ref in refs:
            event = found.get(ref.uuid)
            expected = await ledger.count(ref)
            line.events.append(
                EventLine(
                    ref.uuid,
                    event.id if event else None,
                    ref.info,
                    ref.date,
                    event.attributes if event else 0,
                    published=event.published if event else False,
                )
            )
            if expected > (event.attributes if event else 0):
                line.imbalance.append(
                    f"{ref.info}: {expected} attributes were confirmed, MISP counts {event.attributes if event else 0}."
                )
        tally = ledger.tally
        line.read, line.created, line.updated = tally.read, tally.created, tally.updated
        line.unchanged, line.merged, line.retired = tally.unchanged, tally.merged, tally.retired
        line.rejected, line.quarantined = dict(tally.rejected), dict(tally.quarantined)
        line.filtered, line.rescued = dict(tally.filtered), dict(tally.rescued)
        if line.accounted() != self.progress.read:
            line.imbalance.append(f"{self.progress.read} indicators were read, {line.accounted()} are accounted for.")
        line.balanced = not line.imbalance
        counters, waiting = self._misp.counters, self.progress.waiting
        line.requests, line.write_requests, line.retries = (
            counters.requests,
            counters.write_requests,
            self.progress.retries,
        )
        line.seconds_waiting_for = {
            "threatq": round(waiting.source, 3),
            "mapping": round(waiting.mapping, 3),
            "journal": round(waiting.journal, 3),
            "misp": round(waiting.sink, 3),
            "backoff": round(waiting.backoff, 3),
        }
        return line

    def _on_total(self, indicators: int) -> None:
        self.progress.total = indicators
        self._listener.on_selected(indicators)

    def _on_retry(self, attempt: int, error: Exception, wait: float) -> None:
        self.progress.retries += 1
        self.progress.waiting.backoff += wait
        log.info("trying again", attempt=attempt, error=str(error), seconds=round(wait, 1))


@contextmanager
def _tuned() -> Iterator[None]:
    """Set the interpreter up for millions of small objects and a database thread, for as long as a run is at work.

    The thread of the journal waits for the interpreter a whole switch interval at each of its steps; at the default of
    5 ms that was two thirds of a run. The objects of a run hold no circles, so that looking for some now and then is
    enough.
    """
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(0.0001)
    gc.set_threshold(20_000, 20, 50)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


class _Heard:
    """A sink whose deliveries are told to a listener."""

    def __init__(self, sink: MispSink, listener: Listener, progress: Progress) -> None:
        self._sink = sink
        self._listener = listener
        self._progress = progress

    async def deliver(self, part: Slice[EventRef, Planned]) -> Outcome[EventRef, Planned]:
        outcome = await self._sink.deliver(part)
        progress = self._progress
        remaining = None
        if progress.total is not None:
            known = progress.settled + progress.refused + progress.stored + len(part.items)
            remaining = max(0, progress.total - known)
        self._listener.on_slice_stored(len(part.items), remaining)
        return outcome


def _event(space: bytes, name: str, day: str, part: int) -> tuple[str, str]:
    """UUID and title of a part of the day's events."""
    title = f"{name} {day}" if part == 1 else f"{name} {day} ({part})"
    return identity.event_uuid(space, name, day, part), title


def _scope(settings: Settings) -> str:
    """Changes when a change of the settings makes it necessary to look at everything again."""
    parts = [asdict(settings.selection), asdict(settings.mapping), settings.events.namespace, settings.threatq.url]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _before(mark: str) -> str:
    """A moment a little before a watermark, in ThreatQ's form."""
    return (datetime.fromisoformat(mark) - OVERLAP).isoformat(sep=" ", timespec="seconds")
