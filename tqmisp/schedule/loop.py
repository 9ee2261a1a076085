"""One turn after another, none beside another, until somebody says stop."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio

from tqmisp.errors import Interrupted, LockHeld, TqmispError
from tqmisp.log import get_logger
from tqmisp.observe.logs import redact
from tqmisp.pipeline.stop import Stop
from tqmisp.schedule.state import Outcome, Result, State, Turn, moment
from tqmisp.schedule.timetable import Timetable

log = get_logger(__name__)

LOOK_SECONDS = 30.0
"""The clock of the machine is looked at this often, since it may be set, or stand still while the machine sleeps."""


class Clock:
    """The clock of the machine."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)


class Schedule:
    """Does a piece of work at once, and again at each moment of a timetable.

    A turn that is late because the one before took so long is left out. What a turn raises is logged and counted, and
    the next one comes all the same; :class:`~tqmisp.errors.LockHeld` means that somebody else is at it.

    Attributes:
        state: how it goes, to be read at any time.
    """

    def __init__(
        self,
        work: Callable[[], Awaitable[Result]],
        timetable: Timetable,
        *,
        stop: Stop | None = None,
        reload: Callable[[], Awaitable[Timetable]] | None = None,
        on_change: Callable[[State], None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        """Prepare; nothing is done yet.

        Args:
            work: one turn; heeds ``stop`` itself.
            timetable: when; its origin becomes the moment at which :meth:`run` is called.
            stop: where somebody may ask for the end.
            reload: reads the configuration again, between two turns; a ``TqmispError`` leaves everything as it was.
            on_change: told the state whenever it has changed; must neither block nor raise.
            clock: another one than that of the machine, for tests.
        """
        self._clock = clock or Clock()
        self.state = State(self._clock.now())
        self._work = work
        self._timetable = timetable
        self._stop = stop or Stop()
        self._reload = reload
        self._on_change = on_change
        self._reload_wanted = False
        self._nap: anyio.CancelScope | None = None

    def reload_soon(self) -> None:
        """Have the configuration read again, at once or at the end of the turn that is at work."""
        self._reload_wanted = True
        self._wake()

    async def run(self) -> None:
        """Go on until ``stop`` says so."""
        due = self._clock.now()
        self._timetable = replace(self._timetable, origin=due)
        with self._stop.attach(drain=self._wake, abort=self._wake):
            while await self._wait_until(due):
                await self._turn()
                due = self._timetable.after(self._clock.now())
        self.state.next = None
        self._on_change(self.state)

    def _wake(self) -> None:
        if self._nap is not None:
            self._nap.cancel()

    async def _wait_until(self, due: float) -> bool:
        """Wait for a moment; False if the end came before."""
        while not self._stop.requested:
            if self._reload_wanted:
                await self._read_again()
                due = min(due, self._timetable.after(self._clock.now()))  # a run that was announced is not put off
            now = self._clock.now()
            if now >= due:
                return True
            if due - now > self._timetable.longest:  # the clock was set back
                due = self._timetable.after(now)
            if self.state.next != due:
                self.state.next = due
                self._on_change(self.state)
                continue  # whoever was told may have asked for something
            with anyio.CancelScope() as self._nap:
                await self._clock.sleep(min(due - now, LOOK_SECONDS))
        return False

    async def _read_again(self) -> None:
        self._reload_wanted = False
        if self._reload is None:
            return
        try:
            timetable = await self._reload()
        except TqmispError as error:
            self.state.refused = redact(str(error))
            log.error("the configuration could not be read again; the earlier one stays", error=str(error))  # noqa: TRY400  the text says it all
        else:
            self._timetable = replace(timetable, origin=self._timetable.origin)
            self.state.refused = ""
            log.info("the configuration was read again")
        self._on_change(self.state)

    async def _turn(self) -> None:
        state, began = self.state, self._clock.now()
        state.running_since, state.next = began, None
        self._on_change(state)
        outcome: Outcome = "done"
        try:
            result = await self._work()
        except LockHeld as error:
            outcome, result = "skipped", Result(error.exit_code, redact(str(error)))
            log.info("another run is at work; this turn is left out", reason=str(error))
        except Interrupted as error:
            outcome, result = "stopped", Result(error.exit_code, redact(str(error)))
            log.warning("the run was stopped", reason=str(error))
        except TqmispError as error:
            outcome, result = "failed", Result(error.exit_code, redact(str(error)))
            log.error("the run failed", error=str(error))  # noqa: TRY400  the text says it all
        except Exception as error:
            outcome, result = "failed", Result(1, redact(f"unexpected {type(error).__name__}: {error}"))
            log.exception("the run failed unexpectedly")
        else:
            if self._stop.requested:
                outcome = "stopped"
            elif result.exit_code != 0:
                log.warning("the run needs somebody", exit_code=result.exit_code, reason=result.text)
        ended = self._clock.now()
        state.running_since = None
        state.count(Turn(outcome, result.exit_code, result.text, began, ended))
        if ended - began > self._timetable.every:
            following = moment(self._timetable.after(ended))
            log.warning("the run took longer than the interval", seconds=round(ended - began), next=following)
        self._on_change(state)
