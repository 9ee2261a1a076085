"""``tqmisp run --every``: one export after another, as a service that can be asked, reloaded and stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

import anyio
import anyio.to_thread

from tqmisp.cli import common, job
from tqmisp.config import Settings
from tqmisp.errors import ConfigError
from tqmisp.log import get_logger
from tqmisp.observe.metrics import Latest, served
from tqmisp.observe.receipt import Receipt
from tqmisp.observe.streams import silence
from tqmisp.pipeline.stop import Stop, watch_signals
from tqmisp.schedule import Result, Schedule, Timetable, health, systemd

log = get_logger(__name__)


async def keep_exporting(
    settings: Settings, load: Callable[[], Settings], show: Callable[[Receipt, Settings], None]
) -> int:
    """Export until SIGTERM or Ctrl-C says stop; give the exit code.

    Args:
        settings: of the first run.
        load: reads the settings again, at SIGHUP.
        show: shows the receipt of each run.

    Raises:
        ConfigError: the health port cannot be served.
    """
    service = _Service(settings, load, show)
    options, schedule = settings.schedule, service.schedule
    async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
        await tasks.start(watch_signals, service.stop, schedule.reload_soon)
        if options.health_port is not None:
            await stack.enter_async_context(health.served(schedule.state, options.health_address, options.health_port))
        await stack.enter_async_context(served(service.latest, settings.metrics))
        watchdog = systemd.watchdog_seconds(os.environ)
        if watchdog is not None:
            tasks.start_soon(systemd.keep_alive, watchdog, name="feed the watchdog")
        systemd.tell("READY=1")
        await schedule.run()
        systemd.tell("STOPPING=1")
        tasks.cancel_scope.cancel()
    return common.stopped_code(service.stop.reason) if service.stop.aborted else 0


class _Service:
    """The settings as they are now, and what is done with them."""

    def __init__(
        self, settings: Settings, load: Callable[[], Settings], show: Callable[[Receipt, Settings], None]
    ) -> None:
        self.stop = Stop()
        self.latest = Latest()
        self._settings = settings
        self._warned: Settings | None = None
        self._load = load
        self._show = show
        self.schedule = Schedule(
            self._export,
            _timetable(settings),
            stop=self.stop,
            reload=self._reload,
            on_change=systemd.tell_state,
        )

    async def _export(self) -> Result:
        settings = self._settings
        if self._warned is settings:  # loading has told the first run of them
            for warning in settings.warnings:
                log.warning(warning)
        self._warned = settings
        receipt = await job.export(settings, self.stop, self.latest)
        try:
            self._show(receipt, settings)
            sys.stdout.flush()
        except BrokenPipeError:
            silence(sys.stdout)
        code = common.exit_code(receipt, settings.run.max_rejects)
        return Result(code, _sentence(receipt, code))

    async def _reload(self) -> Timetable:
        systemd.tell_reloading()
        try:
            settings = await anyio.to_thread.run_sync(self._load)
            if not settings.schedule.interval:
                raise ConfigError("schedule.every is missing; expected it, since this process runs again and again.")
            if _endpoints(settings) != _endpoints(self._settings):
                log.warning("the ports of [schedule] and [metrics] change with the next start only")
            self._settings = settings
        finally:
            systemd.tell("READY=1")
        return _timetable(settings)


def _timetable(settings: Settings) -> Timetable:
    return Timetable(every=settings.schedule.interval, jitter=settings.schedule.jitter)


def _endpoints(settings: Settings) -> tuple[str, int | None, str, int | None]:
    schedule, metrics = settings.schedule, settings.metrics
    return schedule.health_address, schedule.health_port, metrics.address, metrics.port


def _sentence(receipt: Receipt, code: int) -> str:
    """Why somebody should look at the run, or how much it read."""
    for target in receipt.targets:
        for sentence in (*target.imbalance, target.held_back):
            if sentence:
                return sentence
    if code == common.TOO_MANY_REJECTS:
        return "More indicators were rejected or quarantined than max_rejects allows."
    return f"Run {receipt.run_id} read {sum(target.read for target in receipt.targets):,} indicators."
