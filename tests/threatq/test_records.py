from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tqmisp.model import Indicator, Source
from tqmisp.pipeline.protocols import Refusal
from tqmisp.threatq.records import Lookups, to_indicator

LOOKUPS = Lookups({15: "IP Address"}, {1: "Active"})
ROW: dict[str, Any] = {"id": 7, "value": "203.0.113.45", "type": "IP Address", "status": "Active", "score": 7}


def read(**changes: Any) -> Indicator:
    """The indicator of a row."""
    result = to_indicator({name: value for name, value in (ROW | changes).items() if value is not ...}, LOOKUPS)
    assert isinstance(result, Indicator)
    return result


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"type": {"id": 15, "name": "IP Address"}, "status": {"id": 1, "name": "Active"}},
        {"type": ..., "type_id": 15, "status": ..., "status_id": 1},
        {"type": {"id": 15}, "status": {"id": 1}},
        {"id": "7"},
    ],
)
def test_type_and_status_come_in_every_shape(changes: dict[str, Any]) -> None:
    """Plain names, objects, and ids of the instance mean the same."""
    indicator = read(**changes)
    assert (indicator.id, indicator.type, indicator.status) == (7, "IP Address", "Active")


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (7, 7.0),
        (7.5, 7.5),
        ("7.00", 7.0),
        (None, 0.0),
        ("high", 0.0),
        (100, 10.0),
        (-3, 0.0),
        (float("nan"), 0.0),
        ({"generated_score": "7.00", "manual_score": None}, 7.0),
        ({"generated_score": "7.00", "manual_score": 3}, 3.0),
        ({"generated_score": "7.00", "manual_score": 0}, 0.0),
        ([], 0.0),
    ],
)
def test_scores_come_in_every_shape(score: Any, expected: float) -> None:
    """A manual score wins, a missing one is 0, and what is outside 0..10 is clamped."""
    assert read(score=score).score == expected


def test_context_comes_in_both_views() -> None:
    """Tags and sources are texts or objects; a TLP is a name or a number; null names and values are passed over."""
    indicator = read(
        tags=[{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        sources=[
            {"name": "One", "tlp_name": "white"},
            {"name": "Two", "tlp_id": 1},
            {"name": "Three", "tlp_name": "AMBER+STRICT"},
            {"name": "Four"},
            None,
        ],
        attributes=[
            {"name": "Malware Family", "value": "X"},
            {"name": None, "value": "y"},
            {"name": "z", "value": None},
        ],
        adversaries=[{"id": 1, "name": "G"}],
    )
    assert indicator.tags == ("a", "b")
    assert indicator.sources == (
        Source("One", "CLEAR"),
        Source("Two", "RED"),
        Source("Three", "AMBER+STRICT"),
        Source("Four", None),
    )
    assert indicator.attributes == (("Malware Family", "X"),)
    assert indicator.malware == ("X",)
    assert indicator.adversaries == ("G",)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({**ROW, "id": None}, "missing_id"),
        ({**ROW, "id": -1}, "missing_id"),
        ({**ROW, "id": 2**70}, "missing_id"),
        ({**ROW, "value": None}, "missing_value"),
        ({**ROW, "value": {"a": 1}}, "missing_value"),
        ({**ROW, "type": None}, "missing_type"),
        ({**ROW, "type": None, "type_id": 99}, "missing_type"),
        ("text", "malformed_row"),
        (None, "malformed_row"),
        ([ROW], "malformed_row"),
    ],
)
def test_a_row_that_lacks_something_is_rejected_with_a_code(row: Any, code: str) -> None:
    """The reason is stable, and the rest of the page goes on."""
    result = to_indicator(row, LOOKUPS)
    assert isinstance(result, Refusal)
    assert (result.kind, result.code) == ("rejected", code)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(
    ["id", "value", "type", "type_id", "status", "score", "sources", "tags", "adversaries", "attributes", "description"]
)


@given(st.dictionaries(fields, json_values) | json_values)
def test_no_row_makes_it_raise(row: Any) -> None:
    """Whatever JSON can hold becomes an indicator or a refusal."""
    assert isinstance(to_indicator(row, LOOKUPS), (Indicator, Refusal))
