from __future__ import annotations

import pytest
from pymisp import MISPEvent

from tests.contract.recordings import recordings
from tqmisp.errors import ConfigError
from tqmisp.misp.policy import MappingPolicy, TypePolicy
from tqmisp.misp.types import FALLBACK, TYPES, MispType, known_types


def test_every_type_that_threatq_ships_is_filed() -> None:
    """ThreatQ seeds 34 indicator types."""
    assert len(TYPES) == 34


@pytest.mark.parametrize("name", [*TYPES, "a type of their own"])
def test_pymisp_takes_each_pair(name: str) -> None:
    """Each pair of type and category stands in the describeTypes of PyMISP, and of the recorded MISP 2.5.1."""
    kind, category, _ = TYPES.get(name, FALLBACK)
    assert category in known_types()[kind].categories
    mappings = MISPEvent().describe_types["category_type_mappings"]
    assert kind in mappings[category]
    recorded = recordings()[3].answer["result"]["category_type_mappings"][category]
    assert kind in recorded or "cut" in str(recorded[-1])


def test_what_is_known_of_types_is_what_pymisp_says() -> None:
    """The file that is read past PyMISP is the one that PyMISP reads."""
    described = MISPEvent().describe_types
    assert set(known_types()) == set(described["sane_defaults"])
    assert known_types()["domain"].usual == MispType("domain", "Network activity", to_ids=True)


@pytest.mark.parametrize(
    ("name", "own", "expected"),
    [
        # one thing changed, the others stay
        ("FQDN", TypePolicy(to_ids=False), MispType("domain", "Network activity", to_ids=False)),
        ("FQDN", TypePolicy(type="hostname"), MispType("hostname", "Network activity", to_ids=True)),
        # a category that the new type cannot have gives way to MISP's default
        ("x509 Serial", TypePolicy(type="mutex"), MispType("mutex", "Artifacts dropped", to_ids=False)),
        # a type of the instance's own takes MISP's defaults
        ("C2 Address", TypePolicy(type="ip-dst"), MispType("ip-dst", "Network activity", to_ids=True)),
        ("Bitcoin", TypePolicy(type="btc", to_ids=True), MispType("btc", "Financial fraud", to_ids=True)),
        ("Note", TypePolicy(tags=("x",)), MispType("text", "Other", to_ids=False)),
    ],
)
def test_an_operator_files_types_anew(name: str, own: TypePolicy, expected: MispType) -> None:
    """What the operator says counts, and what is left open follows the table or MISP."""
    policy = MappingPolicy(types={name: own})
    policy.check()
    assert policy.filings()[name] == expected


@pytest.mark.parametrize(
    ("policy", "place"),
    [
        (MappingPolicy(types={"FQDN": TypePolicy(type="domian")}), 'mapping.types."FQDN".type'),
        (MappingPolicy(types={"FQDN": TypePolicy(type="malware-sample")}), 'mapping.types."FQDN".type'),
        (MappingPolicy(types={"MD5": TypePolicy(category="Network activity")}), 'mapping.types."MD5".category'),
        (MappingPolicy(default_tlp="amber"), "mapping.default_tlp"),
        (MappingPolicy(max_tlp="PURPLE"), "mapping.max_tlp"),
        (MappingPolicy(rescue_off=("refnag",)), "mapping.rescue_off"),
        (MappingPolicy(comment_bytes=70_000), "mapping.comment_bytes"),
    ],
)
def test_a_policy_that_cannot_work_names_the_place(policy: MappingPolicy, place: str) -> None:
    """MISP would refuse every indicator of the type; better to hear of it before the run."""
    with pytest.raises(ConfigError, match=place):
        policy.check()


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Each problem has a line, so that all can be mended in one go."""
    policy = MappingPolicy(default_tlp="x", max_tlp="y")
    with pytest.raises(ConfigError) as caught:
        policy.check()
    assert len(str(caught.value).splitlines()) == 2
