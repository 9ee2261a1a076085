from __future__ import annotations

import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler

from tests.simulators.threatq import serving
from tqmisp.simulators.threatq import ThreatQSimulatorOptions, create_app, generate
from tqmisp.simulators.threatq.catalog import TYPES


async def test_lookups_name_types_and_statuses() -> None:
    """All types that ThreatQ ships are listed with their default ids, and those that somebody added."""
    held = generate(1)
    held.add([{"value": "x", "type": "Our Own"}])
    async with serving(held) as asker:
        types = {row["id"]: row["name"] for row in (await asker.get("/api/indicator/types"))["data"]}
        assert [types[number] for number in range(1, 35)] == list(TYPES)
        assert (types[15], types[30]) == ("IP Address", "URL")
        assert "Our Own" in types.values()
        statuses = await asker.get("/api/indicator/statuses")
        assert [row["name"] for row in statuses["data"]] == ["Active", "Expired", "Indirect", "Review", "Whitelisted"]
        assert (await asker.get("/api/indicator/statuses/2"))["data"] == statuses["data"][1]
        assert (await asker.send("GET", "/api/indicator/statuses/9")).status == 404
        objects = (await asker.get("/api/objects"))["data"]
        assert [each["name"] for each in objects] == ["indicator", "adversary"]
        assert len(objects[0]["types"]) == 34


async def test_an_account_without_the_right_sees_nothing() -> None:
    """The lookups then answer ``{}`` with status 200."""
    async with serving(generate(1), ThreatQSimulatorOptions(sees_lookups=False)) as asker:
        assert await asker.get("/api/indicator/types") == {}
        assert await asker.get("/api/indicator/statuses") == {}


async def test_the_connector_tells_its_settings() -> None:
    """It is found by its name and by its id, and can be switched off; an unknown name gives an empty list."""
    options = ThreatQSimulatorOptions(misp_url="https://misp.example", misp_key="k", score_threshold="5")
    async with serving(generate(1), options) as asker:
        listed = await asker.get("/api/connectors", name="MISP Export")
        [row] = listed["data"]
        assert row["custom_fields"] == {
            "misp_url": "https://misp.example",
            "misp_api_key": "k",
            "score_threshold": "5",
        }
        assert await asker.get("/api/connectors", name="Other") == {"total": 0, "data": []}
        assert (await asker.send("PUT", f"/api/connectors/{row['id']}", {"is_active": False})).status == 200
        assert (await asker.get(f"/api/connectors/{row['id']}"))["data"] == row | {"is_active": False}
        assert (await asker.send("GET", "/api/connectors/1")).status == 404
    async with serving(generate(1)) as asker:
        assert await asker.get("/api/connectors") == {"total": 0, "data": []}


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/api/indicators/1", 404, "Not Found"),
        ("GET", "/api/no/such/route", 404, "Not Found"),
        ("DELETE", "/api/indicators", 405, "Method Not Allowed"),
    ],
)
async def test_what_is_not_there_has_the_errors_of_threatq(method: str, path: str, status: int, words: str) -> None:
    """404 and 405 carry a list of errors, as JSON."""
    async with serving(generate(1)) as asker:
        assert await asker.send(method, path) == (status, {"errors": [words]})


async def test_the_library_changes_while_it_is_served() -> None:
    """Changes show in the next answer, and move the dates of what they touch."""
    held = generate(10)
    held.now = lambda: 1_800_000_000.0
    first, second, third, *_ = held.ids
    async with serving(held) as asker:
        held.change(first, {"score": 10, "status": "Whitelisted"})
        held.expire(second)
        held.delete(third)
        [added] = held.add([{"value": "new.example", "type": "FQDN", "score": 4}])
        changed = await asker.query({"touched_at": {"+gte": "2027-01-15 08:00:00"}}, limit=10)
        assert [(row["id"], row["status"]["name"], row.get("score")) for row in changed["data"]] == [
            (first, "Whitelisted", 10),
            (second, "Expired", held.get(second).get("score")),
            (added, "Active", 4),
        ]
        assert changed["data"][1]["expired_at"] == changed["data"][0]["updated_at"] == "2027-01-15 08:00:00"
        assert (changed["data"][2]["type_id"], changed["data"][2]["class"]) == (11, "network")
        assert (await asker.query())["total"] == 10
        assert (await asker.send("GET", f"/api/indicators/{third}")).status == 404
    for method in (held.get, held.delete, held.expire):
        with pytest.raises(KeyError):
            method(third)


async def test_other_processes_can_change_the_library() -> None:
    """The route that no ThreatQ has takes the same changes, without a token, and counts as no request."""
    held = generate(5)
    first, second, third, *_ = held.ids
    async with serving(held) as asker:
        asker.token = ""
        sent = {
            "add": [{"value": "a", "type_id": 11}],
            "change": {str(first): {"score": 1}},
            "expire": [second],
            "delete": [third],
        }
        reply = await asker.send("POST", "/_simulator/indicators", sent)
        assert reply == (200, {"added": [held.ids[-1]]})
        assert held.get(first)["score"] == 1
        assert held.get(second)["status"]["name"] == "Expired"
        assert held.get(held.ids[-1])["type"]["name"] == "FQDN"
        assert (await asker.send("POST", "/_simulator/indicators", {"delete": [third]})).status == 400
        assert await asker.get("/_simulator/requests") == {"POST /api/token": 1}


async def test_values_may_hold_anything() -> None:
    """Half of a surrogate pair, NUL and quotes come through, whole and cut to fields."""
    held = generate(0)
    hostile = 'a"\\\x00\x1b\u202e\ud800\U0001f600' + "x" * 65_536
    held.add([{"value": hostile, "type": "String"}])
    async with serving(held) as asker:
        headers = {"Authorization": f"Bearer {asker.token}"}
        for body in ({}, {"fields": ["id", "value"]}):
            async with asker.client.post("/api/indicators/query", json=body, headers=headers) as response:
                assert (await response.json())["data"][0]["value"] == hostile


async def test_faults_can_be_put_around_it() -> None:
    """A middleware sees each request first, after it was counted."""

    @web.middleware
    async def broken(request: web.Request, handler: Handler) -> web.StreamResponse:
        return web.Response(status=503) if request.path == "/api/objects" else await handler(request)

    async with TestClient(TestServer(create_app(generate(1), middlewares=[broken]))) as client:
        async with client.get("/api/objects") as response:
            assert response.status == 503
        async with client.get("/_simulator/requests") as response:
            assert await response.json() == {"GET /api/objects": 1}


async def test_pages_can_take_their_time() -> None:
    """Each page then takes so many seconds at least."""
    async with serving(generate(1), ThreatQSimulatorOptions(seconds_per_page=0.05)) as asker:
        for path in ("/api/indicators", "/api/indicators/query/hash/15"):
            began = time.monotonic()
            await asker.get(path)
            assert time.monotonic() - began >= 0.05
