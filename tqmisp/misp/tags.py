"""Which tags an attribute gets, and which setting makes each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from tqmisp.misp import galaxies
from tqmisp.misp.explain import Step
from tqmisp.misp.policy import MappingPolicy
from tqmisp.misp.text import plain
from tqmisp.model import Indicator
from tqmisp.tlp import STRICTNESS, tlp_in_tag

TAG_CHARACTERS = 255
"""MISP cuts longer names or leaves them out (recordings 390 to 392)."""

TagRule = Callable[[Indicator], Iterator[Step]]
"""Gives a step for each tag; ``after`` is its name."""


def tlp(tags: Iterable[str], given: Iterable[str | None]) -> str | None:
    """The strictest TLP that a tag or a source names; the laxest would leak."""
    return _strictest((_tlp_of_tags(tuple(tags)), *given))


@lru_cache(maxsize=256)
def _strictest(given: tuple[str | None, ...]) -> str | None:
    return next((name for name in STRICTNESS if name in given), None)


@lru_cache(maxsize=4096)
def _tlp_of_tags(tags: tuple[str, ...]) -> str | None:
    return _strictest(tuple(map(_tlp_in, tags)))


_tlp_in = lru_cache(maxsize=4096)(tlp_in_tag)


def tlp_of(indicator: Indicator, policy: MappingPolicy) -> str | None:
    """The TLP of an indicator under a policy."""
    return tlp(indicator.tags, [source.tlp for source in indicator.sources]) or policy.default_tlp


def tag_rules(policy: MappingPolicy) -> list[TagRule]:
    """The rules that a policy switches on, in the order of their tags."""
    known = galaxies.ADVERSARIES, galaxies.MALWARE
    adversaries, malware = known if policy.galaxies else ((), ())
    rules: list[TagRule] = []
    if policy.tlp:
        rules.append(lambda indicator: _tlp(indicator, policy))
    if policy.adversaries == "tag":
        rules.append(_named("adversaries", "adversary", galaxies.lookup(adversaries, policy.clusters)))
    if policy.malware == "tag":
        rules.append(_named("malware", "malware", galaxies.lookup(malware, policy.clusters)))
    if policy.tags == "tag":
        rules.append(lambda indicator: _plain_tags(indicator, with_tlp=not policy.tlp))
    if policy.sources == "tag":
        rules.append(_sources)
    if policy.attribute_tags:
        rules.append(lambda indicator: _attributes(indicator, policy.attribute_tags))
    if policy.score == "tag":
        rules.append(_score)
    if policy.score == "threat-level":
        rules.append(_threat_level)
    if any(own.tags for own in policy.types.values()):
        rules.append(lambda indicator: _of_type(indicator, policy))
    return rules


def machine_tag(predicate: str, value: str) -> str:
    """A tag of our own."""
    return f'threatq:{predicate}="{plain(value).replace(chr(34), chr(39))}"'


def _tlp(indicator: Indicator, policy: MappingPolicy) -> Iterator[Step]:
    strictest = tlp_of(indicator, policy)
    if strictest:
        yield Step("tlp", strictest, policy.tlp_clear if strictest == "CLEAR" else f"tlp:{strictest.lower()}")


def _named(field: str, predicate: str, lookup: galaxies.Lookup) -> TagRule:
    def rule(indicator: Indicator) -> Iterator[Step]:
        names: tuple[str, ...] = getattr(indicator, field)
        for name in filter(_has_letters, names):
            yield Step(field, name, lookup(name) or machine_tag(predicate, name))

    return rule


def _has_letters(name: str) -> bool:
    """Whether a name is one, and not ``-`` or ``???`` in the place of one."""
    return any(map(str.isalnum, name))


def _plain_tags(indicator: Indicator, *, with_tlp: bool) -> Iterator[Step]:
    for name in indicator.tags:
        if with_tlp or _tlp_in(name) is None:
            yield Step("tags", name, plain(name))


def _sources(indicator: Indicator) -> Iterator[Step]:
    for source in indicator.sources:
        yield Step("sources", source.name, machine_tag("source", source.name))


def _attributes(indicator: Indicator, names: tuple[str, ...]) -> Iterator[Step]:
    for name, value in indicator.attributes:
        if name in names:
            predicate = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "attribute"
            yield Step("attribute_tags", f"{name}: {value}", machine_tag(predicate, value))


def _score(indicator: Indicator) -> Iterator[Step]:
    yield Step("score", f"{indicator.score:g}", machine_tag("score", f"{indicator.score:g}"))


def _threat_level(indicator: Indicator) -> Iterator[Step]:
    """ThreatQ calls 9 high, 7 and 8 medium, what is below low; MISP's taxonomy ``misp`` has the same words."""
    risk = "high" if indicator.score >= 9 else "medium" if indicator.score >= 7 else "low"
    yield Step("score", f"{indicator.score:g}", f'misp:threat-level="{risk}-risk"')


def _of_type(indicator: Indicator, policy: MappingPolicy) -> Iterator[Step]:
    own = policy.types.get(indicator.type)
    for name in own.tags if own else ():
        yield Step(f'types."{indicator.type}"', indicator.type, name)
