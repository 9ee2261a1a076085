from __future__ import annotations

import time
from typing import Any

import pytest

from tests.misp.strategies import HOSTILE
from tqmisp.errors import ConfigError
from tqmisp.misp import warninglists
from tqmisp.misp.attribute import Attribute
from tqmisp.misp.identity import namespace
from tqmisp.misp.mapping import IndicatorMapper
from tqmisp.misp.policy import MappingPolicy
from tqmisp.misp.screens import REASONS, is_private, screens
from tqmisp.model import Indicator, Source
from tqmisp.pipeline.protocols import Refusal

SPACE = namespace("https://threatq.example")


def become(kind: str, value: str, tlp: str | None = None, **settings: Any) -> Attribute | Refusal:
    """What an indicator becomes under a policy."""
    mapper = IndicatorMapper(SPACE, MappingPolicy(**settings), threatq_url="https://threatq.example")
    mapped = mapper.map([Indicator(1, kind, value, sources=(Source("A", tlp),))])
    return mapped.items[0] if mapped.items else mapped.refusals[0]


def test_by_default_nothing_is_screened() -> None:
    """Screens are the operator's decision."""
    assert screens(MappingPolicy()) == ()


PRIVATE = [
    ("ip-dst", "10.1.2.3"),
    ("ip-dst", "192.168.0.0/16"),
    ("ip-dst", "127.0.0.1"),
    ("ip-dst", "100.64.0.1"),
    ("ip-dst", "169.254.1.1"),
    ("ip-dst", "224.0.0.251"),
    ("ip-dst", "::1"),
    ("ip-dst", "fe80::1"),
    ("ip-src", "172.16.0.1"),
    ("ip-dst|port", "10.1.2.3|80"),
    ("url", "http://user@10.1.2.3:8080/x"),
    ("url", "10.1.2.3/x"),
    ("url", "http://[::1]/x"),
]
PUBLIC = [
    ("ip-dst", "8.8.8.8"),
    ("ip-dst", "172.15.0.1"),
    ("ip-dst", "192.0.66.1"),
    ("ip-dst", "203.1.2.3"),
    ("ip-dst", "2a00::1"),
    ("ip-dst|port", "8.8.8.8|80"),
    ("ip-dst", "0.0.0.0/0"),
    ("url", "http://evil.example/10.1.2.3"),
    ("url", "http://8.8.8.8/"),
    ("url", "nothing"),
    ("domain", "10.1.2.3"),
    ("text", "10.1.2.3"),
]


@pytest.mark.parametrize(("kind", "value"), PRIVATE)
def test_what_nobody_can_reach_is_private(kind: str, value: str) -> None:
    """Addresses for private use, of the machine itself, of the link, and multicast."""
    assert is_private(kind, value)


@pytest.mark.parametrize(("kind", "value"), PUBLIC)
def test_what_can_be_reached_is_not_private(kind: str, value: str) -> None:
    """Neighbours of private networks, and what is no address."""
    assert not is_private(kind, value)


@pytest.mark.parametrize(
    ("setting", "kind", "value", "code"),
    [
        ("private_addresses", "IP Address", "10.1.2.3", "private_address"),
        ("private_addresses", "IP Address", "10.1.2.3:80", "private_address"),
        ("short_values", "Filename", "a.b", "too_short"),
        ("short_values", "Mutex", "x", "too_short"),
        ("warninglists", "IP Address", "192.168.1.1", "warninglist"),
        ("warninglists", "MD5", "d41d8cd98f00b204e9800998ecf8427e", "warninglist"),
    ],
)
def test_a_screen_does_what_it_is_told(setting: str, kind: str, value: str, code: str) -> None:
    """Drop counts as filtered; to_ids and tag let the value through, and leave their name with it."""
    dropped = become(kind, value, **{setting: "drop"})
    assert isinstance(dropped, Refusal)
    assert (dropped.kind, dropped.code, dropped.reason) == ("filtered", code, REASONS[code])
    silent = become(kind, value, **{setting: "to_ids"})
    assert isinstance(silent, Attribute)
    assert not silent.to_ids
    assert b'"to_ids":false' in silent.payload
    assert f"screen_{code}" in silent.rescued
    tagged = become(kind, value, **{setting: "tag"})
    assert isinstance(tagged, Attribute)
    assert tagged.to_ids
    assert rb"false-positive:risk=\"medium\"" in tagged.payload
    untouched = become(kind, value)
    assert isinstance(untouched, Attribute)
    assert untouched.to_ids


def test_short_values_are_those_of_words() -> None:
    """An AS number of two digits is not a short word."""
    assert isinstance(become("ASN", "64", short_values="drop"), Attribute)
    assert isinstance(become("Mutex", "four", short_values="drop"), Attribute)
    assert isinstance(become("Mutex", "four", short_values="drop", shortest=5), Refusal)


@pytest.mark.parametrize(
    ("tlp", "most", "passes"),
    [
        ("AMBER", "GREEN", False),
        ("GREEN", "GREEN", True),
        ("CLEAR", "GREEN", True),
        ("AMBER+STRICT", "AMBER", False),
        ("RED", "RED", True),
        ("RED", None, True),
        (None, "CLEAR", True),  # ThreatQ gives none: no restriction
    ],
)
def test_what_is_too_secret_stays(tlp: str | None, most: str | None, *, passes: bool) -> None:
    """The guard lets nothing out that is stricter than the target may get."""
    outcome = become("FQDN", "evil.example", tlp, max_tlp=most)
    if passes:
        assert isinstance(outcome, Attribute)
    else:
        assert isinstance(outcome, Refusal)
        assert (outcome.kind, outcome.code) == ("filtered", "tlp_too_strict")


def test_the_guard_counts_the_default_tlp() -> None:
    """Who says that unmarked indicators are amber does not send them where amber may not go."""
    assert isinstance(become("FQDN", "evil.example", None, max_tlp="GREEN", default_tlp="AMBER"), Refusal)


@pytest.mark.parametrize(
    ("name", "kind", "value", "found"),
    [
        ("empty-hashes", "sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709", True),
        ("empty-hashes", "filename|sha1", "x|da39a3ee5e6b4b0d3255bfef95601890afd80709", True),
        ("empty-hashes", "text", "da39a3ee5e6b4b0d3255bfef95601890afd80709", False),  # the list is not for texts
        ("rfc1918", "ip-dst", "10.0.0.1", True),
        ("rfc1918", "ip-dst|port", "10.0.0.1|80", True),
        ("rfc1918", "ip-dst", "10.0.0.0/9", True),
        ("rfc1918", "ip-dst", "0.0.0.0/0", False),  # holds the list's network, is not in it
        ("rfc1918", "ip-dst", "11.0.0.1", False),
        ("public-dns-v6", "ip-dst", "2001:4860:4860::8888", True),
        ("whats-my-ip", "domain", "checkip.amazonaws.com", True),
        ("whats-my-ip", "url", "http://checkip.amazonaws.com/", True),
        ("whats-my-ip", "domain", "amazonaws.com", False),
        ("disposable-email", "email-src", "x@mailinator.com", True),
        ("common-contact-emails", "email-src", "abuse@anything.example", True),
        ("common-contact-emails", "email-src", "evil@anything.example", False),
    ],
)
def test_lists_match_in_their_own_way(name: str, kind: str, value: str, *, found: bool) -> None:
    """Whole texts, host names with their sub-domains, networks, parts of texts, patterns; for their types alone."""
    assert warninglists.warninglist_test((name,))(kind, value) is found


def test_a_list_that_is_not_there_is_named() -> None:
    """The error shows which there are."""
    with pytest.raises(ConfigError, match=r"'nosuch'.*rfc1918"):
        screens(MappingPolicy(warninglists="drop", warninglist_names=("nosuch",)))
    with pytest.raises(ConfigError, match="names"):
        screens(MappingPolicy(warninglists="drop", warninglist_names=("../lists/rfc1918",)))


def test_without_the_package_the_way_to_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warninglists are an extra."""
    monkeypatch.setattr(warninglists, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install"):
        screens(MappingPolicy(warninglists="drop"))


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: f"{value[:6]!a} {len(value)}")
def test_no_value_makes_a_screen_run_away(value: str) -> None:
    """Every screen works through 65,535 hostile characters in time in proportion to them."""
    policy = MappingPolicy(private_addresses="tag", short_values="tag", warninglists="tag")
    on = screens(policy)
    for kind in ("url", "ip-dst", "domain", "email-src", "ip-dst|port", "text", "md5"):
        began = time.process_time()
        for screen in on:
            screen.finds(kind, value)
        assert time.process_time() - began < 0.25, kind
