"""Searching the simulated MISP, where the recordings leave a question open."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulators.misp import EVENT, OTHER_EVENT, Asker, domain, serving, uuid_of
from tqmisp.simulators.misp import MispStore, key_of

CLOCK = 1_700_000_000.0


async def fill(misp: Asker) -> None:
    """Two events: one of ours with five attributes, one that only the host organisation sees."""
    rows = [
        domain("a.example", uuid_of(1), timestamp=str(int(CLOCK) - 7_200), Tag=[{"name": "tlp:red"}]),
        domain("b.example", uuid_of(2), to_ids=False, comment="Seen twice"),
        {"type": "md5", "value": "a" * 32, "uuid": uuid_of(3)},
        {"type": "filename|md5", "value": f"x.exe|{'b' * 32}", "uuid": uuid_of(4)},
        domain("gone.example", uuid_of(5), deleted=True),
    ]
    await misp.event(rows=rows)
    hidden = {"uuid": OTHER_EVENT, "info": "hidden", "distribution": 0, "Attribute": [domain("a.example", uuid_of(9))]}
    await misp.send("POST", "/events/add", {"Event": hidden}, Authorization=key_of("admin"))


async def found(misp: Asker, **filters: Any) -> list[int]:
    """The numbers of the attributes that a search finds."""
    answer = await misp.post("/attributes/restSearch", filters)
    return [int(row["uuid"][-12:]) for row in answer["response"]["Attribute"]]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({}, [1, 2, 3, 4]),
        ({"eventid": EVENT}, [1, 2, 3, 4]),
        ({"eventid": [1, 2]}, [1, 2, 3, 4]),  # the other one is not for us
        ({"eventid": OTHER_EVENT}, []),
        ({"value": "A.EXAMPLE"}, [1]),
        ({"value": "%.example"}, [1, 2]),
        ({"value": ["a.example", "b" * 32]}, [1, 4]),  # each part of a pair counts
        ({"value": "!a.example", "type": "domain"}, [2]),
        ({"uuid": [uuid_of(4), uuid_of(2), uuid_of(9)]}, [2, 4]),  # in the order of ids
        ({"uuid": EVENT}, [1, 2, 3, 4]),  # an event's UUID finds its attributes
        ({"type": ["md5", "filename|md5"]}, [3, 4]),
        ({"type": {"NOT": ["domain"]}}, [3, 4]),
        ({"category": "Payload delivery"}, [3, 4]),
        ({"comment": "seen%"}, [2]),
        ({"to_ids": 0}, [2]),
        ({"tags": "tlp:red"}, [1]),
        ({"deleted": [0, 1]}, [1, 2, 3, 4, 5]),
        ({"deleted": 1}, [5]),
        ({"attribute_timestamp": "1h"}, [2, 3, 4]),
        ({"timestamp": ["1d", "1h"]}, [1]),
        ({"timestamp": str(int(CLOCK) - 10)}, [2, 3, 4]),
        ({"published": 1}, []),
        ({"limit": 3, "page": 2}, [4]),
        ({"limit": 3, "page": 3}, []),
        ({"nosuch": "x", "limit": 1}, [1]),
    ],
)
async def test_finds_attributes(filters: dict[str, Any], numbers: list[int]) -> None:
    """Filters of attributes/restSearch let through what MISP's would."""
    async with serving(MispStore(now=lambda: CLOCK)) as misp:
        await fill(misp)
        assert await found(misp, **filters) == numbers


async def test_a_page_says_whether_there_is_more() -> None:
    """X-Result-Count is one more than the rows of a full page, and the rows of one that is not full."""
    async with serving() as misp:
        await fill(misp)
        counts = []
        for page in (1, 2, 3):
            reply = await misp.send("POST", "/attributes/restSearch", {"eventid": EVENT, "limit": 3, "page": page})
            counts.append(reply.headers["X-Result-Count"])
        assert counts == ["4", "1", "1"]


async def test_a_search_shows_tags_and_pairs() -> None:
    """A row has the tags of its attribute, and a pair is one value."""
    async with serving() as misp:
        await fill(misp)
        rows = (await misp.post("/attributes/restSearch", {"uuid": [uuid_of(1), uuid_of(4)]}))["response"]["Attribute"]
        assert [tag["name"] for tag in rows[0]["Tag"]] == ["tlp:red"]
        assert rows[1]["value"] == f"x.exe|{'b' * 32}"
        assert "Tag" not in rows[1]


@pytest.mark.parametrize(
    ("filters", "uuids"),
    [
        ({"uuid": [EVENT, OTHER_EVENT]}, [EVENT]),
        ({"uuid": uuid_of(3)}, [EVENT]),  # the event that holds it
        ({"eventid": "1"}, [EVENT]),
        ({"eventinfo": "x"}, [EVENT]),
        ({"eventinfo": "y%"}, []),
        ({"value": "b.example"}, [EVENT]),
        ({"value": "nowhere.example"}, []),
        ({"published": 0}, [EVENT]),
        ({"timestamp": "1h"}, [EVENT]),
        ({"org": "ThreatQ Export"}, [EVENT]),
        ({"org": "ORGNAME"}, []),
    ],
)
async def test_finds_events(filters: dict[str, Any], uuids: list[str]) -> None:
    """Filters of events/restSearch let through what MISP's would."""
    async with serving() as misp:
        await fill(misp)
        answer = await misp.post("/events/restSearch", {"metadata": 1, **filters})
        assert [entry["Event"]["uuid"] for entry in answer["response"]] == uuids


@pytest.mark.parametrize(
    ("filters", "uuids"),
    [
        ({"eventid": EVENT}, [EVENT]),
        ({"sort": "id", "direction": "desc"}, [OTHER_EVENT, EVENT]),
        ({"searchpublished": "1"}, []),
        ({"minimal": 1, "limit": 1, "page": 2}, [OTHER_EVENT]),
    ],
)
async def test_lists_events(filters: dict[str, Any], uuids: list[str]) -> None:
    """A site admin lists all events, filtered and sorted."""
    async with serving() as misp:
        await fill(misp)
        reply = await misp.send("POST", "/events/index", filters, Authorization=key_of("admin"))
        assert [event["uuid"] for event in reply.body] == uuids
