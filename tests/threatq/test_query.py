from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.threatq.samples import sample
from tqmisp.errors import ConfigError
from tqmisp.model import Indicator
from tqmisp.threatq.options import Selection
from tqmisp.threatq.query import FIELDS, RowFilter, body, in_names_of

TYPES = tuple(row["name"] for row in sample("indicator_types.json")["data"])
STATUSES = tuple(row["name"] for row in sample("indicator_statuses.json")["data"])
ACTIVE = {"status_name": "Active"}


@pytest.mark.parametrize(
    ("selection", "window", "filters"),
    [
        (Selection(), (None, None), {"+and": [ACTIVE]}),
        (Selection(statuses=()), (None, None), {}),
        (Selection(score_threshold=5), (None, None), {"+and": [ACTIVE, {"score": {"+gte": 5}}]}),
        (Selection(score_threshold=7.5), (None, None), {"+and": [ACTIVE, {"score": {"+gte": 7.5}}]}),
        (
            Selection(),
            ("2024-05-01 00:00:00", "2024-05-02 00:00:00"),
            {"+and": [ACTIVE, {"touched_at": {"+gt": "2024-05-01 00:00:00", "+lt": "2024-05-02 00:00:00"}}]},
        ),
        (Selection(statuses=()), (None, "2024-05-02"), {"+and": [{"touched_at": {"+lt": "2024-05-02"}}]}),
        (
            Selection(types=("IP Address", "IPv6 Address", "FQDN", "URL", "MD5", "SHA-1", "SHA-256")),
            (None, None),
            sample("query_request_types.json")["filters"],
        ),
        # what no confirmed operator says is left to the filter of the rows
        (Selection(tags=("a",), sources=("b",), exclude_types=("URL",)), (None, None), {"+and": [ACTIVE]}),
    ],
)
def test_a_selection_becomes_a_query(
    selection: Selection, window: tuple[str | None, str | None], filters: object
) -> None:
    """In the form that published clients send, and with no operator that none of them sends."""
    assert body(selection, window=window) == {"criteria": {}, "filters": filters, "fields": list(FIELDS)}


def test_the_fields_are_among_those_that_clients_ask_for() -> None:
    """Each is in the recorded request, or the name of a member of one that is."""
    assert {field.partition(".")[0] for field in FIELDS} <= set(sample("query_request_status_score.json")["fields"])
    assert "fields" not in body(Selection(), fields=None)


def test_a_collection_is_narrowed_and_never_widened() -> None:
    """Its tests stand beside those of the selection, and its criteria stay what they are."""
    saved = {"criteria": {"mentions": "x"}, "filters": {"+or": [{"type_name": "FQDN"}, {"score": {"+gte": 7}}]}}
    asked = body(Selection(score_threshold=3), saved=saved)
    assert asked["criteria"] == {"mentions": "x"}
    assert asked["filters"] == {"+and": [saved["filters"], ACTIVE, {"score": {"+gte": 3}}]}


def test_names_are_written_as_the_instance_writes_them() -> None:
    """A server may tell upper case from lower; each name is asked for once."""
    given = Selection(statuses=("active", "ACTIVE"), types=("fqdn", "Url"))
    named = in_names_of(given, TYPES, STATUSES)
    assert (named.statuses, named.types) == (("Active",), ("FQDN", "URL"))


def test_types_to_leave_out_become_those_that_remain() -> None:
    """No operator for "not" is known, so all other types of the instance are asked for."""
    named = in_names_of(Selection(exclude_types=("fqdn",)), TYPES, STATUSES)
    assert set(named.types) == set(TYPES) - {"FQDN"}
    both = in_names_of(Selection(types=("URL", "FQDN"), exclude_types=("fqdn",)), TYPES, STATUSES)
    assert both.types == ("URL",)


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (Selection(types=("FDQN",)), r"types: this ThreatQ has no 'FDQN'; it has: ASN, .*FQDN"),
        (Selection(exclude_types=("FDQN",)), "exclude_types: this ThreatQ has no 'FDQN'"),
        (Selection(statuses=("Activ",)), "statuses: this ThreatQ has no 'Activ'; it has: Active, Expired"),
        (Selection(exclude_types=TYPES), "no type is left"),
        (Selection(types=("URL",), exclude_types=("URL",)), "no type is left"),
    ],
)
def test_a_name_that_does_not_exist_is_an_error(selection: Selection, words: str) -> None:
    """It would select nothing, or everything, without a word."""
    with pytest.raises(ConfigError, match=words):
        in_names_of(selection, TYPES, STATUSES)


def test_where_names_cannot_be_seen_they_are_sent_as_they_are() -> None:
    """An account may lack the right to see the lists."""
    given = Selection(statuses=("aCtive",), types=("x",), exclude_types=("y",))
    assert in_names_of(given, (), ()) == given


ROW = Indicator(
    1, "FQDN", "x.test", status="Active", score=7, touched_at="2024-05-01 12:00:00", tags=("a",), sources=()
)


@pytest.mark.parametrize(
    ("selection", "code"),
    [
        (Selection(), None),
        (Selection(statuses=()), None),
        (Selection(statuses=("active",), types=("fqdn",), tags=("A", "b"), score_threshold=7), None),
        (Selection(statuses=("Expired",)), "status_not_selected"),
        (Selection(score_threshold=7.5), "score_below_threshold"),
        (Selection(types=("URL",)), "type_not_selected"),
        (Selection(exclude_types=("fqdn",)), "type_excluded"),
        (Selection(types=("fqdn",), exclude_types=("fqdn",)), "type_excluded"),
        (Selection(tags=("b",)), "tag_not_selected"),
        (Selection(sources=("b",)), "source_not_selected"),
    ],
)
def test_every_row_is_held_against_the_selection(selection: Selection, code: str | None) -> None:
    """A server that takes no notice of a filter cannot bring in what is not selected."""
    kept, refused = RowFilter(selection).apply([ROW])
    assert [each.code for each in refused] == ([] if code is None else [code])
    assert kept == ([ROW] if code is None else [])
    assert all(each.kind == "filtered" and each.key == 1 and each.reason for each in refused)


@pytest.mark.parametrize(
    ("touched", "inside"),
    [
        ("2024-05-01 00:00:00", True),  # at the first moment
        ("2024-05-01 00:00:00.250", True),
        ("2024-05-01T00:00:00", True),
        ("2024-04-30 23:59:59.999", False),
        ("2024-05-01 23:59:59.999", True),
        ("2024-05-01T23:59:59", True),
        ("2024-05-02 00:00:00", False),  # at the moment before which
        (None, False),
    ],
)
def test_a_period_holds_its_first_moment_and_not_its_last(touched: str | None, *, inside: bool) -> None:
    """Dates come with fractions, and may come with a T."""
    rows = RowFilter(Selection(), ("2024-05-01 00:00:00", "2024-05-02 00:00:00"))
    kept, refused = rows.apply([replace(ROW, touched_at=touched)])
    assert bool(kept) == inside
    assert [each.code for each in refused] == ([] if inside else ["time_not_selected"])
