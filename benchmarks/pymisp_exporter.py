"""The baseline: an exporter as one would write it today with PyMISP and requests, in one thread."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import requests
from pymisp import MISPEvent, PyMISP

PAGE = 1_000
EVENT = 25_000
"""Attributes an event."""
FIELDS = ["value", "type", "description", "created_at", "expires_at", "tags", "adversaries", "sources", "attributes"]
TYPES = {
    "Binary String": ("text", False),
    "CIDR Block": ("ip-dst", True),
    "CVE": ("vulnerability", False),
    "Email Address": ("email-src", True),
    "Email Subject": ("email-subject", False),
    "Filename": ("filename", True),
    "FQDN": ("domain", True),
    "Fuzzy Hash": ("ssdeep", True),
    "IP Address": ("ip-dst", True),
    "IPv6 Address": ("ip-dst", True),
    "MD5": ("md5", True),
    "Mutex": ("mutex", True),
    "SHA-1": ("sha1", True),
    "SHA-256": ("sha256", True),
    "SHA-384": ("sha384", True),
    "SHA-512": ("sha512", True),
    "URL": ("url", True),
    "URL Path": ("uri", True),
    "User-agent": ("user-agent", True),
}
"""MISP's type and to_ids; indicators of other types are left out."""


def rows(login: dict[str, str], most: int) -> Iterator[dict[str, Any]]:
    """Active indicators of ThreatQ, page by page."""
    session = requests.Session()
    form = {"grant_type": "password", **{name: login[name] for name in ("client_id", "email", "password")}}
    answer = session.post(f"{login['url']}/api/token", data=form, timeout=60)
    answer.raise_for_status()
    session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    query: Any = {"criteria": {}, "filters": {"+and": [{"status_name": "Active"}]}, "fields": FIELDS}
    mark, came = "*", 0
    while came < most:
        answer = session.post(
            f"{login['url']}/api/indicators/query",
            params={"limit": str(PAGE), "sort": "id", "cursorMark": mark},
            json=query,
            timeout=60,
        )
        answer.raise_for_status()
        page = answer.json()
        if not page["data"]:
            return
        came += len(page["data"])
        yield from page["data"]
        mark = page["nextCursorMark"]


def export(brief: dict[str, Any]) -> dict[str, Any]:
    """Move as many indicators as the brief says; gives how many, and the seconds."""
    began = time.perf_counter()
    misp = PyMISP(brief["misp"]["url"], brief["misp"]["key"], ssl=False)
    read = sent = 0
    event = _event(1)
    for row in rows(brief["threatq"], brief["indicators"]):
        read += 1
        kind = TYPES.get(row["type"])
        if kind is None or not row.get("value"):
            continue
        _add(event, row, *kind)
        if len(event.attributes) == EVENT:
            sent += _send(misp, event)
            event = _event(sent // EVENT + 1)
    if event.attributes:
        sent += _send(misp, event)
    return {"seconds": time.perf_counter() - began, "read": read, "sent": sent}


def _event(part: int) -> MISPEvent:
    event = MISPEvent()
    event.info = f"ThreatQ Export {datetime.now(UTC):%Y-%m-%d} ({part})"
    event.distribution = 0
    event.threat_level_id = 4
    event.analysis = 2
    return event


def _add(event: MISPEvent, row: dict[str, Any], kind: str, to_ids: bool) -> None:  # noqa: FBT001  as in the table
    """Add an indicator with the context that the exporter gives it, too."""
    details: dict[str, Any] = {"to_ids": to_ids, "comment": _comment(row), "first_seen": f"{row['created_at']}+00:00"}
    if row.get("expires_at"):
        details["last_seen"] = f"{row['expires_at']}+00:00"
    attribute = event.add_attribute(kind, row["value"], **details)
    if isinstance(attribute, list):
        return
    for tlp in {source["tlp_name"] for source in row.get("sources") or () if source.get("tlp_name")}:
        attribute.add_tag(f"tlp:{tlp.lower()}")
    for adversary in row.get("adversaries") or ():
        attribute.add_tag(f'threatq:adversary="{adversary["name"]}"')
    for each in row.get("attributes") or ():
        if each["name"] == "Malware Family":
            attribute.add_tag(f'misp-galaxy:malpedia="{each["value"]}"')


def _comment(row: dict[str, Any]) -> str:
    sources = ", ".join(source["name"] for source in row.get("sources") or ())
    tags = ", ".join(row.get("tags") or ())
    parts = [row.get("description"), tags and f"Tags: {tags}", sources and f"Source: {sources}"]
    text = "; ".join(filter(None, parts))
    return "".join(each for each in text if each <= "\uffff")  # MISP throws at an emoji, and half of the event is gone


def _send(misp: PyMISP, event: MISPEvent) -> int:
    answer = misp.add_event(event)
    if "errors" in answer:
        raise SystemExit(f"MISP refused the event: {answer['errors']}")
    return len(event.attributes)


if __name__ == "__main__":
    print(json.dumps(export(json.loads(sys.argv[1]))))
