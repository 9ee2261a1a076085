"""What an operator can decide about the mapping: the section ``[mapping]`` of the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import ConfigDict

from tqmisp.errors import ConfigError
from tqmisp.misp.rules import RULES
from tqmisp.misp.types import FALLBACK, TYPES, MispType, known_types
from tqmisp.tlp import STRICTNESS

MAX_COMMENT_BYTES = 65_535
WITH_DATA = frozenset({"attachment", "malware-sample"})
"""MISP types that are files, not values."""

Place = Literal["off", "comment", "tag"]
"""Where a piece of context goes."""
Action = Literal["off", "tag", "to_ids", "drop"]
"""What a screen does to a value that it finds: nothing, tag it, switch to_ids off, or keep it from MISP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypePolicy:
    """How the indicators of one ThreatQ type are filed; what is left out stays as it is by default."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # a slip in a key must not go unnoticed

    type: str | None = None
    """The MISP type."""
    category: str | None = None
    to_ids: bool | None = None
    tags: tuple[str, ...] = ()
    """Put on each attribute of this type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingPolicy:
    """Which context goes along, and in what form.

    Tags cost: two on each attribute make MISP 20 to 50 % slower (measured on 2.5.1). By default those are sent that
    analysts filter, share and pivot by: TLP, adversaries and malware families. The rest is in the comment, which costs
    nothing.
    """

    tlp: bool = True
    """Tag with the strictest TLP of the sources, or of a ``tlp:`` tag."""
    tlp_clear: Literal["tlp:clear", "tlp:white"] = "tlp:clear"
    """How the taxonomy of the target spells it."""
    default_tlp: str | None = None
    """The TLP of indicators that have none: RED, AMBER+STRICT, AMBER, GREEN or CLEAR."""
    max_tlp: str | None = None
    """The strictest TLP that may leave for this MISP; what is stricter is filtered as ``tlp_too_strict``."""
    adversaries: Place = "tag"
    """As the tag of their galaxy cluster, or as ``threatq:adversary="..."`` where there is none."""
    malware: Place = "tag"
    """Malware families, as the tag of their galaxy cluster, or as ``threatq:malware="..."`` where there is none."""
    galaxies: bool = True
    """Look names up in MISP's galaxies."""
    clusters: Mapping[str, str] = field(default_factory=dict)
    """Tags by the name of an adversary or malware family; they count more than the galaxies."""
    tags: Place = "comment"
    """The tags of ThreatQ."""
    sources: Place = "comment"
    """The names of the sources, as ``threatq:source="..."`` where they are tags."""
    score: Literal["off", "comment", "tag", "threat-level"] = "off"
    """``tag`` is ``threatq:score="7"``, ``threat-level`` is ``misp:threat-level="medium-risk"``.

    Each new score is an update of the attribute.
    """
    attribute_tags: tuple[str, ...] = ()
    """Names of ThreatQ attributes that become tags: ``threatq:country="DE"``."""
    attribute_comments: tuple[str, ...] = ()
    """Names of ThreatQ attributes that go into the comment."""
    description: bool = True
    """Begin the comment with the description, as plain text."""
    link: bool = False
    """End the comment with the address of the indicator in ThreatQ."""
    comment_bytes: int = 1_000
    """Bytes a comment at most, up to 65,535."""
    dates: bool = True
    """Pass publication on as first_seen and expiry as last_seen."""
    to_ids_score: float = 0.0
    """Attributes of indicators below this score get no to_ids."""
    to_ids_statuses: tuple[str, ...] = ("Active",)
    """Attributes of indicators with another status get no to_ids."""
    rescue_off: tuple[str, ...] = ()
    """Rules that shall not mend values; docs/mapping.md lists them."""
    private_addresses: Action = "off"
    """What becomes of addresses that nobody can reach from the internet, and of URLs with one."""
    short_values: Action = "off"
    """What becomes of texts, names and paths shorter than ``shortest``."""
    shortest: int = 4
    """Characters."""
    warninglists: Action = "off"
    """What becomes of values on MISP's warninglists; needs the extra ``warninglists``."""
    warninglist_names: tuple[str, ...] = ()
    """Folders of the package's lists to look in; by default those of well-known, harmless values."""
    screen_tag: str = 'false-positive:risk="medium"'
    """The tag that screens put."""
    types: Mapping[str, TypePolicy] = field(default_factory=dict)
    """How ThreatQ types are filed, by their name, where it differs from the built-in table."""

    def filings(self) -> dict[str, MispType]:
        """How each ThreatQ type is filed under this policy."""
        return {name: _filed(name, self.types.get(name)) for name in {**TYPES, **self.types}}

    def check(self) -> None:
        """Find settings that cannot be used.

        Raises:
            ConfigError: with a line for each.
        """
        problems = [*self._problems()]
        if problems:
            raise ConfigError("\n".join(problems))

    def _problems(self) -> Iterator[str]:
        for name in ("default_tlp", "max_tlp"):
            value = getattr(self, name)
            if value is not None and value not in STRICTNESS:
                yield f"mapping.{name} is {value!r}; expected one of {', '.join(STRICTNESS)}."
        for name in self.rescue_off:
            if name not in RULES:
                yield f"mapping.rescue_off names {name!r}; expected some of {', '.join(sorted(RULES))}."
        if not 0 <= self.comment_bytes <= MAX_COMMENT_BYTES:
            yield f"mapping.comment_bytes is {self.comment_bytes}; expected a whole number from 0 to 65,535."
        known = known_types() if self.types else {}
        for name, own in self.types.items():
            place = f'mapping.types."{name}"'
            kind, category, _ = _filed(name, own)
            if kind not in known or kind in WITH_DATA:
                yield f"{place}.type is {kind!r}; expected a type of MISP that is a value, such as text."
            elif category not in known[kind].categories:
                expected = ", ".join(sorted(known[kind].categories))
                yield f"{place}.category is {category!r}; for {kind} expected one of {expected}."


def _filed(name: str, own: TypePolicy | None) -> MispType:
    """The built-in table with what an operator says, and MISP's own defaults where a new type needs them."""
    filed = TYPES.get(name, FALLBACK)
    if own is None:
        return filed
    known = known_types().get(own.type or filed.type)
    if own.type is not None and known is not None:
        keeps_category = name in TYPES and filed.category in known.categories
        filed = MispType(
            own.type,
            filed.category if keeps_category else known.usual.category,
            filed.to_ids if name in TYPES else known.usual.to_ids,
        )
    return MispType(
        own.type or filed.type,
        own.category or filed.category,
        filed.to_ids if own.to_ids is None else own.to_ids,
    )
