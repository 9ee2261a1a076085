"""Results for people: receipts and histories as text of 80 columns, every foreign word escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tqmisp.check import Finding
from tqmisp.misp.compare import SAMPLES
from tqmisp.observe.receipt import EventLine, Receipt, TargetReceipt
from tqmisp.observe.terminal import escape, safe
from tqmisp.verification import KINDS, Verdict

_TALLIES = ("created", "updated", "unchanged", "merged", "retired")
_REFUSALS = ("rejected", "filtered", "quarantined")
_CODE_WIDTH = 44
_AREAS = {"local": "This machine", "threatq": "ThreatQ", "misp": "MISP"}
_LEVELS = {"ok": "green", "warning": "yellow", "failure": "bold red"}
SENTENCE = 2_000
_WAITS = {"threatq": "ThreatQ", "mapping": "mapping", "misp": "MISP", "backoff": "back-off"}


def receipt(result: Receipt) -> RenderableType:
    """A receipt with one table for each target."""
    parts: list[RenderableType] = [_heading(result)]
    for target in result.targets:
        parts += ["", balance(target), accounted(target)]
        if target.held_back:
            parts.append(safe(target.held_back, "bold yellow", limit=SENTENCE))
        if target.events:
            parts += ["", _events(target.events)]
        parts += ["", _effort(target)]
    if result.stopped_by:
        parts += ["", Text(f"Stopped early by {result.stopped_by}; the next run goes on from here.", style="yellow")]
    return Group(*parts)


def _heading(result: Receipt) -> Text:
    read = max((target.read for target in result.targets), default=0)
    rate = f", {read / result.seconds:,.0f} indicators/s" if result.seconds else ""
    return Text.assemble(
        ("Run ", "bold"),
        safe(result.run_id),
        f"\nbegan {escape(result.started_at)}, took {result.seconds:,.1f} s{rate}",
    )


def balance(target: TargetReceipt) -> Table:
    """The tallies of a target, with the codes of what was refused."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(min_width=_CODE_WIDTH)
    table.add_column(justify="right", no_wrap=True)
    table.add_row(safe(f"Target {target.name}", "bold"), Text("indicators", style="dim"))
    table.add_row("read", f"{target.read:,}")
    for name in _TALLIES:
        table.add_row(f"  {name}", f"{getattr(target, name):,}")
    for name in _REFUSALS:
        codes: Mapping[str, int] = getattr(target, name)
        table.add_row(f"  {name}", f"{sum(codes.values()):,}")
        _add_codes(table, codes)
    if target.rescued:
        table.add_row("mended on the way", f"{sum(target.rescued.values()):,}")
        _add_codes(table, target.rescued)
    if target.kept:
        table.add_row("left as people made it in MISP", f"{sum(target.kept.values()):,}")
        _add_codes(table, target.kept)
    return table


def _add_codes(table: Table, codes: Mapping[str, int]) -> None:
    for code, count in sorted(codes.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(safe(f"    {code}", "dim", limit=_CODE_WIDTH), Text(f"{count:,}", style="dim"))


def accounted(target: TargetReceipt) -> Text:
    """Whether the tallies add up, or what is off."""
    if target.balanced:
        return Text(f"Balanced: {target.accounted():,} of {target.read:,} indicators accounted for.", style="green")
    text = Text(f"NOT BALANCED: {target.accounted():,} of {target.read:,} indicators accounted for.", style="bold red")
    for sentence in target.imbalance:
        text.append("\n  ").append_text(safe(sentence))
    return text


def _events(events: list[EventLine]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("Event", justify="right")
    table.add_column("Title and UUID", ratio=1)
    table.add_column("Attributes", justify="right")
    table.add_column("Published")
    for event in events:
        number = "?" if event.id is None else str(event.id)
        title = safe(event.info, limit=200).append("\n").append_text(safe(event.uuid, "dim"))
        table.add_row(number, title, f"{event.attributes:,}", "yes" if event.published else "no")
    return table


def _effort(target: TargetReceipt) -> Text:
    waits = ", ".join(
        f"{escape(_WAITS.get(name, name))} {seconds:,.1f} s" for name, seconds in target.seconds_waiting_for.items()
    )
    text = (
        f"{target.requests:,} requests to MISP, {target.write_requests:,} of them to write; {target.retries:,} retries."
    )
    lines = [text]
    if waits:
        lines.append(f"Time went to: {waits}.")
    if target.requests_in_flight is not None:
        lines.append(f"Found best: {target.requests_in_flight} requests at once of {target.chunk_size:,} attributes.")
    if target.advice:
        lines.append(escape(target.advice))
    return Text("\n".join(lines))


def verdict(result: Verdict) -> RenderableType:
    """What a comparison with MISP has found: a table of the events that differ, and some of what differs."""
    heading = Text.assemble(("Target ", "bold"), safe(result.target), f": {len(result.events):,} events")
    different = [event for event in result.events if any(getattr(event, kind).count for kind in KINDS)]
    if not different:
        return Group(heading, Text("MISP holds what was delivered.", style="green"))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("Event", ratio=1)
    for name in ("ledger", "MISP", *KINDS):
        table.add_column(name, justify="right")
    for event in different:
        counts = [event.ledger, event.misp, *(getattr(event, kind).count for kind in KINDS)]
        table.add_row(safe(event.info, limit=60), *(f"{count:,}" for count in counts))
    parts: list[RenderableType] = [heading, "", table]
    for kind in KINDS:
        samples = [sample for event in different for sample in getattr(event, kind).samples][:SAMPLES]
        parts += [Text(f"\n{kind}", style="bold")] if samples else []
        parts += [
            safe("  " + ", ".join(f"{name} {text}" for name, text in sample.items()), limit=200) for sample in samples
        ]
    if result.holds:
        parts += ["", Text("MISP holds what was delivered, but for what people have decided.", style="green")]
    elif not result.to_deliver_again:
        parts += ["", Text("Something is missing or stale: tqmisp verify --repair mends it.", style="bold red")]
    return Group(*parts)


def status(document: Mapping[str, Any]) -> RenderableType:
    """What the journal knows, from the plain data of ``status --json``."""
    parts: list[RenderableType] = [Text.assemble(("Journal ", "bold"), safe(document["state"]))]
    if not document["runs"]:
        parts.append(Text("No run has been recorded here."))
    else:
        parts += ["", _runs(document["runs"])]
    for target in document["targets"]:
        parts += ["", *_target(target)]
    return Group(*parts)


def _runs(runs: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for name in ("Run began, UTC", "Target", "Outcome"):
        table.add_column(name, no_wrap=name != "Target")
    for name in ("took", "read", "created", "updated", "refused"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in runs:
        outcome = "NOT BALANCED" if run["balanced"] is False else run["outcome"]
        numbers = ["" if run["seconds"] is None else f"{run['seconds']:,.0f} s"]
        numbers += ["" if run[name] is None else f"{run[name]:,}" for name in ("read", "created", "updated", "refused")]
        began = escape(run["started_at"])[:16].replace("T", " ")
        table.add_row(began, safe(run["target"], limit=20), safe(outcome), *numbers)
    return table


def _target(target: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield Text.assemble(("Target ", "bold"), safe(target["name"]), " at ", safe(target["url"]))
    holder = target["lock"]
    if holder:
        yield Text.assemble(
            f"At work now: process {holder['process']} on ", safe(holder["host"]), f" since {escape(holder['since'])}"
        )
    else:
        yield Text("Nobody is at work.")
    if target["open_slices"]:
        yield Text(f"Slices promised and not confirmed: {target['open_slices']:,}; the next run looks after them.")
        for each in target["oldest_open_slices"]:
            promised = escape(each["promised_at"])[:16].replace("T", " ")
            yield Text.assemble(f"  {promised}  {each['attributes']:,} attributes for ", safe(each["event"], limit=80))
    if target["events"]:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        table.add_column("Event")
        table.add_column("Attributes", justify="right")
        for event in target["events"]:
            title = safe(event["info"], limit=200).append("\n").append_text(safe(event["uuid"], "dim"))
            table.add_row(title, f"{event['attributes']:,}")
        yield from ("", table)
    if target["refused"]:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        table.add_column("Not in MISP, and why", ratio=1)
        table.add_column("indicators", justify="right")
        for refused in target["refused"]:
            table.add_row(safe(f"{refused['kind']}: {refused['code']}"), f"{refused['count']:,}")
            if refused["samples"]:
                table.add_row(safe(f"  {refused['samples'][0]['reason']}", limit=200), "")
            for sample in refused["samples"]:
                what = safe(f"  {sample['id']} {sample['type']} ", "dim")
                table.add_row(what.append_text(safe(sample["value"], limit=48)), "")
        yield from ("", table)


def findings(found: Sequence[Finding]) -> RenderableType:
    """What was looked at, area by area, with each fix below its finding."""
    failures = sum(each.level == "failure" for each in found)
    warnings = sum(each.level == "warning" for each in found)
    worst = "failure" if failures else "warning" if warnings else "ok"
    counted = f"{_count(failures, 'failure')}, {_count(warnings, 'warning')}."
    verdict = "A run would fail." if failures else "A run will work."
    return Group(finding_rows(found), Text(f"{verdict} {counted}", style=_LEVELS[worst]))


def finding_rows(found: Sequence[Finding]) -> RenderableType:
    """The findings alone."""
    parts: list[RenderableType] = []
    for area, heading in _AREAS.items():
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(ratio=1)
        for each in (each for each in found if each.area == area):
            reason = safe(each.reason, limit=SENTENCE)
            if each.fix:
                reason.append("\nFix: ", "bold").append_text(safe(each.fix, limit=SENTENCE))
            table.add_row(Text(each.level, style=_LEVELS[each.level]), Text(each.name), reason)
        if table.row_count:
            parts += [Text(heading, style="bold"), table, ""]
    return Group(*parts)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
