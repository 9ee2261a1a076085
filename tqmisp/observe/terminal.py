"""Showing text that others wrote, without letting it act on the terminal or on the reader."""

from __future__ import annotations

import re

from rich.text import Text

_ACTS = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters: escape sequences, line breaks, the bell
    "\xad"  # soft hyphen: invisible
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # invisible, line-breaking, or turning the direction of text
    "\ufe00-\ufe0f\ufeff\ufff9-\ufffb"  # variation selectors, byte order mark, annotations
    "\ud800-\udfff"  # lone surrogates cannot be encoded
    "\U000e0000-\U000e0fff"  # tags and more selectors: invisible
    "]"
)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff]")
_MARK = (
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0e31-\u0e3a\u0e47-\u0e4e"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)
_PILE = re.compile(f"(?<={_MARK * 4}){_MARK}")
"""Marks above or below a letter, from the fifth on: no language has so many, and they would cover the lines around."""
_ISOLATE, _POP = "\u2068", "\u2069"


def escape(value: str, *, limit: int | None = None) -> str:
    r"""Make text of others safe to print.

    Characters that act (control characters, changes of direction, line separators), that cannot be seen, that pile up
    over the lines around, or that cannot be encoded appear as ``\\x1b`` or ``\\u202e``; a backslash stays a backslash.
    Letters that are written from right to left keep to their place: the text is enclosed in an isolate, so that they
    cannot reorder what is around.

    Args:
        value: anything, of any length.
        limit: the most characters to keep of it; the rest becomes an ellipsis.
    """
    shortened = limit is not None and len(value) > limit
    if shortened:
        value = value[: max(0, (limit or 0) - 1)]
    shown = value
    if not (value.isascii() and value.isprintable()):  # most are, and need no closer look
        shown = _PILE.sub(_spell, _ACTS.sub(_spell, value))
        if _RIGHT_TO_LEFT.search(shown):
            shown = f"{_ISOLATE}{shown}{_POP}"
    return shown + "…" if shortened else shown


def safe(value: str, style: str = "", *, limit: int | None = None) -> Text:
    """The escaped text for rich, which takes nothing in it for markup, a link or an emoji."""
    return Text(escape(value, limit=limit), style=style)


def _spell(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
