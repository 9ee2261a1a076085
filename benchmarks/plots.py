"""The figures as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pygal
from pygal.style import Style

from benchmarks.report import NAMES

Point = tuple[float, float]
POINTS = 30
"""Of a curve at most."""
_STYLE = Style(
    background="white",
    plot_background="white",
    font_family="sans-serif",
    label_font_size=13,
    major_label_font_size=13,
    legend_font_size=14,
    title_font_size=16,
    colors=("#1f6fb4", "#2a9d4a", "#888888", "#d1495b"),
)


def draw(document: dict[str, Any], folder: Path) -> list[Path]:
    """Write all pictures that the figures allow, as SVG."""
    scenarios = document["scenarios"]
    sizes = sorted(int(name.removeprefix("instant-")) for name in scenarios if name.startswith("instant-"))
    drawn = []
    if sizes:
        largest = scenarios[f"instant-{sizes[-1]}"]
        drawn += [
            _save(_throughput(largest), folder / "throughput-over-time.svg"),
            _save(_memory(largest), folder / "memory-over-time.svg"),
            _save(_by_size(scenarios, sizes), folder / "throughput-by-size.svg"),
        ]
    for name, scenario in scenarios.items():
        if scenario["saturated"]:
            drawn.append(_save(_requests(scenario), folder / f"requests-{name}.svg"))
    return drawn


def rates(samples: Sequence[dict[str, float]], count: str) -> list[Point]:
    """How fast a counter rose, from sample to sample."""
    step = max(1, len(samples) // POINTS)
    kept = [{"seconds": 0.0, count: 0.0}, *samples[step - 1 :: step]]
    return [
        (round((before["seconds"] + after["seconds"]) / 2, 2), round((after[count] - before[count]) / elapsed))
        for before, after in pairwise(kept)
        if (elapsed := after["seconds"] - before["seconds"]) > 0
    ]


def _throughput(scenario: dict[str, Any]) -> Any:  # noqa: ANN401  pygal has no types
    chart = _chart(f"Indicators a second: {scenario['title']}", "seconds")
    for name, run in scenario["contenders"].items():
        # what PyMISP sends arrives 25,000 at a time, and an unchanged run stores nothing
        chart.add(NAMES[name], rates(run["samples"], "stored" if name in {"first", "floor"} else "read"))
    return chart


def _memory(scenario: dict[str, Any]) -> Any:  # noqa: ANN401
    chart = _chart(f"Memory of the exporter in MB: {scenario['title']}", "seconds")
    for name, run in scenario["contenders"].items():
        samples = run["samples"]
        step = max(1, len(samples) // POINTS)
        chart.add(NAMES[name], [(each["seconds"], each["rss_mb"]) for each in samples[::step]])
    return chart


def _by_size(scenarios: dict[str, Any], sizes: Sequence[int]) -> Any:  # noqa: ANN401
    chart = pygal.Line(**_options("Indicators a second, by the size of the export", "indicators"))
    chart.x_labels = [f"{size:,}" for size in sizes]
    for name, title in NAMES.items():
        runs = [scenarios[f"instant-{size}"]["contenders"].get(name) for size in sizes]
        chart.add(title, [run["indicators_per_second"] if run else None for run in runs])
    return chart


def _requests(scenario: dict[str, Any]) -> Any:  # noqa: ANN401
    """What the server saw of the exporter's decisions."""
    writes = sorted(scenario["contenders"]["first"]["writes"])
    largest = max((write[2] for write in writes), default=0)
    writes = [write for write in writes if write[2] > largest / 10]  # not those that ask for reasons, one by one
    chart = _chart(f"Requests as MISP saw them: {scenario['title']}", "seconds")
    began = writes[0][0] if writes else 0.0
    chart.add("requests under way", list(_steps((write[0] - began, write[3]) for write in writes)))
    chart.add("hundreds of attributes a request", list(_steps((write[0] - began, write[2] / 100) for write in writes)))
    return chart


def _steps(points: Iterable[Point]) -> Iterator[Point]:
    """Points so that lines between them are steps."""
    value: float | None = None
    for moment, now in points:
        if value is not None and value != now:
            yield round(moment, 2), value
        if value != now:
            yield round(moment, 2), now
        value = now


def _chart(title: str, x_title: str) -> Any:  # noqa: ANN401
    return pygal.XY(**_options(title, x_title), show_dots=False)


def _options(title: str, x_title: str) -> dict[str, Any]:
    return {
        "title": title,
        "x_title": x_title,
        "style": _STYLE,
        "js": (),  # a picture needs no script from elsewhere
        "width": 900,
        "height": 420,
        "include_x_axis": True,
        "range": None,
        "zero": 0,
        "legend_at_bottom": True,
        "truncate_legend": -1,
        "legend_at_bottom_columns": 4,
        "value_formatter": lambda value: f"{value:,.0f}",
        "x_value_formatter": lambda value: f"{value:,.0f}",
        "stroke_style": {"width": 2},
    }


def _save(chart: Any, path: Path) -> Path:  # noqa: ANN401
    path.write_text(chart.render(is_unicode=True, no_data_text="nothing was measured"))
    return path
