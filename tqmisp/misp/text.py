"""Text that MISP can take beside a value."""

from __future__ import annotations

import html
import re

_MARKUP = re.compile(r"<[^<>]{0,1000}>")
_BLANKS = re.compile(r"\s+")
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


def plain(text: str) -> str:
    """A text that MISP's columns and any screen can take: one line, no markup, no character of four bytes.

    A character of four bytes in a comment makes MISP answer 500 (recordings 153 and 384 to 386).
    """
    if "<" in text:
        text = _MARKUP.sub(" ", text)
    if "&" in text:
        text = html.unescape(text)
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    return _BLANKS.sub(" ", _FORBIDDEN.sub(" ", _ASTRAL.sub("\ufffd", text))).strip()


def cut(text: str, limit: int) -> str:
    """A text of at most so many bytes, ending in an ellipsis where something is left out."""
    if len(text) * 4 <= limit:
        return text
    raw = text.encode()
    if len(raw) <= limit:
        return text
    return raw[: limit - 3].decode(errors="ignore") + "…" if limit >= 3 else ""
