"""What real feeds do to about three rows in a hundred.

Each spoils a row in one way and keeps its value unique; none touches what filters look at, which is kept apart.
"""

from __future__ import annotations

from collections.abc import Callable

from tqmisp.simulators.threatq.catalog import Row

Spoil = Callable[[Row], None]

_HASHES = frozenset({"MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512"})
_NAMES = frozenset({"FQDN", "URL", "Email Address"})
_TEXTS = frozenset({"String", "Filename", "Email Subject", "User-agent"})


def defanged(value: str) -> str:
    """A value made harmless, as reports write it."""
    return value.replace(".", "[.]", 1).replace("http", "hxxp", 1)


def _value(change: Callable[[str], str]) -> Spoil:
    def spoil(row: Row) -> None:
        row["value"] = change(row["value"])

    return spoil


def _fields(changes: Row) -> Spoil:
    return lambda row: row.update(changes)


def _without(*names: str) -> Spoil:
    def spoil(row: Row) -> None:
        for name in names:
            row.pop(name, None)

    return spoil


def _empty_attributes(row: Row) -> None:
    for attribute in row["attributes"]:
        attribute["value"] = None


_MESS: tuple[tuple[frozenset[str] | None, Spoil], ...] = (
    (None, _value(lambda value: f"\t{value}")),
    (None, _value(lambda value: f"  {value} ")),
    (None, _value(lambda value: f"{value}\u00a0")),
    (None, _value(lambda value: f"{value}\n")),
    (_NAMES | {"IP Address"}, _value(defanged)),
    (_NAMES | {"IP Address"}, _value(lambda value: value.replace(".", "[.]"))),
    (frozenset({"IP Address"}), _value(lambda value: f"{value}:{1024 + len(value) * 37}")),
    (_HASHES | {"FQDN"}, _value(str.upper)),
    (frozenset({"FQDN"}), _value(lambda value: f"{value}.")),
    (frozenset({"FQDN"}), _value(lambda value: f"bücher.{value}")),
    (_TEXTS, _value(lambda value: f"{value} \U0001f600")),
    (_TEXTS, _value(lambda value: f"\u202e{value}\u0007")),
    (frozenset({"URL", "URL Path"}), _value(lambda value: f"{value}&session={'0123456789abcdef' * 190}")),
    (_HASHES, _value(lambda value: value[:-3])),
    (frozenset({"IP Address"}), _value(lambda value: f"{value}.300")),
    (frozenset({"FQDN"}), _value(lambda value: f"see {value} for details")),
    (None, _fields({"description": "Alarm \U0001f600 \u2014 \u043f\u0440\u043e\u0432\u0435\u0440\u0435\u043d\u043e"})),
    (None, _fields({"description": None, "tags": None})),
    (None, _fields({"sources": None, "attributes": None, "adversaries": None})),
    (None, _without("tags", "class", "hash")),
    (None, _empty_attributes),
    (None, _without("value")),
)
"""The types that each can happen to, and what it is."""


def _choices(kind: str) -> tuple[Spoil, ...]:
    """What can happen to a type: mostly something to its value, and rarely its loss."""
    usual = [spoil for kinds, spoil in _MESS[:-1] if kinds is None or kind in kinds]
    return (*usual * 16, _MESS[-1][1])


class Mess:
    """Spoils rows of one type."""

    def __init__(self, kind: str) -> None:
        self._choices = _choices(kind)

    def spoil(self, row: Row, chance: int) -> None:
        """Spoil a row in the way that a number chooses."""
        self._choices[chance % len(self._choices)](row)
