"""Looking at what MISP holds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, NamedTuple

import anyio

from tqmisp.errors import MispRefused, MispTooLarge
from tqmisp.misp import marks
from tqmisp.misp.client import Answer, MispClient
from tqmisp.misp.identity import as_text
from tqmisp.misp.marks import Marks
from tqmisp.pipeline.retry import RetryPolicy

UUIDS_A_SEARCH = 2_000
"""Measured on MISP 2.5.1: 1,000 UUIDs take 0.1 s, 2,500 take 0.17 s.

2,500 are 2 MB of JSON, and ten times that when it is decoded.
"""

COUNTED = 5_000
"""UUIDs of attributes that are counted at once, since the answer is a number.

Measured on MISP 2.5.1: 0.05 s for the request and 0.012 s for each 1,000 of them.
"""
FEWEST = 500
"""Below so many it is not their number that a server refuses."""

ANSWERS = 2
"""Of such answers there are so many in memory at once, however many slices are looked at."""
ROWS_A_PAGE = 5_000
"""Measured on MISP 2.5.1: 0.15 s and 2.7 MB."""


class Held(NamedTuple):
    """An attribute as MISP holds it."""

    timestamp: int
    deleted: bool
    """Softly deleted by somebody."""
    event_uuid: str
    event_info: str


class Whole(NamedTuple):
    """An attribute as MISP holds it, with everything that we write."""

    uuid: bytes
    timestamp: int
    deleted: bool
    event_uuid: str
    event_info: str
    type: str
    value: str
    to_ids: bool
    category: str
    comment: str
    first_seen: str | None
    last_seen: str | None
    tags: tuple[str, ...]

    def marks(self) -> Marks:
        """What to compare with what we have sent."""
        return marks.of(
            to_ids=self.to_ids,
            deleted=self.deleted,
            category=self.category,
            comment=self.comment,
            first_seen=self.first_seen,
            last_seen=self.last_seen,
            tags=self.tags,
        )


class EventState(NamedTuple):
    """An event as MISP holds it."""

    uuid: str
    id: int
    info: str
    date: str
    attributes: int
    """Attributes that are not deleted, as MISP counts along; wrong after some kinds of editing."""
    timestamp: int
    """Of the last change."""
    published: bool
    org_id: str
    orgc_id: str
    tags: tuple[str, ...] = ()

    def lacks(self, tags: Iterable[str]) -> bool:
        """Whether MISP made it and died before it had these tags: it is empty then, and nobody has taken them off."""
        return not self.attributes and not {name.casefold() for name in tags}.issubset(map(str.casefold, self.tags))


class MispReader:
    """Read-only questions to a MISP, each repeated by the policy when the server cannot answer now."""

    def __init__(self, client: MispClient, retry: RetryPolicy) -> None:
        self.client = client
        self._retry = retry
        self._answers = anyio.CapacityLimiter(ANSWERS)
        self._counted = COUNTED

    async def attributes(self, uuids: Sequence[bytes]) -> dict[bytes, Held]:
        """The attributes with these UUIDs, wherever they are, softly deleted ones too."""
        held: dict[bytes, Held] = {}
        for start in range(0, len(uuids), UUIDS_A_SEARCH):
            events: dict[str, tuple[str, str]] = {}  # one copy of UUID and title for all rows of an event
            part = uuids[start : start + UUIDS_A_SEARCH]
            async with self._answers:
                for row in await self._rows({"uuid": [as_text(uuid) for uuid in part], "limit": len(part), "page": 1}):
                    try:
                        event = row["Event"]
                        named = events.setdefault(event["uuid"], (event["uuid"], event["info"]))
                        held[bytes.fromhex(row["uuid"].replace("-", ""))] = Held(
                            int(row["timestamp"]), bool(row["deleted"]), *named
                        )
                    except (TypeError, KeyError, ValueError) as error:
                        raise _strange("/attributes/restSearch", error) from error
        return held

    async def whole(self, uuids: Sequence[bytes]) -> dict[bytes, Whole]:
        """The same with all that we write of an attribute."""
        held: dict[bytes, Whole] = {}
        for start in range(0, len(uuids), UUIDS_A_SEARCH):
            part = uuids[start : start + UUIDS_A_SEARCH]
            async with self._answers:
                rows = await self._rows({"uuid": [as_text(uuid) for uuid in part], "limit": len(part), "page": 1})
                held.update((each.uuid, each) for each in map(_whole, rows))
                del rows
        return held

    async def of_event(self, uuid: str, *, since: int = 0, deleted: bool = False) -> AsyncGenerator[list[Whole], None]:
        """Yield the attributes of an event, softly deleted ones too, in pages.

        Args:
            uuid: of the event.
            since: only those that were changed at or after this moment, in seconds since 1970.
            deleted: only those that are deleted.
        """
        query: dict[str, Any] = {"eventid": uuid, "limit": ROWS_A_PAGE}
        query |= ({"attribute_timestamp": str(since)} if since else {}) | ({"deleted": [1]} if deleted else {})
        page = 1
        while rows := await self._rows(query | {"page": page}):
            # a MISP that does not know the event searches over all of them
            found = [each for each in map(_whole, rows) if each.event_uuid == uuid and each.timestamp >= since]
            if not found and not since:
                return
            yield [each for each in found if each.deleted] if deleted else found
            if len(rows) < ROWS_A_PAGE:
                return
            page += 1

    async def count(self, event: str, uuids: Sequence[str] = ()) -> int:
        """How many attributes of an event are not deleted, counted one by one; of these UUIDs, if there are any.

        A third of the time of reading them, and next to nothing to send and to decode.
        """
        if not uuids:
            return await self._count(event, ())
        total = start = 0
        while start < len(uuids):
            part = uuids[start : start + self._counted]
            try:
                total += await self._count(event, part)
            except MispTooLarge:  # some web servers take no more than 128 kB
                if len(part) <= FEWEST:
                    raise
                self._counted = len(part) // 2
            else:
                start += len(part)
        return total

    async def _count(self, event: str, uuids: Sequence[str]) -> int:
        chosen = {"uuid": list(uuids)} if uuids else {}
        query = {"returnFormat": "count", "eventid": event, "deleted": [0]} | chosen
        answer = await self._search("/attributes/restSearch", query)
        try:
            return int(answer.data)
        except (TypeError, ValueError) as error:
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
                        int(event["timestamp"]),
                        bool(event["published"]),
                        event["org_id"],
                        event["orgc_id"],
                        tuple([each["name"] for each in event.get("Tag") or ()]),
                    )
            except (TypeError, KeyError, ValueError) as error:
                raise _strange("/events/restSearch", error) from error
        return found

    async def has_event_named(self, words: str) -> bool:
        """Whether our key sees an event with these words in its title."""
        query = {"returnFormat": "json", "metadata": 1, "eventinfo": f"%{words}%", "limit": 1, "page": 1}
        answer = await self._search("/events/restSearch", query)
        try:
            return bool(answer.data["response"])
        except (TypeError, KeyError) as error:
            raise _strange("/events/restSearch", error) from error

    async def alive(self) -> str:
        """Wait until the server answers, and return its version."""
        answer = await self._retry.call(lambda: self.client.get("/servers/getVersion"))
        try:
            return str(answer.data["version"])
        except (TypeError, KeyError) as error:
            raise _strange("/servers/getVersion", error) from error

    async def _rows(self, query: dict[str, Any]) -> list[Any]:
        answer = await self._search("/attributes/restSearch", {"returnFormat": "json", "deleted": [0, 1]} | query)
        try:
            rows = answer.data["response"]["Attribute"]
        except (TypeError, KeyError) as error:
            raise _strange("/attributes/restSearch", error) from error
        return rows if isinstance(rows, list) else []

    async def _search(self, path: str, query: dict[str, Any]) -> Answer:
        return await self._retry.call(lambda: self.client.search(path, query))


def _whole(row: Any) -> Whole:  # noqa: ANN401  whatever JSON holds
    try:
        return Whole(
            bytes.fromhex(row["uuid"].replace("-", "")),
            int(row["timestamp"]),
            bool(row["deleted"]),
            row["Event"]["uuid"],
            row["Event"]["info"],
            row["type"],
            row["value"],
            bool(row["to_ids"]),
            row["category"],
            row["comment"] or "",
            row["first_seen"],
            row["last_seen"],
            tuple([each["name"] for each in row.get("Tag") or ()]),
        )
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise _strange("/attributes/restSearch", error) from error


def _strange(path: str, error: Exception) -> MispRefused:
    return MispRefused(f"{path}: MISP's answer has not the form that MISP 2.4 and 2.5 give it ({error!r:.100})")
