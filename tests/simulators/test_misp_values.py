"""What the simulated MISP makes of values, apart from the recorded ones."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tqmisp.misp.reject import Unstorable
from tqmisp.misp.values import stored
from tqmisp.simulators.misp.collation import fold
from tqmisp.simulators.misp.types import EMPTY, too_long, type_rules


@pytest.mark.parametrize(
    ("type_", "sent", "kept"),
    [
        # read in AttributeValidationTool::modifyBeforeValidation of MISP 2.5.1
        ("ip-src", "2001:DB8::1/128", "2001:db8::1"),
        ("ip-src", "::1/128", "::1/128"),
        ("ip-src", "::1.2.3.4/32", "::1.2.3.4"),
        ("ip-src", "1::1.2.3.4/32", "1::102:304"),
        ("ip-src", "::102:304/32", "::102:304/32"),
        ("ip-src|port", "[2001:DB8::1]:443", "2001:db8::1|443"),
        ("ip-src|port", "2001:db8::1#443", "2001:db8::1|443"),
        ("hostname|port", "WWW.Example.ORG:80", "www.example.org|80"),
        ("domain|ip", ".Example.ORG.|2001:DB8::1", "example.org|2001:db8::1"),
        ("domain", "faß.de", "fass.de"),  # PHP maps in the transitional way
        ("domain", "☃.example", "xn--n3h.example"),  # no letter of IDNA 2008, but ICU takes it
        ("vulnerability", "cve–2024–12345", "CVE-2024-12345"),  # noqa: RUF001
        ("AS", "as1.2", "65538"),
        ("x509-fingerprint-md5", "AA:" * 15 + "AA", "aa" * 16),
        ("mac-address", "aabb.ccdd.eeff", "aa:bb:cc:dd:ee:ff"),
        ("phone-number", "0049 (0)170 12", "+4917012"),
        ("iban", "de12 3456", "DE123456"),
        ("boolean", "False", "0"),
        ("email-dst", "A[@]b[.]C", "a@b.c"),
        ("link", "hxxps://A[.]b/c[:]d", "https://A.b/c:d"),
        ("filename|sha1", f"A.EXE|{'AB' * 20}", f"A.EXE|{'ab' * 20}"),
        ("text", "0", "0"),  # not empty for MISP
        ("datetime", "2024-01-01", "2024-01-01T00:00:00.000000+0000"),
    ],
)
def test_keeps(type_: str, sent: str, kept: str) -> None:
    """The value is stored in MISP's form."""
    assert type_rules()[type_].value_of(sent) == (kept, None)


@pytest.mark.parametrize(
    ("type_", "sent"),
    [
        ("ip-dst", "1.2.3.4/33"),
        ("ip-dst", f"1.2.3.4/{'9' * 5_000}"),  # no number that anybody should compute
        ("ip-dst|port", "1.2.3.4|65536"),
        ("domain", "münchen..de"),  # ICU: an empty label
        ("domain", "-ü-.de"),  # ICU: hyphens around a label
        ("domain", f"{'ü' * 64}.de"),  # ICU: a label too long
        ("filename|md5", "a.exe"),
        ("filename|md5", f"a|b|{'0' * 32}"),
        ("filename|sha256", f"a.exe|{'0' * 63}"),
        ("AS", "4294967296"),
        ("email-src", "@" * 65_000),  # looked at in linear time
        ("link", "no scheme"),
        ("mac-address", "aa:bb"),
        ("ssdeep", "3:abc"),
        ("regkey", "HKLM\nX"),
        ("hex", "xyz"),
        ("float", "1,5"),
        ("ssh-fingerprint", "SHA256:AAAA"),
        ("onion-address", "short.onion"),
    ],
)
def test_refuses(type_: str, sent: str) -> None:
    """There is an objection, in MISP's words."""
    assert type_rules()[type_].value_of(sent)[1]


def test_nothing_is_empty() -> None:
    """Null, blanks and nothing at all are empty for each type but boolean, where nothing is false."""
    for name, rule in type_rules().items():
        for sent in (None, "", " \t\n"):
            assert rule.value_of(sent)[1] == (None if name == "boolean" else EMPTY), name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://UPPER.com/PaTh", "http://upper.com/path"),
        ("résumé.doc", "RESUME.DOC"),
        ("straße", "STRASSE"),
        ("smørrebrød", "SMORREBROD"),
        ("a\x00b", "ab"),  # no weight
        ("\u202egpj.exe", "gpj.exe"),
    ],
)
def test_folds_as_the_collation(one: str, other: str) -> None:
    """utf8mb3_unicode_ci takes the two for equal."""
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("a/", "a"), ("a b", "ab"), ("ab\tc", "abc"), ("שלום", "שלם")])
def test_tells_apart(one: str, other: str) -> None:
    """Punctuation, blanks and letters count."""
    assert fold(one) != fold(other)


SHARED = [
    "domain",
    "hostname",
    "url",
    "ip-src",
    "ip-dst",
    "ip-src|port",
    "ip-dst|port",
    "md5",
    "sha1",
    "sha256",
    "sha512",
    "email-src",
    "email-dst",
    "email-subject",
    "filename",
    "filename|md5",
    "filename|sha256",
    "vulnerability",
    "AS",
    "mac-address",
    "regkey",
    "mutex",
    "user-agent",
    "text",
    "domain|ip",
    "hostname|port",
]
SEEDS = (
    "Evil.COM",
    "evil[.]com.",
    "hxxp://a[.]b/c(dot)d?x[:]y",
    "1.2.3.4",
    "005.1.1.1",
    "1.2.3.4/32",
    "2001:0DB8::1",
    "2001:db8::1/128",
    "1.2.3.4:80",
    "1.2.3.4|80",
    "münchen.de",
    "☃.net",
    "x\u200b.com",
    "A[at]B.C",
    "cve-2024-12345",
    "AS65001",
    "AA-BB-CC-DD-EE-FF",
    "D" * 32,
    f"a.exe|{'D' * 32}",
    "smile 😀",
    "\u202egpj.exe",
    "a\nb",
    "\x01\x02",
    "Host.com:80",
)
letters = st.sampled_from(list("|.:/[]()@-_ \n\t\0aZ0éß😀#%\u200b\u00a0"))


@st.composite
def almost_good(draw: st.DrawFn) -> str:
    """A value with a few characters put in or taken out."""
    value = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(value)))
        value = value[:place] + draw(letters) + value[place + draw(st.integers(0, 1)) :]
    return value


@settings(max_examples=1_500, deadline=None)
@given(type_=st.sampled_from(SHARED), value=almost_good())
@example(type_="ip-src", value="::1.2.3.4/32")
def test_agrees_with_what_the_export_expects(type_: str, value: str) -> None:
    """What the export takes for storable is stored just so: two implementations of the same facts."""
    try:
        expected = stored(type_, value)
    except Unstorable:
        return
    kept, objection = type_rules()[type_].value_of(expected)
    assert (kept, objection) == (expected, None)
    assert not too_long(kept)
