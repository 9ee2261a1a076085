"""An attribute as it is sent to MISP."""

from __future__ import annotations

from msgspec import Struct


class Attribute(Struct, frozen=True, gc=False):
    """What one indicator becomes."""

    key: int
    """The id of the indicator in ThreatQ."""
    uuid: bytes
    """16 bytes; the same for every indicator that becomes the same type and value."""
    type: str
    category: str
    value: str
    """As MISP will store it."""
    to_ids: bool
    payload: bytes
    """The JSON object for MISP, complete but for its timestamp."""
    fingerprint: bytes
    """Changes when the payload changes; 8 bytes."""
    fold: int
    """Equal for values that MISP's case- and accent-blind uniqueness takes for one; 64 bits, signed."""
    marks: bytes
    """Tells later which of its fields people have changed, see :mod:`tqmisp.misp.marks`."""
    rescued: tuple[str, ...] = ()
    """Names of the rules that have mended the value."""
    stamp: int = 0
    """Of the row of the indicator; 0 where rules have mended its value, so that these are counted on every run."""
