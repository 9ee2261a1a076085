"""One export as the command lines run it: it shows how far it is, and stops at a signal."""

from __future__ import annotations

import sys

import anyio
from rich.console import Console

from tqmisp.cli.common import stopped_code
from tqmisp.config import Settings
from tqmisp.errors import Interrupted
from tqmisp.export import Export
from tqmisp.observe.listener import Listener
from tqmisp.observe.progress import show
from tqmisp.observe.receipt import Receipt
from tqmisp.observe.watch import Watch, watched
from tqmisp.pipeline.groups import first_error
from tqmisp.pipeline.stop import Stop, watch_signals


async def export_until_signal(settings: Settings, listener: Listener | None = None) -> Receipt:
    """Export; the first signal ends it after what has begun, the second at once."""
    stop = Stop()
    async with anyio.create_task_group() as tasks:
        await tasks.start(watch_signals, stop)
        receipt = await export(settings, stop, listener)
        tasks.cancel_scope.cancel()
    return receipt


async def export(settings: Settings, stop: Stop, listener: Listener | None = None) -> Receipt:
    """Export until the end or until ``stop`` says so, and show on stderr how far it is, where that is wanted.

    Metrics and notifications go where the settings say.

    Raises:
        Interrupted: with the exit code of the signal that was the cause.
        TqmispError: as :meth:`tqmisp.export.Export.run` raises it.
    """
    async with watched(settings.misp.name, settings.metrics, settings.notify) as watch:
        receipt = await _export(settings, stop, listener, watch)
        watch.end(receipt)
    return receipt


async def _export(settings: Settings, stop: Stop, listener: Listener | None, watch: Watch) -> Receipt:
    console = Console(file=sys.stderr, highlight=False)
    wanted = settings.output.progress and (console.is_terminal or not settings.output.json)
    try:
        async with Export.open(settings, stop=stop, listener=listener) as run, anyio.create_task_group() as tasks:
            watch.begin(run.progress)
            if wanted:
                tasks.start_soon(show, run.progress, console, name="show progress")
            receipt = await run.run()
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = first_error(group)
        raise (with_exit_code(error, stop) if isinstance(error, Interrupted) else error) from None
    return receipt


def with_exit_code(error: Interrupted, stop: Stop) -> Interrupted:
    """The error with the exit code of the signal that was the cause."""
    error.exit_code = stopped_code(stop.reason)
    return error
