"""What is measured: how much, on what servers, by whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.servers import MispSetup

SIZES = (10_000, 100_000, 1_000_000)
SAMPLE = 50_000
"""Indicators of the baseline at most; it is compared by the indicator."""
CHUNK = 1_000
"""Attributes a request by which a server is said to be saturated: more make MISP 2.5.1 hardly faster."""

FAULTS = "*=503@1%; *=reset-after@1%; misp:events/edit=500-after@2%; threatq:indicators/query=half-answer@2%"
INSTANT = MispSetup()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One comparison.

    Attributes:
        name: its key in the results.
        title: what it is called in tables.
        indicators: that ThreatQ has; some nine in ten are selected.
        contenders: ``first`` and ``second`` run of the exporter, ``floor``, ``pymisp``; the second needs the first.
        latency: of ThreatQ, seconds a page.
        faults: what goes wrong on both servers.
        misp: the server that is written to.
        sample: indicators for PyMISP at most.
        in_flight: writing requests that the floor has under way.
    """

    name: str
    title: str
    indicators: int
    contenders: tuple[str, ...] = ("first", "second", "floor", "pymisp")
    latency: float = 0.0
    faults: str = ""
    misp: MispSetup = INSTANT
    sample: int = SAMPLE
    in_flight: int = 3


def catalogue(sizes: Sequence[int] = SIZES) -> dict[str, Scenario]:
    """All scenarios by name.

    Args:
        sizes: of those in which MISP costs nothing; the largest is also read with latency, the middle one with faults.
    """
    measured, middle = "measured-2.5.1", sorted(sizes)[len(sizes) // 2]
    found = [
        Scenario(name=f"instant-{size}", title=f"{size:,} indicators, instant MISP", indicators=size) for size in sizes
    ]
    found += [
        Scenario(
            name=f"latency-{max(sizes)}",
            title=f"{max(sizes):,} indicators, ThreatQ takes 200 ms a page, instant MISP",
            indicators=max(sizes),
            contenders=("first", "second"),
            latency=0.2,
        ),
        Scenario(
            name=f"faulty-{middle}",
            title=f"{middle:,} indicators, instant MISP, one in 30 requests fails",
            indicators=middle,
            contenders=("first",),
            faults=FAULTS,
        ),
        Scenario(
            name="two-workers",
            title="30,000 indicators, measured MISP, 2 workers",
            indicators=30_000,
            contenders=("first", "floor", "pymisp"),
            misp=MispSetup(calibration=measured),
            sample=4_000,
        ),
        Scenario(
            name="eight-workers",
            title="200,000 indicators, measured MISP, 8 workers",
            indicators=200_000,
            contenders=("first", "floor"),
            misp=MispSetup(calibration=measured, workers=8),
            in_flight=9,
        ),
        Scenario(
            name="halving",
            title="30,000 indicators, measured MISP, 2 workers, half as fast from the middle on",
            indicators=30_000,
            contenders=("first", "floor"),
            misp=MispSetup(calibration=measured, halves_after=14_000),
        ),
    ]
    return {scenario.name: scenario for scenario in found}
