"""The indicators of the simulated ThreatQ, kept so that a million can be filtered and paged in milliseconds."""

from __future__ import annotations

import gzip
import itertools
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import orjson

STATUSES = {
    1: ("Active", "Poses a threat and is being exported to detection tools."),
    2: ("Expired", "No longer poses a serious threat."),
    3: ("Indirect", "Associated to an active indicator or event (i.e. pDNS)."),
    4: ("Review", "Requires further analysis."),
    5: ("Whitelisted", "Poses NO risk and should never be deployed."),
}
TYPES = (
    "ASN",
    "Binary String",
    "CIDR Block",
    "CVE",
    "Email Address",
    "Email Attachment",
    "Email Subject",
    "File Mapping",
    "File Path",
    "Filename",
    "FQDN",
    "Fuzzy Hash",
    "GOST Hash",
    "Hash ION",
    "IP Address",
    "IPv6 Address",
    "MAC Address",
    "MD5",
    "Mutex",
    "Password",
    "Registry Key",
    "Service Name",
    "SHA-1",
    "SHA-256",
    "SHA-384",
    "SHA-512",
    "String",
    "x509 Serial",
    "x509 Subject",
    "URL",
    "URL Path",
    "User-agent",
    "Username",
    "X-Mailer",
)
"""The types that ThreatQ ships; the id of each is its place here, from 1 on."""

DELETED = 255
"""In the column of statuses: the row is gone."""

Row = dict[str, Any]


class Rows(Protocol):
    """Where the full rows come from."""

    def __len__(self) -> int: ...

    def get(self, index: int) -> Row:
        """The full row at a place, as the older default answer holds it."""
        ...


class Library:
    """Rows in the order of their ids, with the columns that filters use.

    A column is a string of bytes, so that a test over all rows is one ``translate`` and a conjunction one ``&``.
    """

    def __init__(self, rows: Rows, ids: Sequence[int], columns: Columns) -> None:
        self._rows = rows
        self._changed: dict[int, Row] = {}
        self.ids = array("q", ids)
        self.columns = columns
        self._matches: dict[bytes, list[int]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, index: int) -> Row:
        """The full row at a place."""
        changed = self._changed.get(index)
        return changed if changed is not None else self._rows.get(index)

    def match(self, key: bytes, find: Callable[[Library], Iterable[int]]) -> list[int]:
        """The places of the rows of a query, remembered under a key until something changes."""
        found = self._matches.get(key)
        if found is None:
            if len(self._matches) > 200:
                self._matches.clear()
            found = self._matches[key] = list(find(self))
        return found

    def place_of(self, identity: int) -> int | None:
        """The place of the row with an id; None where there is none."""
        place = bisect_right(self.ids, identity) - 1
        return place if place >= 0 and self.ids[place] == identity else None

    def after(self, matches: Sequence[int], identity: int) -> int:
        """Where in a match the rows with an id above this one begin."""
        return bisect_right(matches, bisect_right(self.ids, identity) - 1)

    def change(self, identity: int, changes: Row, *, touch: bool = True) -> None:
        """Change a row; its dates move as ThreatQ's do."""
        place = self.place_of(identity)
        if place is None:
            raise KeyError(identity)
        row = dict(self.row(place)) | changes
        if touch:
            row["touched_at"] = row["updated_at"] = as_text(datetime.now(UTC).timestamp())
        self._changed[place] = row
        self.columns.set(place, row)
        self._matches.clear()

    def add(self, rows: Iterable[Row]) -> list[int]:
        """Add rows with new ids; return these."""
        added = []
        for given in rows:
            identity = (self.ids[-1] if self.ids else 0) + 1
            row = given | {"id": identity}
            self.ids.append(identity)
            self._changed[len(self.ids) - 1] = row
            self.columns.append(row)
            added.append(identity)
        self._matches.clear()
        return added

    def delete(self, identity: int) -> None:
        """Delete a row for good."""
        place = self.place_of(identity)
        if place is None:
            raise KeyError(identity)
        self.columns.status[place] = DELETED
        self._matches.clear()


class Columns:
    """Status, score (in tenths), type and time of every row."""

    def __init__(self, status: bytearray, score: bytearray, kind: bytearray, touched: array[int]) -> None:
        self.status = status
        self.score = score
        self.kind = kind
        self.touched = touched
        self.kinds: list[str] = list(TYPES)

    def append(self, row: Row) -> None:
        """Take the values of a further row."""
        self.status.append(0)
        self.score.append(0)
        self.kind.append(0)
        self.touched.append(0)
        self.set(len(self.status) - 1, row)

    def set(self, place: int, row: Row) -> None:
        """Take the values of a row at a place."""
        status, kind = row.get("status"), row.get("type")
        name = kind.get("name") if isinstance(kind, dict) else kind
        self.status[place] = int(status["id"]) if isinstance(status, dict) else 0
        score = row.get("score")
        self.score[place] = min(max(round(score * 10), 0), 250) if isinstance(score, (int, float)) else 0
        self.kind[place] = self._kind(str(name))
        self.touched[place] = as_seconds(row.get("touched_at"))

    def _kind(self, name: str) -> int:
        try:
            return self.kinds.index(name) + 1
        except ValueError:
            if len(self.kinds) < 254:
                self.kinds.append(name)
            return len(self.kinds)


class CorpusRows:
    """Rows of a file, kept as the bytes of their lines."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def get(self, index: int) -> Row:
        """Decode one line."""
        row: Row = orjson.loads(self._lines[index])
        return row


def from_corpus(path: Path) -> Library:
    """The indicators of an NDJSON file, packed by gzip or not; a row a line, as ThreatQ's full answer holds it."""
    entries: list[tuple[int, bytes]] = []
    columns = Columns(bytearray(), bytearray(), bytearray(), array("q"))
    parsed = []
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        for line in lines:
            if line.strip():
                row = orjson.loads(line)
                parsed.append((row["id"], row.get("status"), row.get("type"), row.get("score"), row.get("touched_at")))
                entries.append((row["id"], line))
    order = sorted(range(len(entries)), key=lambda place: entries[place][0])
    for place in order:
        _, status, kind, score, touched = parsed[place]
        columns.append({"status": status, "type": kind, "score": score, "touched_at": touched})
    return Library(CorpusRows([entries[place][1] for place in order]), [entries[place][0] for place in order], columns)


def where(mask: bytes) -> Iterator[int]:
    """The places at which a mask is set."""
    return itertools.compress(itertools.count(), mask)


def as_seconds(text: object) -> int:
    """A date of ThreatQ in seconds since 1970; a missing one is before all others."""
    if not isinstance(text, str):
        return -1
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return -1


def as_text(seconds: float) -> str:
    """Seconds since 1970 as ThreatQ writes a date."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
