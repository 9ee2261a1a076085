"""Indicators that are asked for one at a time, where a list of ids is all that is known."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from tqmisp.model import Indicator
from tqmisp.pipeline.protocols import Page, Refusal
from tqmisp.threatq.source import ThreatQSource

KEYS_A_PAGE = 100
"""Indicators that are asked for before their page goes on."""


class Singles:
    """Reads the indicators of a list; implements :class:`tqmisp.pipeline.protocols.Source`.

    Those that ThreatQ does not have any more are left out, those that are not selected are refusals.

    Args:
        source: asks for each of them.
        keys: their ids, in lists that become pages.
    """

    def __init__(self, source: ThreatQSource, keys: AsyncGenerator[list[int], None]) -> None:
        self._source = source
        self._keys = keys

    async def shards(self) -> Sequence[Singles]:
        """One part: the list."""
        return [self]

    async def pages(self) -> AsyncGenerator[Page[Indicator], None]:
        """Yield what ThreatQ still has of the list."""
        async with aclosing(self._keys) as lists:
            async for keys in lists:
                found = [await self._source.one(key) for key in keys]
                kept = [each for each in found if isinstance(each, Indicator)]
                yield Page(kept, 0, [each for each in found if isinstance(each, Refusal)])


async def in_lists(keys: Sequence[int]) -> AsyncGenerator[list[int], None]:
    """Yield ids in lists of the size of a page."""
    for start in range(0, len(keys), KEYS_A_PAGE):
        yield list(keys[start : start + KEYS_A_PAGE])
