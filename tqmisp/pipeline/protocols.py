"""What the generic core needs of a product, and the plain messages that travel between its stages.

``T`` is an item as the source reads it, ``U`` what the mapper makes of it, ``V`` what the sink takes: an item that
the journal has planned for a destination ``D``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
U_co = TypeVar("U_co", covariant=True)
U_contra = TypeVar("U_contra", contravariant=True)
V_co = TypeVar("V_co", covariant=True)
D = TypeVar("D", bound=Hashable)


class Refusal(NamedTuple):
    """An item that goes no further, and why."""

    key: int
    """The id of the item at its source; -1 where it has none."""
    kind: str
    """``rejected`` (cannot be delivered), ``filtered`` (must not be) or ``quarantined`` (the server refused it)."""
    code: str
    """A stable word for the reason, as the catalogue in the documentation lists it."""
    reason: str
    """One sentence for a person."""
    label: str = ""
    """The type of the item at its source."""
    value: str = ""
    """The value as it was read: hostile, to be escaped wherever it is shown."""
    status: str = ""
    """The state of the item at its source, where that is the reason."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """One answer of the source; each of its rows is in exactly one of ``items``, ``refusals`` and ``recognised``."""

    items: Sequence[T_co]
    size: int
    """Bytes of the answer; the queue is bounded by them."""
    refusals: Sequence[Refusal] = ()
    """Rows of the answer that could not become items."""
    position: tuple[int, str] | None = None
    """The number of its shard, and the place behind it from which that shard can be read again."""
    recognised: Sequence[int] = ()
    """Ids of items that the source has left out, since the journal knows them as they are: nothing is to be done."""


@dataclass(frozen=True, slots=True)
class Mapped(Generic[U_co]):
    """What became of the items of a page."""

    items: Sequence[U_co]
    refusals: Sequence[Refusal] = ()


@dataclass(frozen=True, slots=True)
class Slice(Generic[D, V_co]):
    """Items bound for one destination, in the order in which they were admitted."""

    destination: D
    items: Sequence[V_co]
    size: int
    """Bytes of the items."""


@dataclass(slots=True)
class Outcome(Generic[D, V]):
    """What became of the items of a slice: each one is in exactly one of the lists."""

    stored: list[V] = field(default_factory=list)
    refused: list[tuple[V, Refusal]] = field(default_factory=list)
    elsewhere: list[tuple[V, D]] = field(default_factory=list)
    """Stored, but at another destination, where an earlier delivery had brought them."""
    unchanged: list[V] = field(default_factory=list)
    """As they should be without having been sent, or as people want them."""
    kept: Counter[str] = field(default_factory=Counter)
    """What was left as people have made it, by field."""


class Shard(Protocol[T_co]):
    """A part of the source that one producer reads from start to end."""

    def pages(self) -> AsyncGenerator[Page[T_co], None]:
        """Yield the pages of this part in order."""
        ...


class Source(Protocol[T_co]):
    """Where items come from."""

    async def shards(self) -> Sequence[Shard[T_co]]:
        """Divide what is to be read into parts that can be read at the same time."""
        ...


class Mapper(Protocol[T_contra, U_co]):
    """A pure translation of items."""

    def map(self, items: Sequence[T_contra]) -> Mapped[U_co]:
        """Turn items of the source into items of the sink; never raises for a value."""
        ...


Admission = Callable[[], Awaitable[Iterable[tuple[D, Sequence[V]]]]]
"""Takes note of a page and of all its refusals, and says what must be delivered where.

Items that need no delivery are left out of the answer.
"""


class Journal(Protocol[D, U_contra, V]):
    """What has been promised and what has been confirmed."""

    async def look_up(self, page: Page[object], mapped: Mapped[U_contra]) -> Admission[D, V]:
        """Find out what is known of a page, and return the call that admits it.

        Pages are admitted in the order in which they were looked up; one may be looked up before the one ahead of it
        is admitted.
        """
        ...

    async def promise(self, part: Slice[D, V]) -> None:
        """Record that a slice is about to be delivered; called before anything of it is sent."""
        ...

    async def confirm(self, part: Slice[D, V], outcome: Outcome[D, V]) -> None:
        """Record what became of a slice."""
        ...


class Sink(Protocol[D, V]):
    """Where items go."""

    async def deliver(self, part: Slice[D, V]) -> Outcome[D, V]:
        """Bring a slice to its destination; returns only when each item's fate is known."""
        ...
