"""What we last sent of an attribute, in a few bytes: enough to see later whether people have changed a field.

A record is its own length in two bytes, a byte of flags, four bytes for each of category, comment, first_seen and
last_seen, and four for each tag. Records stand one behind the other where more than one may be what MISP holds: an
update that was promised and never confirmed leaves both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple
from zlib import crc32

import orjson

_FIXED = struct.Struct("<HBIIII")
_TO_IDS, _DELETED = 1, 2


class Marks(NamedTuple):
    """One record: a number for each field, equal where the fields are."""

    to_ids: bool
    deleted: bool
    category: int
    comment: int
    first_seen: int
    last_seen: int
    tags: frozenset[int]

    def packed(self) -> bytes:
        """The record as it is kept."""
        flags = self.to_ids * _TO_IDS | self.deleted * _DELETED
        tags = b"".join([tag_mark(each) for each in sorted(self.tags)])
        numbers = (self.category, self.comment, self.first_seen, self.last_seen)
        return _FIXED.pack(_FIXED.size + len(tags), flags, *numbers) + tags


def packed(head: bytes, comment: bytes, dates: bytes, tags: bytes) -> bytes:
    """The record of an attribute from the pieces that many attributes share; what :meth:`Marks.packed` gives."""
    return b"".join(((_FIXED.size + len(tags)).to_bytes(2, "little"), head, comment, dates, tags))


def head_mark(category: str, *, to_ids: bool) -> bytes:
    """The flags and the category."""
    return bytes([to_ids * _TO_IDS]) + crc32(category.encode()).to_bytes(4, "little")


def comment_mark(comment_json: bytes) -> bytes:
    """The comment, from its JSON form."""
    return crc32(comment_json).to_bytes(4, "little")


def date_mark(text: str | None) -> bytes:
    """first_seen or last_seen."""
    return _date(text).to_bytes(4, "little")


def tags_mark(names: Iterable[str]) -> bytes:
    """The tags, in an order of their own."""
    return b"".join([tag_mark(each) for each in sorted({tag(name) for name in names})])


def tag_mark(number: int) -> bytes:
    """One tag."""
    return number.to_bytes(4, "little")


def tag(name: str) -> int:
    """The number of a tag; MISP finds tags whatever their case."""
    return crc32(name.casefold().encode())


def unpacked(records: bytes) -> list[Marks]:
    """All records, the oldest first."""
    found = []
    place = 0
    while place < len(records):
        size, flags, category, comment, first, last = _FIXED.unpack_from(records, place)
        numbers = struct.unpack_from(f"<{(size - _FIXED.size) // 4}I", records, place + _FIXED.size)
        found.append(
            Marks(bool(flags & _TO_IDS), bool(flags & _DELETED), category, comment, first, last, frozenset(numbers))
        )
        place += size
    return found


def withdrawn(records: bytes, *, delete: bool) -> bytes:
    """The record of an attribute as a withdrawal leaves it; none where nothing is known of it before."""
    known = unpacked(records)
    return known[-1]._replace(to_ids=False, deleted=delete).packed() if known else b""


def untagged(records: bytes, here: Iterable[str]) -> bytes:
    """The record of an attribute that was saved without tags that were new to it; nothing where it has them all.

    Put before the others, it keeps the tags that lack from being taken for taken away by people.

    Args:
        records: what was promised, and before it what was there.
        here: names of the tags that it has.
    """
    if not records:
        return b""
    *before, last = unpacked(records)
    known = frozenset.intersection(*(each.tags for each in before)) if before else frozenset()
    there = last.tags & frozenset(map(tag, here))
    return b"" if last.tags <= known | there else last._replace(tags=known | there).packed()


def of(
    *,
    to_ids: bool,
    deleted: bool,
    category: str,
    comment: str,
    first_seen: str | None,
    last_seen: str | None,
    tags: Iterable[str],
) -> Marks:
    """The marks of an attribute as MISP gives it."""
    return Marks(
        to_ids,
        deleted,
        crc32(category.encode()),
        crc32(orjson.dumps(comment)),
        _date(first_seen),
        _date(last_seen),
        frozenset(map(tag, tags)),
    )


def _date(text: str | None) -> int:
    return crc32(text.encode()) if text else 0
