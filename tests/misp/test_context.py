from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.misp.strategies import HOSTILE, values
from tqmisp.misp import galaxies
from tqmisp.misp.context import LEFT_OUT, ContextMaker, seen
from tqmisp.misp.policy import MappingPolicy, TypePolicy
from tqmisp.misp.tags import TAG_CHARACTERS, tlp
from tqmisp.misp.text import cut, plain
from tqmisp.model import Indicator, Source

URL = "https://threatq.example"
FULL = Indicator(
    7,
    "FQDN",
    "evil.example",
    score=9.0,
    description="<p>Seen in <b>wave 12</b> &amp; later</p>",
    sources=(Source("Feed A", "GREEN"), Source("Feed B", "AMBER"), Source("Feed A", None)),
    tags=("botnet", "TLP:WHITE", "loader"),
    adversaries=("Fancy Bear", "Nobody Knows Us"),
    malware=("emotet", "Home Made"),
    attributes=(("Country", "DE"), ("Confidence", "High"), ("Port", "80")),
)


def maker(policy: MappingPolicy, *, may_make_tags: bool = True, known: frozenset[str] = frozenset()) -> ContextMaker:
    """The context under a policy."""
    return ContextMaker(policy, URL, may_make_tags=may_make_tags, known_tags=known)


def tags(policy: MappingPolicy, indicator: Indicator = FULL) -> tuple[str, ...]:
    """The tags of an indicator."""
    return maker(policy).tags(indicator)


def comment(policy: MappingPolicy, indicator: Indicator = FULL) -> str:
    """The comment of an indicator."""
    context = maker(policy)
    return context.comment(indicator, context.remark(indicator))


def test_by_default_tags_say_whom_and_how_secret() -> None:
    """TLP, adversaries and malware, as galaxy clusters where MISP has one, else as tags of our own."""
    assert tags(MappingPolicy()) == (
        "tlp:amber",
        'misp-galaxy:threat-actor="APT28"',
        'threatq:adversary="Nobody Knows Us"',
        'misp-galaxy:malpedia="Emotet"',
        'threatq:malware="Home Made"',
    )


def test_by_default_the_comment_says_the_rest() -> None:
    """Description as text, ThreatQ's tags, sources; each once."""
    assert comment(MappingPolicy()) == (
        "Seen in wave 12 & later; Tags: botnet, TLP:WHITE, loader; Source: Feed A, Feed B"
    )


NOTHING = MappingPolicy(tlp=False, adversaries="off", malware="off", tags="off", sources="off", description=False)


def test_everything_can_be_left_out() -> None:
    """An operator who wants bare values gets them."""
    assert tags(NOTHING) == ()
    assert comment(NOTHING) == ""


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"tlp": True}, ("tlp:amber",)),
        ({"tags": "tag"}, ("botnet", "TLP:WHITE", "loader")),
        ({"tags": "tag", "tlp": True}, ("tlp:amber", "botnet", "loader")),  # the laxer one would contradict
        ({"sources": "tag"}, ('threatq:source="Feed A"', 'threatq:source="Feed B"')),
        ({"score": "tag"}, ('threatq:score="9"',)),
        ({"score": "threat-level"}, ('misp:threat-level="high-risk"',)),
        ({"attribute_tags": ("Country", "Confidence")}, ('threatq:country="DE"', 'threatq:confidence="High"')),
        ({"malware": "tag", "galaxies": False}, ('threatq:malware="emotet"', 'threatq:malware="Home Made"')),
        (
            {"malware": "tag", "clusters": {"HOME-MADE": 'misp-galaxy:tool="x"'}},
            ('misp-galaxy:malpedia="Emotet"', 'misp-galaxy:tool="x"'),
        ),
        ({"types": {"FQDN": TypePolicy(tags=("ioc:host",))}}, ("ioc:host",)),
    ],
)
def test_each_setting_makes_its_tags(setting: dict[str, object], expected: tuple[str, ...]) -> None:
    """One setting, its tags and no others."""
    bare = {"tlp": False, "adversaries": "off", "malware": "off", "tags": "off", "sources": "off", "description": False}
    assert tags(MappingPolicy(**(bare | setting))) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"description": True}, "Seen in wave 12 & later"),
        ({"adversaries": "comment"}, "Adversaries: Fancy Bear, Nobody Knows Us"),
        ({"malware": "comment"}, "Malware: emotet, Home Made"),
        ({"score": "comment"}, "ThreatQ score: 9"),
        ({"attribute_comments": ("Port", "Country")}, "Country: DE; Port: 80"),
        ({"link": True}, "https://threatq.example/indicators/7/details"),
        ({"link": True, "description": True}, "Seen in wave 12 & later; https://threatq.example/indicators/7/details"),
    ],
)
def test_each_setting_makes_its_part_of_the_comment(setting: dict[str, object], expected: str) -> None:
    """One setting, its part and no other."""
    bare = {"tlp": False, "adversaries": "off", "malware": "off", "tags": "off", "sources": "off", "description": False}
    assert comment(MappingPolicy(**(bare | setting))) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "given_tags", "expected"),
    [
        ((), (), None),
        ((None,), (), None),
        (("CLEAR", "AMBER", "GREEN"), (), "AMBER"),
        (("AMBER", "AMBER+STRICT"), (), "AMBER+STRICT"),
        (("GREEN",), ("TLP: RED",), "RED"),
        ((), ("tlp:white",), "CLEAR"),
        ((), ("tlp_amber+strict", "x"), "AMBER+STRICT"),
        ((), ("TLP:AMBER STRICT",), "AMBER+STRICT"),
        ((), ("TLP:Amber-Strict",), "AMBER+STRICT"),
        ((), (" TLP : RED ",), "RED"),
        ((), ("red", "amber strict"), None),  # a tag that does not say what it means
        (("PURPLE",), ("tlp:purple",), None),
    ],
)
def test_the_strictest_tlp_counts(names: tuple[str | None, ...], given_tags: tuple[str, ...], expected: str) -> None:
    """The laxest would let a secret out."""
    assert tlp(given_tags, names) == expected


def test_tlp_is_spelled_as_the_target_has_it() -> None:
    """Old taxonomies have white, new ones clear."""
    white = Indicator(1, "FQDN", "a.example", sources=(Source("A", "CLEAR"),))
    assert tags(MappingPolicy(), white) == ("tlp:clear",)
    assert tags(MappingPolicy(tlp_clear="tlp:white"), white) == ("tlp:white",)
    none = Indicator(1, "FQDN", "a.example")
    assert tags(MappingPolicy(), none) == ()
    assert tags(MappingPolicy(default_tlp="AMBER"), none) == ("tlp:amber",)


def test_tags_that_misp_would_leave_out_are_left_out_and_named() -> None:
    """A role without tag editor can only use tags that are there, in any letter case (recordings 278 and 279)."""
    context = maker(MappingPolicy(tags="tag"), may_make_tags=False, known=frozenset({"TLP:Amber", "botnet"}))
    assert context.tags(FULL) == ("tlp:amber", "botnet")
    assert context.left_out == {
        'misp-galaxy:threat-actor="APT28"',
        'threatq:adversary="Nobody Knows Us"',
        'misp-galaxy:malpedia="Emotet"',
        'threatq:malware="Home Made"',
        "loader",
    }


def test_the_names_of_tags_left_out_are_bounded() -> None:
    """A feed with a new tag on each indicator does not fill the memory."""
    context = maker(MappingPolicy(tags="tag"), may_make_tags=False)
    context.tags(Indicator(1, "FQDN", "a.example", tags=tuple(f"tag {number}" for number in range(LEFT_OUT + 9))))
    assert len(context.left_out) == LEFT_OUT


def test_tags_are_unique_and_short_enough() -> None:
    """MISP finds tags without regard to letter case, and cuts those over 255 characters (recordings 390 to 392)."""
    indicator = Indicator(1, "FQDN", "a.example", tags=("Bot", "bot", "x" * 255, "x" * 256, " ", "😀", 'a"b'))
    assert tags(MappingPolicy(tags="tag"), indicator) == ("Bot", "x" * TAG_CHARACTERS, "\ufffd", 'a"b')
    quoted = Indicator(1, "FQDN", "a.example", malware=('say "x"',))
    assert tags(MappingPolicy(), quoted) == ("threatq:malware=\"say 'x'\"",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>one</p><p>two</p>", "one two"),
        ("a &lt;b&gt; &amp;amp;", "a <b> &amp;"),
        (" a\tb\n\nc\0d ", "a b c d"),
        ("smile 😀", "smile \ufffd"),
        ("half \ud83d!", "half !"),
        ("1 < 2", "1 < 2"),
        ("שלום", "שלום"),
    ],
)
def test_text_is_made_plain(text: str, expected: str) -> None:
    """One line, no markup, nothing that makes MISP answer 500 (recordings 150, 153 and 384)."""
    assert plain(text) == expected


@given(values)
def test_plain_text_can_be_sent(text: str) -> None:
    """No character of four bytes, no half character, no control character; plain twice is plain once."""
    result = plain(text)
    assert all(c < "\U00010000" and (c.isprintable() or c > "\x9f") for c in result)
    assert len(result.encode()) <= 3 * len(result)


@given(st.text(), st.integers(0, 40))
@example("\u0800\U00010000", 6)  # characters of three and four bytes
def test_text_is_cut_by_bytes(text: str, limit: int) -> None:
    """Never longer than allowed, never half a character, and whole where it fits."""
    result = cut(text, limit)
    assert len(result.encode()) <= limit
    assert result == text or len(text.encode()) > limit


def test_a_long_description_leaves_room_for_the_source() -> None:
    """The comment is within its bytes, and what is cut is the description."""
    indicator = replace(FULL, description="é" * 5_000)
    text = comment(MappingPolicy(comment_bytes=100), indicator)
    assert len(text.encode()) <= 100
    assert text.endswith("…; Tags: botnet, TLP:WHITE, loader; Source: Feed A, Feed B")
    assert len(comment(MappingPolicy(comment_bytes=65_535), replace(FULL, description="é" * 65_535)).encode()) <= 65_535


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2024-05-01 10:00:03", None, ("2024-05-01T10:00:03.000000+00:00", None)),
        ("2024-05-01 10:00:03.250", None, ("2024-05-01T10:00:03.250000+00:00", None)),
        ("2024-05-01", None, ("2024-05-01T00:00:00.000000+00:00", None)),
        # with a zone, as recording 186 has it
        ("2024-01-01T00:00:00.123456+02:00", "2024-01-02", ("2023-12-31T22:00:00.123456+00:00",)),
        ("2024-05-01 10:00:03", "2024-04-01 00:00:00", ("2024-05-01T10:00:03.000000+00:00", None)),  # recording 148
        ("2024-05-01 10:00:03", "2024-05-01 10:00:03", ("2024-05-01T10:00:03.000000+00:00",) * 2),
        ("notadate", "0000-00-00 00:00:00", (None, None)),  # recording 147
        ("2024-02-31 00:00:00", "1969-12-31 23:59:59", (None, None)),
        ("2024-W18-3T10:00:03", None, ("2024-05-01T10:00:03.000000+00:00", None)),
        ("2024-05-01 100003.5", None, ("2024-05-01T10:00:03.500000+00:00", None)),
        ("2024-05-01 12:00+02", None, ("2024-05-01T10:00:00.000000+00:00", None)),  # as long as the usual form
        (None, "2024-05-01 10:00:03", (None, "2024-05-01T10:00:03.000000+00:00")),
    ],
)
def test_dates_are_written_as_misp_takes_them(start: str | None, end: str | None, expected: tuple[str, ...]) -> None:
    """ISO 8601 in UTC; what MISP would refuse is left out, since it would refuse the whole attribute."""
    assert seen(start, end)[: len(expected)] == expected


@pytest.mark.parametrize(
    ("table", "name", "tag"),
    [
        (galaxies.ADVERSARIES, "fancy bear", 'misp-galaxy:threat-actor="APT28"'),
        (galaxies.ADVERSARIES, "LAZARUS", 'misp-galaxy:threat-actor="Lazarus Group"'),
        (galaxies.ADVERSARIES, "Nobody Knows Us", None),
        (galaxies.ADVERSARIES, "", None),
        (galaxies.MALWARE, "Cobalt-Strike", 'misp-galaxy:malpedia="Cobalt Strike"'),
        (galaxies.MALWARE, "mass_scanner", None),
        *((galaxies.MALWARE, name, None) for name in ("-", "???", "Unknown", "Unknown Group", "Trojan", "Ra", "R")),
        (galaxies.ADVERSARIES, "Unnamed", None),
    ],
)
def test_names_are_found_in_the_galaxies(table: tuple[str, ...], name: str, tag: str | None) -> None:
    """Blind to letter case and punctuation, by name or synonym."""
    assert galaxies.lookup(table, {})(name) == tag


def test_a_table_of_ones_own_counts_more_than_the_galaxies() -> None:
    """The operator knows best whom a name means, but a name without letters means nobody."""
    own = {"Fancy Bear": "ours", "Unknown": "nobody", "R": "short", "-": "none"}
    known = galaxies.lookup(galaxies.ADVERSARIES, own)
    assert [known(name) for name in ("fancybear", "unknown", "r", "?")] == ["ours", "nobody", "short", None]


def test_what_stands_in_the_place_of_a_name_gets_no_tag() -> None:
    """Dashes say that there is none; a word is at least what ThreatQ says."""
    indicator = Indicator(1, "FQDN", "a.example", adversaries=("-", "Unnamed"), malware=("???", "Trojan", "мир"))
    assert tags(MappingPolicy(), indicator) == (
        'threatq:adversary="Unnamed"',
        'threatq:malware="Trojan"',
        'threatq:malware="мир"',
    )


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: f"{value[:6]!a} {len(value)}")
def test_no_context_makes_a_rule_run_away(value: str) -> None:
    """A description, a tag and a source of 65,535 characters cost time in proportion to them."""
    indicator = Indicator(
        1,
        "FQDN",
        "a.example",
        description=value,
        tags=(value,),
        sources=(Source(value),),
        adversaries=(value,),
        malware=(value,),
        attributes=((value, value),),
        created_at=value,
    )
    began = time.process_time()
    policy = MappingPolicy(tags="tag", sources="tag", attribute_tags=(value,), attribute_comments=(value,))
    context = maker(policy)
    context.comment(indicator, context.remark(indicator))
    seen(indicator.created_at, None)
    assert time.process_time() - began < 1.5
