"""Pictures of numbers, as SVG that stands in a page; all text is left to the page, so that it keeps its size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

WIDTH, HEIGHT = 1000.0, 200.0
"""Of the drawing; the page stretches it to what room there is."""
THINNEST = 0.003
"""The share of the width that a bar for anything but nothing takes, so that it can be seen."""


class Part(NamedTuple):
    """A piece of a bar."""

    name: str
    """The class that gives it its colour."""
    start: float
    """0 is the left end, 1 the right one."""
    share: float


def bar(parts: Iterable[Part]) -> Markup:
    """Draw pieces of one bar; the page has the numbers in words beside it."""
    drawn = "".join(_piece(part) for part in parts if part.share > 0)
    return _svg(f"0 0 {WIDTH:.0f} 20", drawn, css="bar", hidden=True)


def _piece(part: Part) -> str:
    width = min(1.0, max(part.share, THINNEST))
    start = min(max(part.start, 0.0), 1.0 - width)
    return f'<rect class="c-{_word(part.name)}" x="{start * WIDTH:.1f}" y="0" width="{width * WIDTH:.1f}" height="20"/>'


def lines(series: Sequence[tuple[str, Sequence[tuple[float, float]]]], *, top: float, says: str) -> Markup:
    """Draw one area for each series of (x, y), over the same axes.

    Args:
        series: the class that gives the colour, and the points, with x growing.
        top: the y at the upper edge.
        says: the picture in words.
    """
    end = max((points[-1][0] for _, points in series if points), default=0.0) or 1.0
    begin = min((points[0][0] for _, points in series if points), default=0.0)
    drawn = [f'<line class="grid" x1="0" x2="{WIDTH:.0f}" y1="{y:.0f}" y2="{y:.0f}"/>' for y in (0, HEIGHT / 2)]
    for name, points in series:
        if len(points) < 2:
            continue
        places = [
            f"{(x - begin) / ((end - begin) or 1.0) * WIDTH:.1f},{HEIGHT - min(1.0, y / (top or 1.0)) * HEIGHT:.1f}"
            for x, y in points
        ]
        css = _word(name)
        drawn.append(
            f'<polygon class="a-{css}" points="0,{HEIGHT:.0f} {" ".join(places)} {WIDTH:.0f},{HEIGHT:.0f}"/>'
            f'<polyline class="l-{css}" points="{" ".join(places)}"/>'
        )
    return _svg(f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", "".join(drawn), css="lines", says=says)


def _svg(box: str, inside: str, *, css: str, says: str = "", hidden: bool = False) -> Markup:
    meaning = Markup('aria-hidden="true"') if hidden else Markup('role="img" aria-label="{}"').format(says)
    return Markup('<svg class="{}" viewBox="{}" preserveAspectRatio="none" {}>{}</svg>').format(
        css,
        box,
        meaning,
        Markup(inside),  # noqa: S704  numbers, and names that _word has passed
    )


def _word(name: str) -> str:
    """A name of ours that can be a class; what is none of ours never gets here as markup."""
    return "".join(letter for letter in name if letter.isascii() and (letter.isalnum() or letter in "-_"))
