"""One run as others see it who are not there: metrics while it is at work, and a notification when it goes wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import anyio

from tqmisp.errors import Interrupted, LockHeld
from tqmisp.observe.metrics import Latest, RunMetrics, published
from tqmisp.observe.notify import message, send
from tqmisp.observe.options import MetricsOptions, NotifyOptions
from tqmisp.observe.receipt import Receipt
from tqmisp.pipeline.progress import Progress


class Watch:
    """Told how far the run is, by whoever runs it."""

    def __init__(self, metrics: RunMetrics | None = None) -> None:
        self.receipt: Receipt | None = None
        self._metrics = metrics

    def begin(self, progress: Progress) -> None:
        """The servers have let us in; the counters will rise."""
        if self._metrics is not None:
            self._metrics.progress = progress

    def end(self, receipt: Receipt) -> None:
        """The run has come to its end."""
        self.receipt = receipt

    def close(self, outcome: str) -> None:
        """Nothing more will come."""
        if self._metrics is not None:
            self._metrics.receipt = self.receipt
            self._metrics.end(outcome)


@asynccontextmanager
async def watched(
    target: str, metrics: MetricsOptions, notify: NotifyOptions, latest: Latest | None = None
) -> AsyncIterator[Watch]:
    """Show the run that the block is to others; neither metrics nor notification can make it fail.

    A run that was stopped, or that another one keeps out, notifies nobody; the latter leaves the metrics to the other.

    Args:
        target: the name of the MISP.
        metrics: where to write or serve numbers, if anywhere.
        notify: whom to tell of a run that fails, does not balance or holds something back.
        latest: what is served on the port, in a process that serves it for longer than one run.
    """
    before = latest.run if latest is not None else None
    async with AsyncExitStack() as stack:
        watch = Watch()
        if metrics.textfile is not None or metrics.port is not None:
            watch = Watch(numbers := RunMetrics(target, last_success=before.last_success if before else None))
            if latest is not None:
                latest.run, metrics = numbers, replace(metrics, port=None)
            await stack.enter_async_context(published(numbers, metrics))
        error: BaseException | None = None
        try:
            yield watch
        except LockHeld:
            if latest is not None:
                latest.run = before
            raise
        except (Interrupted, anyio.get_cancelled_exc_class()):
            watch.close("stopped")
            raise
        except Exception as caught:
            error = caught
            watch.close("failed")
            raise
        else:
            watch.close("stopped" if watch.receipt is not None and watch.receipt.stopped_by else "done")
        finally:
            if notify.webhook is not None:
                await _tell(target, watch, error, notify)


async def _tell(target: str, watch: Watch, error: BaseException | None, options: NotifyOptions) -> None:
    document = message(target, receipt=watch.receipt, error=error)
    if document is not None:
        with anyio.CancelScope(shield=True):
            await send(document, options)
