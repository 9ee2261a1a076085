"""When two values are the same for MISP's database.

``value1`` and ``value2`` have the collation utf8mb3_unicode_ci: case, accents and characters without weight do not
count (recordings 187, 189 and 257), trailing blanks neither.
"""

from __future__ import annotations

import unicodedata

# Letters that the collation knows as others with a stroke or as two, and that do not decompose.
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe", "\u0131": "i"})
_WEIGHTLESS = {"Mn", "Me", "Cc", "Cf"}
_WEIGHED_CONTROLS = "\t\n\x0b\x0c\r\x85"


def fold(value: str) -> str:
    """A key that is equal for two values when the database takes them for equal."""
    if value.isascii():
        key = value.lower()
        if not value.isprintable():
            return _weighed(key)
        return value if key == value else key  # the same object costs no memory in an index
    decomposed = unicodedata.normalize("NFKD", value).casefold().translate(_LETTERS)
    return _weighed(unicodedata.normalize("NFKD", decomposed)).rstrip(" ")


def _weighed(value: str) -> str:
    return "".join(
        character
        for character in value
        if unicodedata.category(character) not in _WEIGHTLESS or character in _WEIGHED_CONTROLS
    )
