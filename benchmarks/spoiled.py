"""Rows that cannot become attributes, among many that can, and what a run says of each.

What is good and what is not, and under which code, is written here and not asked of the mapping.
"""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.corpora import Row, write
from benchmarks.processes import PATIENCE, Exporter, Servers
from tqmisp.misp.identity import as_text, event_uuid, identify, namespace
from tqmisp.simulators.misp import MispStore, key_of
from tqmisp.simulators.threatq import generate
from tqmisp.simulators.threatq.codec import dumps

SPACE = namespace("", "sandbox")
EVENT = "ThreatQ Export"
FILED = {"TQMISP_MAPPING__TYPES": '{"TLSH": {"type": "tlsh"}}'}
"""A type whose values only MISP knows how to check."""
CHANGED_SHARE = 100
"""One in so many of the good rows changes."""
_CAPACITY = 25_000


class Good(NamedTuple):
    """A ThreatQ type whose values go through as they are."""

    type: str
    misp_type: str
    value: Callable[[int], str]


class Bad(NamedTuple):
    """A way to be refused."""

    kind: str
    code: str
    type: str | None
    value: Callable[[int], str | None]


def _sha256(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def _domain(what: str) -> Callable[[int], str]:
    return lambda number: f"{what}{number}.example"


GOOD = (
    Good("FQDN", "domain", _domain("host")),
    Good("IP Address", "ip-dst", lambda number: f"11.{number >> 16}.{number >> 8 & 255}.{number & 255}"),
    Good("SHA-256", "sha256", _sha256),
    Good("MD5", "md5", lambda number: _sha256(number)[:32]),
    Good("URL", "url", lambda number: f"https://www.example/{number}?id={number}"),
    Good("Email Address", "email-src", lambda number: f"user{number}@mail.example"),
    Good("Filename", "filename", lambda number: f"file{number}.exe"),
    Good("CVE", "vulnerability", lambda number: f"CVE-2024-{number:07}"),
    Good("TLSH", "tlsh", lambda number: f"t1{_sha256(number)}abcdef"),
)
SIMILAR, TAKEN, DELETED = "similar", "taken", "deleted"
BAD = (
    Bad("rejected", "control_characters", "String", lambda _: "\x01\x02\x7f"),
    Bad("rejected", "empty_value", "String", lambda _: " \t\u00a0"),
    Bad("rejected", "invalid_as_number", "ASN", lambda number: f"AS{2**32 + number}"),
    Bad("rejected", "invalid_cve", "CVE", lambda number: f"CVE-{number % 100}-1"),
    Bad("rejected", "invalid_domain", "FQDN", lambda number: f"localhost{number}"),
    Bad("rejected", "invalid_email", "Email Address", lambda number: f"nobody{number}"),
    Bad("rejected", "invalid_hash", "MD5", lambda number: f"{number:z>32}"),
    Bad("rejected", "invalid_hash_length", "SHA-1", lambda number: _sha256(number)[:39]),
    Bad("rejected", "invalid_ip", "IP Address", lambda number: f"300.1.2.{number % 256}"),
    Bad("rejected", "invalid_mac", "MAC Address", lambda number: f"00:11:22:33:{number % 100:02}"),
    Bad("rejected", "invalid_unicode", "String", lambda number: f"half \ud83d {number}"),
    Bad("rejected", "newline_in_value", "Filename", lambda number: f"one{number}\ntwo"),
    Bad("rejected", "too_long", "String", lambda number: f"{number:x>65536}"),
    Bad("rejected", "missing_value", "String", lambda _: None),
    Bad("rejected", "missing_type", None, lambda number: f"typeless{number}"),
    Bad("quarantined", "refused_by_misp", "TLSH", lambda number: f"not a tlsh {number}"),
    Bad("quarantined", "similar_value", "FQDN", _domain(SIMILAR)),
    Bad("quarantined", "uuid_taken", "FQDN", _domain(TAKEN)),
    Bad("filtered", "deleted_in_misp", "FQDN", _domain(DELETED)),
)


@dataclass
class Spoiled:
    """A corpus, and what must become of it.

    Attributes:
        delivered: MISP's type and value of each good row, by the id of the indicator.
        refused: kind and code of each bad row.
        at_odds: the values of domains that MISP holds against us, by the way in which it does.
    """

    path: Path
    delivered: dict[int, tuple[str, str]] = field(default_factory=dict)
    refused: dict[int, tuple[str, str]] = field(default_factory=dict)
    at_odds: dict[str, list[str]] = field(default_factory=lambda: {SIMILAR: [], TAKEN: [], DELETED: []})


def spoil(path: Path, indicators: int, bad: int, seed: int = 0) -> Spoiled:
    """Write a corpus of so many indicators, of which so many are bad, in each way as often as in any other."""
    chance, library = random.Random(seed), generate(indicators, seed)
    places = chance.sample(range(indicators), bad)
    ways = {place: BAD[number % len(BAD)] for number, place in enumerate(places)}
    spoiled = Spoiled(path)

    def rows() -> Iterator[bytes]:
        for place in range(indicators):
            context, way = library.row(place), ways.get(place)
            if way is None:
                good = GOOD[place % len(GOOD)]
                spoiled.delivered[context["id"]] = good.misp_type, good.value(place)
                yield dumps(_row(context, good.type, good.value(place)))
                continue
            value = way.value(place)
            spoiled.refused[context["id"]] = way.kind, way.code
            for name, values in spoiled.at_odds.items():
                if value is not None and value == _domain(name)(place):
                    values.append(value)
            yield dumps(_row(context, way.type, value))

    write(path, rows())
    return spoiled


def _row(context: Row, kind: str | None, value: str | None) -> Row:
    return context | {"type": kind, "type_id": None, "status": "Active", "status_id": 1, "score": 5, "value": value}


def run(folder: Path, indicators: int, bad: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Export, once more, and again after one in a hundred has changed; give the figures and what is wrong."""
    spoiled = spoil(folder / "spoiled.ndjson", indicators, bad, seed)
    servers = Servers(folder / "servers")
    servers.start(spoiled.path)
    try:
        return _Trial(folder, servers, spoiled).run(random.Random(seed))
    finally:
        servers.stop()


class _Trial:
    """One export of a spoiled corpus, and two further ones."""

    def __init__(self, folder: Path, servers: Servers, spoiled: Spoiled) -> None:
        self._journal = folder / "journal"
        self._log = servers.state / "misp" / "changes.jsonl"
        self._servers = servers
        self._spoiled = spoiled
        self._problems: list[str] = []

    def run(self, chance: random.Random) -> tuple[list[str], list[str]]:
        spoiled, lines = self._spoiled, []
        self._prepare()
        first = self._export()
        self._expect("attributes created", first["created"], len(spoiled.delivered))
        self._look_at_refusals(first)
        self._look_at_content()
        lines.append(
            f"{len(spoiled.delivered) + len(spoiled.refused):,} indicators with {len(spoiled.refused):,} bad ones of "
            f"{len(BAD)} kinds: {first['created']:,} delivered, the others under their codes"
        )
        written = self._log.stat().st_size
        second = self._export("--full")
        self._expect("write requests of a second run", second["write_requests"], 0)
        self._expect("bytes that MISP has written meanwhile", self._log.stat().st_size - written, 0)
        lines.append(f"a second run reads {second['read']:,} and sends {second['write_requests']} write requests")
        changed = chance.sample(sorted(spoiled.delivered), max(1, len(spoiled.delivered) // CHANGED_SHARE))
        changes = {str(key): {"description": f"changed {key}"} for key in changed}
        self._post(self._servers.endpoints.threatq["url"], "/_simulator/indicators", {"change": changes})
        third = self._export()
        self._expect("attributes updated", third["updated"], len(changed))
        delivered = (spoiled.delivered[key] for key in changed)
        expected = {as_text(identify(SPACE, misp_type, "", value)[0]) for misp_type, value in delivered}
        touched = self._written_since(written)
        self._expect("attributes touched that have not changed", len(touched - expected), 0)
        self._expect("attributes that have changed and were not touched", len(expected - touched), 0)
        lines.append(f"{len(changed):,} changed: {third['updated']:,} updated, and MISP has touched exactly these")
        return lines, self._problems

    def _export(self, *arguments: str) -> dict[str, Any]:
        """The balance of one run."""
        exporter = Exporter(self._servers.endpoints.config, self._journal, *arguments, environment=FILED)
        try:
            while not exporter.ended(1.0):
                pass
            receipt = exporter.receipt()
            if exporter.exit_code or receipt is None:
                raise RuntimeError(f"The exporter has ended with {exporter.exit_code}: {exporter.words()}")
            [target] = receipt["targets"]
            self._problems += target["imbalance"]
            return dict(target)
        finally:
            exporter.close()

    def _prepare(self) -> None:
        """Let MISP hold what will be in our way."""
        url, ours, theirs = self._servers.endpoints.misp["url"], self._servers.endpoints.misp["key"], key_of("admin")
        day, odds = datetime.now(UTC).date().isoformat(), self._spoiled.at_odds
        for part in range(1, len(self._spoiled.delivered) // _CAPACITY + 2):
            event = event_uuid(SPACE, EVENT, day, part)
            info = f"{EVENT} {day}" if part == 1 else f"{EVENT} {day} ({part})"
            self._post(url, "/events/add", {"Event": {"uuid": event, "info": info, "date": day}}, ours)
            self._post(url, f"/attributes/add/{event}", [_attribute(value) for value in odds[SIMILAR]], theirs)
        hidden = [_attribute(value, ours=True) for value in odds[TAKEN]]
        self._post(url, "/events/add", {"Event": {"info": "hidden", "distribution": 0, "Attribute": hidden}}, theirs)
        doomed = [_attribute(value, ours=True) for value in odds[DELETED]]
        self._post(url, "/events/add", {"Event": {"info": "older", "Attribute": doomed}}, ours)
        for each in doomed:
            self._post(url, f"/attributes/delete/{each['uuid']}", {}, ours)

    def _post(self, url: str, path: str, body: object, key: str = "") -> None:
        if not body and path.startswith("/attributes/add"):
            return
        headers = {"Authorization": key, "Accept": "application/json", "Content-Type": "application/json"}
        request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)  # noqa: S310  our own server
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            answer.read()

    def _look_at_refusals(self, target: dict[str, Any]) -> None:
        for kind in ("rejected", "quarantined", "filtered"):
            expected = Counter(code for given, code in self._spoiled.refused.values() if given == kind)
            self._expect(kind, target[kind], dict(expected))
        with closing(sqlite3.connect(self._journal / "journal.sqlite")) as connection:
            rows = connection.execute("SELECT indicator_id, kind, code FROM refusals").fetchall()
        kept = {key: (kind, code) for key, kind, code in rows}
        expected_rows = {key: why for key, why in self._spoiled.refused.items() if why[0] != "filtered"}
        self._expect("refusals in the journal that are not as they should be", _unlike(kept, expected_rows), [])

    def _look_at_content(self) -> None:
        store = MispStore(self._log.parent)
        held = [each for each in store.every_attribute() if each.event.info.startswith(EVENT)]
        store.close()
        similar = set(self._spoiled.at_odds[SIMILAR])
        values = Counter((each.type, each.value) for each in held if each.value not in similar)
        expected = Counter(self._spoiled.delivered.values())
        self._expect("values in MISP that should not be there", list(values - expected)[:5], [])
        self._expect("values that are not in MISP", list(expected - values)[:5], [])

    def _written_since(self, place: int) -> set[str]:
        """The UUIDs of the attributes that MISP has written to its log behind a place."""
        with self._log.open("rb") as log:
            log.seek(place)
            changes = [change for line in log for change in json.loads(line)]
        return {row[1] for kind, *rest in changes if kind == "attributes" for row in rest[1]}

    def _expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self._problems.append(f"{what}: {found} in place of {expected}")


def _attribute(value: str, *, ours: bool = False) -> Row:
    row: Row = {"type": "domain", "category": "Network activity", "value": value, "timestamp": "1"}
    return row | {"uuid": as_text(identify(SPACE, "domain", "Network activity", value)[0])} if ours else row


def _unlike(found: dict[int, tuple[str, str]], expected: dict[int, tuple[str, str]]) -> list[object]:
    keys = [key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)]
    return [(key, found.get(key), expected.get(key)) for key in sorted(keys)[:5]]
