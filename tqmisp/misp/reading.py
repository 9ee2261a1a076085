"""Looking at what MISP holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tqmisp.errors import MispRefused
from tqmisp.misp.client import Answer, MispClient
from tqmisp.pipeline.retry import RetryPolicy

UUIDS_A_SEARCH = 1_000
"""1,000 UUIDs take 0.1 s (facts, table 8.4)."""
ROWS_A_PAGE = 5_000
"""5,000 attributes are 2.7 MB and take 0.15 s (facts, table 8.4)."""


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

    async def whole_event(self, uuid: str) -> dict[bytes, Held]:
        """Every attribute of an event, softly deleted ones too, by the 16 bytes of its UUID."""
        held: dict[bytes, Held] = {}
        page = 1
        while True:
            query = {"eventid": uuid, "deleted": [0, 1], "limit": ROWS_A_PAGE, "page": page}
            found = await self._attributes(query)
            held.update(found)
            if len(found) < ROWS_A_PAGE:
                return held
            page += 1

    async def attributes(self, uuids: Sequence[bytes]) -> dict[bytes, Held]:
        """The attributes with these UUIDs, wherever they are, softly deleted ones too."""
        held: dict[bytes, Held] = {}
        for start in range(0, len(uuids), UUIDS_A_SEARCH):
            part = [as_text(uuid) for uuid in uuids[start : start + UUIDS_A_SEARCH]]
            held.update(await self._attributes({"uuid": part, "deleted": [0, 1], "limit": len(part), "page": 1}))
        return held

    async def _attributes(self, query: dict[str, Any]) -> dict[bytes, Held]:
        answer = await self._search("/attributes/restSearch", {"returnFormat": "json"} | query)
        try:
            return {
                bytes.fromhex(row["uuid"].replace("-", "")): Held(
                    int(row["timestamp"]), bool(row["deleted"]), row["Event"]["uuid"], row["Event"]["info"]
                )
                for row in answer.data["response"]["Attribute"]
            }
        except (TypeError, KeyError, ValueError) as error:
            raise _strange("/attributes/restSearch", error) from error

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


def as_text(uuid: bytes) -> str:
    """The 36 characters of a UUID of 16 bytes."""
    digits = uuid.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _strange(path: str, error: Exception) -> MispRefused:
    return MispRefused(f"{path}: MISP's answer has not the form that MISP 2.4 and 2.5 give it ({error!r:.100})")
