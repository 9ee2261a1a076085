"""Looking at what MISP holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tqmisp.errors import MispRefused
from tqmisp.misp.client import Answer, MispClient
from tqmisp.misp.identity import as_text
from tqmisp.pipeline.retry import RetryPolicy

UUIDS_A_SEARCH = 2_000
"""Measured on MISP 2.5.1: 1,000 UUIDs take 0.1 s, 2,500 take 0.17 s.

2,500 are 2 MB of JSON, and ten times that when it is decoded.
"""


class Held(NamedTuple):
    """An attribute as MISP holds it."""

    timestamp: int
    deleted: bool
    """Softly deleted by somebody."""
    event_uuid: str
    event_info: str


class EventState(NamedTuple):
    """An event as MISP holds it."""

    uuid: str
    id: int
    info: str
    date: str
    attributes: int
    """Attributes that are not deleted."""
    published: bool
    org_id: str
    orgc_id: str


class MispReader:
    """Read-only questions to a MISP, each repeated by the policy when the server cannot answer now."""

    def __init__(self, client: MispClient, retry: RetryPolicy) -> None:
        self.client = client
        self._retry = retry

    async def attributes(self, uuids: Sequence[bytes]) -> dict[bytes, Held]:
        """The attributes with these UUIDs, wherever they are, softly deleted ones too."""
        held: dict[bytes, Held] = {}
        for start in range(0, len(uuids), UUIDS_A_SEARCH):
            part = [as_text(uuid) for uuid in uuids[start : start + UUIDS_A_SEARCH]]
            query = {"returnFormat": "json", "uuid": part, "deleted": [0, 1], "limit": len(part), "page": 1}
            answer = await self._search("/attributes/restSearch", query)
            events: dict[str, tuple[str, str]] = {}  # one copy of UUID and title for all rows of an event
            try:
                for row in answer.data["response"]["Attribute"]:
                    event = row["Event"]
                    named = events.setdefault(event["uuid"], (event["uuid"], event["info"]))
                    held[bytes.fromhex(row["uuid"].replace("-", ""))] = Held(
                        int(row["timestamp"]), bool(row["deleted"]), *named
                    )
            except (TypeError, KeyError, ValueError) as error:
                raise _strange("/attributes/restSearch", error) from error
        return held

    async def events(self, uuids: Sequence[str]) -> dict[str, EventState]:
        """Those of these events that our key can see, by UUID."""
        found: dict[str, EventState] = {}
        for start in range(0, len(uuids), UUIDS_A_SEARCH):
            query = {"returnFormat": "json", "metadata": 1, "uuid": list(uuids[start : start + UUIDS_A_SEARCH])}
            answer = await self._search("/events/restSearch", query)
            try:
                for row in answer.data["response"]:
                    event = row["Event"]
                    found[event["uuid"]] = EventState(
                        event["uuid"],
                        int(event["id"]),
                        event["info"],
                        event["date"],
                        int(event["attribute_count"]),
                        bool(event["published"]),
                        event["org_id"],
                        event["orgc_id"],
                    )
            except (TypeError, KeyError, ValueError) as error:
                raise _strange("/events/restSearch", error) from error
        return found

    async def alive(self) -> str:
        """Wait until the server answers, and return its version."""
        answer = await self._retry.call(lambda: self.client.get("/servers/getVersion"))
        try:
            return str(answer.data["version"])
        except (TypeError, KeyError) as error:
            raise _strange("/servers/getVersion", error) from error

    async def _search(self, path: str, query: dict[str, Any]) -> Answer:
        return await self._retry.call(lambda: self.client.search(path, query))


def _strange(path: str, error: Exception) -> MispRefused:
    return MispRefused(f"{path}: MISP's answer has not the form that MISP 2.4 and 2.5 give it ({error!r:.100})")
