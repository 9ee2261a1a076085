"""From an HTTP request to an answer: who asks, may they, what is in the body, and MISP's and nginx's errors."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import formatdate
from html import escape
from typing import Any

import orjson
from aiohttp import web

from tqmisp.simulators.misp import refusals
from tqmisp.simulators.misp.accounts import User
from tqmisp.simulators.misp.call import HTML, JSON, Answer, Call
from tqmisp.simulators.misp.costs import FREE, Work, work_of
from tqmisp.simulators.misp.options import MispSimulatorOptions
from tqmisp.simulators.misp.paths import Asked, parse
from tqmisp.simulators.misp.refusals import Refused, SaveFailed, ServerFault, WorkerDied
from tqmisp.simulators.misp.routes import CONTROLLERS, ROUTES, Route
from tqmisp.simulators.misp.store import MispStore

ROWS_TO_LIVE = web.RequestKey("rows_to_live", int)
"""A middleware may set it on a request: the worker dies after that many attributes and leaves what MISP would."""
DIES_UNTAGGED = web.RequestKey("dies_untagged", bool)
"""Beside it: the worker dies between something that is saved and its tags, which are saved for themselves."""

_NGINX = "nginx/1.22.1"
_NGINX_PAGE = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n<hr><center>"
    + _NGINX
    + "</center>\r\n</body>\r\n</html>\r\n"
)
_KEY = re.compile("[a-zA-Z0-9]{40}")
_WINDOW = 900
"""Seconds for which searches are counted."""
_CONTENT_POLICY = (
    "default-src 'self' data: 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; object-src 'none'; "
    "frame-ancestors 'none'; worker-src 'none'; child-src 'none'; frame-src 'none'; base-uri 'self'; img-src 'self' "
    "data:; font-src 'self'; form-action 'self'; connect-src 'self'; manifest-src 'none'; report-uri /servers/cspReport"
)


class Server:
    """The one handler of the application."""

    def __init__(self, store: MispStore, options: MispSimulatorOptions) -> None:
        self._store = store
        self._options = options
        self._users = {user.key: user for user in options.users}
        self._searches: dict[int, tuple[int, float]] = {}
        self._workers = asyncio.Semaphore(options.workers) if options.workers is not None else None
        self._costs = options.costs
        self._busy = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request to MISP."""
        if (request.content_length or 0) > self._options.body_limit:
            return nginx_error(413, "413 Request Entity Too Large", close=True)
        body = await request.read()  # like nginx: a client that leaves before the end has asked for nothing
        if len(body) > self._options.body_limit:
            return nginx_error(413, "413 Request Entity Too Large", close=True)
        asked = parse(request.rel_url.raw_path)
        headers: dict[str, str] = {}
        if self._options.clock_ahead:
            headers["Date"] = formatdate(time.time() + self._options.clock_ahead, usegmt=True)
        try:
            async with self._worker():
                answer = await self._answer(request, asked, body, headers)
        except WorkerDied:
            return nginx_error(502, "502 Bad Gateway")
        except Refused as refused:
            headers |= refused.headers
            answer = _problem(refused.status, refused.message, refused.url or request.rel_url.raw_path)
        except SaveFailed as failed:
            answer = _not_saved(failed)
        except ServerFault:
            answer = _problem(500, refusals.INTERNAL, request.rel_url.raw_path)
        return web.Response(
            body=answer.body,
            status=answer.status,
            headers={
                "Server": _NGINX,
                "Content-Type": answer.content_type,
                "X-Powered-By": "PHP/8.2.36",
                "Set-Cookie": f"CAKEPHP={secrets.token_hex(13)}; path=/; HttpOnly",
                **headers,
                **answer.headers,
            },
        )

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[None]:
        if self._workers is None:
            yield
            return
        async with self._workers:
            yield

    async def _answer(self, request: web.Request, asked: Asked, body: bytes, headers: dict[str, str]) -> Answer:
        base_url = f"{request.scheme}://{request.host}"
        login = Answer(status=302, content_type=HTML, headers={"Location": f"{base_url}/users/login"})
        if not (asked.json or "json" in request.headers.get("Accept", "")):
            if asked.key == ("users", "login"):
                return Answer(b"<html><body>Login</body></html>", content_type=HTML)
            login.headers |= {
                "Content-Security-Policy-Report-Only": _CONTENT_POLICY,
                "X-XSS-Protection": "1; mode=block",
            }
            return login
        user = self._user(request)
        if user.expiration is not None:
            headers["X-Auth-Key-Expiration"] = user.expiration
        if self._store.maintenance and not user.site_admin:
            return login
        route = _route(asked, user)
        if route.limited:
            headers |= self._count_search(user, asked)
        data = _decode(request, body)
        await self._work(route, asked, data)
        call = Call(
            store=self._store,
            options=self._options,
            user=user,
            method=request.method,
            args=asked.args,
            named=asked.named,
            data=data,
            base_url=base_url,
            rows_to_live=request.get(ROWS_TO_LIVE),
            dies_untagged=request.get(DIES_UNTAGGED, False),
        )
        try:
            return route.handler(call)
        finally:
            self._store.commit()  # also what was saved before it failed

    def _user(self, request: web.Request) -> User:
        """Who asks.

        Raises:
            Refused: nobody that we know.
        """
        sent: str = request.headers.get("X-Misp-Auth") or request.headers.get("Authorization") or ""
        keys = (key.strip() for key in sent.split(","))
        user = next((self._users[key] for key in keys if _KEY.fullmatch(key) and key in self._users), None)
        if user is None or self._expired(user):
            raise Refused(403, refusals.AUTHENTICATION_FAILED)
        if user.allowed_ips and request.remote not in user.allowed_ips:
            raise Refused(403, refusals.WRONG_ADDRESS)
        if user.disabled:
            raise Refused(403, refusals.DISABLED)
        return user

    def _expired(self, user: User) -> bool:
        return user.expiration is not None and datetime.fromisoformat(user.expiration).timestamp() <= self._store.now()

    def _count_search(self, user: User, asked: Asked) -> dict[str, str]:
        """Count a search against the limit of a role (recordings 304 to 307).

        Raises:
            Refused: it is one too many, or the role may not search at all.
        """
        limit = user.role.rate_limit
        if limit is None:
            return {}
        if limit == 0:
            raise Refused(405, "API searches are not allowed for this user role.")
        now = self._store.now()
        count, began = self._searches.get(user.id, (0, now))
        if now - began >= _WINDOW:
            count, began = 0, now
        exceeded = count >= limit
        if not exceeded:
            count += 1
            self._searches[user.id] = count, began
        headers = {
            "X-Rate-Limit-Limit": str(limit),
            "X-Rate-Limit-Remaining": str(limit - count),
            "X-Rate-Limit-Reset": str(int(began + _WINDOW - now)),
        }
        if exceeded:
            raise Refused(429, "Rate limit exceeded.", headers=headers, url=f"/{asked.controller}/{asked.action}")
        return headers

    async def _work(self, route: Route, asked: Asked, data: Any) -> None:  # noqa: ANN401 - JSON
        """Take the time that a real server would."""
        if self._costs == FREE:
            return
        work = work_of(self._store, asked.args[0] if asked.args else None, data) if route.writes else Work()
        self._busy += 1
        try:
            await asyncio.sleep(self._costs.seconds(work, self._busy) * self._store.slowness)
        finally:
            self._busy -= 1


def _route(asked: Asked, user: User) -> Route:
    """The route to a handler.

    Raises:
        Refused: there is none, or it is not for this user.
    """
    if asked.controller not in CONTROLLERS:
        raise Refused(404, "Not Found")
    route = ROUTES.get(asked.key)
    if route is None:
        raise Refused(404, "Not Found") if user.site_admin else Refused(403, refusals.NO_PERMISSION)
    if route.permission and not user.may(route.permission) and not user.site_admin:
        raise Refused(403, refusals.NO_PERMISSION)
    return route


def _decode(request: web.Request, body: bytes) -> Any:  # noqa: ANN401 - JSON
    """The body; None for an empty one, and for one that does not say that it is JSON (recordings 18 and 19).

    Raises:
        Refused: it is not JSON (recordings 17, 150 and 151).
    """
    if not body or "json" not in request.headers.get("Content-Type", ""):
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused(405, refusals.BAD_JSON) from None


def _problem(status: int, message: str, url: str) -> Answer:
    content = {"name": message, "message": message, "url": escape(url)}
    return Answer(orjson.dumps(content), status, JSON)


def _not_saved(failed: SaveFailed) -> Answer:
    content: dict[str, Any] = {
        "saved": False,
        "name": failed.message,
        "message": failed.message,
        "url": failed.url,
        "errors": failed.errors,
    }
    if failed.id is not None:
        content["id"] = str(failed.id)
    return Answer(orjson.dumps(content), 403, JSON)


def nginx_error(status: int, title: str, *, close: bool = False) -> web.Response:
    """An error page of the web server before MISP.

    Args:
        status: of HTTP.
        title: such as ``502 Bad Gateway``.
        close: hang up after it, as the body of the request was not read.
    """
    response = web.Response(
        body=_NGINX_PAGE.format(title).encode(),
        status=status,
        headers={"Server": _NGINX, "Content-Type": "text/html"},
    )
    if close:
        response.force_close()
    return response
