from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest
from aiohttp import web
from aiohttp.typedefs import Middleware

from tests.misp.conftest import OTHER, REF, Handler, domains, fault, part, planned, rig, status
from tqmisp.misp.pace import Pace
from tqmisp.pipeline.adaptive import Knee
from tqmisp.simulators.misp import MispSimulatorOptions

AUTO: dict[str, Any] = {"requests_in_flight": None, "chunk_size": None}
DEADLOCK = "SQLSTATE[40001]: Serialization failure: 1213 Deadlock found when trying to get lock"


class Traffic:
    """Counts the writing requests that are at the server at the same time, for each event and altogether."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.seen = 0

    @property
    def middleware(self) -> Middleware:
        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            if "/events/edit" not in request.path:
                return await handler(request)
            self.seen += 1
            for key in (request.path, "all"):
                self.now[key] += 1
                self.most[key] = max(self.most[key], self.now[key])
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            try:
                return await handler(request)
            finally:
                for key in (request.path, "all"):
                    self.now[key] -= 1

        return count


async def test_without_settings_everything_arrives() -> None:
    """Slices are cut as the controller says while they are sent; each attribute is sent once."""
    items = domains(12_000)
    traffic = Traffic()
    async with rig(traffic.middleware, **AUTO) as here:
        pace = here.sink.pace
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.sink.deliver, part(items[:6000]))
            tasks.start_soon(here.sink.deliver, part(items[6000:], OTHER))
        assert len(here.values()) == len(here.values(OTHER)) == 6000
        assert traffic.seen <= 16
        assert here.sink._progress.requests == traffic.seen
        assert here.sink._progress.knee == pace.controller.knee
        assert traffic.most["all"] <= max(2, *(decision.in_flight for decision in pace.controller.decisions))


@pytest.mark.parametrize("code", [429, 503, 502, 504])
async def test_retries_keep_to_the_limit_that_they_have_lowered(code: int) -> None:
    """Eight requests are turned away at once; from then on half as many are under way, repetitions included."""
    traffic = Traffic()
    failing = fault("/events/edit", *[status(code, **{"Retry-After": "0"})] * 8)

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        if "/events/edit" in request.path and here.sink.pace.controller.in_flight < 8:
            return await traffic.middleware(request, handler)
        return await handler(request)

    async with rig(failing, note, chunk_size=None, requests_in_flight=None) as here:
        here.sink.pace = Pace(here.client.options, Knee(8, 50))
        await here.sink.deliver(part(domains(1500)))
        assert len(here.values()) == 1500
        decisions = here.sink.pace.controller.decisions
        assert decisions[0].in_flight == 4
        assert 1 <= traffic.most["all"] <= max(decision.in_flight for decision in decisions)


async def test_what_is_too_large_is_so_for_the_rest_of_the_slice() -> None:
    """After the first 413 the chunks that are cut later are small enough."""
    refused = Counter[int]()

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        refused[answer.status] += 1
        return answer

    async with rig(
        watch, server=MispSimulatorOptions(body_limit=100_000), requests_in_flight=1, chunk_size=None
    ) as here:
        await here.sink.deliver(part(domains(6000)))
        assert len(here.values()) == 6000
        assert refused[413] <= 6
        assert here.sink.pace.controller.chunk <= 700


async def test_one_bad_value_does_not_slow_the_rest_down() -> None:
    """The server throws once as far as the load goes; while the guilty row is looked for it is not the load."""
    items = domains(400)
    poison = planned("poison.example", comment="smile \U0001f600")
    async with rig(**AUTO) as here:
        here.sink.pace = Pace(here.client.options, Knee(4, 200))
        await here.sink.deliver(part([*items[:70], poison, *items[70:]]))
        assert len(here.values()) == 400
        assert (here.sink.pace.controller.in_flight, here.sink.pace.controller.chunk) == (4, 67)  # half of 134


async def test_lock_trouble_leaves_one_request_an_event() -> None:
    """Where the database says deadlock, requests to one event follow one another, and those to others do not wait."""
    traffic = Traffic()

    async def deadlock(_request: web.Request, _handler: Handler) -> web.StreamResponse:
        return web.json_response({"name": DEADLOCK, "message": DEADLOCK, "url": "/events/edit"}, status=500)

    items = domains(200)
    async with rig(fault("/events/edit", deadlock), traffic.middleware, requests_in_flight=4) as here:
        await here.sink.deliver(part(items[:10]))
        traffic.most.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.sink.deliver, part(items[:100]))
            tasks.start_soon(here.sink.deliver, part(items[100:], OTHER))
        assert len(here.values()) == len(here.values(OTHER)) == 100
        assert traffic.most.pop("all") == 2
        assert set(traffic.most.values()) == {1}


async def test_pins_are_kept_whatever_happens() -> None:
    """A server that turns requests away changes neither."""
    async with rig(fault("/events/edit", *[status(503)] * 3), requests_in_flight=2, chunk_size=10) as here:
        await here.sink.deliver(part(domains(95)))
        assert (here.sink.pace.controller.in_flight, here.sink.pace.controller.chunk) == (2, 10)
        assert len(here.values()) == 95


async def test_a_cancelled_delivery_gives_its_slots_back() -> None:
    """Whoever goes on with the same sink finds all of them free."""
    reached = anyio.Event()

    @web.middleware
    async def hang(request: web.Request, handler: Handler) -> web.StreamResponse:
        if "/events/edit" in request.path and not reached.is_set():
            reached.set()
            await anyio.sleep_forever()
        return await handler(request)

    async with rig(hang, requests_in_flight=1) as here:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.sink.deliver, part(domains(50)))
            await reached.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(10):
            await here.sink.deliver(part(domains(50)))
        assert len(here.values(REF)) == 50


async def test_a_slot_is_given_back_once() -> None:
    """However often it is said."""
    async with rig(requests_in_flight=1) as here:
        pace = here.sink.pace
        slot = await pace.take()
        slot.give()
        slot.give()
        await pace.take()
        with anyio.move_on_after(0) as scope:
            await pace.take()
        assert scope.cancelled_caught


@pytest.mark.parametrize(("left", "chunks"), [(2500, [834, 833, 833]), (1000, [1000]), (1001, [501, 500]), (1, [1])])
async def test_chunks_of_a_slice_are_alike(left: int, chunks: list[int]) -> None:
    """No request is wasted on a small rest."""
    async with rig(requests_in_flight=None, chunk_size=1000) as here:
        sizes = []
        while left:
            sizes.append(here.sink.pace.cut(left))
            left -= sizes[-1]
        assert sizes == chunks
