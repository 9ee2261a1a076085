"""Looking single indicators up in ThreatQ, and saying whether a selection takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tqmisp.model import Indicator
from tqmisp.pipeline.protocols import Refusal
from tqmisp.threatq.client import ThreatQClient
from tqmisp.threatq.options import Selection
from tqmisp.threatq.query import RowFilter
from tqmisp.threatq.records import to_indicator, whole
from tqmisp.threatq.search import Search


class Found(NamedTuple):
    """An indicator as ThreatQ has it now."""

    indicator: Indicator
    objection: Refusal | None
    """Why it is not selected; None where it is."""


class Lookup:
    """Asks for indicators one by one. Call :meth:`prepare` first.

    Args:
        client: the server.
        selection: of which it is said whether it takes them; bounds in time do not count.
    """

    def __init__(self, client: ThreatQClient, selection: Selection) -> None:
        self._selection = replace(selection, since=None, until=None)
        self._search = Search(client, self._selection)
        self._filter = RowFilter(self._selection)

    async def prepare(self) -> None:
        """Find out what the server can do.

        Raises:
            ConfigError: the selection names a type, a status or a data collection that does not exist.
            ThreatQError: the server cannot be read.
        """
        await self._search.prepare((None, None))

    async def by_id(self, key: int) -> Found | Refusal | None:
        """One indicator, or why its row is none; None where ThreatQ has none."""
        row = await self._search.one(key)
        if row is None:
            return None
        value = row.get("value")
        rows = await self._search.with_values([value]) if isinstance(value, str) and value else []
        # a search gives more of it, and that is what a run reads
        return await self._found(next((each for each in rows if whole(each.get("id")) == key), row))

    async def by_value(self, values: Sequence[str]) -> list[Found]:
        """All indicators that have one of these values, whatever their types."""
        rows = await self._search.with_values(values) if values else []
        found = [await self._found(row) for row in rows]
        return [each for each in found if isinstance(each, Found)]

    async def _found(self, row: dict[str, Any]) -> Found | Refusal:
        read = to_indicator(row, self._search.lookups)
        if isinstance(read, Refusal):
            return read
        _, refused = self._filter.apply([read])
        if refused:
            return Found(read, refused[0])
        if self._selection.collection is not None and not await self._search.selects(read.id, read.value):
            reason = f"The data collection {self._selection.collection!r} does not hold it."
            return Found(read, Refusal(read.id, "filtered", "not_in_collection", reason, read.type))
        return Found(read, None)
