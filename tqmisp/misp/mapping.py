"""What an indicator becomes in MISP, or why it cannot."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

import orjson

from tqmisp.errors import ConfigError
from tqmisp.misp import context, identity, rescue
from tqmisp.misp.attribute import Attribute
from tqmisp.misp.policy import MappingPolicy
from tqmisp.misp.types import FALLBACK, TYPES, MispType
from tqmisp.misp.values import Unstorable
from tqmisp.model import Indicator
from tqmisp.pipeline.protocols import Mapped, Refusal

CACHED_CONTEXTS = 20_000
"""Combinations of tags that are kept encoded; indicators of one feed share a few."""
SAMPLE_CHARACTERS = 1_000
"""How much of a refused value is passed on."""


class IndicatorMapper:
    """Turns indicators into attributes; implements :class:`tqmisp.pipeline.protocols.Mapper`.

    Args:
        space: the namespace of :func:`tqmisp.misp.identity.namespace`.
        policy: which context goes along.
        threatq_url: for links back.
        may_make_tags: whether MISP makes tags that it does not know; without it, only ``known_tags`` are sent.
        known_tags: names of the tags that MISP has.

    Raises:
        ConfigError: the policy names a rule that there is not.
    """

    def __init__(
        self,
        space: bytes,
        policy: MappingPolicy,
        *,
        threatq_url: str,
        may_make_tags: bool = True,
        known_tags: frozenset[str] = frozenset(),
    ) -> None:
        unknown = set(policy.rescue_off) - set(rescue.RULES)
        if unknown:
            raise ConfigError(
                f"[mapping] rescue_off: there is no rule {min(unknown)!r}; there are {', '.join(rescue.RULES)}"
            )
        self.tags_left_out: set[str] = set()
        """Names of tags that could not be sent."""
        self._space = space
        self._policy = policy
        self._url = threatq_url.rstrip("/")
        self._off = frozenset(policy.rescue_off)
        self._may_make_tags = may_make_tags
        self._known_tags = frozenset(name.casefold() for name in known_tags)
        self._filed = {name: _filed(name, policy) for name in {*TYPES, *policy.types}}
        self._tags: dict[tuple[object, ...], orjson.Fragment | None] = {}

    def map(self, items: Sequence[Indicator]) -> Mapped[Attribute]:
        """Turn indicators into attributes, and those that cannot become any into refusals."""
        attributes: list[Attribute] = []
        refusals: list[Refusal] = []
        for indicator in items:
            try:
                attributes.append(self.attribute(indicator))
            except Unstorable as error:
                value = indicator.value[:SAMPLE_CHARACTERS]
                refusals.append(Refusal(indicator.id, "rejected", error.code, str(error), indicator.type, value))
        return Mapped(attributes, refusals)

    def attribute(self, indicator: Indicator) -> Attribute:
        """The attribute of one indicator.

        Raises:
            Unstorable: MISP would refuse it.
        """
        policy = self._policy
        filed = self._filed.get(indicator.type)
        reading = rescue.read(indicator.type, filed or FALLBACK, indicator.value, self._off)
        misp_type, category, to_ids = reading.filed
        value = reading.value
        raw = identity.attribute_uuid(self._space, misp_type, value)
        body: dict[str, object] = {
            "uuid": identity.as_text(raw),
            "type": misp_type,
            "category": category,
            "value": value,
            "to_ids": to_ids and indicator.score >= policy.to_ids_score,
            "comment": context.comment(indicator, policy, self._url),
        }
        if policy.dates:
            first, last = context.seen(indicator)
            if first:
                body["first_seen"] = first
            if last:
                body["last_seen"] = last
        tags = self._tag_list(indicator)
        if tags is not None:
            body["Tag"] = tags
        payload = orjson.dumps(body)
        return Attribute(
            indicator.id,
            raw,
            misp_type,
            category,
            value,
            bool(body["to_ids"]),
            payload,
            hashlib.blake2b(payload, digest_size=8).digest(),
            fold(misp_type, category, value),
            reading.rules if filed else (*reading.rules, "custom_type"),
        )

    def _tag_list(self, indicator: Indicator) -> orjson.Fragment | None:
        """The tags, encoded; the same combination is encoded once."""
        key = (
            indicator.tags,
            indicator.sources,
            indicator.adversaries,
            indicator.malware,
            indicator.type,
            indicator.score if self._policy.score == "tag" else None,
        )
        try:
            return self._tags[key]
        except KeyError:
            pass
        names = context.tags(indicator, self._policy)
        if (own := self._policy.types.get(indicator.type)) is not None:
            names += [name for name in own.tags if name not in names]
        if self._policy.score == "tag":
            names.append(f'threatq:score="{indicator.score:g}"')
        if not self._may_make_tags:
            self.tags_left_out.update(name for name in names if name.casefold() not in self._known_tags)
            names = [name for name in names if name.casefold() in self._known_tags]
        encoded = orjson.Fragment(orjson.dumps([{"name": name} for name in names])) if names else None
        if len(self._tags) >= CACHED_CONTEXTS:
            self._tags.clear()
        self._tags[key] = encoded
        return encoded


def fold(misp_type: str, category: str, value: str) -> int:
    """A number that is equal for values between which MISP's uniqueness sees no difference.

    MISP compares by ``utf8mb3_unicode_ci``: without case, accents and blanks at the end (recordings 187 and 189).
    Two values that are folded together in error only go to different events.
    """
    if value.isascii():
        folded = value.lower()
    else:
        decomposed = unicodedata.normalize("NFKD", value).casefold()
        folded = "".join(c for c in decomposed if not unicodedata.combining(c))
    text = f"{misp_type}\0{category}\0{folded.rstrip(' ')}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


def _filed(name: str, policy: MappingPolicy) -> MispType:
    """How a ThreatQ type is filed under a policy."""
    filed = TYPES.get(name, FALLBACK)
    own = policy.types.get(name)
    if own is None:
        return filed
    return MispType(
        own.type or filed.type,
        own.category or filed.category,
        filed.to_ids if own.to_ids is None else own.to_ids,
    )
