"""The traffic light protocol: its names, in whatever spelling. Pure."""

from __future__ import annotations

import re

STRICTNESS = ("RED", "AMBER+STRICT", "AMBER", "GREEN", "CLEAR")
"""Names of the traffic light protocol, the strictest first."""

_SEPARATORS = re.compile(r"[\W_]+")
_NAMES = {_SEPARATORS.sub("", name): name for name in STRICTNESS} | {"WHITE": "CLEAR"}


def tlp_named(text: str) -> str | None:
    """The name that a text means, as ``TLP:AMBER-STRICT`` and ``amber strict`` do; None where it means none."""
    return _NAMES.get(_bare(text).removeprefix("TLP"))


def tlp_in_tag(tag: str) -> str | None:
    """The same for a tag, which may speak of anything: it must say that it means a TLP."""
    bare = _bare(tag)
    return _NAMES.get(bare[3:]) if bare.startswith("TLP") else None


def _bare(text: str) -> str:
    return _SEPARATORS.sub("", text).upper()
