"""The searches of the Threat Library: by a query, by a saved one, and by the older language."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from tqmisp.simulators.threatq import codec, errors, language
from tqmisp.simulators.threatq.catalog import Row
from tqmisp.simulators.threatq.language import LanguageError
from tqmisp.simulators.threatq.library import Library
from tqmisp.simulators.threatq.options import ThreatQSimulatorOptions
from tqmisp.simulators.threatq.paging import Order
from tqmisp.simulators.threatq.views import database_view, library_view

LIMIT = 100
"""Rows of a page where the request does not say; the real number is not known."""


class Queries:
    """Answers searches.

    Attributes:
        saved: the data collections, and the searches that were made without a name.
    """

    def __init__(self, library: Library, options: ThreatQSimulatorOptions) -> None:
        self.saved = _collections()
        self._library = library
        self._options = options

    async def query(self, request: web.Request) -> web.Response:
        """``POST /api/indicators/query``."""
        if not self._options.query_route:
            raise web.HTTPNotFound
        asked = await body_of(request)
        return await self._page(request.query, asked.get("criteria"), asked.get("filters"), asked.get("fields"))

    async def by_hash(self, request: web.Request) -> web.Response:
        """``GET /api/indicators/query/hash/{hash}``."""
        wanted = request.match_info["hash"]
        for search in self.saved:
            if wanted in {search["hash"], str(search["id"])}:
                held = search["json"] if isinstance(search["json"], dict) else orjson.loads(search["json"])
                asked = held.get("api_query") or {}
                fields = request.query.get("fields")
                return await self._page(
                    request.query, asked.get("criteria"), asked.get("filters"), fields.split(",") if fields else None
                )
        raise web.HTTPNotFound

    async def list_saved(self, _request: web.Request) -> web.Response:
        """``GET /api/search/query``: the data collections that the account sees."""
        named = [search for search in self.saved if search["name"] is not None]
        return errors.answer({"total": len(named), "data": named})

    async def save(self, request: web.Request) -> web.Response:
        """``POST /api/search/query``: make a search, which is saved if it has a name."""
        asked = await body_of(request)
        held = asked.get("json")
        if not isinstance(held, (dict, str)):
            return errors.invalid("json", "The json field is required.")
        digest = hashlib.md5(orjson.dumps(held), usedforsecurity=False).hexdigest()
        number = max(search["id"] for search in self.saved) + 1
        search = {"id": number, "name": asked.get("name"), "hash": digest, "json": held}
        self.saved.append(search)
        return errors.answer({"data": search}, 201)

    async def advanced(self, request: web.Request) -> web.Response:
        """``POST /api/search/advanced``: the search of older servers.

        Of its language two fields and two operators are known; that the inner lists are joined by "and" and the outer
        one by "or" is inferred.
        """
        asked = await body_of(request)
        groups = asked.get("indicators")
        if not isinstance(groups, list):
            return errors.invalid("indicators", "The indicators field is required.")
        filters = {"+or": [{"+and": [_translated(test) for test in group]} for group in groups]} if groups else {}
        query = language.parse({}, filters, now=self._library.now())
        places = Order("").find(self._library, query)
        start, limit = _whole(request.query, "offset", 0), _whole(request.query, "limit", 1_000)
        rows = [_brief(self._library.row(place)) for place in places[start : start + limit]]
        return errors.answer({"total": len(places), "data": rows})

    async def listing(self, request: web.Request) -> web.Response:
        """``GET /api/indicators``: the database view, which cannot filter by score; without a limit, everything."""
        asked = request.query
        await asyncio.sleep(self._options.seconds_per_page)
        filters = [
            {"+or": [_pattern(name, each) for each in asked[name].split(",")]}
            for name in ("id", "value", "type_id", "status_id")
            if name in asked
        ]
        query = language.parse({}, {"+and": filters}, now=self._library.now())
        places = Order(asked.get("sort", "")).find(self._library, query)
        start, limit = _whole(asked, "offset", 0), _whole(asked, "limit", len(places))
        wanted = asked.get("with", "").split(",")
        rows = [database_view(self._library.row(place), wanted) for place in places[start : start + limit]]
        return errors.answer({"total": len(places), "data": rows})

    async def one(self, request: web.Request) -> web.Response:
        """``GET /api/indicators/{id}``, and the same with ``/details``."""
        try:
            row = self._library.get(int(request.match_info["id"]))
        except KeyError:
            raise web.HTTPNotFound from None
        return errors.answer({"data": database_view(row, request.query.get("with", "").split(","))})

    async def _page(self, asked: Mapping[str, str], criteria: object, filters: object, fields: object) -> web.Response:
        """A page of what a query finds; the mark takes the place of the offset."""
        options, library = self._options, self._library
        await asyncio.sleep(options.seconds_per_page)
        view = library_view(self._fields(fields), answer_of_2026=options.answer_of_2026)
        order = Order(asked.get("sort", ""))
        places = order.find(library, language.parse(criteria, filters, now=library.now()))
        limit = min(_whole(asked, "limit", LIMIT), options.max_limit)
        mark = asked.get("cursorMark") if options.cursors else None
        start = _whole(asked, "offset", 0) if mark is None else order.after(library, places, mark)
        page = places[start : start + limit]
        rows = b",".join([view(library, place) for place in page])
        end: dict[str, Any] = {"limit": limit}
        if mark is None:
            end["offset"] = start
        else:
            end["nextCursorMark"] = order.mark(library, page[-1]) if page else mark
        data = b"{}" if options.end_as_object and not page else b"[%b]" % rows
        body = b'{"total":%d,"data":%b,%b' % (len(places), data, orjson.dumps(end)[1:])
        return web.Response(body=body, content_type="application/json")

    def _fields(self, given: object) -> list[str]:
        if not given or self._options.fields_ignored:
            return []
        if not self._options.field_lists:
            raise LanguageError("fields", "The fields field is not allowed.")
        if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
            raise LanguageError("fields", "The fields must be an array.")
        return given


async def body_of(request: web.Request) -> Row:
    """The JSON object that a request carries; an empty one where it carries nothing.

    Raises:
        LanguageError: it is no JSON object.
    """
    raw = await request.read()
    try:
        body = codec.loads(raw) if raw else {}
    except ValueError:
        raise LanguageError("body", "The request is not valid JSON.") from None
    if not isinstance(body, dict):
        raise LanguageError("body", "The request must be a JSON object.")
    return body


def _whole(asked: Mapping[str, str], name: str, default: int) -> int:
    try:
        number = int(asked.get(name, default))
    except ValueError:
        raise LanguageError(name, f"The {name} must be an integer.") from None
    if number < 0:
        raise LanguageError(name, f"The {name} must be at least 0.")
    return number


def _pattern(name: str, text: str) -> Row:
    """A filter of the database view; ``%`` stands for anything at either end of a value."""
    return {name: {"+contains": text.strip("%")}} if name == "value" and "%" in text else {name: text}


def _translated(test: object) -> Row:
    """A test of the older language in the newer one."""
    given = test if isinstance(test, dict) else {}
    name = {"indicator_type": "type_id", "indicator_status": "status_id", "indicator_value": "value"}.get(
        str(given.get("field"))
    )
    if name is None:
        raise LanguageError("field", f"The field {given.get('field')} is unknown.")
    if given.get("operator") == "is":
        return {name: given.get("value")}
    if given.get("operator") == "like" and name == "value":
        return {name: {"+contains": given.get("value")}}
    raise LanguageError("operator", f"The operator {given.get('operator')} is unknown.")


def _brief(row: Row) -> Row:
    """A row of the older search."""
    shown: Row = {"id": row["id"], "value": row.get("value")}
    for name in ("type", "status"):
        held = row.get(name) or {}
        shown[name] = {"id": held.get("id"), "name": held.get("name")}
    return shown


def _collections() -> list[Row]:
    """Two data collections: servers hold the query of one as an object, and of another as text."""
    interface = {"columns": {}, "criteria": {}, "filters": {}, "objects": {"current": "indicators", "selected": []}}
    confident = {"criteria": {}, "filters": {"+and": [{"status_name": "Active"}, {"score": {"+gte": 7}}]}}
    return [
        {
            "id": 15,
            "name": "MISP - high confidence",
            "hash": "3f2a9c0d1e4b5a69788796a5b4c3d2e1",
            "json": {"ui_query": interface, "api_query": confident},
        },
        {
            "id": 16,
            "name": "Addresses, as text",
            "hash": "4f2a9c0d1e4b5a69788796a5b4c3d2e2",
            "json": '{"api_query": {"criteria": {}, "filters": {"type_name": "IP Address"}}}',
        },
    ]
