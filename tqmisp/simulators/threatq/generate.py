"""Indicators that never were: any number, with the mess that real feeds have.

A row depends on the seed and on its index alone: a larger library begins with the rows of a smaller one.
"""

from __future__ import annotations

import hashlib
import operator
import struct
from array import array
from collections.abc import Sequence

from tqmisp.simulators.threatq import codec
from tqmisp.simulators.threatq.catalog import (
    CUSTOM_TYPES,
    STATUSES,
    TYPES,
    Named,
    Row,
    class_of,
    status_object,
    type_object,
)
from tqmisp.simulators.threatq.columns import ABSENT, Coded, Columns, as_text
from tqmisp.simulators.threatq.library import Library
from tqmisp.simulators.threatq.mess import Mess
from tqmisp.simulators.threatq.values import VALUES, WORDS

FIRST_ID = 50_000
BEGIN = 1_704_067_200
"""2024-01-01: nothing was made before."""
SPAN = 2 * 365 * 86_400
"""Seconds over which the indicators were made."""
IMPORTED_TOGETHER = 16
"""Neighbours that came in with one import, and so at one time."""

KINDS = (
    *(Named(number, name) for number, name in enumerate(TYPES, 1)),
    Named(CUSTOM_TYPES, "Bitcoin Address"),
    Named(CUSTOM_TYPES + 1, "JARM Hash"),
)
"""The types that ThreatQ ships and two that somebody added."""
_SHARES = {
    "FQDN": 300,
    "IP Address": 170,
    "SHA-256": 170,
    "URL": 130,
    "MD5": 60,
    "SHA-1": 50,
    "URL Path": 20,
    "Filename": 15,
    "IPv6 Address": 10,
    "CIDR Block": 10,
    "Email Address": 10,
    "CVE": 5,
}
"""How often a type comes, in thousandths or so; the others come twice each."""
_STATUS_SHARES = (236, 10, 3, 4, 3)
_SCORES: tuple[float | None, ...] = (*range(11), None)
_SCORE_SHARES = (*[23] * 10, 25, 1)
_DAY = 86_400_000
_TOUCHED = [2_000 if draw < 140 else (draw - 139) ** 2 * 500_000 for draw in range(256)]
"""Milliseconds from the making of a row to its last touch: at once, or up to 80 days later."""
_UPDATED = [lag if draw % 2 else 2_000 for draw, lag in enumerate(_TOUCHED)]
"""The same for its last update; what touches a row may also be a change of its context."""
_EXPIRES = [0 if draw < 128 else (draw - 98) * 3 * _DAY for draw in range(256)]
"""The same for its end; half of the rows never expire."""
_TWINS = frozenset({"FQDN", "URL", "URL Path", "Filename", "Email Address", "MD5", "SHA-1", "SHA-256"})
_FAMILIES = ("AgentTesla", "Emotet", "QakBot", "RedLine", "Cobalt Strike", "AsyncRAT", "FormBook", "Remcos")
_GROUPS = tuple(
    {"id": number, "name": name}
    for number, name in enumerate(("EXAMPLE SPIDER", "EXAMPLE BEAR", "EXAMPLE PANDA", "EXAMPLE KITTEN"), 40)
)
_CAMPAIGNS = tuple(f"campaign-{number}" for number in range(256))


def _feed(number: int, name: str, kind: str, **tlp: object) -> Row:
    ids = {"creator_source_id": 20 + number, "reference_id": 40 + number, "source_id": 20 + number}
    return {"name": name, "source_type": kind} | ids | tlp


_FEEDS = (
    _feed(0, "Feed One", "connectors", tlp_id=4, tlp_name="WHITE"),
    _feed(1, "Feed Two", "connectors", tlp_id=3, tlp_name="GREEN"),
    _feed(2, "Partner Share", "connectors", tlp_id=2, tlp_name="AMBER"),
    _feed(3, "Internal", "connectors"),
    _feed(4, "analyst@tq.example", "users", tlp_id=1),
)
"""Who indicators come from, and under which TLP; as on a real server, a name does not go with every id."""
_OF_KIND = tuple({"class": class_of(kind.name), "type": type_object(kind), "type_id": kind.id} for kind in KINDS)
_OF_STATUS = {
    number: {"status": status_object(Named(number, name)), "status_id": number}
    for number, (name, _) in STATUSES.items()
}


def generate(count: int, seed: int = 0) -> Library:
    """A library of so many indicators."""
    kinds = _draw(f"types {seed}", [_SHARES.get(kind.name, 2) for kind in KINDS], count)
    statuses = _draw(f"statuses {seed}", _STATUS_SHARES, count)
    scores = _draw(f"scores {seed}", _SCORE_SHARES, count)
    created = _imports(seed, count)
    lags = _bytes(f"lags {seed}", count)
    touched = array("q", map(operator.add, created, map(_TOUCHED.__getitem__, lags)))
    updated = array("q", map(operator.add, created, map(_UPDATED.__getitem__, lags)))
    ends = [
        moment + lag if lag else ABSENT
        for moment, lag in zip(touched, map(_EXPIRES.__getitem__, _bytes(f"ends {seed}", count)), strict=True)
    ]
    expired = 1  # the place of the status in the list below
    columns = Columns(
        Coded((Named(number, name) for number, (name, _) in STATUSES.items()), statuses),
        Coded(KINDS, kinds),
        Coded(_SCORES, scores),
        {
            "created_at": created,
            "updated_at": updated,
            "touched_at": touched,
            "published_at": array("q", created),
            "expires_at": array(
                "q", (ABSENT if code == expired else end for code, end in zip(statuses, ends, strict=True))
            ),
            "expired_at": array(
                "q", (end if code == expired else ABSENT for code, end in zip(statuses, ends, strict=True))
            ),
        },
    )
    return Library(GeneratedRows(seed, kinds, columns), range(FIRST_ID, FIRST_ID + count), columns)


def _bytes(name: str, count: int) -> bytes:
    """Random bytes; more of them begin with the same."""
    return hashlib.shake_128(name.encode()).digest(count)


def _draw(name: str, shares: Sequence[int], count: int) -> bytes:
    """Numbers below ``len(shares)``."""
    whole, drawn = sum(shares), 0
    table = bytearray()
    for number, share in enumerate(shares):
        drawn += share
        table += bytes([number]) * (drawn * 65_536 // whole - len(table))
    return bytes(map(table.__getitem__, struct.unpack(f"<{count}H", _bytes(name, count * 2))))


def _imports(seed: int, count: int) -> array[int]:
    """When each row was made, in milliseconds since 1970."""
    imports = -(-count // IMPORTED_TOGETHER)
    draws = struct.unpack(f"<{imports}I", _bytes(f"imports {seed}", imports * 4))
    moments = [(BEGIN + draw % SPAN) * 1000 for draw in draws]
    return array("q", [moment for moment in moments for _ in range(IMPORTED_TOGETHER)][:count])


class GeneratedRows:
    """Rows that are made when they are asked for."""

    def __init__(self, seed: int, kinds: bytes, columns: Columns) -> None:
        self._seed = seed
        self._kinds = kinds
        self._columns = columns
        self._messes = [Mess(kind.name) for kind in KINDS]

    def raw(self, place: int) -> bytes:
        """The row at a place as JSON."""
        return codec.dumps(self.get(place))

    def get(self, place: int) -> Row:
        """Make the row at a place; the library asks for it only as long as the row has not changed."""
        columns, identity, noise, code = self._columns, FIRST_ID + place, self._noise(place), self._kinds[place]
        kind, dates = KINDS[code], columns.dates
        status = columns.status[place]
        created = as_text(dates["created_at"][place] // 1000)
        row: Row = {
            **_OF_KIND[code],
            **_OF_STATUS[status.id],
            "adversaries": [_GROUPS[noise[50] & 3]] if noise[51] < 24 else [],
            "attributes": _attributes(place, noise, created),
            "created_at": created,
            "hash": noise[16:32].hex(),
            "id": identity,
            "published_at": created,
            "sources": _sources(place, noise, created, kind.id, status.id),
            "tags": [WORDS[noise[55] % 12], _CAMPAIGNS[noise[56]]][: noise[57] % 3],
            "touched_at": as_text(dates["touched_at"][place] // 1000),
            "updated_at": as_text(dates["updated_at"][place] // 1000),
            "value": self._twin(place, kind.name, noise) or VALUES[kind.name](place, noise),
        }
        score = columns.score[place]
        if score is not None:
            row["score"] = score
        if noise[58] < 20:
            row["description"] = f"<p>Seen by sensor {noise[59]} &amp; reported.</p>"
        for name in ("expires_at", "expired_at"):
            if (end := dates[name][place]) != ABSENT:
                row[name] = as_text(end // 1000)
        if noise[60] < 8:
            self._messes[code].spoil(row, noise[61] << 8 | noise[62])
        return row

    def _noise(self, place: int) -> bytes:
        """Random bytes of a row; the first are for its value, those from 50 on for the rest."""
        return hashlib.blake2b(b"%d:%d" % (self._seed, place)).digest()

    def _twin(self, place: int, kind: str, noise: bytes) -> str | None:
        """The value of the row before of this type, in other letter case or made harmless: a planned duplicate."""
        if noise[63] or kind not in _TWINS:
            return None
        other = self._kinds.rfind(self._kinds[place : place + 1], max(0, place - 64), place)
        if other < 0:
            return None
        value = VALUES[kind](other, self._noise(other))
        return value.replace(".", "[dot]", 1) if kind in {"FQDN", "URL"} and noise[62] & 1 else value.title()


def _attributes(place: int, noise: bytes, made: str) -> list[Row]:
    given = []
    if noise[52] < 90:
        given.append((3, "Malware Family", _FAMILIES[noise[52] & 7]))
    if noise[53] < 80:
        given.append((1, "Reference", f"https://reports.example/{noise[53]}/{noise[:4].hex()}"))
    if noise[53] & 7 == 1:
        given.append((5, "Confidence", str(noise[52] % 101)))
    return [
        {
            "attribute_id": number,
            "created_at": made,
            "id": 900_000 + place * 3 + at,
            "indicator_id": FIRST_ID + place,
            "name": name,
            "touched_at": made,
            "updated_at": made,
            "value": value,
        }
        for at, (number, name, value) in enumerate(given)
    ]


def _sources(place: int, noise: bytes, made: str, kind: int, status: int) -> list[Row]:
    first = noise[54] & 3
    return [
        {
            **_FEEDS[number],
            "created_at": made,
            "id": 700_000 + place * 2 + at,
            "indicator_id": FIRST_ID + place,
            "indicator_status_id": status,
            "indicator_type_id": kind,
            "published_at": made,
            "updated_at": made,
        }
        for at, number in enumerate((first, 4) if noise[54] < 16 else (first,))
    ]
