from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tqmisp.transport.reply import retry_after
from tqmisp.transport.words import LONGEST, explain_redirect, one_line


@given(st.text(), st.lists(st.text(min_size=4), max_size=3))
def test_words_of_others_become_one_printable_line(said: str, secrets: list[str]) -> None:
    """Control characters, line ends and what turns the direction of writing become blanks; the length is bounded."""
    line = one_line(said, secrets)
    assert line.isprintable()
    assert len(line) <= LONGEST + 1


def test_secrets_in_the_words_of_others_are_masked() -> None:
    """As they are, and as an address holds them; also where the text is then cut."""
    secret = "p&ss w/rd+1"
    for text in (secret, "p%26ss%20w/rd%2B1", "p%26ss%20w%2Frd%2B1"):
        assert one_line(f"wrong: {text}!", [secret]) == "wrong: ***!"
    assert secret[:5] not in one_line("x" * (LONGEST - 5) + secret, [secret])
    assert one_line("is a", ["a"]) == "is a"


@pytest.mark.parametrize(
    ("url", "location", "words"),
    [
        ("http://tq.test", "https://tq.test/api/token?refresh_token=SECRET", "wants https. Set [threatq] url to https://tq.test."),
        ("http://tq.test:80", "https://tq.test:8443/", "https://tq.test:8443."),
        ("https://tq.test", "/auth/login?next=SECRET", "https://tq.test/auth/login, a login page"),
        ("https://tq.test", "https://user:SECRET@sso.test/saml/start", "https://sso.test/saml/start, a login page"),
        ("https://tq.test", "https://new.test/api/token", "sends us on to https://new.test/api/token. Set [th"),
        ("https://tq.test", "", "sends us on to https://tq.test/."),
        ("https://tq.test", "http://[", "no address"),
    ],
)  # fmt: skip
def test_a_redirect_is_explained(url: str, location: str, words: str) -> None:
    """Towards https, towards a login page, or elsewhere; without the query, which repeats what we sent."""
    said = explain_redirect("ThreatQ", "threatq", url, location)
    assert words in said
    assert "SECRET" not in said


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),  # past
        ("", None),
        ("soon", None),
        ("inf", None),  # would never be over
        ("nan", None),
        ("-3", None),
        ("Wed, 99 Oct 99999999 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(asked: str, seconds: float | None) -> None:
    """What is neither, asks for nothing."""
    assert retry_after({"retry-after": asked}) == seconds


def test_retry_after_a_moment_to_come() -> None:
    """The wait is the time until then."""
    wait = retry_after({"retry-after": formatdate(time.time() + 100, usegmt=True)})
    assert wait is not None
    assert 90 < wait <= 100
