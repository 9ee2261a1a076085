"""The simulated MISP over HTTP: what every client needs first."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tqmisp.simulators.misp import DEFAULT_KEY, MispStore, create_app

EVENT = "11111111-aaaa-4bbb-8ccc-000000000001"
HEADERS = {"Authorization": DEFAULT_KEY, "Accept": "application/json", "Content-Type": "application/json"}


@pytest.fixture
async def store() -> MispStore:
    """A MISP without any event."""
    return MispStore()


async def ask(client: TestClient[Any, Any], path: str, body: object) -> Any:
    """Post something that must be taken."""
    async with client.post(path, json=body) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_writes_and_reads_back(store: MispStore) -> None:
    """An event is added, edited, searched, and seen by the store and the summary."""
    async with TestClient(TestServer(create_app(store)), headers=HEADERS) as client:
        rows = [{"type": "domain", "value": "Evil.COM"}, {"type": "ip-dst", "value": "999.1.1.1"}]
        added = await ask(client, "/events/add", {"Event": {"uuid": EVENT, "info": "one", "Attribute": rows}})
        assert [row["value"] for row in added["Event"]["Attribute"]] == ["evil.com"]
        rows = [{"type": "md5", "value": "A" * 32}]
        edited = await ask(client, f"/events/edit/{EVENT}/metadata:1", {"Event": {"Attribute": rows}})
        assert edited["Event"]["attribute_count"] == "2"
        assert "Attribute" not in edited["Event"]
        found = await ask(client, "/attributes/restSearch", {"eventid": EVENT})
        assert [row["value"] for row in found["response"]["Attribute"]] == ["evil.com", "a" * 32]
        assert [attribute.value for attribute in store.attributes(EVENT)] == ["evil.com", "a" * 32]
        async with client.get("/_simulator/summary") as response:
            assert await response.json() == {
                "events": [{"uuid": EVENT, "info": "one", "attributes": 2, "published": False}],
                "attributes": 2,
                "write_requests": 2,
            }
