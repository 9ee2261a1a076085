from __future__ import annotations

import time

import pytest
from hypothesis import example, given

from tests.misp.strategies import HOSTILE, misp_types, values
from tqmisp.misp.reject import CODES, Unstorable
from tqmisp.misp.values import stored
from tqmisp.simulators.misp.types import too_long, type_rules


@pytest.mark.parametrize(
    ("misp_type", "value", "expected"),
    [
        ("domain", " Evil.COM.\n", "evil.com"),  # blanks, letter case, the dot of the root
        ("domain", "evil[.]com", "evil.com"),
        ("domain", "münchen.de", "xn--mnchen-3ya.de"),
        ("domain", "zw\u200b.com", "zw.com"),  # no width, no character
        ("domain", "zw\u200d.com", "zw.com"),  # nor has a joiner that joins nothing
        ("domain", "faß.de", "xn--fa-hia.de"),  # fass.de is somebody else
        ("domain", "evil。com", "evil.com"),  # the ideographic full stop
        ("hostname", "WWW.Evil.com", "www.evil.com"),
        ("ip-dst", "2001:0DB8::0001", "2001:db8::1"),
        ("ip-dst", "::0001", "::1"),
        ("ip-dst", "5.9.4.7/24", "5.9.4.7/24"),  # host bits stay
        ("ip-dst", "5.9.4.8/32", "5.9.4.8"),
        ("ip-dst", "2001:db8::1/128", "2001:db8::1"),
        ("ip-dst", "::1.2.3.4/32", "::102:304/32"),
        ("ip-dst", "::ffff:1.2.3.4/32", "::ffff:102:304/32"),
        ("ip-dst", "::1.2.3.4/64", "::1.2.3.4/64"),
        ("ip-dst", "5.9.0.0/016", "5.9.0.0/16"),
        ("ip-dst", "5.9.0.0/0", "5.9.0.0/0"),
        ("ip-dst|port", "5.9.4.9:8080", "5.9.4.9|8080"),
        ("ip-dst|port", "[2001:db8::1]:443", "2001:db8::1|443"),
        ("ip-dst|port", "2001:db8::1.443", "2001:db8::1|443"),
        ("ip-dst|port", "2001:db8::1#443", "2001:db8::1|443"),
        ("url", "HXXPS://Evil[dot]COM/PaTh", "httpS://Evil.COM/PaTh"),
        ("url", "meow.example/x", "http.example/x"),  # what MISP does to it: the reader of values keeps it from there
        ("email-src", "Bad[at]Evil.COM", "bad@evil.com"),
        ("sha1", "A" * 40, "a" * 40),
        ("filename|sha1", "File.EXE|" + "A" * 40, "File.EXE|" + "a" * 40),
        ("x509-fingerprint-sha1", ":".join(["AB"] * 20), "ab" * 20),
        ("AS", "AS65001", "65001"),
        ("AS", "1.10", "65546"),  # asdot
        ("mac-address", "AABB.CCDD.EEFF", "aa:bb:cc:dd:ee:ff"),
        ("vulnerability", "cve–2024-12345", "CVE-2024-12345"),  # noqa: RUF001  with a dash
        ("text", "smile 😀 end", "smile ? end"),
        ("text", "a\nb", "a\nb"),
        ("text", "0", "0"),
        ("regkey|value", "HKLM\\Run|x", "HKLM\\Run|x"),
    ],
)
def test_a_value_is_given_as_misp_stores_it(misp_type: str, value: str, expected: str) -> None:
    """Trimmed, refanged, in the letter case and the spelling that MISP keeps."""
    assert stored(misp_type, value) == expected


@pytest.mark.parametrize(
    ("misp_type", "value", "code"),
    [
        ("text", " \t\0\n", "empty_value"),
        ("text", "\x01\x02", "control_characters"),
        ("text", "\x7f", "control_characters"),
        ("regkey|value", "key|\x01", "control_characters"),
        ("text", "x" * 65_536, "too_long"),
        ("text", "é" * 32_768, "too_long"),  # the limit counts bytes
        ("text", "half \ud83d", "invalid_unicode"),
        ("url", "http://a\nb", "newline_in_value"),
        ("domain", "a.com\nb.com", "newline_in_value"),
        ("domain", "evil.com/path", "invalid_domain"),
        ("hostname", "www.münchen.de", "invalid_domain"),
        ("ip-dst", "005.009.004.005", "invalid_ip"),
        ("ip-dst", "1.2.3.4:80", "ip_with_port"),
        ("ip-dst", "1.2.3.4/33", "invalid_cidr"),
        ("ip-dst", "1.2.3.4/2/4", "invalid_cidr"),
        ("ip-dst|port", "1.2.3.4|65536", "invalid_port"),
        ("hostname|port", "evil.com", "invalid_port"),
        ("domain|ip", "evil.com", "invalid_pair"),
        ("email-src", "a b@c.d", "invalid_email"),
        ("email-src", "a@b", "invalid_email"),
        ("md5", "abc", "invalid_hash_length"),
        ("md5", "g" * 32, "invalid_hash"),
        ("vulnerability", "CVE-2024-1", "invalid_cve"),
        ("AS", "4294967296", "invalid_as_number"),
        ("mac-address", "aa:bb", "invalid_mac"),
        ("windows-service-name", "a/b", "invalid_service_name"),
        ("windows-service-name", "é" * 129, "invalid_service_name"),
        ("ssdeep", "abc", "invalid_ssdeep"),
        ("regkey|value", "a|b|c", "invalid_pair"),
        ("weakness", "CWE", "invalid_format"),
        ("url", "http://a" + "[" * 9 + "." + "]" * 9, "nested_defanging"),
        ("nosuchtype", "x", "unknown_type"),
    ],
)
def test_a_value_that_misp_refuses_has_a_code(misp_type: str, value: str, code: str) -> None:
    """Every refusal has a stable code and a sentence."""
    with pytest.raises(Unstorable) as caught:
        stored(misp_type, value)
    assert caught.value.code == code
    assert str(caught.value) == CODES[code]


def verdict(misp_type: str, value: str) -> tuple[str, str]:
    """What is stored, and the code where nothing is."""
    try:
        return stored(misp_type, value), ""
    except Unstorable as error:
        return "", error.code


@given(misp_types, values)
def test_storing_twice_changes_nothing(misp_type: str, value: str) -> None:
    """What is sent is what is stored, however often it is sent; and no value makes the rules fail."""
    once, code = verdict(misp_type, value)
    if code:
        assert code in CODES
    else:
        assert stored(misp_type, once) == once


@given(misp_types, values)
@example("ip-dst|port", "1.2.3.4|080")
@example("url", "meow.example")
def test_the_simulated_misp_stores_what_was_predicted(misp_type: str, value: str) -> None:
    """A second implementation of MISP's rules takes each value of ours, and takes it as it is."""
    once, code = verdict(misp_type, value)
    if not code:
        assert type_rules()[misp_type].value_of(once) == (once, None)
        assert not too_long(once)


@given(misp_types, values)
def test_what_is_refused_the_simulated_misp_refuses_too(misp_type: str, value: str) -> None:
    """We do not refuse what MISP would have stored, but for what cannot be sent or would not stay as it is."""
    _, code = verdict(misp_type, value)
    if code and code not in {"invalid_unicode", "nested_defanging"}:
        sent, complaint = type_rules()[misp_type].value_of(value)
        assert complaint is not None or too_long(sent), code


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: f"{value[:6]!a} {len(value)}")
def test_no_value_makes_a_rule_run_away(value: str) -> None:
    """Every type works through 65,535 hostile characters in time in proportion to them."""
    for misp_type in type_rules():
        began = time.process_time()
        _, code = verdict(misp_type, value)
        assert time.process_time() - began < 0.25, misp_type
        assert not code or code in CODES
