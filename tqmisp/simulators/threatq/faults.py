"""What faults do to a ThreatQ."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

import orjson
from aiohttp import web

from tqmisp.simulators.faults.effects import COMMON, giving_up, refusing
from tqmisp.simulators.faults.inject import Effect, Injector, Strike
from tqmisp.simulators.threatq import errors
from tqmisp.simulators.threatq.accounts import Accounts
from tqmisp.simulators.threatq.library import Library


def injector(library: Library, accounts: Accounts) -> Injector:
    """Lets faults strike a ThreatQ."""

    async def expire_tokens(strike: Strike) -> web.StreamResponse:
        accounts.withdraw()
        return await strike.handler(strike.request)

    async def change_rows(strike: Strike) -> web.StreamResponse:
        active = [library.ids[place] for place in range(len(library)) if _is_active(library, place)]
        chosen = strike.draw.sample(active, min(int(strike.fault.value("rows") or 0), len(active)))
        statuses = {identity: library.get(identity)["status"] for identity in chosen}
        for identity in chosen:
            library.change(identity, {"status": "Expired"}, touch=False)
        try:
            return await strike.handler(strike.request)
        finally:
            for identity, status in statuses.items():
                library.change(identity, {"status": status})

    effects: dict[str, Effect] = COMMON | {
        "429": refusing(partial(_refused, 429)),
        "500": refusing(partial(_refused, 500)),
        "502": refusing(partial(_gateway, 502)),
        "503": refusing(partial(_gateway, 503)),
        "504": giving_up(partial(_gateway, 504)),
        "token-expired": expire_tokens,
        "cursor-repeats": _repeat_cursor,
        "short-page": _shorten,
        "rows-change": change_rows,
    }
    return Injector("threatq", effects, route_of=route_of, is_page=_is_page)


def route_of(request: web.Request) -> str:
    """The route of a request, such as ``indicators/query``."""
    route = request.match_info.route.resource
    return name_of(route.canonical if route is not None else request.path)


def name_of(path: str) -> str:
    """What the path of a route is called."""
    return path.removeprefix("/api/")


def _is_page(request: web.Request) -> bool:
    return route_of(request).startswith("indicators") and int(request.query.get("limit", 0)) > 1


def _is_active(library: Library, place: int) -> bool:
    row = library.row(place)
    return bool(library.columns.alive[place]) and (row.get("status") or {}).get("name") == "Active"


async def _repeat_cursor(strike: Strike) -> web.StreamResponse:
    answer = await strike.handler(strike.request)
    if not isinstance(answer, web.Response) or not isinstance(answer.body, bytes) or answer.status >= 300:
        return answer
    page = orjson.loads(answer.body)
    if "nextCursorMark" in page:
        asked = strike.request.query.get("cursorMark", "*")
        page["nextCursorMark"] = "*" if strike.fault.value("to") == "first" else asked
    return errors.answer(page)


async def _shorten(strike: Strike) -> web.StreamResponse:
    url = strike.request.rel_url
    half = max(1, int(url.query["limit"]) // 2)
    return await strike.handler(strike.request.clone(rel_url=url.update_query(limit=str(half))))


def _refused(status: int, _request: web.Request) -> web.Response:
    return errors.refused(status, HTTPStatus(status).phrase)


def _gateway(status: int, _request: web.Request) -> web.Response:
    title = f"{status} {HTTPStatus(status).phrase}"
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return web.Response(text=page, status=status, content_type="text/html")
