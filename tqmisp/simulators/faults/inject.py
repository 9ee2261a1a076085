"""A middleware that lets faults strike, and counts them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from tqmisp.errors import ConfigError
from tqmisp.simulators.faults.kinds import KINDS
from tqmisp.simulators.faults.plan import Fault, FaultPlan

OURS = "/_simulator/"
PLACE = f"{OURS}faults"


@dataclass(frozen=True, slots=True)
class Strike:
    """One request that a fault strikes.

    Attributes:
        fault: what is to happen.
        request: as the client sent it.
        handler: what would have answered.
        draw: for what an effect leaves to chance.
        behind: does something after the answer; the server waits for it when it stops.
    """

    fault: Fault
    request: web.Request
    handler: Handler
    draw: Random
    behind: Callable[[Awaitable[object]], None]


Effect = Callable[[Strike], Awaitable[web.StreamResponse]]


class Injector:
    """Lets the faults of a plan strike one server.

    Whether one does depends on the seed and on how often its route was asked for before, and not on what happens on
    other routes or how fast: the same requests meet the same faults.

    Args:
        server: ``misp`` or ``threatq``.
        effects: what to do, by kind.
        route_of: the name of the route that a request asks for.
        is_page: whether a request asks for a page of indicators.

    Attributes:
        injected: how often each route was struck by each kind.
    """

    def __init__(
        self,
        server: str,
        effects: Mapping[str, Effect],
        *,
        route_of: Callable[[web.Request], str],
        is_page: Callable[[web.Request], bool] = lambda _: False,
    ) -> None:
        self.injected: Counter[tuple[str, str]] = Counter()
        self._server = server
        self._effects = effects
        self._route_of = route_of
        self._is_page = is_page
        self._working: set[asyncio.Future[object]] = set()
        self.plan = FaultPlan()
        self.follow(self.plan)

    def follow(self, plan: FaultPlan) -> None:
        """Start over with another plan."""
        self.plan = plan
        self.injected.clear()
        self._seen: Counter[tuple[int, str]] = Counter()
        self._struck: Counter[tuple[int, str]] = Counter()
        self._draws: dict[tuple[int, str], Random] = {}
        self._rules = [each for each in enumerate(plan.faults) if each[1].server in {None, self._server}]

    def join(self, app: web.Application, routes: Iterable[str], plan: FaultPlan | None) -> None:
        """Take the faults of a plan to an application, and let it tell and change them.

        Raises:
            ConfigError: a fault is meant for a route that there is not.
        """
        known = frozenset(routes)

        def follow(plan: FaultPlan) -> None:
            for fault in plan.faults:
                if fault.server == self._server and not any(fault.hits(self._server, route) for route in known):
                    raise ConfigError(f"{fault.where!r}: there is no such route. There are: {', '.join(sorted(known))}")
            self.follow(plan)

        async def tell(_: web.Request) -> web.Response:
            return _json(self.report())

        async def change(request: web.Request) -> web.Response:
            try:
                follow(FaultPlan.parse((await request.text()).removeprefix("@")))
            except ConfigError as error:
                return _json({"error": str(error)}, 400)
            return _json(self.report())

        async def wait(_: web.Application) -> None:
            await asyncio.gather(*self._working, return_exceptions=True)

        follow(plan or FaultPlan())
        app.router.add_get(PLACE, tell)
        app.router.add_put(PLACE, change)
        app.on_cleanup.append(wait)
        app[FAULTS] = self

    def report(self) -> dict[str, Any]:
        """What was injected, route by route."""
        routes: dict[str, dict[str, int]] = {}
        for (route, kind), times in sorted(self.injected.items()):
            routes.setdefault(route, {})[kind] = times
        return {"seed": self.plan.seed, "injected": self.injected.total(), "routes": routes}

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request, or let the first fault that strikes do it."""
        if not self._rules or request.path.startswith(OURS):
            return await handler(request)
        route = self._route_of(request)
        for number, fault in self._rules:
            if not fault.hits(self._server, route) or not self._possible(fault.kind, request):
                continue
            draw = self._draws.setdefault((number, route), Random(f"{self.plan.seed} {number} {route}"))
            if self._strikes(fault, (number, route), draw.random()):
                struck = self._drawn(fault, request, draw)
                self.injected[route, struck.kind] += 1
                return await self._effects[struck.kind](Strike(struck, request, handler, draw, self._behind))
        return await handler(request)

    def _drawn(self, fault: Fault, request: web.Request, draw: Random) -> Fault:
        if fault.kind != "any":
            return fault
        kinds = [kind for kind in self._effects if kind != "rows-change" and self._possible(kind, request)]
        return Fault(where=fault.where if fault.server else f"{self._server}:*", kind=draw.choice(kinds))

    def _possible(self, kind: str, request: web.Request) -> bool:
        return kind == "any" or not KINDS[kind].pages or self._is_page(request)

    def _strikes(self, fault: Fault, here: tuple[int, str], drawn: float) -> bool:
        self._seen[here] += 1
        turn = self._seen[here] - fault.after
        if turn <= 0 or turn % fault.every or drawn >= fault.rate:
            return False
        if fault.times is not None and self._struck[here] >= fault.times:
            return False
        self._struck[here] += 1
        return True

    def _behind(self, work: Awaitable[object]) -> None:
        task = asyncio.ensure_future(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)


FAULTS = web.AppKey("faults", Injector)
"""Where a test in the same process finds the injector of an application."""


def _json(content: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")
