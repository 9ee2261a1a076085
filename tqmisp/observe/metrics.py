"""Numbers about a run for Prometheus, read from its counters and its receipt at the moment when somebody asks.

They are those of the present run, or of the last one of this process; a counter starts again at 0 with each run, as it
would with a new process.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread
from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tqmisp.log import get_logger
from tqmisp.observe.options import MetricsOptions
from tqmisp.observe.receipt import Receipt, TargetReceipt
from tqmisp.pipeline.groups import first_error
from tqmisp.pipeline.progress import Progress

log = get_logger(__name__)

OUTCOMES = ("done", "failed", "stopped")
LAST_SUCCESS = "last_success_timestamp_seconds"


class Spec(NamedTuple):
    """What a metric is called and means; its name gets ``tqmisp_`` in front."""

    name: str
    kind: type[CounterMetricFamily | GaugeMetricFamily]
    labels: tuple[str, ...]
    help: str


SPECS = [
    Spec("run_running", GaugeMetricFamily, (), "1 while a run is at work, 0 afterwards"),
    Spec("run_started_timestamp_seconds", GaugeMetricFamily, (), "When the run began, in seconds since 1970"),
    Spec("run_ended_timestamp_seconds", GaugeMetricFamily, (), "When the run ended; absent while it is at work"),
    Spec("run_duration_seconds", GaugeMetricFamily, (), "How long the run took, or has taken so far"),
    Spec("run_selected_indicators", GaugeMetricFamily, (), "Indicators of the selection, once ThreatQ has said so"),
    Spec("run_indicators_read_total", CounterMetricFamily, (), "Indicators read from ThreatQ"),
    Spec("run_indicators_refused_total", CounterMetricFamily, (), "Indicators rejected, filtered or quarantined"),
    Spec("run_indicators_settled_total", CounterMetricFamily, (), "Indicators without need of delivery"),
    Spec("run_attributes_sent_total", CounterMetricFamily, (), "Attributes sent to MISP, confirmed or not"),
    Spec("run_attributes_stored_total", CounterMetricFamily, (), "Attributes that MISP was seen to hold"),
    Spec("run_write_requests_total", CounterMetricFamily, (), "Requests that carried attributes"),
    Spec("run_retries_total", CounterMetricFamily, (), "Requests that were repeated"),
    Spec("run_queued_pages", GaugeMetricFamily, (), "Pages that wait for the mapping"),
    Spec("run_slices", GaugeMetricFamily, ("state",), "Slices that wait for delivery, or are being delivered"),
    Spec(
        "run_waiting_seconds_total", CounterMetricFamily, ("stage",), "Seconds that the run could not go on, by cause"
    ),
    Spec("run_outcome", GaugeMetricFamily, ("outcome",), "1 for the way in which the run ended, 0 for the others"),
    Spec("run_balanced", GaugeMetricFamily, (), "1 if every indicator is accounted for, 0 if not"),
    Spec("run_indicators", GaugeMetricFamily, ("fate",), "What became of the indicators that were read"),
    Spec("run_refusals", GaugeMetricFamily, ("kind", "code"), "Indicators that were refused, by reason"),
    Spec("run_events", GaugeMetricFamily, (), "Events that the run wrote to"),
    Spec("run_requests", GaugeMetricFamily, (), "Requests to MISP, the reading ones included"),
    Spec(LAST_SUCCESS, GaugeMetricFamily, (), "When a run last ended done and balanced; kept over failures"),
]
"""Every metric; each has the label ``target``, too."""

Values = list[tuple[tuple[str, ...], float]]


class RunMetrics(Collector):
    """The metrics of one target; set the attributes as the run goes on.

    Attributes:
        progress: live counters; None before the servers have let us in.
        receipt: of a run that came to its end.
        outcome: ``done``, ``failed`` or ``stopped``; None while a run is at work.
        last_success: in seconds since 1970.
    """

    def __init__(self, target: str, *, last_success: float | None = None) -> None:
        self.target = target
        self.progress: Progress | None = None
        self.receipt: Receipt | None = None
        self.outcome: str | None = None
        self.last_success = last_success
        self._began = time.time()
        self._ended: float | None = None

    def end(self, outcome: str) -> None:
        """Note that the run has ended, and how."""
        self._ended = time.time()
        self.outcome = outcome
        if outcome == "done" and self.receipt is not None and self.receipt.balanced:
            self.last_success = self._ended

    def describe(self) -> list[Metric]:
        """Nothing that the registry would have to know in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield each metric that has a value now."""
        values = self._values()
        for spec in SPECS:
            if values.get(spec.name):
                name = f"tqmisp_{spec.name.removesuffix('_total')}"
                family = spec.kind(name, spec.help + ".", labels=("target", *spec.labels))
                for labels, value in values[spec.name]:
                    family.add_metric((self.target, *labels), value)
                yield family

    def _values(self) -> Mapping[str, Values]:
        values: dict[str, Values] = {
            "run_running": [((), float(self.outcome is None))],
            "run_started_timestamp_seconds": [((), self._began)],
            "run_duration_seconds": [((), (self._ended or time.time()) - self._began)],
        }
        if self._ended is not None:
            values["run_ended_timestamp_seconds"] = [((), self._ended)]
        if self.outcome is not None:
            values["run_outcome"] = [((each,), float(each == self.outcome)) for each in OUTCOMES]
        if self.last_success is not None:
            values[LAST_SUCCESS] = [((), self.last_success)]
        if self.progress is not None:
            values |= _live(self.progress)
        line = next((line for line in self.receipt.targets if line.name == self.target), None) if self.receipt else None
        return values | (_final(line) if line else {})


class Latest(Collector):
    """The metrics of the run that began last, in a process that sees several.

    Attributes:
        run: None before the first.
    """

    def __init__(self) -> None:
        self.run: RunMetrics | None = None

    def describe(self) -> list[Metric]:
        """Nothing that the registry would have to know in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield each metric that has a value now."""
        if self.run is not None:
            yield from self.run.collect()


def _live(progress: Progress) -> dict[str, Values]:
    waiting = progress.waiting
    causes = {
        "threatq": waiting.source,
        "mapping": waiting.mapping,
        "journal": waiting.journal,
        "misp": waiting.sink,
        "backoff": waiting.backoff,
    }
    return {
        "run_selected_indicators": [] if progress.total is None else [((), progress.total)],
        "run_indicators_read_total": [((), progress.read)],
        "run_indicators_refused_total": [((), progress.refused)],
        "run_indicators_settled_total": [((), progress.settled)],
        "run_attributes_sent_total": [((), progress.sent)],
        "run_attributes_stored_total": [((), progress.stored)],
        "run_write_requests_total": [((), progress.requests)],
        "run_retries_total": [((), progress.retries)],
        "run_queued_pages": [((), progress.pages_queued)],
        "run_slices": [(("waiting",), progress.slices_waiting), (("in_flight",), progress.slices_in_flight)],
        "run_waiting_seconds_total": [((cause,), seconds) for cause, seconds in causes.items()],
    }


def _final(line: TargetReceipt) -> dict[str, Values]:
    refused = {"rejected": line.rejected, "filtered": line.filtered, "quarantined": line.quarantined}
    fates = {name: getattr(line, name) for name in ("created", "updated", "unchanged", "merged", "retired")}
    fates |= {kind: sum(codes.values()) for kind, codes in refused.items()}
    return {
        "run_balanced": [((), float(line.balanced))],
        "run_indicators": [((fate,), count) for fate, count in fates.items()],
        "run_refusals": [((kind, code), count) for kind, codes in refused.items() for code, count in codes.items()],
        "run_events": [((), len(line.events))],
        "run_requests": [((), line.requests)],
    }


def earlier_success(path: Path, target: str) -> float | None:
    """When a run to this target last succeeded, as an earlier process has written it; None if nothing says so."""
    try:
        for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
            for sample in family.samples:
                if sample.name == f"tqmisp_{LAST_SUCCESS}" and sample.labels.get("target") == target:
                    return float(sample.value)
    except (OSError, ValueError):
        pass  # the file of somebody else, or none yet
    return None


@asynccontextmanager
async def published(metrics: RunMetrics, options: MetricsOptions) -> AsyncIterator[None]:
    """Write and serve the metrics for as long as the block runs.

    The file is replaced as a whole, first when the interval is over, and last at the end of a run that has an outcome.
    What cannot be written or served is logged, and hinders nothing.
    """
    registry = CollectorRegistry()
    registry.register(metrics)
    if options.textfile is not None:
        path = Path(options.textfile)
        metrics.last_success = await anyio.to_thread.run_sync(earlier_success, path, metrics.target)
    close = await _serve(registry, options) if options.port is not None else None
    try:
        async with anyio.create_task_group() as tasks:
            if options.textfile is not None:
                tasks.start_soon(_keep_writing, registry, options, name="write metrics")
            yield
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise first_error(group) from None
    finally:
        with anyio.CancelScope(shield=True):
            if options.textfile is not None and metrics.outcome is not None:
                await _write(registry, options)
            if close is not None:
                await anyio.to_thread.run_sync(close)


@asynccontextmanager
async def served(latest: Latest, options: MetricsOptions) -> AsyncIterator[None]:
    """Serve the metrics of one run after another, and in between, if the options name a port."""
    registry = CollectorRegistry()
    registry.register(latest)
    close = await _serve(registry, options) if options.port is not None else None
    try:
        yield
    finally:
        if close is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(close)


async def _serve(registry: CollectorRegistry, options: MetricsOptions) -> Callable[[], None] | None:
    """Begin to serve; give what ends it."""
    start = partial(start_http_server, options.port or 0, addr=options.address, registry=registry)
    try:
        server, thread = await anyio.to_thread.run_sync(start)
    except OSError as error:
        log.warning("metrics cannot be served", address=options.address, port=options.port, error=error.strerror)
        return None

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close


async def _keep_writing(registry: CollectorRegistry, options: MetricsOptions) -> None:
    while True:
        await anyio.sleep(options.interval)
        await _write(registry, options)


async def _write(registry: CollectorRegistry, options: MetricsOptions) -> None:
    try:
        await anyio.to_thread.run_sync(write_to_textfile, str(options.textfile), registry)
    except OSError as error:
        log.warning("metrics cannot be written", file=options.textfile, error=error.strerror)
