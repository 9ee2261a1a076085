"""The words that the two edges share: what ThreatQ gives, and where MISP keeps it.

What is made for each indicator is a struct of msgspec: it takes a third of the time of a named tuple, and a tenth of
that of a frozen dataclass, and the garbage collector need not look at it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct


class Source(NamedTuple):
    """Who reported an indicator."""

    name: str
    tlp: str | None = None
    """``RED``, ``AMBER+STRICT``, ``AMBER``, ``GREEN`` or ``CLEAR``; None where ThreatQ gives none."""


class Indicator(Struct, frozen=True, gc=False):
    """One indicator of ThreatQ, whatever view it was read from.

    Dates are text as ThreatQ writes it, ``YYYY-MM-DD HH:MM:SS`` with optional fraction, in UTC.
    """

    id: int
    type: str
    """The name of its type (``FQDN``); ids differ between instances."""
    value: str
    status: str = "Active"
    score: float = 0.0
    """The effective score, clamped to 0..10."""
    description: str = ""
    created_at: str | None = None
    published_at: str | None = None
    updated_at: str | None = None
    touched_at: str | None = None
    expires_at: str | None = None
    sources: tuple[Source, ...] = ()
    tags: tuple[str, ...] = ()
    adversaries: tuple[str, ...] = ()
    malware: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    stamp: int = 0
    """Changes when anything changes in the row that it was read from; 0 where that is not known."""


class EventRef(NamedTuple):
    """A MISP event of ours.

    ``number`` is its key in the journal; ``date`` is the run day as ``YYYY-MM-DD``.
    """

    number: int
    uuid: str
    info: str
    date: str


class Change(StrEnum):
    """What is to be done to an attribute."""

    CREATE = "create"
    """It is new."""
    RETRY = "retry"
    """It was promised by a run that died, or refused, and MISP does not hold it."""
    REPAIR = "repair"
    """It was delivered, and MISP has lost it."""
    TAKEOVER = "takeover"
    """Another indicator with the same attribute lends it comment and tags from now on."""
    UPDATE = "update"
    """ThreatQ has changed it."""
    REVIVE = "revive"
    """It was withdrawn, and is selected again."""
    RETIRE = "retire"
    """Its indicator has left the selection."""
    ADOPT = "adopt"
    """MISP held it although the journal did not know of it."""


class Planned(Struct, frozen=True, gc=False):
    """An attribute on its way to its event, as the journal has promised it."""

    key: int
    """The id of its indicator."""
    uuid: bytes
    """16 bytes."""
    fingerprint: bytes
    """Changes when anything that is sent changes; 8 bytes."""
    fold: int
    """Equal for values that MISP's case- and accent-blind uniqueness takes for one."""
    timestamp: int
    """Of the attribute, in seconds since 1970; the same in every repetition."""
    change: Change
    body: bytes
    """The JSON object for MISP, with its timestamp."""
    marks: bytes
    """Of what is sent, as :mod:`tqmisp.misp.marks` makes them: tells later what people have changed."""
    base: bytes = b""
    """Marks of what has been sent before and people may have worked on; empty where nothing of it was confirmed."""
    deletes: bool = False
    """Whether MISP will not count it any more."""
    stamp: int = 0
    """Of the row that it was made from; 0 where that is not to be recognised."""


class Sight(NamedTuple):
    """What was seen of an attribute in MISP that was promised."""

    timestamp: int
    """In seconds since 1970."""
    marks: bytes = b""
    """Of what is there, where tags lack that were promised for the first time."""


class Leaver(NamedTuple):
    """An attribute whose indicator has left the selection."""

    key: int
    """The id of its indicator."""
    uuid: bytes
    """16 bytes."""
    fingerprint: bytes
    event: int
    """The number of its event in the journal."""
    timestamp: int
    """That was last sent, in seconds since 1970."""
    marks: bytes
    """Of what was last sent."""
    kind: str
    """``filtered`` or ``rejected``."""
    code: str
    """The reason, as the catalogue of codes has it, or ``absent`` or ``replaced``."""
    type: str
    """The type of the indicator in ThreatQ; empty where ThreatQ does not give it any more."""
    status: str
    """The status of the indicator in ThreatQ, where that is the reason."""
    run: int
    """The number of the run that noticed."""
