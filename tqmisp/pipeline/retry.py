"""When to try again, and how long to wait before that."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import anyio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from tqmisp.errors import Transient

R = TypeVar("R")
LONGEST = 900.0
"""Seconds that a server may ask us to wait, whatever is configured: the period of MISP's own limit on searches."""
SHORTEST = 0.5
"""Seconds that a wait beyond the number of attempts takes at least, or patience would be a hail of requests."""
Hook = Callable[[int, Exception, float], None]
"""Told before each wait: the attempt that failed, its error, and the seconds of the wait."""


def _nothing(_attempt: int, _error: Exception, _wait: float) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a call is made, as long as it raises :class:`tqmisp.errors.Transient`.

    A value without state: each call gets retry machinery of its own, so that one policy serves any number of tasks.
    """

    attempts: int = 6
    backoff: float = 0.5
    """Seconds that the first wait takes at most; the bound doubles with each further one."""
    backoff_max: float = 60.0
    """Seconds that a wait takes at most, unless the server asks for more."""
    patience: float = 0.0
    """Seconds since the first attempt for which a server that is away is waited for, beyond the number of attempts."""
    hook: Hook = _nothing
    sleep: Callable[[float], Awaitable[None]] = field(default=anyio.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    """Gives seconds."""

    async def call(self, function: Callable[[], Awaitable[R]]) -> R:
        """Make a call until it succeeds, fails for good, or has been made often enough.

        Raises:
            Exception: the last error of the call.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Transient),
            stop=partial(self._enough, self.clock()),
            wait=self._wait,
            sleep=self.sleep,
            before_sleep=self._tell,
            reraise=True,
        )

        results: list[R] = []

        # tenacity awaits only what it sees to be a coroutine function, and keeps what that returns in a circle of
        # references, where a large answer would stay until the next garbage collection
        async def attempt() -> None:
            results.append(await function())

        await retrying(attempt)
        return results.pop()

    def _enough(self, began: float, state: RetryCallState) -> bool:
        """Whether to give up: after the last attempt, but not before the patience with a server that is away is over.

        Attempts count like the waits between them, since a server that never answers takes its time there. A server
        that asks for more time than anybody would wait gets none.
        """
        error = state.outcome.exception() if state.outcome else None
        patience = self.patience if isinstance(error, Transient) and error.is_away else 0.0
        if state.upcoming_sleep > max(self.backoff_max, patience, LONGEST):
            return True
        waited = self.clock() - began + state.upcoming_sleep
        return state.attempt_number >= self.attempts and waited >= patience

    def _wait(self, state: RetryCallState) -> float:
        """Random below a growing bound, so that many clients do not come back at once, but never too early."""
        error = state.outcome.exception() if state.outcome else None
        asked = (error.retry_after or 0.0) if isinstance(error, Transient) else 0.0
        # the first wait of a growing series of intervals, each drawn at random
        drawn = wait_random_exponential(multiplier=self.backoff, max=self.backoff_max, min=self.backoff / 2)(state)
        return max(asked, drawn, SHORTEST if state.attempt_number >= self.attempts else 0.0)

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Exception):
            self.hook(state.attempt_number, error, state.upcoming_sleep)
