"""Each kind of fault as a client meets it, and what it leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ClientTimeout
from aiohttp.test_utils import TestClient, TestServer

from tests.contract.recordings import recordings
from tests.simulators import misp as of_misp
from tests.simulators import threatq as of_threatq
from tests.simulators.misp import EVENT, domain, uuid_of
from tests.simulators.threatq import QUERY
from tqmisp.errors import ConfigError
from tqmisp.simulators import misp, threatq
from tqmisp.simulators.faults import FAULTS, FaultPlan

ROWS = [domain(f"{number}.example", uuid_of(number)) for number in range(4)]
EDIT = f"/events/edit/{EVENT}/metadata:1"
ADD = f"/attributes/add/{EVENT}"
BODIES: dict[str, Any] = {EDIT: {"Event": {"Attribute": ROWS}}, ADD: ROWS}


@asynccontextmanager
async def a_misp(spec: str) -> AsyncIterator[of_misp.Asker]:
    """A simulated MISP with an event and with faults."""
    async with of_misp.serving() as asker:
        await asker.event()
        async with asker.client.put("/_simulator/faults", data=spec) as response:
            assert response.status == 200, await response.text()
        yield asker


@asynccontextmanager
async def a_threatq(spec: str, indicators: int = 100) -> AsyncIterator[of_threatq.Asker]:
    """A simulated ThreatQ with faults, logged in."""
    library = threatq.generate(indicators)
    async with TestClient(TestServer(threatq.create_app(library, faults=FaultPlan.parse(spec)))) as client:
        asker = of_threatq.Asker(client, library)
        await asker.log_in()
        yield asker


async def struck(asker: of_misp.Asker | of_threatq.Asker) -> dict[str, dict[str, int]]:
    """What the server says that it has injected."""
    async with asker.client.get("/_simulator/faults") as response:
        told = orjson.loads(await response.read())
    assert told["injected"] == sum(sum(kinds.values()) for kinds in told["routes"].values())
    routes: dict[str, dict[str, int]] = told["routes"]
    return routes


@pytest.mark.parametrize("path", [EDIT, ADD])
@pytest.mark.parametrize(
    ("kind", "status", "on_edit", "on_add"),
    [
        ("429", 429, 0, 0),
        ("500", 500, 0, 0),
        ("500-during", 500, 0, 2),  # recordings 339 and 341: row by row, or rolled back
        ("500-after", 500, 4, 4),  # recording 336: no memory for the answer
        ("502", 502, 0, 2),  # recordings 346 and 347
        ("503", 503, 0, 0),
        ("maintenance", 302, 0, 0),
        ("html", 200, 0, 0),
    ],
)
async def test_what_a_failed_request_leaves_behind(
    path: str, kind: str, status: int, on_edit: int, on_add: int
) -> None:
    """Nothing, half or all of it is saved, as the kind and the route say; the next request is answered well."""
    async with a_misp(f"misp:{path[1:].partition('/11')[0]}={kind}@1x") as here:
        reply = await here.send("POST", path, BODIES[path])
        assert reply.status == status
        assert len(here.values()) == (on_edit if path == EDIT else on_add)
        await here.post(path, BODIES[path]) if path == EDIT else await here.send("POST", path, ROWS)
        assert len(here.values()) == 4
        assert await struck(here) == {path[1:].partition("/11")[0]: {kind: 1}}


async def test_failures_look_as_recorded() -> None:
    """Status and body are those that a real server gave."""
    spec = "misp:events/edit=500@1x; misp:events/edit=502@1x; misp:events/edit=504:0ms@1x"
    async with a_misp(spec) as here:
        for number in (336, 346, 345):
            reply, recorded = await here.send("POST", EDIT, BODIES[EDIT]), recordings()[number]
            assert reply.status == recorded.status
            if number == 336:
                assert reply.body["message"] == recorded.answer["message"]
            else:
                assert reply.body == recorded.answer


async def test_a_refusal_is_not_hidden_by_a_fault() -> None:
    """What is refused at once has nothing to die of: the reason comes through."""
    async with a_misp("misp:attributes/add=500-during; misp:events/edit=500-after") as here:
        for path in ("/attributes/add/", "/events/edit/"):
            reply = await here.send("POST", f"{path}{of_misp.OTHER_EVENT}", ROWS)
            assert (reply.status, reply.body["message"]) == (404, "Invalid event")


async def test_the_work_goes_on_behind_a_504() -> None:
    """The gateway gives up at once; a server that stops waits for the end of the work (recording 345)."""
    async with a_misp("misp:events/edit=504:20ms") as here:
        assert (await here.send("POST", EDIT, BODIES[EDIT])).status == 504
        assert here.values() == []
    assert len(here.values()) == 4


async def test_refusals_name_the_wait_that_is_asked_for() -> None:
    """In Retry-After, in MISP's own header, or not at all."""
    spec = "misp:*=429:retry-after=2@1x; misp:*=429:reset=3@1x; misp:*=503:4@1x; misp:*=429@1x"
    async with a_misp("") as here:
        assert (await here.client.put("/_simulator/faults", data=spec)).status == 200
        seen = [(await here.send("GET", "/servers/getVersion")).headers for _ in range(4)]
    assert [each.get("Retry-After") for each in seen] == ["2", None, "4", None]
    assert [each.get("X-Rate-Limit-Reset") for each in seen] == [None, "3", None, None]


@pytest.mark.parametrize(("kind", "left"), [("reset", 0), ("reset-after", 4)])
async def test_a_connection_is_reset(kind: str, left: int) -> None:
    """Before anything was done, or after all was."""
    async with a_misp(f"misp:events/edit={kind}") as here:
        with pytest.raises(ClientConnectionError):
            await here.send("POST", EDIT, BODIES[EDIT])
        assert len(here.values()) == left


async def test_an_answer_ends_in_the_middle() -> None:
    """All was done, and the client knows that something is missing."""
    async with a_misp("misp:events/edit=half-answer") as here:
        with pytest.raises(ClientPayloadError):
            await here.send("POST", EDIT, BODIES[EDIT])
        assert len(here.values()) == 4


@pytest.mark.parametrize(("kind", "left"), [("stall", 0), ("stall-after", 4)])
async def test_a_request_is_never_answered(kind: str, left: int) -> None:
    """The client gives up; the server notices, so that it can stop long before the end of the stall."""
    async with a_misp(f"misp:events/edit={kind}:1m") as here:
        sent = {"Authorization": misp.DEFAULT_KEY, "Accept": "application/json", "Content-Type": "application/json"}
        with pytest.raises(TimeoutError):
            await here.client.post(EDIT, json=BODIES[EDIT], headers=sent, timeout=ClientTimeout(total=0.05))
        async with asyncio.timeout(10):
            await here.client.close()
        assert len(here.values()) == left


async def test_a_stall_has_an_end() -> None:
    """A client that waits for ever is cut off."""
    async with a_misp("misp:*=stall:20ms") as here:
        with pytest.raises(ClientConnectionError):
            await here.send("GET", "/servers/getVersion")


async def test_an_answer_comes_late_or_in_pieces() -> None:
    """It is the same answer, one that holds no time of the clock."""
    async with a_misp("") as here:
        plain = await here.send("GET", "/servers/getVersion")
        for spec in ("misp:*=latency:30ms", "misp:*=slow:4ms"):
            await here.client.put("/_simulator/faults", data=spec)
            reply = await here.send("GET", "/servers/getVersion")
            async with here.client.get("/_simulator/faults") as counted:
                assert "servers/getversion" in await counted.text(), "the fault has struck"
            assert (reply.status, reply.body) == (plain.status, plain.body)


@pytest.mark.parametrize("kind", ["429", "500", "502", "503", "504:0ms"])
async def test_threatq_fails(kind: str) -> None:
    """Once, with an error of the API or of the web server before it, and then answers."""
    async with a_threatq(f"threatq:indicators/query={kind}@1x") as here:
        headers = {"Authorization": f"Bearer {here.token}"}
        async with here.client.post(QUERY, json={}, headers=headers) as response:
            assert response.status == int(kind[:3])
        assert (await here.query())["total"] == 100


async def test_a_token_ends_in_the_middle() -> None:
    """Every token is refused until somebody logs in again."""
    async with a_threatq("threatq:indicators/query=token-expired@1x,after=1") as here:
        await here.query()
        assert [(await here.send("POST", QUERY, {})).status for _ in range(2)] == [401, 401]
        await here.log_in()
        await here.query()
        assert await struck(here) == {"indicators/query": {"token-expired": 1}}


@pytest.mark.parametrize("to", ["same", "first"])
async def test_a_cursor_repeats(to: str) -> None:
    """The page is right; the mark leads nowhere, or to the start."""
    async with a_threatq(f"threatq:indicators/query=cursor-repeats:{to}@1x,after=1") as here:
        first = await here.query(limit=10, sort="id", cursorMark="*")
        second = await here.query(limit=10, sort="id", cursorMark=first["nextCursorMark"])
        assert second["data"][0]["id"] == here.library.ids[10]
        assert second["nextCursorMark"] == (first["nextCursorMark"] if to == "same" else "*")


async def test_a_page_shrinks() -> None:
    """It has half of its rows, and a cursor that goes on behind them."""
    async with a_threatq("threatq:indicators/query=short-page@1x") as here:
        await here.query(limit=1)  # a question for the total is no page
        first = await here.query(limit=10, sort="id", cursorMark="*")
        second = await here.query(limit=10, sort="id", cursorMark=first["nextCursorMark"])
        assert [row["id"] for row in first["data"] + second["data"]] == list(here.library.ids[:15])


async def test_rows_change_while_they_are_read() -> None:
    """Some are not there while a page is made, and come back with a new time."""
    active = {"status_name": "Active"}
    async with a_threatq("seed=4; threatq:indicators/query=rows-change:7@1x,after=1") as here:
        before = await here.query(active, limit=100, sort="id")
        during = await here.query(active, limit=100, sort="id")
        after = await here.query(active, limit=100, sort="id")
        assert before["total"] == during["total"] + 7 == after["total"]
        times = [{row["id"]: row["touched_at"] for row in page["data"]} for page in (before, after)]
        changed = {identity for identity, touched in times[1].items() if touched != times[0][identity]}
        assert changed == set(times[0]) - {row["id"] for row in during["data"]}


async def test_only_so_often() -> None:
    """At most so many, each so-manieth, not at the start; each route is counted for itself."""
    async with a_misp("misp:servers/getversion=500@every=3; misp:users/*=503@2x,after=1") as here:
        asked = [
            [(await here.send("GET", path)).status for _ in range(7)]
            for path in ("/servers/getVersion", "/users/view/me")
        ]
        assert asked == [[200, 200, 500, 200, 200, 500, 200], [200, 503, 503, 200, 200, 200, 200]]
        assert await struck(here) == {"servers/getversion": {"500": 2}, "users/view": {"503": 2}}


async def test_the_seed_decides() -> None:
    """The same seed strikes the same requests, whatever happens on other routes; another seed strikes others."""

    async def statuses(seed: int, *, others: bool) -> list[int]:
        found = []
        async with a_misp(f"seed={seed}; misp:servers/*=500@30%; misp:users/*=500@50%") as here:
            for _ in range(40):
                found.append((await here.send("GET", "/servers/getVersion")).status)
                if others:
                    await here.send("GET", "/users/view/me")
        return found

    first = await statuses(1, others=False)
    assert first == await statuses(1, others=True)
    assert first != await statuses(2, others=False)
    assert 4 <= first.count(500) <= 20


async def test_any_draws_among_the_kinds_of_the_server() -> None:
    """Over many requests most kinds come up, and none that the server cannot have."""
    async with a_misp("seed=5; *=any") as here:
        for _ in range(60):
            try:
                async with asyncio.timeout(0.1):
                    await here.send("GET", "/servers/getVersion")
            except (ClientConnectionError, ClientPayloadError, TimeoutError):
                continue
        kinds = (await struck(here))["servers/getversion"]
        assert len(kinds) > 10
        assert not {"any", "rows-change", "token-expired", "short-page"} & set(kinds)


async def test_a_plan_is_changed_while_the_server_runs() -> None:
    """Another one takes its place and the counts start anew; a bad one is refused and changes nothing."""
    async with a_misp("misp:servers/*=500") as here:
        assert (await here.send("GET", "/servers/getVersion")).status == 500
        refused = await here.client.put("/_simulator/faults", data="misp:nowhere=500")
        assert (refused.status, (await refused.json())["error"][:15]) == (400, "'misp:nowhere':")
        assert await struck(here) == {"servers/getversion": {"500": 1}}
        assert (await here.client.put("/_simulator/faults", data="")).status == 200
        assert (await here.send("GET", "/servers/getVersion")).status == 200
        assert await struck(here) == {}


async def test_a_file_cannot_be_asked_for_from_outside() -> None:
    """Over HTTP a plan is a text; only who starts the simulators may name a file."""
    async with a_misp("") as here:
        refused = await here.client.put("/_simulator/faults", data="@/etc/passwd")
        assert refused.status == 400
        assert "root" not in await refused.text()


async def test_a_test_in_the_same_process_sees_the_counts() -> None:
    """The application holds its injector."""
    app = misp.create_app(faults=FaultPlan.parse("*=500"))
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/servers/getVersion")).status == 500
        assert (await client.get("/_simulator/summary")).status == 200
        assert app[FAULTS].injected == {("servers/getversion", "500"): 1}
        with pytest.raises(ConfigError):
            FaultPlan.parse("*=nothing")
