"""The export: opens both servers and the journal, runs the pipeline, and gives the receipt.

The only module that knows ThreatQ, MISP and the journal at once.
"""

from __future__ import annotations

import gc
import hashlib
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import anyio
import orjson
import structlog

from tqmisp.address import belongs
from tqmisp.config import Settings
from tqmisp.dossier import Dossier, Inquiry
from tqmisp.errors import Interrupted, MispError
from tqmisp.journal.audit import Audit
from tqmisp.journal.history import History
from tqmisp.journal.store import Journal
from tqmisp.log import get_logger
from tqmisp.misp.account import Account, sign_in
from tqmisp.misp.client import MispClient
from tqmisp.misp.foresight import Forecast
from tqmisp.misp.reading import MispReader
from tqmisp.observe.listener import Listener, Silent
from tqmisp.observe.plan import Plan, changes, estimate
from tqmisp.observe.receipt import Receipt
from tqmisp.observe.timeline import recorded
from tqmisp.pipeline.adaptive import Knee
from tqmisp.pipeline.progress import Progress
from tqmisp.pipeline.retry import RetryPolicy
from tqmisp.pipeline.stop import Stop
from tqmisp.threatq.client import ThreatQClient
from tqmisp.threatq.lookup import Lookup
from tqmisp.threatq.search import Search
from tqmisp.threatq.source import ThreatQSource
from tqmisp.transfer import Place, Transfer, mapper_for
from tqmisp.verification import Verdict, Verification

log = get_logger(__name__)

OVERLAP = timedelta(minutes=10)
"""How far an incremental run goes back behind the last one, for rows that reached the search index late."""
FAMILY = 32
"""Characters of a scope that are the same whatever time is selected."""
PAST_RUNS = 20
"""Runs that are looked at for the rate of one."""


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
        forecast: Forecast | None = None,
    ) -> None:
        self.progress = Progress()
        self.account: Account | None = None
        self._settings = settings
        self._threatq = threatq
        self._misp = misp
        self._journal = journal
        self._stop = stop
        self._listener = listener
        self._forecast = forecast
        self._retry = RetryPolicy(
            attempts=settings.misp.attempts,
            backoff=settings.misp.backoff,
            backoff_max=settings.misp.backoff_max,
            patience=settings.misp.patience,
            hook=self._on_retry,
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        *,
        stop: Stop | None = None,
        listener: Listener | None = None,
        look: bool = False,
    ) -> AsyncIterator[Export]:
        """Open connections and journal.

        Args:
            settings: what to export from where to where.
            stop: where somebody may ask the run to end early.
            listener: told about the landmarks of a run.
            look: only read in the journal, and make none; for :meth:`plan` and :meth:`explain` alone.

        Raises:
            ConfigError: the journal or a certificate file cannot be used.
            ThreatQError: ThreatQ cannot be reached or does not let us in.
        """
        async with (
            (Journal.look if look else Journal.open)(settings.state.place) as journal,
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
        wanted = self._settings.run.full if full is None else full
        return await self._recorded(partial(self._run, full=wanted))

    async def plan(self, *, full: bool | None = None) -> Plan:
        """Find out what a run would do now; nothing is written, neither to MISP nor to the journal.

        It reads ThreatQ as the run would, looks at what MISP holds, and decides on a copy of the journal.

        Args:
            full: as for :meth:`run`.

        Raises:
            LockHeld: a run is at work on the same journal and MISP, so that nobody knows what it will leave to do.
            ThreatQError: ThreatQ could not be read to the end.
            MispError: MISP could not be read.
            ConfigError: there is no room for the copy.
        """
        name = self._settings.misp.name
        counters = replace(self._misp.counters)
        async with self._journal.copy() as journal:
            target = await journal.target(name, self._settings.misp.url)
            forecast = Forecast(Audit(self._journal, target))
            rehearsal = Export(
                self._settings,
                self._threatq,
                self._misp,
                journal,
                stop=self._stop,
                listener=Silent(),
                forecast=forecast,
            )
            rehearsal.progress = self.progress
            self.progress.sends = False
            past = [run for run in await journal.runs(PAST_RUNS) if run.target == name]
            knee = Knee.from_json(await journal.learned(target))
            receipt = await rehearsal.run(full=full)
            self.account = rehearsal.account
        self.progress = Progress()  # a run on the same connections counts from the start
        estimated = estimate(forecast, knee, past, reading=receipt.seconds)
        receipt.run_id, receipt.seconds, receipt.timeline = "", round(60 * estimated.minutes, 1), []
        [line] = receipt.targets
        line.requests += forecast.reads + forecast.writes - counters.requests
        line.write_requests = forecast.writes
        line.seconds_waiting_for, line.advice = {}, ""
        return Plan(receipt, estimated, changes(forecast))

    async def explain(self, asked: str) -> Dossier:
        """Say of one indicator whether it is selected, what it becomes, where it is, and why; nothing is written.

        A server that cannot be asked is named in the answer, which then holds what the others know.

        Args:
            asked: its value, its id in ThreatQ, or the UUID of its attribute in MISP.

        Raises:
            ConfigError: the selection names what ThreatQ does not have, or the mapping cannot be used.
            Interrupted: stopped before everybody was asked.
        """
        with self._until_stopped():
            return await self._explain(asked)

    async def verify(self, *, every: bool = False, repair: bool = False) -> Verdict:
        """Hold the ledger against MISP.

        Args:
            every: look at each attribute of every event, not only where counts or timestamps differ.
            repair: mark what MISP has lost, so that the next complete run delivers it again.

        Raises:
            LockHeld: another run works on the same journal and MISP.
            MispError: MISP could not be read.
        """
        name = self._settings.misp.name
        target = await self._journal.target(name, self._settings.misp.url)
        async with self._journal.lease(target):
            with self._until_stopped():
                self.account = await sign_in(self._misp, self._retry)
                reader = MispReader(self._misp, self._retry)
                await belongs(self._journal, target, self._settings.misp.url, reader)
                return await Verification(self._journal, target, name, reader, self.progress).run(
                    every=every, repair=repair
                )

    async def replay(self, *, codes: Sequence[str] = (), types: Sequence[str] = (), run: str | None = None) -> Receipt:
        """Try indicators again that were rejected or quarantined.

        Args:
            codes: only those with one of these reasons.
            types: only those of one of these types.
            run: only those that the run with this id, or its beginning, refused.

        Raises:
            LockHeld: another run works on the same journal and MISP.
            ThreatQError: ThreatQ could not be read.
            MispError: MISP could not be written to.
            Interrupted: stopped before the end.
        """

        async def work(target: int, number: int, receipt: Receipt) -> None:
            transfer = await self._open(target, number)
            source = ThreatQSource(self._threatq, replace(self._settings.selection, since=None, until=None))
            await source.prepare()
            keys = await Audit(self._journal, target).refused(codes=codes, types=types, run=run)
            self.progress.total = len(keys)
            await transfer.replay(source, keys)
            receipt.source = {"url": self._threatq.url, "replayed": len(keys)}
            receipt.stopped_by = self._stop.reason
            receipt.targets.append(await transfer.account())

        return await self._recorded(work)

    async def _recorded(self, work: Callable[[int, int, Receipt], Awaitable[None]]) -> Receipt:
        """Do the work of a run, alone on its target, and record how it ended."""
        settings = self._settings
        target = await self._journal.target(settings.misp.name, settings.misp.url)
        receipt = Receipt(run_id=str(uuid.uuid4()), started_at=datetime.now(UTC).isoformat(timespec="seconds"))
        async with self._journal.lease(target):
            number = await self._journal.start_run(receipt.run_id, target)
            outcome = "failed"
            try:
                with _tuned(), structlog.contextvars.bound_contextvars(run=receipt.run_id[:8]):
                    async with recorded(self.progress, receipt.timeline):
                        with self._until_stopped():
                            await work(target, number, receipt)
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

    @contextmanager
    def _until_stopped(self) -> Iterator[None]:
        """Heed the wish to stop also outside of the pipeline, as while a server that is away is waited for.

        Before anything is promised that is at once. Later the pipeline has its time to finish what it has begun, and
        what follows it as long again.
        """
        with anyio.CancelScope() as everything:

            def drain() -> None:
                if self.progress.phase in {"starting", "comparing"}:
                    everything.cancel()
                else:
                    everything.deadline = anyio.current_time() + 2 * self._settings.pipeline.drain_seconds

            with self._stop.attach(drain=drain, abort=everything.cancel):
                yield
        if everything.cancelled_caught:
            raise Interrupted(f"Stopped by {self._stop.reason} before everything was done; run again to go on.")

    async def _run(self, target: int, number: int, receipt: Receipt, *, full: bool) -> None:
        settings, journal = self._settings, self._journal
        transfer = await self._open(target, number)
        scope = _scope(settings, await Search(self._threatq, settings.selection).collection())
        mark = None if full else await journal.watermark(target, scope)
        selection = settings.selection
        complete = mark is None and selection.since is None and selection.until is None
        if mark is not None:
            selection = replace(selection, since=max(filter(None, (selection.since, _before(mark)))))
        source = ThreatQSource(
            self._threatq,
            selection,
            wide=mark is not None,
            on_total=self._on_total,
            salt=transfer.salt,
            recognise=None if transfer.ledger.is_new else partial(transfer.recognise, types=receipt.types),
        )
        await source.prepare()  # whoever mistypes a name has changed nothing yet
        await journal.keep_watermarks(target, scope[:FAMILY])
        sweep = hashlib.sha256(f"{scope} {mark} {full}".encode()).hexdigest()
        finished = await transfer.read(source, receipt, sweep, complete=complete)
        receipt.source = source.description() | {"incremental_since": selection.since if mark is not None else None}
        held_back = await transfer.withdraw(source) if finished else None
        receipt.stopped_by = self._stop.reason
        line = await transfer.account()
        line.held_back = held_back
        receipt.targets.append(line)
        if line.balanced and finished and source.watermark is not None:
            await journal.set_watermark(target, scope, max(source.watermark, mark or ""))

    async def _explain(self, asked: str) -> Dossier:
        settings, not_asked = self._settings, dict[str, str]()
        try:
            self.account = await sign_in(self._misp, self._retry)
            mapper = await mapper_for(settings, self._misp, self.account, self._retry)
        except MispError as error:
            not_asked["misp"] = str(error)
            mapper = await mapper_for(settings, self._misp, None, self._retry)
        inquiry = Inquiry(
            History(self._journal),
            Lookup(self._threatq, settings.selection),
            MispReader(self._misp, self._retry),
            mapper,
            settings.mapping.filings(),
            threatq_url=self._threatq.url,
            misp=(settings.misp.name, settings.misp.url),
        )
        return await inquiry.ask(asked, not_asked=not_asked)

    async def _open(self, target: int, number: int) -> Transfer:
        self.account = await sign_in(self._misp, self._retry)
        self._listener.on_misp_ready()
        await belongs(self._journal, target, self._settings.misp.url, MispReader(self._misp, self._retry))
        place = Place(
            self._journal, target, number, self.progress, self._retry, self._stop, self._listener, self._forecast
        )
        return await Transfer.open(self._settings, place, self._misp, self.account)

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


def _scope(settings: Settings, collection: dict[str, Any] | None) -> str:
    """Changes with the settings, or the data collection, where that makes it necessary to look at everything again.

    It begins with what changes with all of these but the time that is selected, which makes nothing else of a row.
    """
    timeless = replace(settings.selection, since=None, until=None)
    parts = [asdict(timeless), asdict(settings.mapping), settings.events.namespace, settings.threatq.url, collection]
    family = hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:FAMILY]
    time = settings.selection.since, settings.selection.until
    return family + hashlib.sha256(orjson.dumps([family, *time])).hexdigest()[:FAMILY]


def _before(mark: str) -> str:
    """A moment a little before a watermark, in ThreatQ's form."""
    return (datetime.fromisoformat(mark) - OVERLAP).isoformat(sep=" ", timespec="seconds")
