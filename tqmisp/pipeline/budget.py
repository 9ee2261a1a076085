"""A bound by bytes, beside the bound by count that a stream has."""

from __future__ import annotations

import anyio


class ByteBudget:
    """Lets takers through as long as what was taken and not given back stays within a limit.

    A single taker of more than the limit is let through when nothing else is out, so that it cannot wait for ever.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._out = 0
        self._given = anyio.Event()

    async def take(self, size: int) -> None:
        """Take so many bytes, after waiting until there is room."""
        while self._out and self._out + size > self._limit:
            await self._given.wait()
        self._out += size

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self._out -= size
        self._given.set()
        self._given = anyio.Event()
