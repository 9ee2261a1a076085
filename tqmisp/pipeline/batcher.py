"""Grouping of items into slices, as a plain object without I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic

from tqmisp.pipeline.protocols import D, Slice, V

WORTH = 8
"""A slice of this part of the bytes that it may have is not too small to be sent."""


class Batcher(Generic[D, V]):
    """Collects items by destination and cuts slices that are bounded by count and by bytes.

    Args:
        max_items: items a slice at most.
        max_bytes: bytes a slice at most; a single item that is larger makes a slice of its own.
        size_of: the bytes of an item.

    Several destinations can be open at once. As soon as their items together exceed ``max_items`` or
    ``max_bytes``, one is closed, so that memory does not grow with the number of destinations: of those that are worth
    a slice the one that has waited longest for more, which may never come, and otherwise the largest.
    """

    def __init__(self, *, max_items: int, max_bytes: int, size_of: Callable[[V], int]) -> None:
        if max_items < 1 or max_bytes < 1:
            raise ValueError("a slice must be allowed at least one item and one byte")
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._open: dict[D, tuple[list[V], int]] = {}

    def feed(self, destination: D, items: Sequence[V]) -> list[Slice[D, V]]:
        """Take items and return the slices that are full now."""
        full: list[Slice[D, V]] = []
        held, size = self._open.pop(destination, ([], 0))
        for item in items:
            weight = self._size_of(item)
            if held and (len(held) >= self._max_items or size + weight > self._max_bytes):
                full.append(Slice(destination, held, size))
                held, size = [], 0
            held.append(item)
            size += weight
        if held:
            self._open[destination] = (held, size)
        while self._crowded():
            full.append(self._close(self._ripe()))
        return full

    def flush(self) -> list[Slice[D, V]]:
        """Return what is left, as slices that may be short."""
        return [self._close(destination) for destination in list(self._open)]

    def _ripe(self) -> D:
        """The destination to close; they stand in the order in which they were last fed."""
        for destination, (_, size) in self._open.items():
            if size * WORTH > self._max_bytes:
                return destination
        return max(self._open, key=lambda each: len(self._open[each][0]))

    def _close(self, destination: D) -> Slice[D, V]:
        items, size = self._open.pop(destination)
        return Slice(destination, items, size)

    def _crowded(self) -> bool:
        items = sum(len(held) for held, _ in self._open.values())
        size = sum(size for _, size in self._open.values())
        return items >= self._max_items or (len(self._open) > 1 and size > self._max_bytes)
