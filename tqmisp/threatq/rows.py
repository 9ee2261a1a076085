"""Rows of ThreatQ as they come out of the bytes of a page. Pure.

A page is taken apart without decoding it; each row then becomes one object with what is read of it and nothing else:
against dictionaries and their digests that is two thirds of the time and less than half of the memory. A field that
must be a text or a list and is none is empty; all others are as JSON has them, and :mod:`tqmisp.threatq.records` says
what they mean.
"""

from __future__ import annotations

from typing import Any

import msgspec
from xxhash import xxh3_64_intdigest

from tqmisp.threatq.answers import loads


class Named(msgspec.Struct, gc=False):
    """A source or an attribute of a row."""

    name: Any = None
    value: Any = None
    tlp_id: Any = None
    tlp_name: Any = None


class Row(msgspec.Struct, gc=False):
    """A row that is an object; None stands for what it lacks."""

    id: Any = None
    value: Any = None
    type: Any = None
    type_id: Any = None
    status: Any = None
    status_id: Any = None
    score: Any = None
    description: str | None = None
    created_at: str | None = None
    published_at: str | None = None
    updated_at: str | None = None
    touched_at: str | None = None
    expires_at: str | None = None
    expired_at: str | None = None
    sources: list[Named] | None = None
    tags: Any = None
    adversaries: Any = None
    malware: Any = None
    attributes: list[Named] | None = None
    digest: Any = 0
    """Of its bytes, 63 bits; 0 where these are not as usual. Whatever a row says here is overwritten."""


_TEXTS = ("description", "created_at", "published_at", "updated_at", "touched_at", "expires_at", "expired_at")
_LISTS = ("sources", "attributes")


class _Page(msgspec.Struct, gc=False):
    """A page that is no error."""

    data: list[msgspec.Raw]
    total: Any = None
    nextCursorMark: Any = None  # noqa: N815  ThreatQ's name
    errors: Any = None


_PAGE = msgspec.json.Decoder(_Page)
_ROW = msgspec.json.Decoder(Row)


def loads_page(content: bytes) -> Any:  # noqa: ANN401  it is JSON
    """Decode JSON that may be a page: its rows are :class:`Row` where they are objects.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        page = _PAGE.decode(content)
    except msgspec.MsgspecError:
        return loads(content)
    rows: list[Any] = []
    for raw in page.data:
        try:
            row = _ROW.decode(raw)
        except msgspec.MsgspecError:  # fields of other types, half characters in texts, no object
            given = loads(bytes(raw))
            row = as_row(given) or given
        if type(row) is Row:
            row.digest = xxh3_64_intdigest(raw) >> 1
        rows.append(row)
    if page.errors or (rows and getattr(rows[0], "id", None) is None):
        return loads(content)  # an error, which may hide in the first row
    answer = {"data": rows, "total": page.total, "nextCursorMark": page.nextCursorMark}
    return {name: value for name, value in answer.items() if value is not None}


def as_row(given: object) -> Row | None:
    """What was decoded by others as a row, without what is of no use; None for what is no object."""
    if isinstance(given, Row):
        return given
    if not isinstance(given, dict):
        return None
    texts = {name: text for name in _TEXTS if type(text := given.get(name)) is str}
    lists = {name: _named(given.get(name)) for name in _LISTS}
    return msgspec.convert({**given, **dict.fromkeys(_TEXTS), **texts, **lists, "digest": 0}, Row)


def _named(given: object) -> list[Named] | None:
    """Those of a list that have names: objects, and texts, which are names."""
    if not isinstance(given, list):
        return None
    texts = [{"name": each} if isinstance(each, str) else each for each in given]
    return [msgspec.convert(each, Named) for each in texts if isinstance(each, dict)]
