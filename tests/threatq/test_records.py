from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.logs import capture_logs
from tests.threatq.samples import sample
from tqmisp.model import Indicator, Source
from tqmisp.pipeline.protocols import Refusal
from tqmisp.threatq.records import Lookups, to_indicator, to_indicators

LOOKUPS = Lookups({15: "IP Address"}, {1: "Active"})
ROW: dict[str, Any] = {"id": 7, "value": "203.0.113.45", "type": "IP Address", "status": "Active", "score": 7}


def read(**changes: Any) -> Indicator:
    """The indicator of a row."""
    result = to_indicator({name: value for name, value in (ROW | changes).items() if value is not ...}, LOOKUPS)
    assert isinstance(result, Indicator)
    return result


@pytest.mark.parametrize(
    "name",
    ["query_response_full.json", "query_response_default_2026.json", "query_response_fields.json"],
)
def test_rows_of_the_library_are_read_in_every_answer(name: str) -> None:
    """The full answer, that of newer servers, and that to a list of fields mean the same indicators."""
    indicators, refusals = to_indicators(sample(name)["data"], Lookups())
    assert refusals == []
    assert [(each.id, each.type, each.value, each.status, each.score) for each in indicators[:3]] == [
        (50101, "IP Address", "203.0.113.45", "Active", 7.0),
        (50102, "FQDN", "c2.bad-example.test", "Active", 10.0),
        (50103, "URL", "bad-example.test/dl/stage2.bin?x=1", "Active", 4.0),
    ]


def test_a_full_row_of_the_library_keeps_its_context() -> None:
    """Sources with their TLP, attributes, the malware among them, adversaries and dates."""
    first = to_indicators(sample("query_response_full.json")["data"], Lookups())[0][0]
    assert first.sources == (Source("Example OSINT Feed", "GREEN"),)
    assert first.attributes == (("Country", "ZZ"), ("Malware Family", "ExampleBot"))
    assert first.malware == ("ExampleBot",)
    assert first.adversaries == ("EXAMPLE SPIDER",)
    assert first.touched_at == "2024-05-02 06:30:00"
    assert first.expires_at == "2024-06-01 00:00:00"


def test_the_database_view_is_read_like_the_library() -> None:
    """The score is an object, tags are objects, and a TLP has no name; the same indicator comes out."""
    row = to_indicator(sample("indicator_detail.json")["data"], Lookups())
    assert isinstance(row, Indicator)
    assert (row.id, row.type, row.status, row.score) == (50101, "IP Address", "Active", 7.0)
    assert row.tags == ("botnet", "loader")
    assert row.sources == (Source("Example OSINT Feed", "GREEN"),)
    assert row.adversaries == ("EXAMPLE SPIDER",)
    assert row.attributes[0] == ("Country", "ZZ")
    listed, refused = to_indicators(sample("indicators_list_with.json")["data"], Lookups())
    assert refused == []
    assert {each.status for each in listed} <= {"Active", "Expired", "Review", "Indirect", "Whitelisted"}


def test_ids_are_resolved_by_the_lists_of_the_instance() -> None:
    """Without relations rows hold ids, which differ between instances; without the lists they mean nothing."""
    rows = sample("indicators_list_bare.json")["data"]
    types = {row["id"]: row["name"] for row in sample("indicator_types.json")["data"]}
    statuses = {row["id"]: row["name"] for row in sample("indicator_statuses.json")["data"]}
    indicators, refusals = to_indicators(rows, Lookups(types, statuses))
    assert refusals == []
    assert [each.type for each in indicators] == [types[row["type_id"]] for row in rows]
    assert [each.status for each in indicators] == [statuses[row["status_id"]] for row in rows]
    assert {each.code for each in to_indicators(rows, Lookups())[1]} == {"missing_type"}


def test_rows_of_the_oldest_search_are_read() -> None:
    """They hold little more than the value."""
    [row] = sample("search_advanced_response.json")["data"]
    assert to_indicator(row, Lookups()) == Indicator(50101, "IP Address", "203.0.113.45", status="Active")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"type": {"id": 15, "name": "IP Address"}, "status": {"id": 1, "name": "Active"}},
        {"type": ..., "type_id": 15, "status": ..., "status_id": 1},
        {"type": {"id": 15}, "status": {"id": 1}},
        {"type": "", "type_id": "15", "status": None, "status_id": "1"},
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
        (10**400, 10.0),  # more than a number with a point can be
        (-(10**400), 0.0),
        (float("inf"), 10.0),
        (True, 1.0),
    ],
)
def test_scores_come_in_every_shape(score: Any, expected: float) -> None:
    """A manual score wins, a missing one is 0, and what is outside 0..10 is clamped."""
    assert read(score=score).score == expected


def test_context_comes_in_both_views() -> None:
    """Tags and sources are texts or objects; a TLP is a name or a number; null names and values are passed over."""
    indicator = read(
        tags=[None, {"id": 1, "name": "a"}, "b", {"id": 3}, 4],
        sources=[
            {"name": "One", "tlp_name": "white"},
            {"name": "Two", "tlp_id": 1},
            {"name": "Three", "tlp_name": "AMBER+STRICT"},
            {"name": "Four", "tlp_id": True},
            {"name": "Five", "tlp_id": "2", "tlp_name": "of our own"},
            {"tlp_name": "TLP:GREEN"},
            {"name": None},
            "Six",
            None,
            7,
        ],
        attributes=[
            {"name": "Malware Family", "value": "X"},
            {"name": None, "value": "y"},
            {"name": "z", "value": None},
            {"name": "list", "value": [1]},
            {"name": "number", "value": 4.5},
            "text",
        ],
        adversaries=[{"id": 1, "name": "G"}],
    )
    assert indicator.tags == ("a", "b")
    assert indicator.sources == (
        Source("One", "CLEAR"),
        Source("Two", "RED"),
        Source("Three", "AMBER+STRICT"),
        Source("Four", None),
        Source("Five", "AMBER"),
        Source("", "GREEN"),
        Source("Six", None),
    )
    assert indicator.attributes == (("Malware Family", "X"), ("number", "4.5"))
    assert indicator.malware == ("X",)
    assert indicator.adversaries == ("G",)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tlp_name": "AMBER-STRICT", "tlp_id": 5}, "AMBER+STRICT"),
        ({"tlp_name": "Amber_Strict"}, "AMBER+STRICT"),
        ({"tlp_name": "TLP RED"}, "RED"),
        ({"tlp_name": " tlp : white "}, "CLEAR"),
        ({"tlp_name": "", "tlp_id": None}, None),
        ({"tlp_name": " "}, None),
        ({"tlp_id": 5}, "RED"),  # AMBER+STRICT, as long as nobody has renumbered
        ({"tlp_name": "BLACK"}, "RED"),
        ({"tlp_name": "BLACK", "tlp_id": 9}, "RED"),
    ],
)
def test_a_tlp_that_is_not_known_counts_as_the_strictest(given: dict[str, Any], expected: str | None) -> None:
    """Whatever else it counted as, it could let a secret out; none at all is none, and spelling does not matter."""
    assert read(sources=[{"name": "A", **given}]).sources == (Source("A", expected),)


def test_a_tlp_that_is_not_known_is_named_once() -> None:
    """Not for each of its indicators, nor for each of its sources."""
    with capture_logs() as logs:
        for name in ("One", "Two", "One"):
            read(sources=[{"name": name, "tlp_name": "ULTRAVIOLET"}, {"name": name, "tlp_id": 77}])
    assert [(entry["log_level"], entry["tlp"], entry["counts_as"]) for entry in logs] == [
        ("warning", "ULTRAVIOLET", "RED"),
        ("warning", "id 77", "RED"),
    ]


def test_values_are_kept_as_they_are() -> None:
    """Hostile text goes through untouched, for the mapper to judge; a number becomes text."""
    for value in (" x ", "\x00\x1b[31m", "\ud800", "\u202e", "x" * 65_536):
        kept = read(value=value, description="<p>a&amp;b</p>")
        assert isinstance(kept, Indicator)
        assert (kept.value, kept.description) == (value, "<p>a&amp;b</p>")
    assert read(value=65001).value == "65001"


def test_half_characters_in_names_are_spelled_out() -> None:
    """Journal and receipt hold names of types and statuses, and cannot hold a lone surrogate."""
    for name in ("\ud83d", {"name": "\ud83d"}):
        assert (read(type=name).type, read(status=name).status) == (r"\ud83d", r"\ud83d")
        refused = to_indicator(ROW | {"type": name, "value": ""}, LOOKUPS)
        assert isinstance(refused, Refusal)
        assert refused.label == r"\ud83d"
    assert read(type="Adresse réseau").type == "Adresse réseau"


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({**ROW, "id": None}, "missing_id"),
        ({**ROW, "id": -1}, "missing_id"),
        ({**ROW, "id": 2**70}, "missing_id"),
        ({**ROW, "value": None}, "missing_value"),
        ({**ROW, "value": {"a": 1}}, "missing_value"),
        ({**ROW, "value": ""}, "missing_value"),
        ({**ROW, "value": True}, "missing_value"),
        ({**ROW, "value": 10**5000}, "missing_value"),
        ({**ROW, "type": None}, "missing_type"),
        ({**ROW, "type": None, "type_id": 99}, "missing_type"),
        ({**ROW, "id": True}, "missing_id"),
        ({**ROW, "id": 7.0}, "missing_id"),
        ({**ROW, "type": {"name": None}}, "missing_type"),
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


def nested(depth: int) -> list[Any]:
    """Lists in lists, deeper than Python likes to show."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("field", [None, *ROW, "sources", "tags", "adversaries", "attributes", "malware"])
def test_depth_is_no_danger(field: str | None) -> None:
    """What is nested without end is neither shown nor followed."""
    deep = nested(5_000)
    row: Any = deep if field is None else ROW | {field: [deep] if field.endswith("s") else deep}
    assert isinstance(to_indicator(row, LOOKUPS), (Indicator, Refusal))
    members = {"name": deep, "value": deep, "tlp_id": deep, "tlp_name": deep, "id": deep, "manual_score": deep}
    assert isinstance(to_indicator(ROW | {str(field): [members]}, LOOKUPS), (Indicator, Refusal))
    assert isinstance(to_indicator(ROW | {str(field): members}, LOOKUPS), (Indicator, Refusal))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**300, 10**320) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(
    ["id", "value", "type", "type_id", "status", "score", "sources", "tags", "adversaries", "attributes", "description"]
)
members = st.dictionaries(
    st.sampled_from(["id", "name", "value", "tlp_id", "tlp_name", "generated_score", "manual_score"]), json_values
)
shapes = json_values | members | st.lists(members | json_values, max_size=3)


@given(st.dictionaries(fields, shapes).map(lambda row: ROW | row) | st.dictionaries(fields, shapes) | json_values)
def test_no_row_makes_it_raise(row: Any) -> None:
    """Whatever JSON can hold becomes an indicator of the types that are promised, or a refusal with a known code."""
    result = to_indicator(row, LOOKUPS)
    if isinstance(result, Refusal):
        assert result.kind == "rejected"
        assert result.code in {"malformed_row", "missing_id", "missing_value", "missing_type"}
        assert all(isinstance(text, str) for text in (result.reason, result.label, result.value))
        return
    assert type(result.id) is int
    assert result.value
    assert result.type
    assert 0 <= result.score <= 10
    assert all(isinstance(text, str) for text in (result.value, result.type, result.status, result.description))
    dates = (result.created_at, result.published_at, result.updated_at, result.touched_at, result.expires_at)
    assert all(date is None or isinstance(date, str) for date in dates)
    assert all(isinstance(name, str) for name in result.tags + result.adversaries + result.malware)
    assert all(isinstance(text, str) for pair in result.attributes for text in pair)
    assert all(isinstance(each, Source) for each in result.sources)
