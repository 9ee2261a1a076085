"""What faults do to a MISP; what each leaves behind is recorded in the contract, exchanges 336 to 353."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from tqmisp.simulators.faults.effects import COMMON, giving_up, refusing, stall_after
from tqmisp.simulators.faults.inject import Effect, Injector, Strike
from tqmisp.simulators.misp import refusals
from tqmisp.simulators.misp.paths import parse
from tqmisp.simulators.misp.server import DIES_UNTAGGED, ROWS_TO_LIVE, nginx_error

_ROW_BY_ROW = {"events/add", "attributes/add"}
"""The routes that save each attribute for itself; the others are one transaction."""
_TAGGING = _ROW_BY_ROW | {"events/edit", "attributes/edit"}
"""The routes that put on tags, after what they hang on has been saved."""


def injector() -> Injector:
    """Lets faults strike a MISP."""
    effects: dict[str, Effect] = COMMON | {
        "stall-after": stall_after,
        "429": refusing(partial(_problem, 429, "Rate limit exceeded.")),
        "500": refusing(partial(_problem, 500, refusals.INTERNAL)),
        "500-during": _dying(partial(_problem, 500, refusals.INTERNAL)),
        "500-after": _failing_after,
        "502": _dying(partial(_gateway, 502)),
        "untagged": _untagging,
        "503": refusing(partial(_gateway, 503)),
        "504": giving_up(partial(_gateway, 504)),
        "maintenance": refusing(_login),
    }
    return Injector("misp", effects, route_of=_route)


def _route(request: web.Request) -> str:
    return "/".join(parse(request.rel_url.raw_path).key)


def _dying(page: Callable[[web.Request], web.Response]) -> Effect:
    """An effect that ends the work in the middle; a transaction is rolled back then."""

    async def die(strike: Strike) -> web.StreamResponse:
        body = await strike.request.read()
        if _route(strike.request) in _ROW_BY_ROW:
            strike.request[ROWS_TO_LIVE] = _rows(body) // 2
            answer = await strike.handler(strike.request)
            if 300 <= answer.status < 500:
                return answer  # it is refused before there is anything to die of
        return page(strike.request)

    return die


async def _untagging(strike: Strike) -> web.StreamResponse:
    """End the work between saving something and its tags; half of the attributes have theirs."""
    if _route(strike.request) in _TAGGING:
        strike.request[ROWS_TO_LIVE] = _rows(await strike.request.read()) // 2
        strike.request[DIES_UNTAGGED] = True
        answer = await strike.handler(strike.request)
        if 300 <= answer.status < 500:
            return answer
    return _gateway(502, strike.request)


async def _failing_after(strike: Strike) -> web.StreamResponse:
    """Do everything, and fail on the answer, as PHP does without memory."""
    answer = await strike.handler(strike.request)
    return answer if answer.status >= 300 else _problem(500, refusals.INTERNAL, strike.request)


def _rows(body: bytes) -> int:
    """How many attributes a body holds."""
    try:
        data: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return 0
    for name in ("Event", "Attribute"):
        data = data[name] if isinstance(data, dict) and name in data else data
    return len(data) if isinstance(data, list) else 0


def _problem(status: int, message: str, request: web.Request) -> web.Response:
    content = {"name": message, "message": message, "url": escape(request.rel_url.raw_path)}
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")


def _gateway(status: int, _request: web.Request) -> web.Response:
    phrase = "Gateway Time-out" if status == 504 else HTTPStatus(status).phrase  # nginx's spelling
    return nginx_error(status, f"{status} {phrase}")


def _login(request: web.Request) -> web.Response:
    where = f"{request.scheme}://{request.host}/users/login"
    return web.Response(status=302, headers={"Location": where}, content_type="text/html")
