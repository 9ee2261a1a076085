from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.misp.strategies import values
from tqmisp.misp import identity
from tqmisp.simulators.misp import collation

SPACE = identity.namespace("https://threatq.example")


def fold(misp_type: str, category: str, value: str) -> int:
    """The number of a value."""
    return identity.identify(SPACE, misp_type, category, value)[1]


def test_the_names_are_a_promise() -> None:
    """These UUIDs stand in the MISPs of users: another one means that everything is exported once more."""
    assert identity.as_text(SPACE) == "9c0a5aa5-9753-5e6f-925e-b93377a30cd3"
    attribute = identity.identify(SPACE, "domain", "Network activity", "evil.example")[0]
    assert identity.as_text(attribute) == "adc7e879-5ff3-52db-ad3e-a09fc180fd15"
    assert identity.event_uuid(SPACE, "ThreatQ Export", "2026-11-24", 2) == "ca20ccd0-8376-52a4-851d-e5719d19f847"


@given(st.text(), st.text())
def test_uuids_are_those_of_the_standard_library(misp_type: str, value: str) -> None:
    """The short way gives UUIDv5 as RFC 4122 has it."""
    expected = uuid.uuid5(uuid.UUID(bytes=SPACE), f"attribute:{misp_type}:{value}")
    raw = identity.identify(SPACE, misp_type, "Other", value)[0]
    assert raw == expected.bytes
    assert identity.as_text(raw) == str(expected)


@pytest.mark.parametrize(
    "url",
    [
        "https://threatq.example/",
        "HTTPS://ThreatQ.Example",
        "https://threatq.example:443",
        "threatq.example",
        "https://threatq.example:443//",
    ],
)
def test_one_address_in_any_spelling_is_one_namespace(url: str) -> None:
    """A slash or a port more in the configuration does not export everything anew."""
    assert identity.namespace(url) == SPACE


@pytest.mark.parametrize(
    "url",
    ["http://threatq.example", "https://threatq.example:8443", "https://threatq.example/sub", "https://other.example"],
)
def test_another_address_is_another_namespace(url: str) -> None:
    """Two ThreatQs never write to each other's events."""
    assert identity.namespace(url) != SPACE


def test_a_configured_name_counts_more_than_the_address() -> None:
    """ThreatQ can move without a new export."""
    assert identity.namespace("https://a.example", "ours") == identity.namespace("https://b.example", "ours")
    assert identity.namespace("https://a.example", "ours") != identity.namespace("https://a.example")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://UPPER.com/PaTh", "http://upper.com/path"),  # recording 187
        ("résumé.doc", "resume.doc"),  # recording 189
        ("Straße", "STRASSE"),
        ("Ångström", "angstrom"),
        ("søren", "soren"),
        ("ab\0cd", "abcd"),  # no weight
        ("zero\u200bwidth", "zerowidth"),
        ("\uff41\uff42", "ab"),
    ],
)
def test_values_that_misp_takes_for_one_fold_together(one: str, other: str) -> None:
    """They must go to different events: in one, MISP would drop the second."""
    assert fold("filename", "Other", one) == fold("filename", "Other", other)


@given(
    values.filter(lambda value: not any("\ud800" <= c <= "\udfff" for c in value)),
    st.sampled_from(
        [str.upper, str.lower, str.swapcase, lambda v: unicodedata.normalize("NFD", v), lambda v: f"{v}\u0301 "]
    ),
)
def test_no_twin_is_overlooked(value: str, respell: Callable[[str], str]) -> None:
    """What the simulated database takes for one value, we do too."""
    other = respell(value)
    if collation.fold(value) == collation.fold(other):
        assert fold("text", "Other", value) == fold("text", "Other", other)


def test_other_values_types_and_categories_fold_apart() -> None:
    """Type and category belong to MISP's uniqueness (recording 107); a slash at the end does, too (recording 190)."""
    folds = {
        fold("url", "Network activity", "http://upper.com/path"),
        fold("url", "Network activity", "http://upper.com/path/"),
        fold("url", "Payload delivery", "http://upper.com/path"),
        fold("uri", "Network activity", "http://upper.com/path"),
    }
    assert len(folds) == 4
    assert all(-(2**63) <= fold < 2**63 for fold in folds)
