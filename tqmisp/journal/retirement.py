"""The last part of a run: withdrawing what has left the selection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Protocol

from tqmisp.journal.ledger import Ledger
from tqmisp.model import EventRef, Leaver, Planned
from tqmisp.pipeline.protocols import Mapped, Outcome, Page, Slice

LEAVERS_A_PAGE = 2_000


class Decided(Protocol):
    """An attribute, and what becomes of it."""

    @property
    def leaver(self) -> Leaver:
        """Whose indicator has left."""
        ...

    @property
    def body(self) -> bytes | None:
        """Withdraws it; None where it is left as it is."""
        ...


class Retirement:
    """Source and journal of the pipeline that withdraws what a ledger has listed.

    Attributes:
        heirs: indicators to which attributes have passed whose owners left; what these lend is to be looked at anew.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.heirs: list[int] = []
        self._ledger = ledger

    async def shards(self) -> Sequence[Retirement]:
        """One part: the list."""
        return [self]

    async def pages(self) -> AsyncGenerator[Page[Leaver], None]:
        """Yield what is to be withdrawn."""
        after = None
        while True:
            leavers, heirs, after = await self._ledger.leavers(after, LEAVERS_A_PAGE)
            self.heirs += heirs
            if leavers:
                yield Page(leavers, 0)
            if after is None:
                return

    async def admit(self, _page: Page[object], mapped: Mapped[Decided]) -> Iterable[tuple[EventRef, Sequence[Planned]]]:
        """Plan what must be sent."""
        return self._ledger.retire([(each.leaver, each.body) for each in mapped.items])

    async def promise(self, part: Slice[EventRef, Planned]) -> None:
        """Record the intent."""
        await self._ledger.promise(part)

    async def confirm(self, part: Slice[EventRef, Planned], outcome: Outcome[EventRef, Planned]) -> None:
        """Record what became of it."""
        await self._ledger.confirm(part, outcome)
