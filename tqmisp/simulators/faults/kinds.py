"""The kinds of faults, and what can be said about each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Value = float | int | str
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def duration(text: str) -> float:
    """The seconds of ``200ms``, ``1.5s`` or ``2m``.

    Raises:
        ValueError: it is none of them.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("expected a time such as 200ms or 2s")
    return float(found[1]) * _UNITS[found[2]]


def number(text: str) -> int:
    """A whole number from 0.

    Raises:
        ValueError: it is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError("expected a whole number")
    return int(text)


def one_of(*words: str) -> Callable[[str], str]:
    """Takes one of these words."""

    def choose(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected {' or '.join(words)}")
        return text

    return choose


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        effect: what it does.
        readers: how each parameter is read; the first one may be given without its name.
        defaults: of parameters that have one.
        server: the only one that it can happen to.
        pages: whether it happens only to pages of indicators, not to requests that count or look up.
    """

    effect: str
    readers: Mapping[str, Callable[[str], Value]] = field(default_factory=dict)
    defaults: Mapping[str, Value] = field(default_factory=dict)
    server: str | None = None
    pages: bool = False


_WAIT: dict[str, Callable[[str], Value]] = {"retry-after": number}

KINDS: dict[str, Kind] = {
    "latency": Kind("the answer comes late", {"for": duration}, {"for": 0.1}),
    "slow": Kind("the answer comes in eight pieces, with a pause before each", {"pause": duration}, {"pause": 0.02}),
    "stall": Kind("nothing is done, and no answer comes until the client gives up", {"for": duration}, {"for": 60.0}),
    "stall-after": Kind(
        "all is done, and no answer comes until the client gives up", {"for": duration}, {"for": 60.0}, "misp"
    ),
    "429": Kind(
        "refused as one too many; with Retry-After, or X-Rate-Limit-Reset, where seconds are given",
        _WAIT | {"reset": number},
    ),
    "500": Kind("failed before anything was done"),
    "500-during": Kind("failed in the middle: half is saved on the routes that add, nothing on edit", server="misp"),
    "500-after": Kind("failed after all was saved", server="misp"),
    "502": Kind("the worker died in the middle: half is saved on the routes that add, nothing on edit"),
    "untagged": Kind(
        "the worker died between saving something and its tags; on edit all is saved, and half has its tags",
        server="misp",
    ),
    "503": Kind("nothing was done; with Retry-After where seconds are given", _WAIT),
    "504": Kind("the web server gave up; the work goes on behind it", {"work": duration}, {"work": 0.2}),
    "reset": Kind("the connection is reset before anything was done"),
    "reset-after": Kind("the connection is reset after all was done"),
    "half-answer": Kind("all is done, and the connection ends in the middle of the answer"),
    "html": Kind("nothing is done; a page of HTML comes with status 200"),
    "maintenance": Kind("nothing is done; a redirect to the login page", server="misp"),
    "token-expired": Kind("no token is good any more until the next login", server="threatq"),
    "cursor-repeats": Kind(
        "a page comes with the cursor that was asked for, or with the first one",
        {"to": one_of("same", "first")},
        {"to": "same"},
        "threatq",
        pages=True,
    ),
    "short-page": Kind("a page has half as many rows as it could", server="threatq", pages=True),
    "rows-change": Kind(
        "so many rows are out of the selection while a page is made, and come back touched",
        {"rows": number},
        {"rows": 5},
        "threatq",
        pages=True,
    ),
    "any": Kind("one of the others, drawn by the seed, but never rows-change"),
}
"""By name."""
