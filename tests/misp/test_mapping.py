from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pymisp import MISPAttribute, MISPEvent, PyMISP

from tests.misp.conftest import NOW, REF, part, rig
from tests.misp.strategies import labels, values
from tqmisp.misp import identity, mapping
from tqmisp.misp.attribute import Attribute
from tqmisp.misp.explain import Step
from tqmisp.misp.mapping import IndicatorMapper
from tqmisp.misp.policy import MappingPolicy, TypePolicy
from tqmisp.misp.reject import CODES
from tqmisp.misp.types import known_types
from tqmisp.model import Change, Indicator, Planned, Source
from tqmisp.pipeline.protocols import Refusal
from tqmisp.simulators.misp import DEFAULT_KEY, create_app
from tqmisp.simulators.misp.types import too_long, type_rules
from tqmisp.threatq.records import Lookups, to_indicators

SPACE = identity.namespace("https://threatq.example")
CORPUS = Path(__file__).parents[1] / "data" / "threatq-small.ndjson.gz"
EVIL = Indicator(
    7,
    "FQDN",
    "Evil[.]example",
    score=9.0,
    published_at="2024-05-01 10:00:01",
    expires_at="2024-06-01 00:00:00",
    sources=(Source("Feed A", "GREEN"),),
    tags=("botnet",),
    malware=("Home Made",),
)


def mapper(policy: MappingPolicy | None = None, **arguments: Any) -> IndicatorMapper:
    """A mapper with the default policy."""
    return IndicatorMapper(SPACE, policy or MappingPolicy(), threatq_url="https://threatq.example", **arguments)


def attribute(indicator: Indicator, **settings: Any) -> Attribute:
    """The attribute that an indicator becomes."""
    return mapper(MappingPolicy(**settings)).map([indicator]).items[0]


@cache
def corpus() -> Sequence[Indicator]:
    """12,000 real indicators."""
    with gzip.open(CORPUS) as file:
        return to_indicators([orjson.loads(line) for line in file], Lookups())[0]


def test_an_indicator_becomes_a_whole_attribute() -> None:
    """Everything that MISP is sent, but for the timestamp that the journal knows."""
    made = attribute(EVIL)
    assert (made.key, made.to_ids) == (7, True)
    assert (made.type, made.category, made.value) == ("domain", "Network activity", "evil.example")
    assert orjson.loads(made.payload) == {
        "uuid": identity.as_text(made.uuid),
        "type": "domain",
        "category": "Network activity",
        "to_ids": True,
        "value": "evil.example",
        "comment": "Tags: botnet; Source: Feed A",
        "first_seen": "2024-05-01T10:00:01.000000+00:00",
        "last_seen": "2024-06-01T00:00:00.000000+00:00",
        "Tag": [{"name": "tlp:green"}, {"name": 'threatq:malware="Home Made"'}],
    }
    assert made.payload.endswith(b"}")  # before which the journal puts the timestamp
    assert made.rescued == ("refang",)


def test_a_bare_indicator_becomes_an_attribute_too() -> None:
    """Nothing but id, type and value is needed."""
    made = attribute(Indicator(1, "MD5", "A" * 32))
    assert orjson.loads(made.payload) == {
        "uuid": identity.as_text(made.uuid),
        "type": "md5",
        "category": "Payload delivery",
        "to_ids": True,
        "value": "a" * 32,
        "comment": "",
    }


def test_the_uuid_follows_from_type_and_value_alone() -> None:
    """Spellings of one value are one attribute; context and id change nothing but the fingerprint."""
    one, other = attribute(EVIL), attribute(replace(EVIL, id=8, value="EVIL.example.", tags=("new",)))
    assert one.uuid == other.uuid
    assert one.fold == other.fold
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == attribute(EVIL).fingerprint


def test_twins_have_two_uuids_and_one_fold() -> None:
    """Paths that differ in letter case are two indicators; MISP cannot keep both in one event (recording 187)."""
    one = attribute(Indicator(1, "URL", "http://evil.example/PaTh"))
    other = attribute(Indicator(2, "URL", "http://evil.example/path"))
    assert one.uuid != other.uuid
    assert one.fold == other.fold


@pytest.mark.parametrize(
    ("change", "settings", "to_ids"),
    [
        ({}, {}, True),
        ({"status": "Expired"}, {}, False),
        ({"status": ""}, {}, True),  # a row without status is not held back
        ({"status": "Expired"}, {"to_ids_statuses": ("Active", "Expired")}, True),
        ({"score": 4.0}, {"to_ids_score": 5.0}, False),
        ({"score": 5.0}, {"to_ids_score": 5.0}, True),
        ({}, {"types": {"FQDN": TypePolicy(to_ids=False)}}, False),
        ({"type": "ASN", "value": "AS64496"}, {}, False),
    ],
)
def test_to_ids_follows_type_status_and_score(
    change: dict[str, Any], settings: dict[str, Any], *, to_ids: bool
) -> None:
    """Detection gets what is active, likely and specific enough."""
    made = attribute(replace(EVIL, **change), **settings)
    assert made.to_ids is to_ids
    assert orjson.loads(made.payload)["to_ids"] is to_ids


def test_a_type_of_their_own_becomes_text_and_is_counted() -> None:
    """An unknown ThreatQ type loses nothing but detection; one that the operator files is no longer unknown."""
    made = attribute(Indicator(1, "Bitcoin", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"))
    assert (made.type, made.category, made.to_ids, made.rescued) == ("text", "Other", False, ("custom_type",))
    filed = attribute(Indicator(1, "Bitcoin", "1Boat"), types={"Bitcoin": TypePolicy(type="btc")})
    assert (filed.type, filed.rescued) == ("btc", ())


def test_a_refusal_says_which_why_and_what() -> None:
    """One bad row does not keep its neighbours, and a long one is not carried along whole."""
    mapped = mapper().map([EVIL, Indicator(8, "MD5", "x" * 5_000), replace(EVIL, id=9)])
    assert [each.key for each in mapped.items] == [7, 9]
    reason = CODES["invalid_hash_length"]
    assert mapped.refusals == [Refusal(8, "rejected", "invalid_hash_length", reason, "MD5", "x" * 1_000)]


def test_tags_that_were_left_out_can_be_asked_for() -> None:
    """A caller says it once, after the run."""
    limited = mapper(may_make_tags=False, known_tags=frozenset({"TLP:GREEN"}))
    made = limited.map([EVIL, EVIL]).items[0]
    assert orjson.loads(made.payload)["Tag"] == [{"name": "tlp:green"}]
    assert limited.tags_left_out == {'threatq:malware="Home Made"'}


def test_kept_contexts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each indicator with tags of its own: the memory does not grow with them, and none gets another's tags."""
    monkeypatch.setattr(mapping, "CACHED_CONTEXTS", 10)
    kept = mapper(MappingPolicy(tags="tag", malware="off", tlp=False))
    for number in range(100):
        made = kept.map([replace(EVIL, tags=(f"tag {number}",))]).items[0]
        assert orjson.loads(made.payload)["Tag"] == [{"name": f"tag {number}"}]
    assert max(len(kept._kept_remarks), len(kept._kept_tags)) <= 10


def test_kept_contexts_know_what_they_depend_on() -> None:
    """Type, score and attributes count where a setting makes them count."""
    policy = MappingPolicy(
        score="tag", attribute_tags=("Country",), types={"MD5": TypePolicy(tags=("hash",))}, tlp=False, malware="off"
    )
    kept = mapper(policy)
    tags = [
        [tag["name"] for tag in orjson.loads(kept.map([each]).items[0].payload)["Tag"]]
        for each in (
            Indicator(1, "FQDN", "a.example", score=1.0),
            Indicator(1, "FQDN", "a.example", score=2.0),
            Indicator(1, "FQDN", "a.example", score=2.0, attributes=(("Country", "DE"),)),
            Indicator(1, "MD5", "a" * 32, score=2.0),
        )
    ]
    assert tags == [
        ['threatq:score="1"'],
        ['threatq:score="2"'],
        ['threatq:country="DE"', 'threatq:score="2"'],
        ['threatq:score="2"', "hash"],
    ]


def test_an_explanation_tells_each_step() -> None:
    """What would be sent, and which rule made it so."""
    explanation = mapper(MappingPolicy(to_ids_score=9.5)).explain(EVIL)
    assert explanation.steps == (
        Step("type", "FQDN", "domain, Network activity, True"),
        Step("refang", "Evil[.]example", "Evil.example"),
        Step("misp", "Evil.example", "evil.example"),
        Step("tlp", "GREEN", "tlp:green"),
        Step("malware", "Home Made", 'threatq:malware="Home Made"'),
        Step("to_ids_score", "9, Active", "to_ids off"),
        Step("first_seen", "2024-05-01 10:00:01", "2024-05-01T10:00:01.000000+00:00"),
        Step("last_seen", "2024-06-01 00:00:00", "2024-06-01T00:00:00.000000+00:00"),
        Step("comment", "", "Tags: botnet; Source: Feed A"),
    )
    assert explanation.outcome == mapper(MappingPolicy(to_ids_score=9.5)).map([EVIL]).items[0]


def test_an_explanation_of_a_refusal_ends_with_its_code() -> None:
    """What is rejected or filtered is explained as well."""
    explanation = mapper(MappingPolicy(max_tlp="CLEAR")).explain(EVIL)
    assert explanation.steps[-1].rule == "tlp_too_strict"
    assert isinstance(explanation.outcome, Refusal)
    custom = mapper().explain(Indicator(1, "Their Own", ""))
    assert [step.rule for step in custom.steps] == ["custom_type", "empty_value"]


texts = st.one_of(values, st.none())
indicators = st.builds(
    Indicator,
    id=st.integers(0, 2**63 - 1),
    type=labels,
    value=values,
    status=st.sampled_from(["Active", "Expired", ""]),
    score=st.floats(0, 10),
    description=values,
    created_at=texts,
    published_at=st.one_of(texts, st.datetimes().map(str)),
    expires_at=st.one_of(texts, st.datetimes().map(str)),
    sources=st.lists(st.builds(Source, values, st.sampled_from(["RED", "CLEAR", None])), max_size=2).map(tuple),
    tags=st.lists(values, max_size=2).map(tuple),
    adversaries=st.lists(values, max_size=2).map(tuple),
    malware=st.lists(values, max_size=2).map(tuple),
    attributes=st.lists(st.tuples(values, values), max_size=2).map(tuple),
)
EVERYTHING = MappingPolicy(tags="tag", sources="tag", score="comment", link=True, private_addresses="tag")


@pytest.mark.parametrize("policy", [MappingPolicy(), EVERYTHING], ids=["defaults", "everything"])
@given(indicator=indicators)
def test_whatever_comes_is_mapped_or_refused(policy: MappingPolicy, indicator: Indicator) -> None:
    """No input raises, and what goes out is JSON that the simulated MISP stores as predicted."""
    ours = mapper(policy)
    mapped = ours.map([indicator])
    assert len(mapped.items) + len(mapped.refusals) == 1
    for made in mapped.items:
        payload = orjson.loads(made.payload)
        assert (payload["type"], payload["category"], payload["value"]) == (made.type, made.category, made.value)
        assert type_rules()[made.type].value_of(payload["value"]) == (made.value, None)
        assert len(payload["comment"].encode()) <= policy.comment_bytes
        beside = payload["comment"] + "".join(tag["name"] for tag in payload.get("Tag", ()))
        assert all(character < "\U00010000" for character in beside)
    assert ours.explain(indicator).outcome in (*mapped.items, *mapped.refusals)


def test_real_indicators_are_foreseen(capsys: pytest.CaptureFixture[str]) -> None:
    """Less than one in 200 is rejected, and the simulated MISP takes all others as predicted."""
    mapped = mapper().map(corpus())
    codes = Counter(each.code for each in mapped.refusals)
    rules = Counter(rule for each in mapped.items for rule in each.rescued)
    with capsys.disabled():
        print(f"\n{len(corpus())} real indicators: rejected {dict(codes)}, rescued {dict(rules)}")  # noqa: T201
    assert len(mapped.refusals) < len(corpus()) / 200
    for each in mapped.items:
        rule = type_rules()[each.type]
        assert rule.value_of(each.value) == (each.value, None)
        assert not too_long(each.value)
        assert each.category in rule.categories & known_types()[each.type].categories


async def test_pymisp_reads_back_what_was_predicted() -> None:
    """Delivered to the simulated MISP, attributes are found equal in all that we said of them."""
    made = {each.fold: each for each in mapper(EVERYTHING).map(corpus()[::8]).items}
    plans = [
        Planned(
            each.key,
            each.uuid,
            each.fingerprint,
            each.fold,
            NOW,
            Change.CREATE,
            each.payload[:-1] + b',"timestamp":"%d"}' % NOW,
            each.marks,
        )
        for each in made.values()
    ]
    async with rig(chunk_size=500) as here:
        outcome = await here.sink.deliver(part(plans))
        assert (len(outcome.stored), outcome.refused) == (len(plans), [])
    async with TestServer(create_app(here.store)) as server:
        url = str(server.make_url("/"))
        event = await asyncio.to_thread(lambda: PyMISP(url, DEFAULT_KEY).get_event(REF.uuid, pythonify=True))
    assert isinstance(event, MISPEvent)
    found = {each.uuid: each for each in event.attributes}
    assert len(found) == len(made)
    for each in made.values():
        assert as_read(found[identity.as_text(each.uuid)]) == orjson.loads(each.payload)


def as_read(attribute: MISPAttribute) -> dict[str, Any]:
    """An attribute of PyMISP as we had written it."""
    read = orjson.loads(attribute.to_json())
    result = {name: read[name] for name in ("uuid", "type", "category", "to_ids", "value", "comment")}
    for name in ("first_seen", "last_seen"):
        if name in read:
            result[name] = datetime.fromisoformat(read[name]).isoformat(timespec="microseconds")
    if tags := [{"name": tag["name"]} for tag in read.get("Tag", ())]:
        result["Tag"] = tags
    return result
