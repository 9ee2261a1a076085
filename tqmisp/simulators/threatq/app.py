"""A ThreatQ over HTTP, as an aiohttp application.

::

    runner = web.AppRunner(create_app(generate(1000)))   # then any site of aiohttp

Besides ThreatQ's own routes there are some that no ThreatQ has, for whoever tests with it from another process; they
ask for no token:

- ``POST /_simulator/indicators`` changes the library: ``{"add": [row, ...], "change": {id: fields, ...}, "expire":
  [id, ...], "delete": [id, ...]}``, in this order, gives ``{"added": [id, ...]}``.
- ``GET /_simulator/requests`` gives how often each ``METHOD /route`` was asked for.
- ``GET`` and ``PUT /_simulator/faults`` as at the simulated MISP.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from email.utils import formatdate

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tqmisp.simulators.faults import FaultPlan
from tqmisp.simulators.threatq import errors
from tqmisp.simulators.threatq.accounts import Accounts
from tqmisp.simulators.threatq.catalog import STATUSES, TYPES, Named, Row, class_of
from tqmisp.simulators.threatq.faults import injector, name_of
from tqmisp.simulators.threatq.language import LanguageError
from tqmisp.simulators.threatq.library import Library
from tqmisp.simulators.threatq.options import ThreatQSimulatorOptions
from tqmisp.simulators.threatq.queries import Queries, body_of
from tqmisp.simulators.threatq.views import status_row, type_row

ACCOUNTS = web.AppKey("accounts", Accounts)
"""Where a test finds the tokens, to let them grow old."""
_OURS = "/_simulator/"
_TOKEN = "/api/token"  # noqa: S105  a path
_LARGEST_BODY = 64 * 2**20


def create_app(
    library: Library,
    options: ThreatQSimulatorOptions | None = None,
    *,
    middlewares: Iterable[Middleware] = (),
    faults: FaultPlan | None = None,
) -> web.Application:
    """Build the application.

    Args:
        library: the indicators; may be changed while the application serves.
        options: who may log in, and which version is played.
        middlewares: around the ThreatQ and its faults: the first one sees a request first, after it was counted.
        faults: what is to go wrong.

    Raises:
        ConfigError: a fault is meant for a route that ThreatQ does not have.
    """
    options = options if options is not None else ThreatQSimulatorOptions()
    accounts, queries, server = Accounts(options), Queries(library, options), _Server(library, options)
    inject = injector(library, accounts)
    app = web.Application(
        middlewares=[server.count, *middlewares, inject.middleware, _speak_as_threatq, _guard(accounts)],
        client_max_size=_LARGEST_BODY,
    )
    app[ACCOUNTS] = accounts
    app.add_routes(
        [
            web.post(_TOKEN, accounts.token),
            web.post("/api/indicators/query", queries.query),
            web.get("/api/indicators/query/hash/{hash}", queries.by_hash),
            web.get("/api/indicators", queries.listing),
            web.get("/api/indicators/{id:\\d+}", queries.one),
            web.get("/api/indicators/{id:\\d+}/details", queries.one),
            web.get("/api/search/query", queries.list_saved),
            web.post("/api/search/query", queries.save),
            web.post("/api/search/advanced", queries.advanced),
            web.get("/api/indicator/types", server.types),
            web.get("/api/indicator/statuses", server.statuses),
            web.get("/api/indicator/statuses/{id:\\d+}", server.status),
            web.get("/api/objects", server.objects),
            web.get("/api/connectors", server.connectors),
            web.get("/api/connectors/{id:\\d+}", server.connector),
            web.put("/api/connectors/{id:\\d+}", server.switch),
            web.get("/api/users/current", server.current_user),
            web.post(f"{_OURS}indicators", server.change),
            web.get(f"{_OURS}requests", server.counted),
        ]
    )
    routes = [resource.canonical for resource in app.router.resources() if not resource.canonical.startswith(_OURS)]
    inject.join(app, map(name_of, routes), faults)
    return app


def _guard(accounts: Accounts) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        free = request.path == _TOKEN or request.path.startswith(_OURS)
        if not free and not accounts.knows(request.headers.get("Authorization", "")):
            return errors.refused(401, errors.NO_TOKEN)
        return await handler(request)

    return guard


@web.middleware
async def _speak_as_threatq(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give errors the bodies that ThreatQ's have."""
    try:
        return await handler(request)
    except LanguageError as error:
        return errors.invalid(error.field, str(error))
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        return errors.refused(error.status, error.reason)


class _Server:
    """The lookups and the other small routes."""

    def __init__(self, library: Library, options: ThreatQSimulatorOptions) -> None:
        self._library = library
        self._options = options
        self._requests: Counter[str] = Counter()
        self._connectors = [_connector(options)] if options.misp_url else []

    @web.middleware
    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count a request, whatever comes of it."""
        route = request.match_info.route.resource
        if not request.path.startswith(_OURS):
            self._requests[f"{request.method} {route.canonical if route else request.path}"] += 1
        answer = await handler(request)
        if self._options.clock_ahead:
            answer.headers["Date"] = formatdate(time.time() + self._options.clock_ahead, usegmt=True)
        return answer

    async def types(self, _request: web.Request) -> web.Response:
        """The types that ThreatQ ships, and those that occur besides."""
        if not self._options.sees_lookups:
            return errors.answer({})
        known = [Named(number, name) for number, name in enumerate(TYPES, 1)]
        ids = {kind.id for kind in known} | {0}
        known += [kind for kind in sorted(self._library.columns.kind.values) if kind.id not in ids]
        rows = [type_row(kind.id, kind.name, class_of(kind.name)) for kind in known]
        return errors.answer({"total": len(rows), "data": rows})

    async def statuses(self, _request: web.Request) -> web.Response:
        """The statuses that ThreatQ ships."""
        if not self._options.sees_lookups:
            return errors.answer({})
        rows = [status_row(number, *words) for number, words in STATUSES.items()]
        return errors.answer({"total": len(rows), "data": rows})

    async def status(self, request: web.Request) -> web.Response:
        """One status."""
        number = int(request.match_info["id"])
        if number not in STATUSES:
            raise web.HTTPNotFound
        return errors.answer({"data": status_row(number, *STATUSES[number])})

    async def objects(self, _request: web.Request) -> web.Response:
        """The kinds of objects, as far as they concern indicators."""
        types = [{"name": name} for name in TYPES]
        statuses = [{"id": number, "name": name, "description": words} for number, (name, words) in STATUSES.items()]
        names = {"display_name": "Indicator", "display_name_plural": "Indicators", "collection": "indicators"}
        indicator = {"name": "indicator"} | names | {"types": types, "statuses": statuses}
        names = {"display_name": "Adversary", "display_name_plural": "Adversaries", "collection": "adversaries"}
        return errors.answer({"data": [indicator, {"name": "adversary"} | names | {"types": [], "statuses": []}]})

    async def connectors(self, request: web.Request) -> web.Response:
        """The connectors, or those of a name; an unknown name gives an empty list."""
        name = request.query.get("name")
        rows = [row for row in self._connectors if name in (None, row["name"])]
        return errors.answer({"total": len(rows), "data": rows})

    async def connector(self, request: web.Request) -> web.Response:
        """One connector."""
        return errors.answer({"data": self._one_connector(request)})

    async def switch(self, request: web.Request) -> web.Response:
        """Switch a connector on or off, or change its fields."""
        row = self._one_connector(request)
        changes = await body_of(request)
        row |= {name: changes[name] for name in ("is_active", "custom_fields") if name in changes}
        return errors.answer({"data": row})

    def _one_connector(self, request: web.Request) -> Row:
        for row in self._connectors:
            if row["id"] == int(request.match_info["id"]):
                return row
        raise web.HTTPNotFound

    async def current_user(self, _request: web.Request) -> web.Response:
        """Who the token belongs to."""
        return errors.answer({"data": {"id": 3, "email": self._options.email, "role": "Read Only"}})

    async def change(self, request: web.Request) -> web.Response:
        """Change the library from outside."""
        asked = await body_of(request)
        try:
            added = self._library.add(asked.get("add", []))
            for identity, changes in asked.get("change", {}).items():
                self._library.change(int(identity), changes)
            for identity in asked.get("expire", []):
                self._library.expire(identity)
            for identity in asked.get("delete", []):
                self._library.delete(identity)
        except KeyError as error:
            return errors.invalid("id", f"There is no indicator {error}.")
        return errors.answer({"added": added})

    async def counted(self, _request: web.Request) -> web.Response:
        """How often each route was asked for."""
        return errors.answer(dict(self._requests))


def _connector(options: ThreatQSimulatorOptions) -> Row:
    """The connector of 2018, as its settings stand in the user interface."""
    return {
        "id": 63,
        "name": options.connector,
        "namespace": "threatq.connectors.misp_export",
        "custom_fields": {
            "misp_url": options.misp_url,
            "misp_api_key": options.misp_key,
            "score_threshold": options.score_threshold,
        },
        "frequency": 0,
        "category_id": 4,
        "category": {"id": 4, "name": "ThreatQ Labs"},
        "indicator_status_id": 4,
        "tlp_id": None,
        "gate_oauth2_client_id": 27,
        "last_import_at": None,
        "last_import_count": None,
        "is_active": True,
        "created_at": "2024-04-30 09:00:00",
        "updated_at": "2024-04-30 09:00:00",
    }
