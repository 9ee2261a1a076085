"""A MISP over HTTP, as an aiohttp application.

::

    store = MispStore(Path("state"))            # or MispStore(): forgotten with the process
    runner = web.AppRunner(create_app(store))   # then any site of aiohttp

Besides MISP's own routes there are some that no MISP has, for whoever tests with it:

- ``GET /_simulator/summary`` gives ``{"events": [{"uuid", "info", "attributes", "published"}], "attributes": n,
  "write_requests": n}``; soft-deleted attributes are not counted.
- ``GET /_simulator/requests`` gives how often each ``METHOD /controller/action`` was asked for.
- ``GET /_simulator/faults`` gives what was injected: ``{"seed", "injected": n, "routes": {route: {kind: n}}}``; ``PUT``
  puts another plan in the place of this one, given as its text, and starts to count anew.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tqmisp.simulators.faults import FaultPlan
from tqmisp.simulators.misp.faults import injector
from tqmisp.simulators.misp.options import MispSimulatorOptions
from tqmisp.simulators.misp.paths import parse
from tqmisp.simulators.misp.routes import ROUTES
from tqmisp.simulators.misp.server import Server
from tqmisp.simulators.misp.store import MispStore

_OURS = "/_simulator/"
_SAFE = {"GET", "HEAD", "OPTIONS"}


def create_app(
    store: MispStore | None = None,
    options: MispSimulatorOptions | None = None,
    *,
    middlewares: Iterable[Middleware] = (),
    faults: FaultPlan | None = None,
) -> web.Application:
    """Build the application.

    Args:
        store: the state; a new one in memory by default. The caller closes it.
        options: who may sign in, limits, costs.
        middlewares: around the MISP and its faults: the first one sees a request first, after it was counted. To let a
            worker die in the middle of a request set :data:`tqmisp.simulators.misp.server.ROWS_TO_LIVE` on it, and
            :data:`tqmisp.simulators.misp.server.DIES_UNTAGGED` to let it die before the tags.
        faults: what is to go wrong.

    Raises:
        ConfigError: a fault is meant for a route that MISP does not have.
    """
    store = store if store is not None else MispStore()
    options = options if options is not None else MispSimulatorOptions()
    store.maintenance = store.maintenance or options.maintenance
    store.emails = {user.id: user.email for user in options.users}
    store.organisations |= {user.organisation.id: user.organisation for user in options.users}
    inject = injector()
    app = web.Application(middlewares=[_counting(store), *middlewares, inject.middleware], client_max_size=0)
    app.router.add_get(f"{_OURS}summary", _summary(store))
    app.router.add_get(f"{_OURS}requests", _requests(store))
    inject.join(app, ["/".join(key) for key in ROUTES], faults)
    app.router.add_route("*", "/{path:.*}", Server(store, options).handle)
    return app


def _counting(store: MispStore) -> Middleware:
    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(_OURS):
            asked = parse(request.rel_url.raw_path)
            store.requests[f"{request.method} /{asked.controller}/{asked.action}"] += 1
            route = ROUTES.get(asked.key)
            if route is not None and route.writes and request.method not in _SAFE:
                store.write_requests += 1
        return await handler(request)

    return count


def _summary(store: MispStore) -> Handler:
    async def summary(_: web.Request) -> web.Response:
        counts = {event.id: sum(not attribute.deleted for attribute in event.attributes) for event in store.events()}
        events = [
            {
                "uuid": event.uuid,
                "info": event.info,
                "attributes": counts[event.id],
                "published": event.published,
            }
            for event in store.events()
        ]
        return _json({"events": events, "attributes": sum(counts.values()), "write_requests": store.write_requests})

    return summary


def _requests(store: MispStore) -> Handler:
    async def requests(_: web.Request) -> web.Response:
        return _json(dict(store.requests))

    return requests


def _json(content: object) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")
