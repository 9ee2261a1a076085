"""What must hold, and whether it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

Scenarios = dict[str, Any]
Write = Sequence[float]
"""Begin, end, attributes, requests under way."""
LEARNING = 20
"""Requests after which the best setting must have been found."""


class Verdict(NamedTuple):
    """One line of the check."""

    claim: str
    figure: str
    holds: bool | None
    """None: not measured."""

    def __str__(self) -> str:
        word = {True: "pass", False: "FAIL", None: "----"}[self.holds]
        return f"{word}  {self.claim}: {self.figure}"


def verdicts(scenarios: Scenarios) -> list[Verdict]:
    """Every claim, in the order in which the documentation makes them."""
    sizes = sorted(int(name.removeprefix("instant-")) for name in scenarios if name.startswith("instant-"))
    found: list[Verdict] = []
    if sizes:
        found += _instant(scenarios, sizes)
    for name, scenario in scenarios.items():
        undisturbed = scenarios.get(name.replace("faulty", "instant"))
        if name.startswith("faulty") and undisturbed is not None:
            found.append(_whole(scenario, undisturbed))
    for name in ("two-workers", "eight-workers", "halving"):
        found.append(_busy(name, scenarios.get(name)))
    return found


def _instant(scenarios: Scenarios, sizes: list[int]) -> Iterator[Verdict]:
    largest = sizes[-1]
    of = scenarios[f"instant-{largest}"]["contenders"]
    first, size = of["first"], f"{largest:,} indicators, instant MISP"
    rate = first["indicators_per_second"]
    yield _judge(f"{size}: at least 20,000 a second", rate, lambda value: value >= 20_000, "{:,.0f} a second")
    if "floor" in of:
        ratio = first["microseconds_each"] / of["floor"]["microseconds_each"]
        yield _judge(f"{size}: at most 3 times the floor's time", ratio, lambda value: value <= 3, "{:.2f} times")
    if "pymisp" in of:
        ratio = rate / of["pymisp"]["indicators_per_second"]
        yield _judge(f"{size}: at least 8 times as fast as PyMISP", ratio, lambda value: value >= 8, "{:.2f} times")
    peak = first["peak_rss_mb"]
    yield _judge(f"{size}: peak memory at most 200 MB", peak, lambda value: value <= 200, "{:.0f} MB")
    if len(sizes) > 1:
        smaller = scenarios[f"instant-{sizes[-2]}"]["contenders"]["first"]["peak_rss_mb"]
        claim = f"{size}: peak memory within 10 % of that at {sizes[-2]:,}"
        yield _judge(claim, peak / smaller - 1, lambda value: abs(value) <= 0.1, "{:+.1%}")
    yield from _flat(scenarios, sizes)
    if "second" in of:
        rate, writes = of["second"]["indicators_per_second"], of["second"]["write_requests"]
        yield _judge(f"{size}, unchanged: at least 40,000 a second", rate, lambda value: value >= 40_000, "{:,.0f}")
        yield _judge(f"{size}, unchanged: no write request", writes, lambda value: value == 0, "{:.0f}")
    slow = scenarios.get(f"latency-{largest}")
    if slow is not None:
        share = slow["contenders"]["first"]["indicators_per_second"] / first["indicators_per_second"]
        claim = f"{largest:,} indicators, 200 ms a page: reading is not the limit (at least 90 % of the rate without)"
        yield _judge(claim, share, lambda value: value >= 0.9, "{:.0%}")


def _flat(scenarios: Scenarios, sizes: list[int]) -> Iterator[Verdict]:
    """The cost of an indicator: plainly, and without what a run costs whatever its size."""
    runs = [scenarios[f"instant-{size}"]["contenders"]["first"] for size in sizes]
    if len(runs) < 2:
        return
    each = [run["microseconds_each"] for run in runs]
    shown = f"{' '.join(f'{cost:.1f}' for cost in each)} µs"
    claim = f"the cost of an indicator from {sizes[0]:,} to {sizes[-1]:,} within 15 %"
    yield _judge(claim, each[-1] / each[0] - 1, lambda value: abs(value) <= 0.15, f"{{:+.1%}} ({shown})")
    if len(runs) > 2:
        further = [(b["seconds"] - a["seconds"]) / (b["indicators"] - a["indicators"]) * 1e6 for a, b in pairwise(runs)]
        shown = f"{' '.join(f'{cost:.1f}' for cost in further)} µs"
        claim = "the cost of each further indicator, from size to size, within 15 %"
        change = further[-1] / further[0] - 1
        yield _judge(claim, change, lambda value: abs(value) <= 0.15, f"{{:+.1%}} ({shown})")


def _whole(scenario: dict[str, Any], undisturbed: dict[str, Any]) -> Verdict:
    """Whether faults have cost no attribute."""
    faulty, quiet = scenario["contenders"]["first"], undisturbed["contenders"]["first"]
    pace = f"{faulty['indicators_per_second'] / quiet['indicators_per_second']:.0%} of the rate without"
    missing, faults = quiet["stored"] - faulty["stored"], faulty["faults"]
    figure = f"{missing:.0f} missing after {faults:.0f} faults, {pace}"
    return Verdict(f"{scenario['title']}: all is stored", figure, missing == 0 and faults > 0)


def _busy(name: str, scenario: dict[str, Any] | None) -> Verdict:
    claim = f"{name}: at least 95 % of the saturated rate after {LEARNING} requests"
    if scenario is None:
        return Verdict(claim, "not measured", None)
    halves_after = scenario["settings"]["misp"]["halves_after"]
    share = used(scenario["contenders"]["first"]["writes"], scenario["saturated"], halves_after)
    return _judge(claim, share, lambda value: value >= 0.95, "{:.1%}")


def used(writes: Sequence[Write], saturated: float, halves_after: int | None = None) -> float:
    """The share of what a server could have done that it did, once the client had time to learn.

    From the end of the request number :data:`LEARNING` that carried attributes until the last one was sent, when the
    server begins to run dry.

    Args:
        writes: begin, end and attributes of each request, and more.
        saturated: attributes a second that the server can save.
        halves_after: attributes after which it can do half as much.
    """
    done = sorted((write[1], write[2]) for write in writes if write[2])
    if len(done) <= LEARNING + 1:
        return 0.0
    start, end = done[LEARNING - 1][0], max(write[0] for write in writes if write[2])
    saved, slow_from = 0.0, None
    for moment, attributes in done:
        saved += attributes
        if halves_after is not None and slow_from is None and saved >= halves_after:
            slow_from = moment
    fast = max(0.0, min(end, slow_from if slow_from is not None else end) - start)
    possible = saturated * (fast + (end - start - fast) / 2)
    return sum(attributes for moment, attributes in done if start < moment <= end) / possible if possible else 0.0


def _judge(claim: str, value: float, holds: Callable[[float], bool], form: str) -> Verdict:
    return Verdict(claim, form.format(value), holds(value))
