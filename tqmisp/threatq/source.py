"""Reading a selection of indicators from ThreatQ, page by page, in parts that can be read at the same time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson

from tqmisp.errors import ConfigError
from tqmisp.log import get_logger
from tqmisp.model import Indicator
from tqmisp.pipeline.groups import together
from tqmisp.pipeline.protocols import Page, Refusal
from tqmisp.threatq import windows
from tqmisp.threatq.census import Census
from tqmisp.threatq.client import Answer, HttpRefused, ThreatQClient
from tqmisp.threatq.lookup import Lookup
from tqmisp.threatq.options import Selection
from tqmisp.threatq.page_size import PageSize
from tqmisp.threatq.paging import Pager, rows_of
from tqmisp.threatq.query import RowFilter
from tqmisp.threatq.recognition import Recognise, Sifted, sift
from tqmisp.threatq.records import to_indicators
from tqmisp.threatq.search import Search, first_row

log = get_logger(__name__)

SMALL = 20_000
"""Results of up to so many rows are not divided."""


class ThreatQSource:
    """The indicators of a selection; implements :class:`tqmisp.pipeline.protocols.Source`.

    Args:
        client: the server.
        selection: which indicators.
        wide: read also what was touched within the time of the selection and is not selected (any more), and give it
            as refusals, so that what has left the selection can be told.
        on_total: told how many rows the server counts, before the first one is read.
        salt: names all else that decides what becomes of a row, for the stamps by which rows are recognised; without
            it there are none.
        recognise: asked which rows of a page need not be made anything of; they come as ``recognised``.

    Attributes:
        total: how many rows the server counted; None before :meth:`shards`, and where it does not say.
        missing: rows that the server announced and did not give, but for those that came in during the reading.
        not_selected: how many indicators the selection leaves where they are, by status; ``other`` are those that
            other parts of it leave. Empty before :meth:`shards`, and for a selection by time.

    Raises:
        ConfigError: the selection names a time that is none.
    """

    def __init__(
        self,
        client: ThreatQClient,
        selection: Selection,
        *,
        wide: bool = False,
        on_total: Callable[[int], None] | None = None,
        salt: bytes = b"",
        recognise: Recognise | None = None,
    ) -> None:
        self.total: int | None = None
        self.missing = 0
        self.not_selected: dict[str, int] = {}
        self._client = client
        self._selection = selection
        self._on_total = on_total
        self._wide = wide
        self._search = Search(client, selection, wide=wide)
        since, until = _moment("since", selection.since), _moment("until", selection.until)
        before = None if since is None else since - windows.SECOND  # bounds are left out of what they bound
        self._filter = RowFilter(selection, (_text(since), _text(until)))
        self._bounds: windows.Window = (_text(before), _text(until))
        self._page_size = PageSize(client.options.page_size)
        self._cursor = True
        self._prepared = False
        self._newest: str | None = None
        self._began = ""
        self._windows: list[windows.Window] | None = None
        self._positions: Mapping[int, str] = {}
        self._lookup: Lookup | None = None
        self._recognise = recognise
        self._salt = salt
        self._row_salt = 0

    def plan(self) -> dict[str, Any]:
        """What :meth:`resume` needs, as plain data."""
        return {"windows": self._windows, "began": self._began, "newest": self._newest, "cursor": self._cursor}

    def resume(self, plan: Mapping[str, Any], positions: Mapping[int, str]) -> None:
        """Go on with a reading of the same selection that was broken off; call before :meth:`shards`.

        Args:
            plan: what :meth:`plan` gave.
            positions: for the numbers of parts that were begun, the place of their last page that is done with.
        """
        self._windows = [(low, high) for low, high in plan["windows"] or ()] or None
        self._began, self._newest, self._cursor = plan["began"], plan["newest"], bool(plan["cursor"])
        self._positions = positions if self._windows else {}

    async def prepare(self) -> None:
        """Find out what the server can do, for :meth:`one`; :meth:`shards` does so, too, where nobody has yet.

        Raises:
            ConfigError: the selection names a type, a status or a data collection that does not exist.
            ThreatQError: the server cannot be read.
        """
        self._search = Search(self._client, self._selection, wide=self._wide)
        self.total = await self._search.prepare(self._bounds)
        timeless = replace(self._selection, since=None, until=None)  # each row is compared with these by itself
        settings = orjson.dumps([asdict(timeless), asdict(self._search.lookups)], option=orjson.OPT_NON_STR_KEYS)
        digest = hashlib.sha1(self._salt + settings, usedforsecurity=False).digest()
        self._row_salt = int.from_bytes(digest[:8]) >> 1
        self._prepared = True

    async def shards(self) -> Sequence[ThreatQShard]:
        """Find out what the server can do and how many rows there are, and divide them among the producers.

        Raises:
            ConfigError: the selection names a type, a status or a data collection that does not exist.
            ThreatQError: the server cannot be read.
        """
        if not self._prepared:
            await self.prepare()
        if self._windows is None:
            now = time.time() + (self._client.server_clock or 0.0)
            self._began = windows.text(datetime.fromtimestamp(now, UTC))
            self._cursor = self._search.filters
            self._windows = [self._bounds] if self.total is None else await self._divide(self.total)
        if self.total is not None:
            await self._count_the_rest(self.total)
            if self._on_total is not None:
                self._on_total(self.total)
        return [ThreatQShard(self, number, window) for number, window in enumerate(self._windows)]

    async def pages(self) -> AsyncIterator[Page[Indicator]]:
        """Yield every page, one part after the other: the simple door, without a pipeline."""
        for shard in await self.shards():
            async with aclosing(shard.pages()) as pages:
                async for page in pages:
                    yield page

    @property
    def watermark(self) -> str | None:
        """Up to which ``touched_at`` everything was read; None where nothing was, or where rows were missing.

        Taken from the rows, which share one clock with each other, and not from the clock of this machine; never later
        than the server's time at the start, since rows that were touched afterwards may have been passed over.
        """
        if self._newest is None or self.missing:
            return None
        return min(self._newest, self._began)

    @property
    def server_selects(self) -> bool:
        """Whether the server selects, as far as is known after :meth:`shards`; otherwise it gives everything."""
        return self._search.filters

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

    async def _count_the_rest(self, total: int) -> None:
        """How many indicators ThreatQ holds beside those that are selected, so that nobody looks for them in MISP."""
        if not self._search.filters or self._bounds != (None, None):
            return
        everything = await self._search.count_all()
        wanted = {name.casefold() for name in self._selection.statuses}
        others = [name for name in self._search.lookups.statuses.values() if wanted and name.casefold() not in wanted]
        if everything <= total:
            return
        counts = await together(partial(self._search.count_all, status) for status in others)
        self.not_selected.update((status, count) for status, count in zip(others, counts, strict=True) if count)
        other = everything - total - sum(self.not_selected.values())
        if other > 0:
            self.not_selected["other"] = other

    async def _divide(self, total: int) -> list[windows.Window]:
        producers = self._client.options.producers
        if total == 0:
            return []
        if total <= SMALL or producers < 2 or not self._search.filters:
            return [self._bounds]
        try:
            first, last = await together(partial(self._edge, sort) for sort in ("touched_at", "-touched_at"))
        except HttpRefused as error:
            if error.status not in {400, 422}:
                raise
            log.info("ThreatQ does not sort by time; everything is read in one part", error=str(error))
            return [self._bounds]
        if first is None or last is None:
            return [self._bounds]
        dated = (windows.text(first - windows.SECOND), self._bounds[1])
        if await self._count(dated) < total and await self._count(dated) < await self._count(self._bounds):
            log.info("some rows have no date; they are read in one part")
            return [self._bounds]
        parts = await windows.plan(first, last, total, self._count, parts=producers, least=SMALL)
        return [(low or self._bounds[0], high or self._bounds[1]) for low, high in parts]

    async def _count(self, window: windows.Window) -> int:
        return await self._search.count(window) or 0

    async def _edge(self, sort: str) -> datetime | None:
        """The second in which the first, or the last, row was touched."""
        answer = await self._search.ask(self._bounds, {"limit": "1", "sort": sort, "offset": "0"})
        touched = _date(first_row(answer).touched_at)
        return None if touched is None else touched.replace(microsecond=0)

    async def read(self, number: int, window: windows.Window) -> AsyncGenerator[Page[Indicator], None]:
        """Yield the pages of one window."""
        position, _, counted = self._positions.get(number, "").partition("\n")
        pager = Pager(self._page_size.rows, cursor=self._cursor, position=position)
        census = Census(self._search, window, self._began, counted)
        while not pager.done:
            try:
                answer = await self._page(window, pager)
            except HttpRefused as error:
                if not position or pager.position != position:
                    raise
                log.info("ThreatQ does not know this place any more; reading from the start", error=str(error))
                pager, position = Pager(self._page_size.rows, cursor=self._cursor), ""
                census = Census(self._search, window, self._began)
                continue
            if answer is None or not (rows := pager.take(answer.data)):
                continue  # a smaller page is to be asked for, or the pager went back, or is done
            census.take(rows)
            sifted = await self._sift(rows)
            indicators, refusals = to_indicators(sifted.rows, self._search.lookups, sifted.stamps)
            self._take_note([*sifted.touched, *(each.touched_at for each in indicators)])
            kept, unwanted = self._filter.apply(indicators)
            place = number, f"{pager.position}\n{census.position}"
            yield Page(kept, answer.size, refusals + unwanted, place, sifted.recognised)
        if pager.announced is not None and pager.rows < pager.announced:
            lacking = await census.lacking(pager.announced - pager.rows)
            self.missing += lacking
            (log.warning if lacking else log.info)(
                "ThreatQ gave fewer rows than it counted",
                counted=pager.announced,
                given=pager.rows,
                lacking=lacking,
            )

    async def _sift(self, rows: list[Any]) -> Sifted:
        """Part rows of which nothing needs to be made from the others."""
        if not self._salt:
            return Sifted([], [], rows, [0] * len(rows))
        return await sift(rows, self._recognise, self._row_salt, self._search.lookups, self._filter.in_period)

    def _take_note(self, moments: Iterable[str | None]) -> None:
        """Remember the newest of these moments, if it is one."""
        newest = max(filter(None, moments), default=None)
        if newest is not None and _date(newest) is not None:
            self._newest = newest if self._newest is None else max(self._newest, newest)

    async def one(self, key: int) -> Indicator | Refusal | None:
        """One indicator as it is now, or why it is not selected; None where ThreatQ has none."""
        if self._lookup is None:
            self._lookup = Lookup(self._client, self._selection)
            await self._lookup.prepare()
        found = await self._lookup.by_id(key)
        return found if found is None or isinstance(found, Refusal) else found.objection or found.indicator

    async def _page(self, window: windows.Window, pager: Pager) -> Answer | None:
        """One page; None where the server refused it and something smaller may be asked for."""
        if not pager.conceding:
            pager.limit = self._page_size.rows
        began, retries = time.monotonic(), self._client.retries
        try:
            answer = await self._search.ask(window, pager.params())
        except HttpRefused as error:
            if error.status not in {400, 413, 422} or not pager.concede():
                raise
            log.info("ThreatQ refused a page", error=str(error), next_limit=pager.limit, next_cursor=pager.by_cursor)
            return None
        if not pager.rows:
            self._cursor = pager.by_cursor
        if pager.conceding:
            self._page_size.forbid(pager.limit)
            pager.conceding = False
        if self._client.retries == retries:  # or it took as long as the server was away
            self._page_size.take(pager.limit, len(rows_of(answer.data)), time.monotonic() - began)
        return answer


class ThreatQShard:
    """The rows of one window."""

    def __init__(self, source: ThreatQSource, number: int, window: windows.Window) -> None:
        self.window = window
        self._number = number
        self._source = source

    def pages(self) -> AsyncGenerator[Page[Indicator], None]:
        """Yield the pages in the order of the ids."""
        return self._source.read(self._number, self.window)


def _moment(key: str, given: str | None) -> datetime | None:
    if given is None:
        return None
    when = _date(given)
    if when is None:
        raise ConfigError(f"[selection] {key}: {given!r} is no date such as 2026-11-24 or 2026-11-24 06:00:00")
    return when.replace(microsecond=0)


def _text(when: datetime | None) -> str | None:
    return None if when is None else windows.text(when)


def _date(given: object) -> datetime | None:
    """A date of ThreatQ; None where it is none that can be reckoned with."""
    try:
        when = windows.moment(given) if isinstance(given, str) else None
    except (ValueError, OverflowError):
        return None
    return when if when is not None and when.year >= 1000 else None
