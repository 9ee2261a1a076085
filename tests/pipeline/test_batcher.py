from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tqmisp.pipeline.batcher import Batcher
from tqmisp.pipeline.protocols import Slice

feeds = st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.integers(1, 40), max_size=30)), max_size=30)


def fed(batcher: Batcher[str, tuple[int, int]], feed: list[tuple[str, list[int]]]) -> list[Slice[str, tuple[int, int]]]:
    """Everything that comes out when each item is its number and its size."""
    slices, number = [], 0
    for destination, sizes in feed:
        items = [(number + index, size) for index, size in enumerate(sizes)]
        number += len(sizes)
        slices += batcher.feed(destination, items)
    return slices + batcher.flush()


@given(feeds, st.integers(1, 25), st.integers(1, 200))
def test_slices_hold_every_item_once_in_order(feed: list[tuple[str, list[int]]], items: int, size: int) -> None:
    """Joined by destination, the slices equal the input; none is empty, too long or too large."""
    slices = fed(Batcher(max_items=items, max_bytes=size, size_of=lambda item: item[1]), feed)
    out: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for part in slices:
        assert 1 <= len(part.items) <= items
        assert part.size == sum(item[1] for item in part.items)
        assert part.size <= size or len(part.items) == 1
        out[part.destination] += part.items
    expected: dict[str, list[tuple[int, int]]] = defaultdict(list)
    number = 0
    for destination, sizes in feed:
        expected[destination] += [(number + index, weight) for index, weight in enumerate(sizes)]
        number += len(sizes)
    assert {key: value for key, value in expected.items() if value} == out


@given(feeds, st.integers(2, 25))
def test_what_is_held_is_bounded_over_all_destinations(feed: list[tuple[str, list[int]]], items: int) -> None:
    """However many destinations are open, fewer items are held than one slice may have."""
    batcher: Batcher[str, int] = Batcher(max_items=items, max_bytes=10_000, size_of=lambda size: size)
    held = 0
    for destination, sizes in feed:
        held += len(sizes) - sum(len(part.items) for part in batcher.feed(destination, sizes))
        assert held < items


def test_a_full_slice_leaves_at_once() -> None:
    """A slice that cannot take more does not wait for the next item."""
    batcher: Batcher[str, int] = Batcher(max_items=3, max_bytes=100, size_of=lambda size: size)
    assert [len(part.items) for part in batcher.feed("a", [1, 1, 1])] == [3]
    assert batcher.flush() == []


def test_what_waits_in_vain_makes_room_for_what_grows() -> None:
    """The rest of a full event leaves when there is no room, and does not keep all slices after it small."""
    batcher: Batcher[str, int] = Batcher(max_items=1_000, max_bytes=100, size_of=lambda size: size)
    assert batcher.feed("old", [20, 20]) == []
    assert batcher.feed("few", [5]) == []
    assert [part.destination for part in batcher.feed("new", [20, 20, 20])] == ["old"]
    assert [(part.destination, part.size) for part in batcher.feed("new", [20, 20])] == [("new", 100)]
    assert [part.destination for part in batcher.flush()] == ["few"]


@pytest.mark.parametrize(("items", "size"), [(0, 1), (1, 0)])
def test_bounds_must_allow_something(items: int, size: int) -> None:
    """Bounds of nothing are a mistake of the caller."""
    with pytest.raises(ValueError, match="at least one item"):
        Batcher(max_items=items, max_bytes=size, size_of=int)
