"""The simulated MISP as a web server: keys, bodies, limits, and what it tells about itself."""

from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.recordings import recordings
from tests.simulators.misp import EVENT, OTHER_EVENT, Asker, domain, serving, uuid_of
from tqmisp.simulators.misp import (
    DEFAULT_KEY,
    ROLES,
    ROWS_TO_LIVE,
    MispSimulatorOptions,
    MispStore,
    key_of,
    nginx_error,
)
from tqmisp.simulators.misp.accounts import default_users


async def test_tells_what_it_holds_and_what_it_was_asked() -> None:
    """The summary counts stored attributes and writing requests, the list every request by route."""
    async with serving() as misp:
        await misp.event(rows=[domain("a.example"), domain("b.example", uuid_of(1))])
        await misp.post(f"/attributes/delete/{uuid_of(1)}")
        await misp.post("/attributes/restSearch", {"eventid": EVENT})
        assert (await misp.send("POST", "/events/edit/99", {"Event": {}})).status == 404
        assert (await misp.send("GET", "/_simulator/summary")).body == {
            "events": [{"uuid": EVENT, "info": "x", "attributes": 1, "published": False}],
            "attributes": 1,
            "write_requests": 3,
        }
        assert (await misp.send("GET", "/_simulator/requests")).body == {
            "POST /events/add": 1,
            "POST /attributes/delete": 1,
            "POST /attributes/restSearch": 1,
            "POST /events/edit": 1,
        }
        assert misp.store.stored_count() == 1
        assert [event.uuid for event in misp.store.events()] == [EVENT]


async def test_signs_in_by_each_key_of_a_list() -> None:
    """MISP tries the keys of a list in the header one after the other."""
    async with serving() as misp:
        reply = await misp.send("GET", "/users/view/me", Authorization=f"{'x' * 40}, {key_of('Publisher')}")
        assert reply.body["Role"]["name"] == "Publisher"


async def test_goes_in_and_out_of_maintenance() -> None:
    """While MISP.live is off everyone but a site admin is sent to the login page; afterwards all is as before."""
    async with serving() as misp:
        misp.store.maintenance = True
        reply = await misp.send("POST", "/events/add", {"Event": {"info": "x"}})
        assert (reply.status, reply.body) == (302, "")
        assert reply.headers["Location"].endswith("/users/login")
        assert (await misp.send("GET", "/servers/getVersion", Authorization=key_of("admin"))).status == 200
        misp.store.maintenance = False
        assert (await misp.send("GET", "/servers/getVersion")).status == 200


async def test_refuses_a_body_over_the_limit_of_the_web_server() -> None:
    """A long body is nginx's business: 413 in HTML, whatever the key; a shorter one passes."""
    async with serving(options=MispSimulatorOptions(body_limit=1_000)) as misp:
        reply = await misp.send("POST", "/events/add", b" " * 1_001, Authorization="nobody")
        assert reply.status == 413
        assert reply.headers["Content-Type"] == "text/html"
        assert "<center>nginx/" in reply.body
        await misp.event()


async def test_takes_a_zipped_body() -> None:
    """A request may come with Content-Encoding gzip."""
    body = gzip.compress(orjson.dumps({"Event": {"uuid": EVENT, "info": "zipped"}}))
    async with serving() as misp:
        assert (await misp.send("POST", "/events/add", body, Content_Encoding="gzip")).status == 200
        assert misp.store.events()[0].info == "zipped"


async def test_limits_searches_of_a_role_for_a_quarter_of_an_hour() -> None:
    """A role with a limit may search so often in 900 seconds, then again; writing is free."""
    clock = [1_000_000.0]
    limited = replace(default_users()[1], role=replace(ROLES["Sync user"], rate_limit=2))
    store = MispStore(now=lambda: clock[0])
    async with serving(store, MispSimulatorOptions(users=(limited,))) as misp:
        statuses = [(await misp.send("POST", "/events/restSearch", {})).status for _ in range(3)]
        assert statuses == [200, 200, 429]
        clock[0] += 600
        reply = await misp.send("POST", "/attributes/restSearch", {})
        assert (reply.status, reply.headers["X-Rate-Limit-Reset"]) == (429, "300")
        await misp.event()
        clock[0] += 300
        assert (await misp.send("POST", "/attributes/restSearch", {})).status == 200


async def test_a_role_with_a_limit_of_none_may_not_search() -> None:
    """rate_limit_count 0: searches are refused with 405."""
    barred = replace(default_users()[1], role=replace(ROLES["Sync user"], rate_limit=0))
    async with serving(options=MispSimulatorOptions(users=(barred,))) as misp:
        assert (await misp.send("POST", "/events/restSearch", {})).status == 405


async def test_works_on_so_many_requests_at_once() -> None:
    """With one worker and a cost, requests take turns: two take twice as long as one."""
    options = MispSimulatorOptions(workers=1, cost_per_request=0.05)
    loop = asyncio.get_running_loop()
    async with serving(options=options) as misp:
        begun = loop.time()
        await asyncio.gather(*(misp.send("GET", "/servers/getVersion") for _ in range(4)))
        assert loop.time() - begun >= 0.19


async def test_takes_time_for_each_attribute_that_is_written() -> None:
    """The cost of a writing request grows with its attributes; reading does not pay it."""
    options = MispSimulatorOptions(cost_per_attribute=0.01)
    loop = asyncio.get_running_loop()
    async with serving(options=options) as misp:
        begun = loop.time()
        await misp.event(rows=[domain(f"{number}.example") for number in range(10)])
        assert loop.time() - begun >= 0.09


async def test_a_middleware_sees_requests_first_and_they_are_counted() -> None:
    """Faults go around the MISP, as middlewares; what they answer themselves was asked for all the same."""

    @web.middleware
    async def unwell(request: web.Request, handler: Handler) -> web.StreamResponse:
        return nginx_error(504, "504 Gateway Time-out") if request.method == "POST" else await handler(request)

    async with serving(middlewares=(unwell,)) as misp:
        reply = await misp.send("POST", "/events/add", {"Event": {"info": "x"}})
        recorded = recordings()[345]
        assert (reply.status, reply.body) == (recorded.status, recorded.answer)
        assert misp.store.write_requests == 1
        assert misp.store.events() == []


def dying_after(rows: int) -> Any:
    """A middleware that lets the worker die after so many attributes."""

    @web.middleware
    async def die(request: web.Request, handler: Handler) -> web.StreamResponse:
        if "Dies" in request.headers:
            request[ROWS_TO_LIVE] = rows
        return await handler(request)

    return die


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (f"/attributes/add/{EVENT}", ["0.example", "1.example"]),  # row by row
        (f"/events/edit/{EVENT}/metadata:1", []),  # one transaction
    ],
)
async def test_a_worker_dies_in_the_middle(path: str, left: list[str]) -> None:
    """What a dead worker leaves depends on the route: rows so far, or nothing (recordings 346 and 347)."""
    rows = [domain(f"{number}.example") for number in range(4)]
    async with serving(middlewares=(dying_after(2),)) as misp:
        await misp.event()
        body = rows if "attributes" in path else {"Event": {"Attribute": rows}}
        reply = await misp.send("POST", path, body, Dies="yes")
        assert (reply.status, reply.body) == (recordings()[346].status, recordings()[346].answer)
        assert misp.values() == left
        assert misp.store.events()[0].attribute_count == len(left)


async def test_a_dead_worker_leaves_half_an_event() -> None:
    """events/add: the event and the attributes so far are there, and adding it again is refused (recording 342)."""
    event = {"uuid": OTHER_EVENT, "info": "x", "Attribute": [domain(f"{number}.example") for number in range(4)]}
    async with serving(middlewares=(dying_after(3),)) as misp:
        assert (await misp.send("POST", "/events/add", {"Event": event}, Dies="yes")).status == 502
        assert misp.values(OTHER_EVENT) == ["0.example", "1.example", "2.example"]
        assert (await misp.send("POST", "/events/add", {"Event": event})).status == 404


async def test_shows_php_settings_to_a_site_admin() -> None:
    """Of the diagnostics the settings of PHP are as recorded."""
    async with serving() as misp:
        reply = await misp.send("GET", "/servers/serverSettings/diagnostics.json", Authorization=key_of("admin"))
        recorded = recordings()[5].answer
        assert reply.body["phpSettings"] == recorded["phpSettings"]
        assert reply.body["version"] == recorded["version"]


def test_a_key_is_in_no_repr() -> None:
    """Not even of users that were made up."""
    assert DEFAULT_KEY not in repr(MispSimulatorOptions())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
fields = [
    "uuid",
    "type",
    "category",
    "value",
    "to_ids",
    "comment",
    "timestamp",
    "distribution",
    "sharing_group_id",
    "deleted",
    "disable_correlation",
    "first_seen",
    "last_seen",
    "Tag",
    "info",
    "date",
    "threat_level_id",
    "analysis",
    "published",
    "Attribute",
    "Orgc",
    "name",
    "eventid",
    "limit",
    "page",
    "returnFormat",
]
odd_bodies = json_values | st.dictionaries(
    st.sampled_from(["Event", "Attribute"]),
    st.lists(st.dictionaries(st.sampled_from(fields), json_values), max_size=3)
    | st.dictionaries(st.sampled_from(fields), json_values),
)
ROUTES = (
    "/events/add",
    f"/events/edit/{EVENT}",
    f"/attributes/add/{EVENT}",
    f"/attributes/edit/{uuid_of(1)}",
    "/attributes/restSearch",
    "/events/restSearch",
    "/events/index",
    "/tags/search",
    "/tags/attachTagToObject",
)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(bodies=st.lists(st.tuples(st.sampled_from(ROUTES), odd_bodies), min_size=20, max_size=20))
def test_answers_odd_bodies_as_misp_would(bodies: list[tuple[str, Any]]) -> None:
    """Whatever JSON is sent, the answer is one of MISP's, never an error of the simulator itself."""

    async def send_all(misp: Asker) -> None:
        for path, body in bodies:
            reply = await misp.send("POST", path, json.dumps(body).encode())
            assert reply.headers["X-Powered-By"].startswith("PHP/"), (path, body)

    async def run() -> None:
        async with serving() as misp:
            await misp.event(rows=[domain("known.example", uuid_of(1))])
            await send_all(misp)

    asyncio.run(run())
