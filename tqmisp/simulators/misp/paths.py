"""Taking a path apart as CakePHP does."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote


class Asked(NamedTuple):
    """What a path asks for."""

    controller: str
    action: str
    """As it was written; MISP does not mind its case."""
    args: list[str]
    named: dict[str, str]
    """The ``/name:value`` parts."""
    json: bool
    """Whether it ends with ``.json``."""

    @property
    def key(self) -> tuple[str, str]:
        """Where it is in the table of routes."""
        return self.controller, self.action.lower()


def parse(raw_path: str) -> Asked:
    """The parts of a path, still escaped.

    ``/events/7`` is short for ``/events/view/7``: a ``Location`` of MISP looks like that (recording 22).
    """
    json = raw_path.endswith(".json")
    parts = [unquote(part) for part in raw_path.removesuffix(".json").split("/") if part]
    named: dict[str, str] = {}
    plain: list[str] = []
    for part in parts:
        name, colon, value = part.partition(":")
        if colon and name:
            named[name] = value
        else:
            plain.append(part)
    controller = plain[0].lower() if plain else ""
    if len(plain) > 1 and plain[1].isdecimal():
        plain.insert(1, "view")
    return Asked(controller, plain[1] if len(plain) > 1 else "index", plain[2:], named, json)
