"""One export as the command lines run it: it shows how far it is, and stops at a signal."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from tqmisp.cli.common import stopped_code
from tqmisp.config import Settings
from tqmisp.errors import Interrupted
from tqmisp.export import Export
from tqmisp.observe.listener import Listener
from tqmisp.observe.metrics import Latest
from tqmisp.observe.progress import Display, show
from tqmisp.observe.receipt import Receipt
from tqmisp.observe.watch import watched
from tqmisp.pipeline.groups import first_error
from tqmisp.pipeline.stop import Stop, watch_signals

R = TypeVar("R")


async def export_until_signal(settings: Settings, listener: Listener | None = None) -> Receipt:
    """Export; the first signal ends it after what has begun, the second at once."""
    return await _watched(settings, lambda work: until_signal(settings, work, listener))


async def export(settings: Settings, stop: Stop, latest: Latest | None = None) -> Receipt:
    """Export until the end or until ``stop`` says so; raises what :func:`with_export` raises."""
    return await _watched(settings, lambda work: with_export(settings, stop, work), latest)


async def _watched(
    settings: Settings,
    run: Callable[[Callable[[Export], Awaitable[Receipt]]], Awaitable[Receipt]],
    latest: Latest | None = None,
) -> Receipt:
    """Export in one of these ways; metrics and notifications go where the settings say."""
    async with watched(settings.misp.name, settings.metrics, settings.notify, latest) as watch:

        def work(export: Export) -> Awaitable[Receipt]:
            watch.begin(export.progress)
            return export.run()

        receipt = await run(work)
        watch.end(receipt)
    return receipt


async def run(export: Export) -> Receipt:
    """Export."""
    return await export.run()


async def until_signal(
    settings: Settings,
    work: Callable[[Export], Awaitable[R]],
    listener: Listener | None = None,
    *,
    look: bool = False,
) -> R:
    """Do something with an export; the first signal ends it after what has begun, the second at once."""
    stop = Stop()
    async with anyio.create_task_group() as tasks:
        await tasks.start(watch_signals, stop)
        result = await with_export(settings, stop, work, listener, look=look)
        tasks.cancel_scope.cancel()
    return result


async def with_export(
    settings: Settings,
    stop: Stop,
    work: Callable[[Export], Awaitable[R]],
    listener: Listener | None = None,
    *,
    look: bool = False,
) -> R:
    """Do something with an export until ``stop`` says so, and show on stderr how far it is, where that is wanted.

    Raises:
        Interrupted: with the exit code of the signal that was the cause.
        TqmispError: as the methods of :class:`tqmisp.export.Export` raise it.
    """
    console = Display(file=sys.stderr, highlight=False)
    wanted = settings.output.progress and (console.is_terminal or not settings.output.json)
    try:
        async with (
            Export.open(settings, stop=stop, listener=listener, look=look) as export,
            anyio.create_task_group() as tasks,
        ):
            if wanted:
                tasks.start_soon(show, export.progress, console, name="show progress")
            result = await work(export)
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = first_error(group)
        raise (with_exit_code(error, stop) if isinstance(error, Interrupted) else error) from None
    return result


def with_exit_code(error: Interrupted, stop: Stop) -> Interrupted:
    """The error with the exit code of the signal that was the cause."""
    error.exit_code = stopped_code(stop.reason)
    return error
