"""How many chunks of which size are on their way to MISP at once."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self

import anyio

from tqmisp.errors import MispError, MispFault, MispTooLarge, MispUnavailable, MispUnclear
from tqmisp.log import get_logger
from tqmisp.misp.options import MispOptions
from tqmisp.pipeline.adaptive import CHUNK, IN_FLIGHT, Controller, Knee, Range, Result

log = get_logger(__name__)

LOCKED = ("deadlock", "lock wait timeout")
"""Words of a database whose transactions stand in each other's way."""


class Slot:
    """The right to send one request; given back once, however often it is said."""

    def __init__(self, give: Callable[[], None]) -> None:
        self._give: Callable[[], None] | None = give

    def give(self) -> None:
        """Let somebody else send one."""
        give, self._give = self._give, None
        if give is not None:
            give()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give()


class Pace:
    """Lets requests go as the controller finds it best, over all slices, and tells it how each of them went.

    Args:
        options: what is pinned.
        knee: where the last run ended.
    """

    def __init__(self, options: MispOptions, knee: Knee | None = None) -> None:
        self.controller = Controller(
            in_flight=_pinned(options.requests_in_flight) or IN_FLIGHT,
            chunk=_pinned(options.chunk_size) or CHUNK,
            knee=knee,
        )
        self._taken = 0
        self._changed = anyio.Event()
        self._turns: defaultdict[str, anyio.Lock] | None = None

    async def take(self) -> Slot:
        """Wait until another request may be sent."""
        while self._taken >= self.controller.in_flight:
            await self._changed.wait()
        self._taken += 1
        return Slot(self._give)

    def _give(self) -> None:
        self._taken -= 1
        self._changed.set()
        self._changed = anyio.Event()

    def cut(self, left: int) -> int:
        """How many of the attributes that are left to send now, so that all chunks of a slice are about the same."""
        return math.ceil(left / math.ceil(left / self.controller.chunk))

    async def send(self, event: str, items: int, post: Callable[[], Awaitable[None]], *, suspect: bool = False) -> None:
        """Send one request, for which a slot has been taken.

        Args:
            event: the UUID of the event that it is for.
            items: how many attributes it carries.
            post: sends it.
            suspect: one of the attributes has made the server throw before; if it does so again, it is not the load.
        """
        async with self._turn(event):
            request = self.controller.started(time.monotonic(), items)
            result = Result.VOID
            try:
                await post()
                result = Result.DONE
            except MispError as error:
                if not (suspect and isinstance(error, MispFault)):
                    result = self._judge(error)
                raise
            finally:
                self.controller.finished(request, time.monotonic(), result)

    def _judge(self, error: MispError) -> Result:
        if isinstance(error, MispFault):
            if not any(words in str(error).lower() for words in LOCKED):
                return Result.TOO_LARGE
            if self._turns is None:
                log.warning("MISP's database is in trouble with locks; one request an event from now on")
                self._turns = defaultdict(anyio.Lock)
            return Result.BUSY
        if isinstance(error, MispTooLarge):
            return Result.TOO_LARGE
        if isinstance(error, MispUnclear):
            return Result.FAILED
        return Result.BUSY if isinstance(error, MispUnavailable) else Result.VOID

    @asynccontextmanager
    async def _turn(self, event: str) -> AsyncIterator[None]:
        """Several requests at a time go to one event, unless the server has shown that it cannot take that."""
        if self._turns is None:
            yield
            return
        async with self._turns[event]:
            yield


def _pinned(value: int | None) -> Range | None:
    return None if value is None else Range(value, value)
