"""On which line of a TOML file a key stands, for errors that name it."""

from __future__ import annotations

import re

_TABLE = re.compile(r"\s*\[\[?\s*(?P<name>[^\[\]]+?)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(
    r"""\s*(?P<name>(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"([^"]*)"|'([^']*)'""")


def line_numbers(text: str) -> dict[str, int]:
    """The number of the line, from 1 on, of each table and key by its dotted name.

    A line inside a string of several lines may be taken for a key; what the parser did not find is never asked for.
    """
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if (found := _TABLE.fullmatch(line)) is not None:
            table = _dotted(found["name"])
            lines.setdefault(table, number)
        elif (found := _KEY.match(line)) is not None:
            name = _dotted(found["name"])
            lines.setdefault(f"{table}.{name}" if table else name, number)
    return lines


def _dotted(name: str) -> str:
    """A name without its quotation marks."""
    parts = (next(filter(None, found.groups()), found[0]) for found in _PART.finditer(name))
    return ".".join(parts)
