"""A dossier as text of 80 columns, every foreign word escaped."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tqmisp.dossier import Dossier, Place, Subject
from tqmisp.observe.terminal import escape, safe

_LONG = 300
"""Characters of a word of others that are shown."""
_SERVERS = {"threatq": "ThreatQ", "misp": "MISP"}
_STATES = {
    "live": "delivered",
    "merged": "shares the attribute of indicator {owner}",
    "retired": "withdrawn, since the indicator had left the selection",
    "quarantined": "refused by MISP",
    "planned": "promised by a run that died; the next one delivers it",
    "deleted": "deleted in MISP by people; it stays out",
    "unknown": "in MISP, though this journal does not know of it",
}


def dossier(result: Dossier) -> RenderableType:
    """What is known of what was asked for, one indicator below the other."""
    parts: list[RenderableType] = []
    for server, reason in result.not_asked.items():
        parts.append(safe(f"{_SERVERS[server]} could not be asked: {reason}", "yellow", limit=2_000))
    if not result.indicators:
        known = "Nobody who could be asked knows" if result.not_asked else "Neither ThreatQ nor the journal knows"
        parts.append(Text.assemble(f"{known} ", safe(result.asked, limit=_LONG), "."))
    for subject in result.indicators:
        parts += (
            ["", *_subject(subject, asked="threatq" not in result.not_asked)]
            if parts
            else [*_subject(subject, asked="threatq" not in result.not_asked)]
        )
    return Group(*parts)


def _subject(subject: Subject, *, asked: bool) -> Iterator[RenderableType]:
    row = subject.indicator
    yield Text(f"Indicator {subject.id}", style="bold")
    facts = _facts()
    if row is not None:
        facts.add_row("value", safe(row["value"], limit=_LONG))
        facts.add_row(
            "type", safe(f"{row['type']}, {row['status'] or 'no status'}, score {row['score']:g}", limit=_LONG)
        )
        facts.add_row("touched", safe(row["touched_at"] or "unknown", limit=_LONG))
    elif asked and subject.refused is None:
        facts.add_row("ThreatQ", "has no such indicator any more")
    facts.add_row("link", safe(subject.link, limit=_LONG))
    if subject.selected is not None:
        chosen = Text("yes", style="green") if subject.selected else Text("no", style="yellow")
        if subject.why_not:
            chosen.append_text(safe(f": {subject.why_not['code']}. {subject.why_not['reason']}", limit=_LONG))
        facts.add_row("selected", chosen)
    yield _indented(facts)
    if subject.steps:
        yield Text("becomes", style="bold")
        yield _indented(_steps(subject))
    if subject.refused is not None:
        yield _indented(
            safe(
                f"{subject.refused['kind']}: {subject.refused['code']}. {subject.refused['reason']}",
                "yellow",
                limit=_LONG,
            )
        )
    for place in subject.places:
        yield safe(f"on target {place.target}", "bold", limit=_LONG)
        yield _indented(_place(place))
    for refusal in subject.refusals:
        yield safe(f"on target {refusal['target']}", "bold", limit=_LONG)
        run = f" by run {refusal['run'][:8]}" if refusal["run"] else ""
        yield _indented(safe(f"{refusal['kind']}{run}: {refusal['code']}. {refusal['reason']}", "yellow", limit=_LONG))
    if not subject.places and not subject.refusals:
        yield Text("No run has delivered or refused it.", style="dim")


def _steps(subject: Subject) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for name in ("Rule", "from", "to"):
        table.add_column(name, ratio=None if name == "Rule" else 1, overflow="fold")
    for step in subject.steps:
        table.add_row(*(safe(step[name], limit=_LONG) for name in ("rule", "before", "after")))
    if subject.becomes is not None:
        made = subject.becomes
        detects = "for detection" if made["to_ids"] else "not for detection"
        table.add_row(
            Text("attribute", style="bold"),
            safe(f"{made['type']}, {detects}", limit=_LONG),
            safe(made["value"], limit=_LONG),
        )
    return table


def _place(place: Place) -> Table:
    facts = _facts()
    facts.add_row("state", safe(_STATES[place.state].format(owner=place.owner)))
    if place.leaves is not None:
        facts.add_row("", safe(f"about to be withdrawn: {place.leaves}", "yellow", limit=_LONG))
    if place.run is not None:
        confirmed = "" if place.confirmed else ", not confirmed"
        facts.add_row("sent", safe(f"by run {place.run[:8]}, {place.sent_at}{confirmed}", limit=_LONG))
    facts.add_row("event", safe(place.info, limit=_LONG).append(f"\n{escape(place.event, limit=_LONG)}", "dim"))
    facts.add_row("attribute", safe(place.uuid))
    if place.misp is not None:
        held = place.misp
        detects = "deleted" if held.deleted else "for detection" if held.to_ids else "not for detection"
        facts.add_row("in MISP", safe(f"{held.value}, {held.category}, {detects}", limit=_LONG))
        if held.comment:
            facts.add_row("comment", safe(held.comment, limit=_LONG))
        if held.tags:
            facts.add_row("tags", safe(", ".join(held.tags), limit=_LONG))
        if held.changed_by_people:
            facts.add_row("", safe(f"changed by people: {', '.join(held.changed_by_people)}", "yellow", limit=_LONG))
        facts.add_row("link", safe(held.link, limit=_LONG))
    return facts


def _facts() -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(min_width=9, style="dim")
    table.add_column(ratio=1, overflow="fold")
    return table


def _indented(part: RenderableType) -> Padding:
    return Padding(part, (0, 0, 0, 2))
