"""The routes of the simulated ThreatQ."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from tqmisp.simulators.threatq import language
from tqmisp.simulators.threatq.library import STATUSES, TYPES, Library
from tqmisp.simulators.threatq.options import ThreatQSimulatorOptions
from tqmisp.simulators.threatq.views import database_view, library_view

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(
    library: Library,
    options: ThreatQSimulatorOptions | None = None,
    *,
    middlewares: Sequence[Middleware] = (),
) -> web.Application:
    """A web application that plays a ThreatQ which holds these indicators."""
    server = _Server(library, options or ThreatQSimulatorOptions())
    app = web.Application(middlewares=[*middlewares, server.guard], client_max_size=64 * 2**20)
    app.add_routes(
        [
            web.post("/api/token", server.token),
            web.post("/api/indicators/query", server.query),
            web.get("/api/indicators/query/hash/{hash}", server.query_by_hash),
            web.get("/api/indicators", server.listing),
            web.get("/api/indicators/{id:\\d+}", server.one),
            web.get("/api/indicators/{id:\\d+}/details", server.one),
            web.get("/api/indicator/types", server.types),
            web.get("/api/indicator/statuses", server.statuses),
            web.get("/api/search/query", server.saved_searches),
            web.get("/api/connectors", server.connectors),
            web.get("/api/users/current", server.current_user),
            web.post("/_simulator/indicators", server.change),
            web.get("/_simulator/requests", server.counted),
        ]
    )
    return app


class _Server:
    def __init__(self, library: Library, options: ThreatQSimulatorOptions) -> None:
        self.library = library
        self.options = options
        self.requests: Counter[str] = Counter()
        self.good_until: dict[str, float] = {}
        self.refresh_tokens: set[str] = set()
        self.searches: list[dict[str, Any]] = [
            {
                "id": 15,
                "name": "MISP - high confidence",
                "hash": "3f2a9c0d1e4b5a69788796a5b4c3d2e1",
                "json": {
                    "ui_query": {"criteria": {}, "filters": {}},
                    "api_query": {
                        "criteria": {},
                        "filters": {"+and": [{"status_name": "Active"}, {"score": {"+gte": 7}}]},
                    },
                },
            },
            {
                "id": 16,
                "name": "Addresses, as text",
                "hash": "4f2a9c0d1e4b5a69788796a5b4c3d2e2",
                "json": '{"api_query": {"criteria": {}, "filters": {"type_name": "IP Address"}}}',
            },
        ]

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the request, check its token, and give errors the form that ThreatQ's have."""
        route = request.match_info.route.resource
        self.requests[f"{request.method} {route.canonical if route else request.path}"] += 1
        if request.path.startswith("/api/") and request.path != "/api/token":
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or self.good_until.get(token, 0) < time.monotonic():
                return _errors(401, "The resource owner or authorization server denied the request.")
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return _errors(404, "Not Found")
        except web.HTTPMethodNotAllowed:
            return _errors(405, "Method Not Allowed")
        except (language.LanguageError, orjson.JSONDecodeError, ValueError, KeyError) as error:
            return _json({"data": {"errors": {"query": [str(error)]}}}, 400)

    async def token(self, request: web.Request) -> web.Response:
        """Every form of the login that published clients use."""
        asked: dict[str, Any] = dict(request.query)
        content = await request.read()
        if request.content_type == "application/json" and content:
            asked |= orjson.loads(content)
        elif request.content_type == "application/x-www-form-urlencoded":
            asked |= {name: str(value) for name, value in (await request.post()).items()}
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            client, _, secret = base64.b64decode(encoded).decode().partition(":")
            asked |= {"client_id": client, "client_secret": secret}
        options, grant = self.options, asked.get("grant_type")
        good = asked.get("client_id") == options.client_id
        if grant == "password":
            good = good and asked.get("email") == options.email and asked.get("password") == options.password
        elif grant == "client_credentials":
            good = good and asked.get("client_secret") == options.client_secret
        elif grant == "refresh_token":
            good = asked.get("refresh_token") in self.refresh_tokens
            self.refresh_tokens.discard(str(asked.get("refresh_token")))
        else:
            return _errors(400, "The authorization grant type is not supported by the authorization server.")
        if not good:
            return _errors(400, "The user credentials were incorrect.")
        token, refresh = secrets.token_urlsafe(30), secrets.token_urlsafe(30)
        self.good_until[token] = time.monotonic() + options.token_seconds
        answer = {"access_token": token, "token_type": "bearer", "expires_in": options.token_seconds}
        if grant != "client_credentials":
            self.refresh_tokens.add(refresh)
            answer["refresh_token"] = refresh
        return _json(answer)

    async def query(self, request: web.Request) -> web.Response:
        """The search of the Threat Library."""
        if not self.options.query_route:
            return _errors(404, "Not Found")
        asked = orjson.loads(await request.read() or b"{}")
        fields = asked.get("fields")
        if fields and not self.options.field_lists:
            return _json({"data": {"errors": {"fields": ["The fields field is not allowed."]}}}, 400)
        return await self._page(request, asked.get("criteria"), asked.get("filters"), fields)

    async def query_by_hash(self, request: web.Request) -> web.Response:
        """A saved search, by its hash."""
        for search in self.searches:
            if search["hash"] == request.match_info["hash"]:
                held = search["json"] if isinstance(search["json"], dict) else orjson.loads(search["json"])
                fields = request.query.get("fields")
                asked = held["api_query"]
                return await self._page(
                    request, asked.get("criteria"), asked.get("filters"), fields.split(",") if fields else None
                )
        return _errors(404, "Not Found")

    async def _page(self, request: web.Request, criteria: Any, filters: Any, fields: Any) -> web.Response:  # noqa: ANN401
        options, library, asked = self.options, self.library, request.query
        if options.seconds_per_page:
            await asyncio.sleep(options.seconds_per_page)
        limit = min(int(asked.get("limit", 100)), options.max_limit)
        matches = self._sorted(language.find(library, criteria, filters), asked.get("sort", "id"))
        mark = asked.get("cursorMark")
        by_cursor = mark is not None and options.cursors
        if mark is not None and by_cursor:
            start = 0 if mark == "*" else library.after(matches, int(base64.b64decode(mark)[3:]))
        else:
            start = int(asked.get("offset", 0))
        places = matches[start : start + limit]
        view = library_view(fields, answer_of_2026=options.answer_of_2026)
        answer: dict[str, Any] = {
            "total": len(matches),
            "data": [view(library.row(place)) for place in places],
            "limit": limit,
        }
        if by_cursor:
            last = b"id:%d" % library.ids[places[-1]] if places else None
            answer["nextCursorMark"] = base64.b64encode(last).decode() if last else mark
        else:
            answer["offset"] = start
        return _json(answer)

    def _sorted(self, matches: list[int], sort: str) -> list[int]:
        """Matches come in the order of the ids; another order is made once and remembered with them."""
        name = sort.split(",", maxsplit=1)[0]
        if name == "id":
            return matches
        column: dict[str, Callable[[int], Any]] = {
            "touched_at": self.library.columns.touched.__getitem__,
            "score": self.library.columns.score.__getitem__,
            "id": self.library.ids.__getitem__,
        }
        key = column.get(name.lstrip("-"), lambda place: str(self.library.row(place).get(name.lstrip("-"))))
        if name.startswith("-"):
            return sorted(matches, key=key, reverse=True)
        return sorted(matches, key=key)

    async def listing(self, request: web.Request) -> web.Response:
        """The database view, which cannot filter by status or score."""
        asked = request.query
        if self.options.seconds_per_page:
            await asyncio.sleep(self.options.seconds_per_page)
        filters = {name: asked[name] for name in ("value", "type_id", "status_id", "id") if name in asked}
        matches = language.find(self.library, {}, filters)
        start, limit = int(asked.get("offset", 0)), int(asked.get("limit", len(matches) or 1))
        wanted = asked.get("with", "").split(",")
        rows = [database_view(self.library.row(place), wanted) for place in matches[start : start + limit]]
        return _json({"total": len(matches), "data": rows})

    async def one(self, request: web.Request) -> web.Response:
        """One indicator."""
        place = self.library.place_of(int(request.match_info["id"]))
        if place is None:
            return _errors(404, "Not Found")
        return _json({"data": database_view(self.library.row(place), request.query.get("with", "").split(","))})

    async def types(self, _request: web.Request) -> web.Response:
        """The names behind the type ids."""
        rows = [{"id": number, "name": name} for number, name in enumerate(TYPES, 1)]
        return _json({"total": len(rows), "data": rows})

    async def statuses(self, _request: web.Request) -> web.Response:
        """The names behind the status ids."""
        rows = [{"id": number, "name": name, "description": text} for number, (name, text) in STATUSES.items()]
        return _json({"total": len(rows), "data": rows})

    async def saved_searches(self, _request: web.Request) -> web.Response:
        """The data collections."""
        return _json({"total": len(self.searches), "data": self.searches})

    async def connectors(self, request: web.Request) -> web.Response:
        """The connector of 2018, where the simulator was told of a MISP."""
        rows = []
        if self.options.misp_url and request.query.get("name", "MISP Export") == "MISP Export":
            rows = [
                {
                    "id": 63,
                    "name": "MISP Export",
                    "custom_fields": {
                        "misp_url": self.options.misp_url,
                        "misp_api_key": self.options.misp_key,
                        "score_threshold": self.options.score_threshold,
                    },
                    "is_active": True,
                }
            ]
        return _json({"total": len(rows), "data": rows})

    async def current_user(self, _request: web.Request) -> web.Response:
        """Who the token belongs to."""
        return _json({"data": {"id": 3, "email": self.options.email, "role": "Read Only"}})

    async def change(self, request: web.Request) -> web.Response:
        """Change the library from outside: ``{"add": [row], "change": {id: {...}}, "delete": [id]}``."""
        asked = orjson.loads(await request.read())
        added = self.library.add(asked.get("add", []))
        for identity, changes in asked.get("change", {}).items():
            self.library.change(int(identity), changes)
        for identity in asked.get("delete", []):
            self.library.delete(identity)
        return _json({"added": added})

    async def counted(self, _request: web.Request) -> web.Response:
        """How often each route was asked."""
        return _json(dict(self.requests))


def _json(body: Any, status: int = 200) -> web.Response:  # noqa: ANN401  whatever JSON holds
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def _errors(status: int, *texts: str) -> web.Response:
    return _json({"errors": list(texts)}, status)
