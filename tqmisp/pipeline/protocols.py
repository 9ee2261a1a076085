"""What the generic core needs of a product, and the plain messages that travel between its stages.

``T`` is an item as the source reads it, ``U`` an item as the sink takes it, ``D`` the destination of a slice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
U_co = TypeVar("U_co", covariant=True)
U_contra = TypeVar("U_contra", contravariant=True)
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


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """One answer of the source."""

    items: Sequence[T_co]
    size: int
    """Bytes of the answer; the queue is bounded by them."""
    refusals: Sequence[Refusal] = ()
    """Rows of the answer that could not become items. The rows read are ``len(items) + len(refusals)``."""


@dataclass(frozen=True, slots=True)
class Mapped(Generic[U_co]):
    """What became of the items of a page."""

    items: Sequence[U_co]
    refusals: Sequence[Refusal] = ()


@dataclass(frozen=True, slots=True)
class Slice(Generic[D, U_co]):
    """Items bound for one destination, in the order in which they were admitted."""

    destination: D
    items: Sequence[U_co]
    size: int
    """Bytes of the items."""


@dataclass(slots=True)
class Outcome(Generic[U]):
    """What became of the items of a slice: each one is in exactly one of the two lists."""

    stored: list[U] = field(default_factory=list)
    refused: list[tuple[U, Refusal]] = field(default_factory=list)


class Shard(Protocol[T_co]):
    """A part of the source that one producer reads from start to end."""

    def pages(self) -> AsyncIterator[Page[T_co]]:
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


class Journal(Protocol[D, U]):
    """What has been promised and what has been confirmed."""

    async def admit(self, mapped: Mapped[U]) -> Iterable[tuple[D, Sequence[U]]]:
        """Record the refusals and the intent to deliver, and say what must be delivered where.

        Items that need no delivery are left out of the answer.
        """
        ...

    async def confirm(self, delivered: Slice[D, U], outcome: Outcome[U]) -> None:
        """Record what became of a slice."""
        ...


class Sink(Protocol[D, U]):
    """Where items go."""

    async def deliver(self, part: Slice[D, U]) -> Outcome[U]:
        """Bring a slice to its destination; returns only when each item's fate is known."""
        ...
