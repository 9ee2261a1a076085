"""A source, a mapper, a journal and a sink without any product, for tests of the pipeline."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tqmisp.pipeline.protocols import Admission, Mapped, Outcome, Page, Refusal, Slice


async def nothing() -> None:
    """Do nothing."""


@dataclass
class FakeShard:
    """Yields pages of whole numbers."""

    numbers: range
    page: int = 10
    before: Callable[[int], Awaitable[None]] | None = None
    closed: list[int] = field(default_factory=list)

    async def pages(self) -> AsyncGenerator[Page[int], None]:
        try:
            for start in range(self.numbers.start, self.numbers.stop, self.page):
                if self.before is not None:
                    await self.before(start)
                items = list(range(start, min(start + self.page, self.numbers.stop)))
                yield Page(items, size=len(items))
        finally:
            self.closed.append(self.numbers.start)


@dataclass
class FakeSource:
    """Gives the shards that it was made with."""

    parts: list[FakeShard]

    async def shards(self) -> Sequence[FakeShard]:
        return self.parts


class Text:
    """Turns numbers into text, and refuses those that 7 divides."""

    def map(self, items: Sequence[int]) -> Mapped[str]:
        return Mapped(
            [str(number) for number in items if number % 7],
            [Refusal(number, "rejected", "seven", "It can be divided by 7.") for number in items if not number % 7],
        )


@dataclass
class FakeJournal:
    """Sends everything to one of two places and writes down what happens."""

    promised: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    high_water: int = 0

    async def look_up(self, page: Page[object], mapped: Mapped[str]) -> Admission[int, str]:
        async def admit() -> Iterable[tuple[int, Sequence[str]]]:
            self.refused += [refusal.key for refusal in (*page.refusals, *mapped.refusals)]
            even = [text for text in mapped.items if not int(text) % 2]
            odd = [text for text in mapped.items if int(text) % 2]
            return [(0, even), (1, odd)]

        return admit

    async def promise(self, part: Slice[int, str]) -> None:
        self.promised += part.items
        self.high_water = max(self.high_water, len(self.promised) - len(self.confirmed))

    async def confirm(self, part: Slice[int, str], outcome: Outcome[int, str]) -> None:
        assert sorted(part.items) == sorted(outcome.stored)
        self.confirmed += outcome.stored


@dataclass
class FakeSink:
    """Stores everything, after doing whatever the test wants."""

    before: Callable[[Slice[int, str]], Awaitable[None]] | None = None
    stored: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    async def deliver(self, part: Slice[int, str]) -> Outcome[int, str]:
        if self.before is not None:
            await self.before(part)
        assert all(int(text) % 2 == part.destination for text in part.items)
        self.stored += part.items
        self.sizes.append(len(part.items))
        return Outcome(stored=list(part.items))
