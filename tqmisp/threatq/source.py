"""Reading a selection of indicators from ThreatQ, page by page, in parts that can be read at the same time."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from tqmisp.errors import ConfigError
from tqmisp.model import Indicator
from tqmisp.pipeline.protocols import Page
from tqmisp.threatq import query, windows
from tqmisp.threatq.client import Answer, HttpRefused, ThreatQClient
from tqmisp.threatq.options import Selection
from tqmisp.threatq.paging import Pager
from tqmisp.threatq.records import Lookups, to_indicators

log = structlog.get_logger(__name__)

QUERY = "/api/indicators/query"
LISTING = "/api/indicators"
"""The older route, which cannot filter."""
LISTING_WITH = "type,status,score,sources,tags,adversaries,attributes"
SMALL = 20_000
"""Results of up to so many rows are not divided."""


@dataclass(slots=True)
class Plan:
    """What is found out about the server before the first row is read."""

    path: str = QUERY
    fields: Sequence[str] | None = query.FIELDS
    saved: dict[str, Any] | None = None
    types: tuple[str, ...] = ()
    lookups: Lookups = field(default_factory=Lookups)


class ThreatQSource:
    """The indicators of a selection; implements :class:`tqmisp.pipeline.protocols.Source`.

    Args:
        client: the server.
        selection: which indicators.
        on_total: told how many rows the server counts, before the first one is read.

    Attributes:
        total: how many rows the server counted; None before :meth:`shards`.
        missing: rows that the server announced and did not give.
        not_selected: how many indicators the selection leaves where they are, by status; ``other`` are those that
            other parts of it leave. Empty before :meth:`shards`, and for a selection by time.
    """

    def __init__(
        self, client: ThreatQClient, selection: Selection, *, on_total: Callable[[int], None] | None = None
    ) -> None:
        self.total: int | None = None
        self.missing = 0
        self.not_selected: dict[str, int] = {}
        self._client = client
        self._selection = selection
        self._on_total = on_total
        self._plan = Plan()
        self._filter = query.RowFilter(selection)
        self._newest: str | None = None
        self._began: str | None = None
        since = None if selection.since is None else _just_before(selection.since)
        self._bounds: windows.Window = (since, selection.until)

    async def shards(self) -> Sequence[ThreatQShard]:
        """Find out what the server can do and how many rows there are, and divide them among the producers.

        Raises:
            ConfigError: the data collection does not exist.
            ThreatQError: the server cannot be read.
        """
        self._plan = await self._prepare()
        self.total = await self._count(self._bounds)
        now = time.time() + (self._client.server_clock or 0.0)
        self._began = windows.text(datetime.fromtimestamp(now, UTC))
        await self._count_the_rest(self.total)
        if self._on_total is not None:
            self._on_total(self.total)
        if self.total == 0:
            return []
        return [ThreatQShard(self, window) for window in await self._divide(self.total)]

    async def pages(self) -> AsyncIterator[Page[Indicator]]:
        """Yield every page, one part after the other: the simple door, without a pipeline."""
        for shard in await self.shards():
            async with aclosing(shard.pages()) as pages:
                async for page in pages:
                    yield page

    @property
    def watermark(self) -> str | None:
        """Up to which ``touched_at`` everything was read; None where nothing was, or where rows were missing.

        Taken from the rows, which share one clock with each other, and not from the clock of this machine.
        """
        if self._newest is None or self._began is None or self.missing:
            return None
        return min(self._newest, self._began)

    def description(self) -> dict[str, Any]:
        """Where the indicators came from, for a receipt."""
        return {
            "url": self._client.url,
            "selection": asdict(self._selection),
            "total": self.total,
            "missing": self.missing,
            "not_selected": self.not_selected,
            "requests": self._client.requests,
            "retries": self._client.retries,
        }

    async def _prepare(self) -> Plan:
        plan = Plan(lookups=await self._lookups())
        if self._selection.collection is not None:
            plan.saved = await self._saved(self._selection.collection)
        if self._selection.exclude_types and not self._selection.types:
            unwanted = {name.casefold() for name in self._selection.exclude_types}
            names = plan.lookups.types.values()
            plan.types = tuple(sorted({name for name in names if name.casefold() not in unwanted}))
        for choice in query.FIELD_CHOICES:
            plan.fields = choice
            self._plan = plan
            try:
                await self._ask(self._bounds, {"limit": "1", "sort": "id", "offset": "0"})
            except HttpRefused as error:
                if error.status in {404, 405}:
                    log.warning("this ThreatQ has no query route; everything is read and filtered here")
                    plan.path = LISTING
                    break
                if error.status not in {400, 422} or choice is None:
                    raise
                log.info("this ThreatQ does not take our list of fields", error=str(error))
            else:
                break
        return plan

    async def _lookups(self) -> Lookups:
        """The names behind the ids; an account without the right to see them gets none, which is no harm."""
        return Lookups(await self._names("/api/indicator/types"), await self._names("/api/indicator/statuses"))

    async def _names(self, path: str) -> dict[int, str]:
        try:
            answer = await self._client.get(path)
        except HttpRefused as error:
            log.info("names are not to be had", path=path, error=str(error))
            return {}
        rows = answer.data.get("data") if isinstance(answer.data, dict) else None
        return {
            row["id"]: row["name"]
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict) and isinstance(row.get("id"), int) and isinstance(row.get("name"), str)
        }

    async def _saved(self, name: str) -> dict[str, Any]:
        """Criteria and filters of a data collection."""
        answer = await self._client.get("/api/search/query")
        rows = answer.data.get("data") if isinstance(answer.data, dict) else None
        known = []
        for row in rows if isinstance(rows, list) else []:
            if not isinstance(row, dict) or not isinstance(row.get("name"), str):
                continue
            known.append(row["name"])
            if row["name"] == name:
                held = row.get("json")
                held = orjson.loads(held) if isinstance(held, str) else held
                asked = held.get("api_query") if isinstance(held, dict) else None
                asked = orjson.loads(asked) if isinstance(asked, str) else asked
                if isinstance(asked, dict):
                    return asked
        visible = ", ".join(sorted(known)) or "none"
        raise ConfigError(
            f"[selection] collection: this account sees no data collection {name!r}; it sees: {visible}. "
            "Share the collection with the account, or mend the name."
        )

    async def _ask(self, window: windows.Window, params: dict[str, str]) -> Answer:
        plan = self._plan
        if plan.path == LISTING:
            kept = {name: value for name, value in params.items() if name != "cursorMark"}
            return await self._client.get(LISTING, kept | {"with": LISTING_WITH})
        asked = query.body(self._selection, window=window, types=plan.types, saved=plan.saved, fields=plan.fields)
        return await self._client.query(QUERY, params, asked)

    async def _count(self, window: windows.Window) -> int:
        answer = await self._ask(window, {"limit": "1", "sort": "id", "offset": "0"})
        total = answer.data.get("total") if isinstance(answer.data, dict) else None
        return total if isinstance(total, int) else 0

    async def _count_the_rest(self, total: int) -> None:
        """How many indicators ThreatQ holds beside those that are selected, so that nobody looks for them in MISP."""
        if self._plan.path == LISTING or self._bounds != (None, None):
            return
        everything = await self._count_all(Selection(statuses=()))
        wanted = {name.casefold() for name in self._selection.statuses}
        for status in self._plan.lookups.statuses.values():
            if wanted and status.casefold() not in wanted and everything > total:
                count = await self._count_all(Selection(statuses=(status,)))
                if count:
                    self.not_selected[status] = count
        other = everything - total - sum(self.not_selected.values())
        if other > 0:
            self.not_selected["other"] = other

    async def _count_all(self, selection: Selection) -> int:
        asked = query.body(selection, fields=("id",) if self._plan.fields == query.FIELDS else self._plan.fields)
        answer = await self._client.query(QUERY, {"limit": "1", "sort": "id", "offset": "0"}, asked)
        total = answer.data.get("total") if isinstance(answer.data, dict) else None
        return total if isinstance(total, int) else 0

    async def _divide(self, total: int) -> list[windows.Window]:
        producers = self._client.options.producers
        if total <= SMALL or producers < 2 or self._plan.path == LISTING:
            return [self._bounds]
        first, last = await self._edge("touched_at"), await self._edge("-touched_at")
        if first is None or last is None:
            return [self._bounds]
        everything = (windows.text(first.replace(microsecond=0) - windows.SECOND), self._bounds[1])
        if await self._count(everything) < total:
            log.info("some rows have no date; they are read in one part")
            return [self._bounds]
        parts = await windows.plan(first.replace(microsecond=0), last, total, producers, self._count_between)
        return [(low or self._bounds[0], high or self._bounds[1]) for low, high in parts]

    async def _count_between(self, window: windows.Window) -> int:
        return await self._count(window)

    async def _edge(self, sort: str) -> datetime | None:
        """When the first, or the last, row was touched."""
        answer = await self._ask(self._bounds, {"limit": "1", "sort": sort, "offset": "0"})
        rows = answer.data.get("data") if isinstance(answer.data, dict) else None
        touched = rows[0].get("touched_at") if isinstance(rows, list) and rows and isinstance(rows[0], dict) else None
        try:
            return windows.moment(touched) if isinstance(touched, str) else None
        except ValueError:
            return None

    async def read(self, window: windows.Window) -> AsyncGenerator[Page[Indicator], None]:
        """Yield the pages of one window."""
        pager = Pager(self._client.options.page_size, cursor=self._plan.path == QUERY)
        while not pager.done:
            answer = await self._ask(window, pager.params())
            rows = pager.take(answer.data)
            if not rows:
                continue  # the pager went back, or is done
            indicators, refusals = to_indicators(rows, self._plan.lookups)
            newest = max((each.touched_at for each in indicators if each.touched_at), default=None)
            if newest is not None:
                self._newest = newest if self._newest is None else max(self._newest, newest)
            kept, unwanted = self._filter.apply(indicators)
            yield Page(kept, answer.size, refusals + unwanted)
        if pager.announced is not None and pager.rows < pager.announced:
            self.missing += pager.announced - pager.rows
            log.warning("ThreatQ gave fewer rows than it counted", counted=pager.announced, given=pager.rows)


class ThreatQShard:
    """The rows of one window."""

    def __init__(self, source: ThreatQSource, window: windows.Window) -> None:
        self.window = window
        self._source = source

    def pages(self) -> AsyncGenerator[Page[Indicator], None]:
        """Yield the pages in the order of the ids."""
        return self._source.read(self.window)


def _just_before(since: str) -> str:
    """The bound that is left out of the window, for a moment that shall be in it.

    Raises:
        ConfigError: it is no date.
    """
    try:
        return windows.text(windows.moment(since) - windows.SECOND)
    except ValueError:
        raise ConfigError(
            f"[selection] since: {since!r} is no date such as 2026-11-24 or 2026-11-24 06:00:00"
        ) from None
