"""How PHP reads what JSON brings: MISP checks many fields no further than that."""

from __future__ import annotations

import re
from datetime import UTC, datetime

BLANKS = " \t\n\r\0\x0b"
"""What ``trim()`` takes off."""

_EPOCH = re.compile(r"@-?[0-9]+(?:\.[0-9]{1,6})?")
_LOWER = str.maketrans({chr(upper): chr(upper + 32) for upper in range(ord("A"), ord("Z") + 1)})
_UPPER = str.maketrans({chr(lower): chr(lower - 32) for lower in range(ord("a"), ord("z") + 1)})


def empty(value: object) -> bool:
    """``empty()``: nothing, zero, false, "0" and empty lists are."""
    return not value or value == "0"


def text(value: object) -> str:
    """A value in a place where a string is expected."""
    if isinstance(value, str):
        return value
    if value is None or value is False:
        return ""
    if value is True:
        return "1"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (list, dict)):
        return "Array"
    return str(value)


def lower(value: str) -> str:
    """``strtolower()`` of PHP 8, which knows ASCII only."""
    return value.lower() if value.isascii() else value.translate(_LOWER)


def upper(value: str) -> str:
    """``strtoupper()`` of PHP 8, which knows ASCII only."""
    return value.upper() if value.isascii() else value.translate(_UPPER)


def natural(value: str) -> int | None:
    """The number that a string of digits is; None for anything else and for numbers of more than 20 digits."""
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 20 else None


def whole(value: object, default: int = 0) -> int:
    """A number, or the default where the value is none."""
    try:
        return int(float(value)) if isinstance(value, (str, int, float)) else default
    except (ValueError, OverflowError):
        return default


def moment(value: str) -> datetime | None:
    """What ``strtotime()`` makes of a date: the ISO forms and ``@seconds``; without a zone UTC. None: not a date."""
    value = value.strip()
    if _EPOCH.fullmatch(value):
        return datetime.fromtimestamp(float(value[1:]), UTC)
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
