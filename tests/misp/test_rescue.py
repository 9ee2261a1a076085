from __future__ import annotations

import pytest
from hypothesis import given

from tests.misp.strategies import HOSTILE, labels, values
from tqmisp.misp.explain import Step
from tqmisp.misp.reject import CODES, Unstorable
from tqmisp.misp.rescue import Reader, Reading
from tqmisp.misp.rules import PLANS, RULES
from tqmisp.misp.types import TYPES, MispType

READER = Reader()

MENDED = [
    ("FQDN", "\t\xa0evil.com\u200b", "domain", "evil.com", ("blanks",)),
    ("SHA-256", "\t" + "A" * 64, "sha256", "a" * 64, ("blanks",)),
    ("URL", "hxxps://evil[.]com/x", "url", "https://evil.com/x", ("refang",)),
    ("URL", "HXXP[:]//evil(dot)com", "url", "http://evil.com", ("refang",)),
    ("URL", "hxxp[://]evil.com", "url", "http://evil.com", ("refang",)),
    ("URL", "h**p://evil.com/x", "url", "http://evil.com/x", ("refang",)),
    ("URL", "H**Ps://evil.com/x", "url", "https://evil.com/x", ("refang",)),
    *(
        ("URL", f"hxxp{typo}evil.com/x", "url", "http://evil.com/x", ("refang",))
        for typo in ("//", "(:)//", "{:}//", ";//", " :// ")
    ),
    ("URL", "hxxps//evil[.]com", "url", "https://evil.com", ("refang",)),
    ("URL", "meowé.example", "url", "http://meowé.example", ("scheme_like_host",)),
    ("URL", "meow@evil.com/x", "url", "http://meow@evil.com/x", ("scheme_like_host",)),
    ("URL", "meow.example/x", "url", "http://meow.example/x", ("scheme_like_host",)),  # MISP: http.example/x
    ("FQDN", "evil{.}com", "domain", "evil.com", ("refang",)),
    ("FQDN", "evil[DOT]com", "domain", "evil.com", ("refang",)),
    ("FQDN", "evil.com[.ar", "domain", "evil.com.ar", ("half_refang",)),
    ("IP Address", "1[.]2[.]3[.]4", "ip-dst", "1.2.3.4", ("refang",)),
    ("IP Address", "1.2.3.4:8080", "ip-dst|port", "1.2.3.4|8080", ("ip_port",)),
    ("IPv6 Address", "[2001:DB8::1]:443", "ip-dst|port", "2001:db8::1|443", ("ip_port",)),
    ("IP Address", "1.2.3.0/24", "ip-dst", "1.2.3.0/24", ("cidr_under_ip",)),
    ("FQDN", "1.2.3.0/24", "ip-dst", "1.2.3.0/24", ("cidr_under_ip",)),
    ("IP Address", "evil.com", "domain", "evil.com", ("host_under_ip",)),
    ("IP Address", "http://1.2.3.4/x", "url", "http://1.2.3.4/x", ("url_under_host",)),
    ("CIDR Block", "1.2.3.4:80", "ip-dst|port", "1.2.3.4|80", ("ip_port",)),
    ("FQDN", "1.2.3.4", "ip-dst", "1.2.3.4", ("ip_under_host",)),
    ("FQDN", "https://evil.com/path", "url", "https://evil.com/path", ("url_under_host",)),
    ("FQDN", "evil.com/path", "url", "evil.com/path", ("url_under_host",)),
    ("FQDN", "evil.com:8080/24", "url", "evil.com:8080/24", ("url_under_host",)),
    ("FQDN", "https://evil.com/a,b;c", "url", "https://evil.com/a,b;c", ("url_under_host",)),
    ("IP Address", "1.2.3.4/24.sh", "url", "1.2.3.4/24.sh", ("url_under_host",)),
    ("IP Address", "1.2.3.4:80/24", "url", "1.2.3.4:80/24", ("url_under_host",)),
    ("IP Address", "http://1.2.3.4/24", "url", "http://1.2.3.4/24", ("url_under_host",)),
    ("FQDN", "Bad@Evil.com", "email-src", "bad@evil.com", ("email_under_host",)),
    ("FQDN", "evil.com:8080", "hostname|port", "evil.com|8080", ("host_port",)),
    ("FQDN", "1.2.3.4:8080", "ip-dst|port", "1.2.3.4|8080", ("host_port",)),
    ("FQDN", "*.evil.com", "domain", "evil.com", ("wildcard_host",)),
    ("Email Address", "Bad[at]Evil[.]com", "email-src", "bad@evil.com", ("refang",)),
    ("Email Address", "Mr. Bad <Bad@Evil.com>", "email-src", "bad@evil.com", ("email_form",)),
    ("Registry Key", "HKLM\\Run|x", "regkey|value", "HKLM\\Run|x", ("registry_value",)),
    ("Filename", "C:\\x\\a.exe", "filename", "C:\\x\\a.exe", ("path_in_filename",)),
    ("SHA-256", "A" * 40, "sha1", "a" * 40, ("hash_by_length",)),
    ("CVE", "cve_2024 12345", "vulnerability", "CVE-2024-12345", ("cve_form",)),
    ("ASN", "AS64496 (Example Net)", "AS", "64496", ("as_number_form",)),
    ("ASN", "64496 (Example Net 2)", "AS", "64496", ("as_number_form",)),
    ("ASN", "ASN: 64496, Level 3", "AS", "64496", ("as_number_form",)),
    ("ASN", "AS64496-EXAMPLE", "AS", "64496", ("as_number_form",)),
    ("Service Name", "a/b", "text", "a/b", ("service_as_text",)),
    ("Fuzzy Hash", "not fuzzy", "text", "not fuzzy", ("fuzzy_hash_as_text",)),
]


@pytest.mark.parametrize(("label", "value", "misp_type", "expected", "rules"), MENDED)
def test_what_a_person_would_mend_is_mended(
    label: str, value: str, misp_type: str, expected: str, rules: tuple[str, ...]
) -> None:
    """Each rule mends what it is for, and says so."""
    reading = READER.read(label, value)
    filed, found, used = reading.filed, reading.value, reading.rules
    assert (filed.type, found, used) == (misp_type, expected, rules)


def test_each_rule_has_a_case() -> None:
    """No rule of which the table above has no example; ``punycode`` is needed only under a type of its own."""
    assert {rule for *_, rules in MENDED for rule in rules} == set(RULES) - {"punycode"}


@pytest.mark.parametrize(
    ("label", "value", "misp_type"),
    [
        ("Mutex", "a" * 64, "mutex"),  # looks like a checksum
        ("Mutex", "evil[.]com", "mutex"),  # looks defanged
        ("String", "http://evil.com", "text"),
        ("Filename", "evil.com", "filename"),
        ("URL", "1.2.3.4", "url"),
        ("URL", "evil.com", "url"),  # ThreatQ takes schemes off
        ("FQDN", "3.cn", "domain"),
        ("User-agent", "Mozilla/5.0", "user-agent"),
        ("URL Path", "/a?b=c", "uri"),
        ("Username", "bad@evil.com", "text"),
        ("Registry Key", "HKLM\\a|b|c", "regkey"),
        ("Custom Type", "a" * 64, "text"),
    ],
)
def test_a_plausible_label_is_believed(label: str, value: str, misp_type: str) -> None:
    """The form of a value alone does not move it."""
    reading = READER.read(label, value)
    filed, found, rules = reading.filed, reading.value, reading.rules
    assert (filed.type, found, rules) == (misp_type, value, ())


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("IP Address", "192.0.2.0/255.255.255.0"),
        ("FQDN", "192.0.2.0/255.255.255.0"),
        ("CIDR Block", "192.0.2.0/33"),
        ("CIDR Block", "192.0.2.0/24 (bad net)"),
        ("CIDR Block", "10.0.0.0/8, 11.0.0.0/8"),
        ("IP Address", "10.0.0.0/8;evil"),
        ("IP Address", "192.0.2.1:0"),
        ("IP Address", "192.0.2.1:99999"),
        ("IP Address", "192.0.2.1:443 (C2)"),
        ("IP Address", "192.0.2.1-20"),
        ("IP Address", "*.192.0.2.1-20"),
        ("IP Address", "192.0.2.1-20/24"),
        ("IP Address", "192.0.2.1-20:80"),
        ("IP Address", "192.0.2.999:80"),
        ("CIDR Block", "198.51.100.0-255"),
        ("IP Address", "1.2.3.0x"),
        ("FQDN", "evil.com: malicious"),
        ("FQDN", "evil.com:malicious"),
        ("FQDN", "evil.com:80, evil.org:80"),
        ("FQDN", "evil.com/a,evil.org/b"),
        ("ASN", "64496-64511"),
        ("ASN", "AS64496 – 64511"),  # noqa: RUF001  as feeds write it
        ("ASN", "64496 64497"),
        ("ASN", "AS64496, AS64497"),
        ("ASN", "AS64496 (Example Net), AS64497 (Other)"),
        ("ASN", "12 monkeys"),
        ("ASN", "1-800"),
    ],
)
def test_what_may_mean_several_things_is_refused(label: str, value: str) -> None:
    """Networks and ranges as URLs or hosts, or one of several numbers, would match nothing, or what nobody meant."""
    with pytest.raises(Unstorable):
        READER.read(label, value)


@pytest.mark.parametrize(("label", "value"), [(label, value) for label, value, *_ in MENDED])
def test_a_rule_can_be_switched_off(label: str, value: str) -> None:
    """Without any rule a value is MISP's own to judge."""
    reader = Reader(off=frozenset(RULES))
    try:
        assert reader.read(label, value).rules == ()
    except Unstorable as error:
        assert error.code in CODES  # noqa: PT017  either is right


def test_where_values_move_follows_the_operator() -> None:
    """Who files hosts as ``hostname`` and addresses as ``ip-src`` gets moved values filed so, too."""
    own = {
        "FQDN": MispType("hostname", "Network activity", to_ids=False),
        "IP Address": MispType("ip-src", "Payload delivery", to_ids=True),
    }
    reader = Reader({**TYPES, **own})
    assert reader.read("IP Address", "evil.com").filed == own["FQDN"]
    assert reader.read("FQDN", "1.2.3.4").filed == own["IP Address"]
    assert reader.read("IP Address", "1.2.3.4:80").filed.type == "ip-src|port"
    assert reader.read("FQDN", "münchen.de") == Reading(own["FQDN"], "xn--mnchen-3ya.de", ("punycode",))


def test_a_type_of_their_own_has_the_rules_of_its_kin() -> None:
    """A custom type that is filed as ``ip-dst`` is mended like an IP Address."""
    reader = Reader({**TYPES, "C2": MispType("ip-dst", "Network activity", to_ids=True)})
    assert reader.read("C2", "1.2.3.4:80").value == "1.2.3.4|80"


def test_a_trace_tells_each_step() -> None:
    """What each rule made of the value, and what MISP's own rules did in the end."""
    trace: list[Step] = []
    READER.read("IP Address", " Evil[.]COM", trace)
    assert trace == [
        Step("blanks", " Evil[.]COM", "Evil[.]COM"),
        Step("refang", "Evil[.]COM", "Evil.COM"),
        Step("host_under_ip", "IP Address: Evil.COM", "FQDN: evil.com"),
    ]


@pytest.mark.parametrize("value", ["hxxp", "hxxps", "meow", "hxxp evil.com", "hxxp/evil.com"])
def test_what_is_no_host_gets_no_scheme(value: str) -> None:
    """Before a scheme alone, ``http://`` would make a host of it."""
    assert "hxxp" not in READER.read("URL", value).value
    assert "scheme_like_host" not in READER.read("URL", value).rules


@given(labels, values)
def test_reading_twice_changes_nothing(label: str, value: str) -> None:
    """A mended value is whole: MISP stores it as it is. No value makes a rule fail."""
    try:
        reading = READER.read(label, value)
    except Unstorable as error:
        assert error.code in CODES  # noqa: PT017  either is right
        return
    again = Reader({"x": reading.filed}, frozenset(RULES)).read("x", reading.value)
    assert again == Reading(reading.filed, reading.value)


@given(labels, values)
def test_the_short_cut_is_one(label: str, value: str) -> None:
    """Values that are let through at a glance are those that the long way leaves alone."""
    try:
        short = READER.read(label, value)
        short_code = ""
    except Unstorable as error:
        short, short_code = None, error.code
    slow = Reader()
    slow._plans = {name: plan._replace(ready=None) for name, plan in slow._plans.items()}
    try:
        assert slow.read(label, value) == short
    except Unstorable as error:
        assert error.code == short_code  # noqa: PT017


@pytest.mark.timeout(30)
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: f"{value[:6]!a} {len(value)}")
def test_no_value_makes_a_rule_run_away(value: str) -> None:
    """All labels work through 65,535 hostile characters in a tenth of a second; work that is squared takes minutes."""
    for label in {*PLANS, *TYPES, "Custom Type"}:
        try:
            READER.read(label, value)
        except Unstorable as error:
            assert error.code in CODES  # noqa: PT017
