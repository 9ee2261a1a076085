"""A plan as text of 80 columns, every foreign word escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tqmisp.cli import render
from tqmisp.observe.plan import Estimate, Plan
from tqmisp.observe.receipt import EventLine
from tqmisp.observe.terminal import safe

_CHANGES = ("created", "updated", "retired")
_RATES = {
    "learned": "as learnt when writing to this MISP",
    "past run": "as a run in the past",
    "usual": "as is usual; nothing is known of this MISP yet",
}


def plan(result: Plan) -> RenderableType:
    """What a run would do, by reason, by event and by type, and what it would take."""
    parts: list[RenderableType] = [Text("What a run would do now; nothing was written.", style="bold")]
    for target in result.receipt.targets:
        parts += ["", render.balance(target), render.accounted(target)]
        if target.held_back:
            parts.append(safe(target.held_back, "bold yellow", limit=render.SENTENCE))
        if result.receipt.types:
            parts += ["", _read(result.receipt.types)]
        if result.changes:
            parts += ["", _types(_sums((change.type, change) for change in result.changes))]
        if target.events:
            parts += ["", _events(target.events, _sums((change.event, change) for change in result.changes))]
        parts += ["", _effort(result.estimate, target.write_requests)]
    if result.receipt.stopped_by:
        parts += ["", Text(f"Stopped by {result.receipt.stopped_by}: this is a part of the plan.", style="bold yellow")]
    return Group(*parts)


def _sums(changes: Iterable[tuple[str, object]]) -> dict[str, Counter[str]]:
    sums: dict[str, Counter[str]] = {}
    for key, change in changes:
        sums.setdefault(key, Counter()).update({name: getattr(change, name) for name in _CHANGES})
    return sums


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    first, *numbers = columns
    table.add_column(first, ratio=1)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _events(events: list[EventLine], sums: Mapping[str, Counter[str]]) -> Table:
    table = _table("Event", *_CHANGES, "then holds")
    for event in events:
        state = "new" if event.id is None else f"number {event.id}"
        title = safe(event.info, limit=200).append(f"\n{state}, {'' if event.published else 'not '}published", "dim")
        counts = sums.get(event.uuid, Counter())
        table.add_row(title, *(f"{counts[name]:,}" for name in _CHANGES), f"{event.attributes:,}")
    return table


def _types(sums: Mapping[str, Counter[str]]) -> Table:
    table = _table("Type in MISP", *_CHANGES)
    for name, counts in sorted(sums.items(), key=lambda each: (-each[1].total(), each[0])):
        table.add_row(safe(name, limit=40), *(f"{counts[change]:,}" for change in _CHANGES))
    return table


def _read(types: Mapping[str, Mapping[str, int]]) -> Table:
    table = _table("Type in ThreatQ", "read", "refused by the mapping")
    for name, counts in sorted(types.items(), key=lambda each: (-each[1]["read"], each[0])):
        table.add_row(safe(name, limit=40), f"{counts['read']:,}", f"{counts['refused']:,}")
    return table


def _effort(estimate: Estimate, requests: int) -> Text:
    if not estimate.attributes:
        return Text("It would send nothing.")
    minutes = f"about {estimate.minutes:,.0f} minutes" if estimate.minutes >= 1 else "less than a minute"
    text = Text(
        f"It would send {estimate.attributes:,} attributes, {estimate.bytes / 2**20:,.1f} MB, in {requests:,} requests"
        f" that write.\nThat takes {minutes} at {estimate.rate:,.0f} attributes a second, {_RATES[estimate.rate_from]}."
    )
    return text.append("\nWhat only MISP itself finds wrong with a value cannot be foreseen.", style="dim")
