"""What the simulated MISP keeps: events, attributes, tags, and what an administrator sets up.

The objects are slotted and plain, since a run holds a million of them. Numbers are numbers here; MISP's strings are
made in :mod:`~tqmisp.simulators.misp.answers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Tag:
    """A tag of the server."""

    id: int
    name: str
    colour: str
    exportable: bool = True
    hide_tag: bool = False
    local_only: bool = False
    taxonomy: dict[str, object] | None = None
    """What a server with that taxonomy enabled tells of it: ``{"Taxonomy": {...}, "TaxonomyPredicate": {...}}``."""


@dataclass(slots=True, eq=False)
class TagLink:
    """A tag on an event or on an attribute."""

    id: int
    tag: Tag
    local: bool = False
    relationship_type: str | None = None


@dataclass(slots=True, eq=False)
class Event:
    """A row of ``events`` with its attributes in the order of their ids."""

    id: int
    uuid: str
    info: str
    date: str
    org_id: int
    orgc_id: int
    user_id: int
    timestamp: int
    distribution: int = 1
    sharing_group_id: int = 0
    threat_level_id: int = 4
    analysis: int = 0
    published: bool = False
    publish_timestamp: int = 0
    attribute_count: int = 0
    """As MISP keeps it: a number of its own, which ``fast_update`` leaves wrong (recording 203)."""
    disable_correlation: bool = False
    extends_uuid: str = ""
    locked: bool = False
    tags: list[TagLink] = field(default_factory=list)
    attributes: list[Attribute] = field(default_factory=list)
    """Soft-deleted ones, too."""
    related: dict[int, int] = field(default_factory=dict)
    """Number of correlations by the id of the other event."""

    def unpublish(self, now: int) -> None:
        """What every write to an event's attributes does to it (recordings 69 and 70)."""
        self.published = False
        self.timestamp = now


@dataclass(slots=True, eq=False)
class Attribute:
    """A row of ``attributes``."""

    id: int
    uuid: str
    event: Event
    type: str
    category: str
    value1: str
    value2: str
    to_ids: bool
    timestamp: int
    comment: str = ""
    distribution: int = 5
    sharing_group_id: int = 0
    deleted: bool = False
    disable_correlation: bool = False
    first_seen: str | None = None
    last_seen: str | None = None
    tags: list[TagLink] | None = None

    @property
    def value(self) -> str:
        """The value as MISP shows it."""
        return f"{self.value1}|{self.value2}" if self.value2 else self.value1


@dataclass(frozen=True, slots=True)
class SharingGroup:
    """A sharing group that a site admin made."""

    id: int
    uuid: str
    name: str
    org_id: int
    """The organisation that owns it."""
    org_ids: tuple[int, ...] = ()
    """The organisations in it."""
    description: str = ""
    releasability: str = ""
    active: bool = True
    roaming: bool = True
    created: str = "2024-01-01 00:00:00"


@dataclass(frozen=True, slots=True)
class Warninglist:
    """An enabled warninglist of address blocks."""

    id: int
    name: str
    blocks: tuple[str, ...]
    """CIDR."""
    category: str = "false_positive"
