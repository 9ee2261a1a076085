"""A selection, as requests that one ThreatQ takes, whatever its age."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson

from tqmisp.errors import ConfigError, ThreatQRefused
from tqmisp.log import get_logger
from tqmisp.pipeline.groups import together
from tqmisp.threatq import query
from tqmisp.threatq.client import Answer, HttpRefused, ThreatQClient
from tqmisp.threatq.options import Selection
from tqmisp.threatq.paging import rows_of, total_of
from tqmisp.threatq.records import Lookups, spelled, whole
from tqmisp.threatq.rows import Row, as_row, loads_page
from tqmisp.threatq.windows import Window

log = get_logger(__name__)

QUERY = "/api/indicators/query"
LISTING = "/api/indicators"
"""The older route, which cannot filter."""
LISTING_WITH = "type,status,score,sources,tags,adversaries,attributes"
LIST_LIMIT = 1000
"""Types, statuses or data collections a page, where a server does not give all at once."""
VALUES_LIMIT = 100
"""Indicators with the same value that are looked at; they differ in their types."""


class Search:
    """What was found out about a server, and how to ask it for a selection.

    Attributes:
        lookups: the names behind the ids.
        filters: whether the server selects; otherwise it gives everything.
    """

    def __init__(self, client: ThreatQClient, selection: Selection, *, wide: bool = False) -> None:
        self.lookups = Lookups()
        self.filters = True
        self._client = client
        self._selection = selection
        self._wide = wide
        self._saved: dict[str, Any] | None = None
        self._fields: Sequence[str] | None = query.FIELDS

    async def prepare(self, window: Window) -> int | None:
        """Find out which names, route and fields there are; return how many rows the server counts, if it does.

        Raises:
            ConfigError: the selection names what does not exist.
            ThreatQError: the server cannot be read.
        """
        lists = ("/api/indicator/types", "/api/indicator/statuses")
        types, statuses = await together(partial(self._names, path) for path in lists)
        self.lookups = Lookups(types or {}, statuses or {})
        self._selection = query.in_names_of(
            self._selection, frozenset((types or {}).values()), frozenset((statuses or {}).values())
        )
        if self._wide:
            self._selection = query.widened(self._selection)
        self._saved = await self.collection()
        for self._fields in query.FIELD_CHOICES:
            try:
                return await self.count(window)
            except HttpRefused as error:
                if error.status in {404, 405}:
                    break
                if error.status not in {400, 422} or self._fields is None:
                    raise
                log.info("ThreatQ does not take this list of fields; trying another", error=str(error))
        if self._saved is not None:
            raise ThreatQRefused(
                f"POST {QUERY}: this ThreatQ is too old to search by a data collection. "
                "Leave [selection] collection out."
            )
        log.warning("this ThreatQ has no query route: everything is read, and selected here", route=LISTING)
        self.filters = False
        return await self.count(window)

    async def ask(self, window: Window, params: dict[str, str]) -> Answer:
        """Send one request for the rows that were touched within a window."""
        if not self.filters:
            kept = {name: value for name, value in params.items() if name != "cursorMark"}
            return await self._client.get(LISTING, kept | {"with": LISTING_WITH}, loads_page)
        asked = query.body(self._selection, window=window, saved=self._saved, fields=self._fields)
        return await self._client.query(QUERY, params, asked, loads_page)

    async def one(self, key: int) -> dict[str, Any] | None:
        """The row of one indicator, whatever the selection says; None where ThreatQ has none."""
        try:
            answer = await self._client.get(f"{LISTING}/{key}", {"with": LISTING_WITH})
        except HttpRefused as error:
            if error.status in {404, 410}:
                return None
            raise
        row = answer.data.get("data") if isinstance(answer.data, dict) else None
        if not isinstance(row, dict):
            raise ThreatQRefused(f"GET {LISTING}/{key}: ThreatQ answered with something that is no indicator.")
        return None if row.get("deleted_at") else row

    async def with_values(self, values: Sequence[str]) -> list[dict[str, Any]]:
        """The rows that have one of these values, whatever the selection says; a hundred at most."""
        limit = {"limit": str(VALUES_LIMIT), "sort": "id", "offset": "0"}
        if self.filters:
            tests = [{"value": value} for value in values]
            asked: dict[str, Any] = {"criteria": {}, "filters": {"+or": tests}}
            answer = await self._client.query(QUERY, limit, asked | query.asking_for(self._fields))
            rows = rows_of(answer.data)
        else:
            rows = []
            for value in values:  # a comma or a percent sign would mean more than itself
                asked_for = {"value": value, "with": LISTING_WITH}
                rows += rows_of((await self._client.get(LISTING, limit | asked_for)).data)
        wanted = {value.casefold() for value in values}
        return [row for row in rows if isinstance(row, dict) and str(row.get("value")).casefold() in wanted]

    async def selects(self, key: int, value: str) -> bool:
        """Whether the server gives an indicator when it is asked for the selection."""
        asked = query.body(self._selection, saved=self._saved, fields=self._fields)
        asked["filters"] = {"+and": [*asked["filters"].get("+and", ()), {"value": value}]}
        answer = await self._client.query(QUERY, {"limit": str(VALUES_LIMIT), "sort": "id", "offset": "0"}, asked)
        return any(isinstance(row, dict) and whole(row.get("id")) == key for row in rows_of(answer.data))

    async def count(self, window: Window) -> int | None:
        """How many rows a window has; None where the server does not say.

        Raises:
            ThreatQRefused: the account may not read indicators.
        """
        return total_of((await self.ask(window, {"limit": "1", "sort": "id", "offset": "0"})).data)

    async def count_all(self, *statuses: str) -> int:
        """How many indicators have one of these statuses, or any, whatever else the selection says."""
        fields = ("id",) if self._fields == query.FIELDS else self._fields
        asked = query.body(Selection(statuses=statuses), fields=fields)
        answer = await self._client.query(QUERY, {"limit": "1", "sort": "id", "offset": "0"}, asked)
        return total_of(answer.data) or 0

    async def _names(self, path: str) -> dict[int, str] | None:
        """The names behind ids; None where they cannot all be seen, which many accounts may not."""
        try:
            rows = await self._list(path)
        except HttpRefused as error:
            log.info("names are not to be had", path=path, error=str(error))
            return None
        names = {whole(row.get("id")): row.get("name") for row in rows or ()}
        return {
            number: spelled(name)
            for number, name in names.items()
            if number is not None and isinstance(name, str) and name
        }

    async def _list(self, path: str) -> list[dict[str, Any]] | None:
        """All rows of a small list; None where the server does not give as many as it says there are."""
        rows: list[dict[str, Any]] = []
        params: dict[str, str] = {}
        while True:
            answer = await self._client.get(path, params)
            if not answer.data:
                return rows  # what an account gets that may not see the list
            page = [row for row in rows_of(answer.data) if isinstance(row, dict)]
            total = total_of(answer.data)
            if rows and page[:1] == rows[:1]:
                return None  # it takes no notice of the offset
            rows += page
            if total is None or len(rows) >= total:
                return rows
            if not page:
                return None
            params = {"limit": str(LIST_LIMIT), "offset": str(len(rows))}

    async def collection(self) -> dict[str, Any] | None:
        """Criteria and filters of the data collection of the selection, with all its tests; None where it has none.

        To leave a test out would select more.

        Raises:
            ConfigError: the account sees none of that name.
            ThreatQRefused: it is held in a form that is not known.
        """
        name = self._selection.collection
        if name is None:
            return None
        rows = await self._list("/api/search/query") or []
        for row in rows:
            if row.get("name") == name:
                return _query_of(row, name)
        visible = ", ".join(sorted({repr(row["name"]) for row in rows if isinstance(row.get("name"), str)})) or "none"
        raise ConfigError(
            f"[selection] collection: this account sees no data collection {name!r}; it sees: {visible}. "
            "Share the collection with the account, or mend the name."
        )


def _query_of(row: dict[str, Any], name: str) -> dict[str, Any]:
    """The query inside a data collection; either may be held as text."""
    try:
        held = _decoded(row.get("json"))
        asked = _decoded(held.get("api_query")) if isinstance(held, dict) else None
    except orjson.JSONDecodeError:
        asked = None
    if not isinstance(asked, dict) or not all(
        isinstance(asked.get(part) or {}, dict) for part in ("criteria", "filters")
    ):
        raise ThreatQRefused(
            f"GET /api/search/query: the data collection {name!r} holds no query that can be understood. "
            "Open it in ThreatQ's user interface and save it again, or leave [selection] collection out."
        )
    return asked


def _decoded(held: object) -> object:
    return orjson.loads(held) if isinstance(held, str) else held


def first_row(answer: Answer) -> Row:
    """The first row of a page; an empty one where there is none."""
    rows = rows_of(answer.data)
    return (as_row(rows[0]) if rows else None) or Row()
