"""Stopping in two steps: first finish what has begun, then leave at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
from anyio.abc import TaskStatus

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """The wish to stop, passed from whoever has it to whatever runs.

    Attributes:
        reason: what asked for it, such as ``SIGTERM``; None as long as nothing has.
        aborted: whether it was asked for a second time.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.aborted = False
        self._drain: list[Callable[[], None]] = []
        self._abort: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """Whether somebody wants the run to end."""
        return self.reason is not None

    def request(self, reason: str) -> None:
        """Ask once: read nothing new, finish what has begun. Asked again: leave at once."""
        if self.reason is None:
            self.reason = reason
            for call in list(self._drain):
                call()
        else:
            self.abort()

    def abort(self) -> None:
        """Leave at once; the journal knows what was promised."""
        self.reason = self.reason or "abort"
        self.aborted = True
        for call in list(self._abort):
            call()

    @contextmanager
    def attach(self, *, drain: Callable[[], None], abort: Callable[[], None]) -> Iterator[None]:
        """Have ``drain`` and ``abort`` called when the wish is uttered, also if it was before."""
        self._drain.append(drain)
        self._abort.append(abort)
        try:
            if self.aborted:
                abort()
            elif self.requested:
                drain()
            yield
        finally:
            self._drain.remove(drain)
            self._abort.remove(abort)


async def watch_signals(
    stop: Stop,
    on_hangup: Callable[[], None] | None = None,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Turn SIGINT, SIGTERM and SIGHUP (a closed terminal) into a wish to stop, until cancelled.

    Args:
        stop: where the wish goes.
        on_hangup: called at SIGHUP instead, by those who have no terminal that could be closed.
        task_status: told when signals are watched.
    """
    with anyio.open_signal_receiver(*SIGNALS) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP and on_hangup is not None:
                on_hangup()
            else:
                stop.request(signal.Signals(number).name)
