"""The comparison with recordings sees what it should see."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.recordings import differences, recordings

CHOSEN = "11111111-aaaa-4bbb-8ccc-000000000001"  # a UUID that was sent
MADE = "47e872ec-f4a1-4361-b0be-4482683f537a"  # one that the recorded server made
OTHER = "57e872ec-f4a1-4361-b0be-4482683f537a"


@pytest.mark.parametrize(
    ("recorded", "actual"),
    [
        ({"a": "1"}, {"a": "1"}),
        ({"timestamp": "1795490445"}, {"timestamp": "1795490446"}),  # the clock ticked
        ({"uuid": MADE}, {"uuid": OTHER}),  # both servers made one up
        (["a", "... 2 more items cut"], ["a", "b", "c"]),
        ({"a": 1, "...": "1 more keys cut"}, {"a": 1, "b": 2}),
        ("xx... 3 more characters cut", "xxxxx"),
    ],
)
def test_finds_no_difference(recorded: Any, actual: Any) -> None:
    """What must differ, and what was cut, is no difference."""
    assert differences(recorded, actual) == []


@pytest.mark.parametrize(
    ("recorded", "actual"),
    [
        ({"a": "1"}, {"a": 1}),  # a number instead of a string
        ({"a": False}, {"a": 0}),
        ({"a": "1"}, {"a": "1", "b": "2"}),
        ({"a": "1", "b": "2"}, {"a": "1"}),
        ({"timestamp": "1795490445"}, {"timestamp": "1795490447"}),
        ({"uuid": CHOSEN}, {"uuid": OTHER}),
        (["a", "... 2 more items cut"], ["a", "b"]),
        ({"a": 1, "...": "1 more keys cut"}, {"a": 1, "b": 2, "c": 3}),
        ("xx... 3 more characters cut", "xxxx"),
        ([], {}),
        (None, ""),
    ],
)
def test_finds_a_difference(recorded: Any, actual: Any) -> None:
    """Values, types, names of fields and numbers of items count."""
    assert differences(recorded, actual) != []


def test_puts_back_what_was_cut() -> None:
    """A cut request is sent as long as it was: repeated characters, and rows that count on."""
    body = recordings()[381].sent()
    rows = body["Event"]["Attribute"]
    assert [row["value"] for row in rows] == [
        *(f"p0-{n}.com" for n in (1, 2, 3)),
        "poison.com",
        *(f"p0-{n}.com" for n in (4, 5, 6)),
    ]
    assert rows[-1]["uuid"] == "22222222-dddd-4bbb-8ccc-000000000006"
    assert rows[3]["comment"] == "c" * 70_000
