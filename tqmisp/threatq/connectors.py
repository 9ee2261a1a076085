"""Settings that operators of the 2018 connector keep in ThreatQ's user interface."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from tqmisp.errors import ThreatQRefused
from tqmisp.log import get_logger
from tqmisp.threatq.client import HttpRefused, ThreatQClient

log = get_logger(__name__)


class ConnectorSettings(NamedTuple):
    """What the fields of a connector say; None where one is empty or missing.

    The names of the fields inside ``custom_fields`` are not public, so several spellings are taken.
    """

    active: bool
    misp_url: str | None
    misp_key: str | None
    score_threshold: float | None

    def __repr__(self) -> str:
        key = None if self.misp_key is None else "***"
        return (
            f"ConnectorSettings(active={self.active!r}, misp_url={self.misp_url!r}, misp_key={key!r}, "
            f"score_threshold={self.score_threshold!r})"
        )


_SPELLINGS = {
    "misp_url": {"mispurl", "url", "misphost", "mispserver"},
    "misp_key": {
        "mispapikey",
        "mispkey",
        "mispauthorizationkey",
        "mispauthkey",
        "authorizationkey",
        "apikey",
        "authkey",
    },
    "score_threshold": {"scorethreshold", "threshold", "minimumscore", "minscore"},
}


async def read(client: ThreatQClient, name: str) -> ConnectorSettings | None:
    """The settings of a connector; None where the server knows none of that name.

    Raises:
        ThreatQError: the server cannot be read.
        ValueError: the score threshold is no number.
    """
    try:
        answer = await client.get("/api/connectors", {"name": name})
    except HttpRefused as error:
        if error.status in {403, 404, 405}:
            log.info("the settings of connectors are not to be had", error=str(error))
            return None
        raise
    rows = answer.data.get("data") if isinstance(answer.data, dict) else answer.data
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("name", name) == name:
            return _settings(row)
    return None


async def register(client: ThreatQClient, name: str) -> ConnectorSettings:
    """Try to have ThreatQ make a connector, whose fields can then be filled in its user interface.

    The call is not public: this one follows from how connectors are read. It is sent once, and believed only when the
    connector is there afterwards.

    Raises:
        ThreatQError: the server refused, or took the call and has no such connector; the text quotes it.
    """
    await client.post(
        "/api/connectors",
        {
            "name": name,
            "namespace": "threatq.connectors.misp_export",
            "category": "ThreatQ Labs",
            "custom_fields": {"misp_url": "", "misp_api_key": "", "score_threshold": "0"},
        },
    )
    made = await read(client, name)
    if made is None:
        raise ThreatQRefused(f"POST /api/connectors: ThreatQ took the call, and has no connector {name!r} afterwards.")
    return made


def _settings(row: dict[str, Any]) -> ConnectorSettings:
    fields = row.get("custom_fields")
    pairs: dict[str, Any] = {}
    if isinstance(fields, dict):
        pairs = fields
    elif isinstance(fields, list):
        pairs = {str(each.get("name")): each.get("value") for each in fields if isinstance(each, dict)}
    found = {_plain(name): value for name, value in pairs.items() if value not in (None, "")}

    def get(wanted: str) -> str | None:
        return next((str(found[name]).strip() for name in found if name in _SPELLINGS[wanted]), None)

    threshold = get("score_threshold")
    try:
        score = None if threshold is None else float(threshold)
    except ValueError:
        score = math.nan
    if score is not None and not math.isfinite(score):
        raise ValueError(f"the Score Threshold of the connector is {threshold!r:.40}, which is no number")
    active = row.get("is_active", True)
    return ConnectorSettings(
        active not in (False, "", "False", "false", "0", 0), get("misp_url"), get("misp_key"), score
    )


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
