"""The report: one page that shows a run, what became of its indicators, and what others say of them, without a network.

The page holds its styles, its pictures and its script, and loads nothing. Every value on it is somebody else's: what
acts on a reader is spelled out as on a terminal, then markup is escaped, both for whatever the template prints.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tqmisp.observe import charts
from tqmisp.observe.charts import Part
from tqmisp.observe.logs import redact
from tqmisp.observe.receipt import TargetReceipt
from tqmisp.observe.terminal import escape

MOST_ROWS = 2_000
"""Refused indicators on the page; more of them are no longer looked through, but searched for in the CSV file."""
MOST_BARS = 20
"""Types or codes that get a line of their own."""
VALUE_CHARACTERS = 300
"""Of a value or a reason that are shown."""
LABEL_CHARACTERS = 80
"""Of a type or a code beside a bar."""
TEXT_CHARACTERS = 500
"""Of any other text that are shown."""
NUMBERS = ("created", "updated", "unchanged", "merged", "retired")
REFUSALS = ("rejected", "filtered", "quarantined")
_OTHER_COUNTS = ("rescued", "kept")
_WAITS = {"threatq": "ThreatQ", "mapping": "mapping", "journal": "journal", "misp": "MISP", "backoff": "back-off"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A line of a chart: what, how many, and the picture of it."""

    label: str
    count: float
    share: float
    """Of the whole; 0..1."""
    drawing: Markup
    css: str = ""


def render(document: Mapping[str, Any]) -> str:
    """Make the page.

    Args:
        document: plain data as ``tqmisp report --json`` prints it: ``generated_at``, ``state``, ``run`` (None if there
            is none), ``receipt`` (as ``run --json`` prints it, or None), ``runs`` and ``targets`` (as ``status --json``
            prints them, the samples included).

    Returns:
        HTML, to be written as UTF-8.
    """
    receipt = document["receipt"] or {}
    urls = {target["name"]: target["url"] for target in document["targets"]}
    rows = [row for target in document["targets"] for row in _rows(target)]
    script = _file("report.js")
    return (
        _environment()
        .get_template("report.html")
        .render(
            document=document,
            receipt=receipt,
            receipts=[_target(line, urls.get(line["name"], "")) for line in receipt.get("targets", ())],
            whole=charts.bar([Part("read", 0.0, 1.0)]),
            timeline=_timeline(receipt.get("timeline", ())),
            types=_types(receipt.get("types", {})),
            rows=rows[:MOST_ROWS],
            refused=sum(reason["count"] for target in document["targets"] for reason in target["refused"]),
            script=Markup(script),  # noqa: S704  our own file
            style=Markup(_file("report.css")),  # noqa: S704  our own file
            policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_digest(script)}'; "
            "base-uri 'none'; form-action 'none'",
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("tqmisp.observe"),
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "duration": _duration,
        "moment": _moment,
        "percent": _percent,
        "label": _label,
    }
    return environment


def _shown(value: object) -> object:
    """What the template prints: neither a secret nor anything that acts; our own markup as it is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape(redact(value), limit=TEXT_CHARACTERS)
    return value


def _file(name: str) -> str:
    return (resources.files("tqmisp.observe") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _target(line: Mapping[str, Any], url: str) -> dict[str, Any]:
    """One target of the receipt, as the template shows it."""
    known = {each.name for each in fields(TargetReceipt)}
    accounted = TargetReceipt(**{name: value for name, value in line.items() if name in known}).accounted()
    waits = {_WAITS.get(name, name): seconds for name, seconds in line["seconds_waiting_for"].items()}
    return {
        "line": line,
        "url": address(url),
        "accounted": accounted,
        "held_back": line.get("held_back"),
        "funnel": _funnel(line, max(line["read"], accounted)),
        "reasons": [(kind, _bars(line[kind], css=kind)) for kind in (*REFUSALS, *_OTHER_COUNTS) if line.get(kind)],
        "waits": _bars(waits, css="misp", most=len(waits)),
        "events": [event | {"link": link(url, event["id"])} for event in line["events"]],
    }


def _funnel(line: Mapping[str, Any], whole: int) -> list[Bar]:
    """One bar below the other, each beginning where the last one ended: they end where all is accounted for."""
    counts = {name: line[name] for name in NUMBERS} | {name: sum(line[name].values()) for name in REFUSALS}
    bars, start = [], 0.0
    for name, count in counts.items():
        share = count / whole if whole else 0.0
        bars.append(Bar(name, count, share, charts.bar([Part(name, start, share)]), name))
        start += share
    return bars


def _bars(counts: Mapping[str, float], *, css: str, most: int = MOST_BARS) -> list[Bar]:
    """The largest first; what is beyond the limit is one line together."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) > most:
        rest = ordered[most - 1 :]
        ordered = [*ordered[: most - 1], (f"{len(rest):,} others", sum(count for _, count in rest))]
    whole = sum(counts.values()) or 1
    largest = max(counts.values(), default=0) or 1
    return [
        Bar(name, count, count / whole, charts.bar([Part(css, 0.0, count / largest)]), css) for name, count in ordered
    ]


def _types(types: Mapping[str, Mapping[str, int]]) -> list[tuple[Bar, int]]:
    """What was read of each type, and how much of it the mapping refused."""
    refused = {name: counts["refused"] for name, counts in types.items()}
    bars = _bars({name: counts["read"] for name, counts in types.items()}, css="read")
    largest = max((bar.count for bar in bars), default=0) or 1
    shown = []
    left = sum(refused.values())
    for bar in bars:
        bad = refused.get(bar.label, left)  # the last line, that of all others, has what is left
        left -= bad
        good = (bar.count - bad) / largest
        drawing = charts.bar([Part("created", 0.0, good), Part("rejected", good, bad / largest)])
        shown.append((replace(bar, drawing=drawing), bad))
    return shown


def _timeline(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Rates between the samples, and what was under way; None where there is too little to draw."""
    if len(samples) < 3:
        return None
    rates = {
        name: [
            ((before["seconds"] + after["seconds"]) / 2, max(0.0, (after[name] - before[name]) / passed))
            for before, after in pairwise(samples)
            if (passed := after["seconds"] - before["seconds"]) > 0
        ]
        for name in ("read", "sent")
    }
    peaks = {name: max((rate for _, rate in points), default=0.0) for name, points in rates.items()}
    top = _round_up(max(peaks.values()))
    says = f"Indicators a second: up to {peaks['read']:,.0f} read, up to {peaks['sent']:,.0f} sent to MISP."
    return {
        "top": top,
        "seconds": samples[-1]["seconds"],
        "rates": charts.lines(list(rates.items()), top=top, says=says),
        "small": [
            (title, peak, charts.lines([(name, points)], top=_round_up(peak), says=f"{title}: up to {peak:,}."))
            for title, name in (
                ("Slices in flight", "in_flight"),
                ("Pages queued", "queued"),
                ("Retries so far", "retries"),
            )
            for points in [[(sample["seconds"], sample[name]) for sample in samples]]
            for peak in [max(y for _, y in points)]
        ],
    }


def _rows(target: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for reason in target["refused"]:
        for sample in reason["samples"]:
            yield {
                "target": target["name"],
                "kind": reason["kind"],
                "code": reason["code"],
                "id": sample["id"],
                "type": sample["type"],
                "value": _short(sample["value"]),
                "reason": _short(sample["reason"]),
            }


def _short(text: str) -> str:
    if len(text) <= VALUE_CHARACTERS:
        return text
    return f"{text[:VALUE_CHARACTERS]}… ({len(text):,} characters)"


def _label(text: str) -> str:
    return text if len(text) <= LABEL_CHARACTERS else f"{text[:LABEL_CHARACTERS]}…"


def address(url: str) -> str:
    """An address as it may be shown and followed: of the web, and without user and password; empty if it is none."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not host:
        return ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path.rstrip('/')}"


def link(url: str, event: object) -> str:
    """Where MISP shows an event; empty where that cannot be said."""
    base = address(url)
    return f"{base}/events/view/{event}" if base and isinstance(event, int) else ""


def _round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 5, 10, 15, ... for the upper end of an axis."""
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(step * size for step in (1, 1.5, 2, 3, 5, 10) if value <= step * size)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _percent(share: float) -> str:
    """Two digits where they say something, and 100 % only for all of it: 0.02 %, 12 %, 99.9 %."""
    percent = 100 * share
    if 99 < percent < 100:
        return f"{math.floor(10 * percent) / 10:.1f} %"
    return f"{percent:.2g} %" if 0 < percent < 10 else f"{percent:.0f} %"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _moment(text: str | None) -> str:
    """``2026-11-24 10:22`` of a moment in UTC."""
    return (text or "")[:16].replace("T", " ")
