"""The figures as Markdown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = {
    "first": "tqmisp, first run",
    "second": "tqmisp, unchanged",
    "floor": "floor: same bytes only",
    "pymisp": "PyMISP exporter",
}
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
_HEAD = (
    "| who | indicators a second, median (least to most) | microseconds each | peak memory | processor time "
    "| requests to ThreatQ, MISP |\n| --- | ---: | ---: | ---: | ---: | ---: |"
)


def markdown(document: dict[str, Any]) -> str:
    """A table for each scenario, with what they were taken on."""
    machine = document["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, PyMISP {machine['pymisp']}"
    taken = f"Taken on {document['taken']} at commit {machine['commit']}"
    lines = [f"{taken}: {where}; medians of {document['rounds']} rounds."]
    for scenario in document["scenarios"].values():
        lines += ["", f"**{scenario['title']}**", "", _HEAD, *_rows(scenario)]
        if scenario["saturated"]:
            lines += ["", f"This MISP saves at most {scenario['saturated']:,.0f} attributes a second."]
    return "\n".join(lines) + "\n"


def _rows(scenario: dict[str, Any]) -> Iterator[str]:
    for name, figures in scenario["contenders"].items():
        least, most = figures["rates"][0], figures["rates"][-1]
        yield (
            f"| {NAMES[name]} | {figures['indicators_per_second']:,.0f} ({least:,.0f} to {most:,.0f}) "
            f"| {figures['microseconds_each']:,.0f} | {figures['peak_rss_mb']:,.0f} MB "
            f"| {figures['cpu_seconds']:,.1f} s "
            f"| {figures['threatq_requests']:,.0f}, {figures['misp_requests']:,.0f} |"
        )


def insert(page: Path, text: str, folder: Path | None = None) -> None:
    """Put figures where a page has room for them.

    Args:
        page: with marks around the room.
        text: the tables.
        folder: of the results, whose pictures are shown below the tables.

    Raises:
        ValueError: it has none.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no lines {BEGIN} and {END}")
    if folder is not None:
        where = os.path.relpath(folder, page.parent)
        pictures = [f"![{each.stem.replace('-', ' ')}]({where}/{each.name})" for each in sorted(folder.glob("*.svg"))]
        text = "\n".join([text, *pictures, "", f"[All figures]({where}/results.json)", ""])
    page.write_text(f"{before}{begin}\n{text}{end}{after}")
