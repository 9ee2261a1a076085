"""What an operator can decide about the mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class TypePolicy:
    """How the indicators of one ThreatQ type are filed; what is left out stays as it is by default."""

    type: str | None = None
    """The MISP type."""
    category: str | None = None
    to_ids: bool | None = None
    tags: tuple[str, ...] = ()
    """Put on each attribute of this type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingPolicy:
    """Which context goes along, and in what form.

    Tags cost: two on each attribute make MISP 20 to 50 % slower (facts, tables 8.1 and 8.2). The defaults send those
    that analysts filter by, and leave out what every attribute would share.
    """

    tlp: bool = True
    """Tag with the strictest TLP of the sources, or of a ``tlp:`` tag."""
    tlp_clear: Literal["tlp:clear", "tlp:white"] = "tlp:clear"
    """How the taxonomy of the target spells it."""
    default_tlp: str | None = None
    """The TLP of indicators that have none, such as ``AMBER``."""
    tags: bool = True
    """Pass the tags of ThreatQ on."""
    adversaries: bool = True
    """Tag with the adversaries, as ``threatq:adversary="..."``."""
    malware: bool = True
    """Tag with the malware families, as ``threatq:malware="..."``."""
    score: Literal["off", "tag", "comment"] = "off"
    """Pass the score on, as ``threatq:score="7"`` or in the comment. Each new score is an update."""
    description: bool = True
    """Begin the comment with the description, as plain text."""
    sources: bool = True
    """Name the sources in the comment."""
    attributes: tuple[str, ...] = ()
    """Names of ThreatQ attributes that the comment shall hold."""
    link: bool = False
    """End the comment with the address of the indicator in ThreatQ."""
    dates: bool = True
    """Pass publication on as first_seen and expiry as last_seen."""
    comment_bytes: int = 1_000
    """Bytes a comment at most, up to 65,535."""
    to_ids_score: float = 0.0
    """Attributes of indicators below this score get no to_ids."""
    rescue_off: tuple[str, ...] = ()
    """Rules that shall not mend values; docs/mapping.md lists them."""
    types: Mapping[str, TypePolicy] = field(default_factory=dict)
    """How ThreatQ types are filed, by their name, where it differs from the built-in table."""
