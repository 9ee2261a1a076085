"""Indicators that never were: any number, the same for the same seed, with the mess that real feeds have."""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Callable

from tqmisp.simulators.threatq.library import STATUSES, TYPES, Columns, Library, Row, as_text

FIRST_ID = 50_000
EPOCH = 1_704_067_200
"""2024-01-01: the first indicator was made then."""
SPAN = 2 * 365 * 86_400
"""Seconds over which the indicators were made."""

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
_STATUS_SHARES = (92, 4, 1, 1.5, 1.5)
_WORDS = ("cdn", "update", "secure", "login", "mail", "static", "api", "portal", "img", "files", "sync", "panel")
_ENDINGS = ("com", "net", "org", "info", "top", "xyz", "ru", "cn", "io", "biz")
_FAMILIES = ("AgentTesla", "Emotet", "QakBot", "RedLine", "Cobalt Strike", "AsyncRAT", "FormBook", "Remcos")
_GROUPS = ("EXAMPLE SPIDER", "EXAMPLE BEAR", "EXAMPLE PANDA", "EXAMPLE KITTEN")
_FEEDS = (("Feed One", 4, "WHITE"), ("Feed Two", 3, "GREEN"), ("Partner Share", 2, "AMBER"), ("Internal", None, None))


def generate(count: int, seed: int = 0) -> Library:
    """A library of so many indicators."""
    kinds = _draw(f"types {seed}", [_SHARES.get(name, 2) for name in TYPES], count)
    statuses = _draw(f"statuses {seed}", list(_STATUS_SHARES), count)
    scores = _draw(f"scores {seed}", [1] * 11, count)
    made = [EPOCH + place * SPAN // max(count, 1) for place in range(count)]
    columns = Columns(
        bytearray(number + 1 for number in statuses),
        bytearray(number * 10 for number in scores),
        bytearray(number + 1 for number in kinds),
        array("q", made),
    )
    ids = range(FIRST_ID, FIRST_ID + count)
    return Library(GeneratedRows(count, seed, columns), ids, columns)


def _draw(name: str, weights: list[float], count: int) -> bytes:
    """Numbers below ``len(weights)``; the beginning is the same whatever the count."""
    return bytes(random.Random(name).choices(range(len(weights)), weights, k=count))


class GeneratedRows:
    """Rows that are made when they are asked for."""

    def __init__(self, count: int, seed: int, columns: Columns) -> None:
        self._count = count
        self._seed = seed
        self._status = bytes(columns.status)
        self._score = bytes(columns.score)
        self._kind = bytes(columns.kind)

    def __len__(self) -> int:
        return self._count

    def get(self, index: int) -> Row:
        """Make the row at a place."""
        identity = FIRST_ID + index
        digest = hashlib.sha256(b"%d:%d" % (self._seed, index)).digest()
        kind = self._kind[index]
        status = self._status[index]
        made = as_text(EPOCH + index * SPAN // max(self._count, 1))
        feed, tlp_id, tlp = _FEEDS[digest[0] & 3]
        source = {"id": 700_000 + index, "name": feed, "source_type": "connectors", "source_id": 12}
        if tlp is not None:
            source |= {"tlp_id": tlp_id, "tlp_name": tlp}
        name = TYPES[kind - 1]
        row: Row = {
            "adversaries": [{"id": 40, "name": _GROUPS[digest[1] & 3]}] if digest[1] < 24 else [],
            "attributes": [],
            "class": "network",
            "created_at": made,
            "hash": digest[:16].hex(),
            "id": identity,
            "published_at": made,
            "score": self._score[index] // 10,
            "sources": [source],
            "status": {"id": status, "name": STATUSES[status][0], "description": STATUSES[status][1]},
            "status_id": status,
            "tags": [_WORDS[digest[2] % 12]] if digest[2] < 100 else [],
            "touched_at": made,
            "type": {"id": kind, "name": name, "class": "network"},
            "type_id": kind,
            "updated_at": made,
            "value": _VALUES[name](index, digest),
        }
        if digest[3] < 90:
            row["attributes"] = [{"id": 900_000 + index, "name": "Malware Family", "value": _FAMILIES[digest[3] & 7]}]
        if digest[4] < 20:
            row["description"] = f"<p>Seen by sensor {digest[5]} &amp; reported.</p>"
        if digest[6] < 128:
            row["expires_at"] = as_text(EPOCH + index * SPAN // max(self._count, 1) + 90 * 86_400)
        if digest[31] < 8:
            _spoil(row, name, index, digest)
        return row


def _spoil(row: Row, name: str, index: int, digest: bytes) -> None:  # noqa: C901  a case a line
    """What real feeds do to about three rows in a hundred."""
    value = row["value"]
    mess = digest[30] % 16
    if mess < 4:
        row["value"] = ("\t", "  ", "\u00a0", "")[mess] + value + ("", " ", "", "\n")[mess]
    elif mess < 7 and name in {"FQDN", "IP Address", "URL"}:
        row["value"] = value.replace(".", "[.]", 1).replace("http", "hxxp", 1)
    elif mess == 7 and name == "IP Address":
        row["value"] = f"{value}:{1024 + digest[29]}"
    elif mess == 8 and name in {"FQDN", "MD5", "SHA-1", "SHA-256"}:
        row["value"] = value.upper()
    elif mess == 9 and name == "FQDN":
        row["value"] = f"münchen-{index}.example"
    elif mess == 10:
        row["description"] = f"Alarm \U0001f600 number {index}"
    elif mess == 11 and name in {"MD5", "SHA-256", "IP Address"}:
        row["value"] = value[:-3]
    elif mess == 12:
        row["type"] = {"id": 200, "name": "Custom Type", "class": "host"}
        row["type_id"] = 200
    elif mess == 13:
        row["sources"], row["tags"], row["description"] = None, None, None
    elif mess == 14 and index % 4 == 0:
        del row["value"]
    elif mess == 15 and name == "URL":
        row["value"] = value.removeprefix("http://")


def _host(index: int, digest: bytes) -> str:
    return f"{_WORDS[digest[7] % 12]}-{index:x}.{_WORDS[digest[8] % 12]}{digest[9]}.{_ENDINGS[digest[10] % 10]}"


def _ipv4(index: int, _digest: bytes) -> str:
    """Different for each of sixteen million places, and never private."""
    return f"{11 + (index >> 24) % 100}.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}"


def _url(index: int, digest: bytes) -> str:
    path = f"{_WORDS[digest[11] % 12]}/{'A' if digest[12] & 1 else 'a'}{digest[13:17].hex()}"
    return f"http://{_host(index, digest)}/{path}.php?id={index}"


_VALUES: dict[str, Callable[[int, bytes], str]] = {
    "ASN": lambda index, _: f"AS{index + 1}",
    "Binary String": lambda index, digest: f"{digest[:12].hex()}{index:08x}",
    "CIDR Block": lambda index, digest: f"{_ipv4(index, digest)}/{24 + digest[7] % 8}",
    "CVE": lambda index, digest: f"CVE-{2000 + digest[7] % 26}-{index + 1000}",
    "Email Address": lambda index, digest: f"user{index}@{_host(index, digest)}",
    "Email Attachment": lambda index, _: f"invoice-{index}.docm",
    "Email Subject": lambda index, _: f"Your order {index} is on its way",
    "File Mapping": lambda index, digest: f"Local\\{digest[:6].hex()}-{index}",
    "File Path": lambda index, digest: f"C:\\Users\\Public\\{digest[:4].hex()}\\{index}.exe",
    "Filename": lambda index, digest: f"{_WORDS[digest[7] % 12]}_{index}.exe",
    "FQDN": _host,
    "Fuzzy Hash": lambda index, digest: f"{96 + digest[7]}:{digest[:16].hex()}:{index:x}",
    "GOST Hash": lambda _, digest: digest.hex(),
    "Hash ION": lambda index, digest: f"{digest[:10].hex()}{index}",
    "IP Address": _ipv4,
    "IPv6 Address": lambda index, digest: f"2a0{digest[7] % 10}:{index >> 16:x}:{index & 65535:x}::{digest[8] + 1:x}",
    "MAC Address": lambda index, _: "-".join(f"{0x02000000_0000 + index:012x}"[at : at + 2] for at in range(0, 12, 2)),
    "MD5": lambda _, digest: digest[:16].hex(),
    "Mutex": lambda index, digest: f"Global\\{digest[:8].hex()}{index}",
    "Password": lambda index, digest: f"P@ss{digest[:4].hex()}{index}",
    "Registry Key": lambda index, digest: f"HKLM\\Software\\Run\\{digest[:4].hex()}{index}",
    "Service Name": lambda index, digest: f"Svc{digest[:3].hex()}{index}",
    "SHA-1": lambda _, digest: digest[:20].hex(),
    "SHA-256": lambda _, digest: digest.hex(),
    "SHA-384": lambda _, digest: digest.hex() + digest[:16].hex(),
    "SHA-512": lambda _, digest: digest.hex() * 2,
    "String": lambda index, digest: f"build {digest[:5].hex()} {index}",
    "x509 Serial": lambda index, digest: f"{digest[:8].hex()}{index:08x}",
    "x509 Subject": lambda index, _: f"CN=host{index}, O=Example",
    "URL": _url,
    "URL Path": lambda index, digest: f"/{_WORDS[digest[7] % 12]}/{digest[:5].hex()}/{index}.php",
    "User-agent": lambda index, digest: f"Mozilla/5.0 (Windows NT 10.0; rv:{digest[7]}) Agent/{index}",
    "Username": lambda index, digest: f"{_WORDS[digest[7] % 12]}{index}",
    "X-Mailer": lambda index, digest: f"Mailer {digest[7]}.{index}",
}
