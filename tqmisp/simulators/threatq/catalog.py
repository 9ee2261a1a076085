"""What ThreatQ ships: the types and statuses of indicators, and how a row names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Row = dict[str, Any]
"""An indicator as the full answer of the Threat Library holds it."""


class Named(NamedTuple):
    """A type or a status: the id that the instance gave it, and its name; 0 and nothing where a row has none."""

    id: int
    name: str


STATUSES = {
    1: ("Active", "Poses a threat and is being exported to detection tools."),
    2: ("Expired", "No longer poses a serious threat."),
    3: ("Indirect", "Associated to an active indicator or event (i.e. pDNS)."),
    4: ("Review", "Requires further analysis."),
    5: ("Whitelisted", "Poses NO risk and should never be deployed."),
}
"""Name and description of each status by its id."""
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
CUSTOM_TYPES = 1_000
"""Types that ThreatQ does not ship are given ids from here on."""
DATES = ("created_at", "updated_at", "touched_at", "published_at", "expires_at", "expired_at")

_NETWORK = frozenset(
    {"ASN", "CIDR Block", "Email Address", "Email Attachment", "Email Subject", "FQDN", "IP Address", "IPv6 Address"}
    | {"MAC Address", "URL", "URL Path", "User-agent", "X-Mailer", "x509 Serial", "x509 Subject"}
)
_TYPE_NAMES = dict(enumerate(TYPES, 1))
_STATUS_NAMES = {number: name for number, (name, _) in STATUSES.items()}


def class_of(kind: str) -> str:
    """``network`` or ``host``."""
    return "network" if kind in _NETWORK else "host"


def type_object(kind: Named) -> Row:
    """A type as rows of the Threat Library hold it."""
    return {"class": class_of(kind.name), "id": kind.id, "name": kind.name}


def status_object(status: Named) -> Row:
    """A status as rows of the Threat Library hold it."""
    return {"description": STATUSES.get(status.id, ("", ""))[1], "id": status.id, "name": status.name}


def type_of(row: Row) -> Named:
    """The type of a row."""
    return _named(row.get("type"), row.get("type_id"), _TYPE_NAMES)


def status_of(row: Row) -> Named:
    """The status of a row."""
    return _named(row.get("status"), row.get("status_id"), _STATUS_NAMES)


def _named(given: object, number: object, known: Mapping[int, str]) -> Named:
    """What an object, a plain name or an id stands for."""
    if isinstance(given, dict) and isinstance(given.get("id"), int) and isinstance(given.get("name"), str):
        return Named(given["id"], given["name"])
    if isinstance(given, str) and given:
        folded = given.casefold()
        match = next((Named(*each) for each in known.items() if each[1].casefold() == folded), None)
        return match or Named(number if isinstance(number, int) else 0, given)
    if isinstance(number, int):
        return Named(number, known.get(number, ""))
    return Named(0, "")
