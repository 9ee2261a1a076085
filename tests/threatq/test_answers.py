from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.threatq.samples import FOLDER, sample
from tqmisp.threatq.answers import refusal_in, words_of


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "error_400_fields.json",
            (
                "value: The value field is required.; "
                "type_id: The selected type id is invalid. The type id must be an integer."
            ),
        ),
        ("error_400_list.json", "First problem; Second problem, part 1; Second problem, part 2"),
        ("error_401.json", "The resource owner or authorization server denied the request."),
        ("error_404.json", "Not Found"),
        ("error_http_exception.json", "Something went wrong"),
        ("error_200_with_errors.json", "Search is unavailable"),
        ("token_error_400.json", "The user credentials were incorrect."),
    ],
)
def test_the_words_of_every_kind_of_error_are_found(name: str, words: str) -> None:
    """Errors come as lists, lists of lists, by field, or as name and message."""
    assert words_of((FOLDER / name).read_bytes()) == words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (sample("error_200_with_errors.json"), "Search is unavailable"),
        (sample("error_400_fields.json"), "value: The value field is required.; type_id: The selected"),
        ({"data": [{"error": "hidden"}]}, "hidden"),
        ({"errors": [[]]}, "without a word"),  # an error all the same
        ({"errors": {"value": None}}, "value: None"),
        ({"errors": []}, None),
        ({"data": [{"id": 1, "error": "a field of a row"}]}, None),
        ({"data": []}, None),
        ({}, None),
        (None, None),
        ([], None),
        (sample("query_response_full.json"), None),
        (sample("connector_by_name.json"), None),
    ],
)
def test_an_error_with_a_status_of_success_is_noticed(body: object, words: str | None) -> None:
    """The vendor's own SDK takes an answer with errors for a failure, whatever its status."""
    found = refusal_in(body)
    assert found is None if words is None else found is not None and found.startswith(words)


@given(st.binary() | st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_no_body_is_too_strange(body: object) -> None:
    """Whatever comes with an error status is looked through without a further error."""
    assert isinstance(words_of(body if isinstance(body, bytes) else orjson.dumps(body)), str)
    refusal_in(body)


def test_a_body_that_is_nested_without_end_has_no_words() -> None:
    """It is no error of ThreatQ's."""
    assert words_of(b"[" * 100_000) == ""
