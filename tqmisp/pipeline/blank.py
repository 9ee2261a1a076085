"""A source that gives nothing, so that a journal decides about what it has put off."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Never

from tqmisp.pipeline.protocols import Page


class Blank:
    """One page without items; implements :class:`tqmisp.pipeline.protocols.Source` for items of any kind."""

    async def shards(self) -> Sequence[Blank]:
        """One part."""
        return [self]

    async def pages(self) -> AsyncGenerator[Page[Never], None]:
        """Yield the page."""
        yield Page((), 0)
