"""A scenario, round after round: who runs when, and what is kept of it."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import process
from benchmarks.scenario import CHUNK, Scenario
from benchmarks.servers import MispSetup, Server, ThreatQSetup, start
from tqmisp.simulators.misp import Work
from tqmisp.threatq.page_size import FIRST

Result = dict[str, Any]
Say = Callable[[str], None]
READERS = 4
"""Pages that the floor asks for at a time, as the exporter does."""
KEPT = ("samples", "writes", "waiting")
"""What is kept of one run only, the median one."""


def measure(scenario: Scenario, rounds: int, say: Say = print) -> Result:
    """Run all contenders, one after the other, so many times; gives medians with their spread.

    Before it, the exporter runs twice against an instant MISP: once that the pages of ThreatQ are made, and once to
    record what the floor is to move. The order changes with each round.
    """
    runs: dict[str, list[Result]] = {name: [] for name in scenario.contenders}
    with tempfile.TemporaryDirectory(prefix="tqmisp-bench-") as folder, ExitStack() as stack:
        course = Course(scenario, Path(folder), stack)
        course.warm_up()
        heats = [heat for heat in (course.exporter, course.floor, course.pymisp) if course.wanted(heat)]
        for number in range(rounds):
            turn = number % len(heats)
            for heat in heats[turn:] + heats[:turn]:
                for name, result in heat():
                    runs[name].append(result)
                    say(f"{scenario.name:<18} {number + 1}/{rounds} {line(name, result)}")
    return {
        "title": scenario.title,
        "settings": asdict(scenario),
        "saturated": saturated(scenario.misp),
        "contenders": {name: summary(results) for name, results in runs.items() if results},
    }


class Course:
    """The servers of a scenario, and the runs of its contenders."""

    def __init__(self, scenario: Scenario, folder: Path, stack: ExitStack) -> None:
        self._scenario = scenario
        self._folder = folder
        self._pages, self._writes = folder / "pages", folder / "writes"
        setup = ThreatQSetup(
            indicators=scenario.indicators, latency=scenario.latency, faults=scenario.faults, record=str(self._pages)
        )
        self._threatq = stack.enter_context(start(setup))
        self._misp = replace(scenario.misp, faults=scenario.faults)
        self._states = 0

    def wanted(self, heat: Callable[[], Iterator[tuple[str, Result]]]) -> bool:
        """Whether the scenario asks for it."""
        return {"exporter": "first"}.get(heat.__name__, heat.__name__) in self._scenario.contenders

    def warm_up(self) -> None:
        """Run the exporter, so that the pages are made, and record it when they come as fast as in what counts.

        While ThreatQ makes them, slices close for want of rows: more requests, and more to move for the floor.
        """
        with start(MispSetup()) as misp:
            self._export(misp, self._new_state())
        skipped = self._pages.stat().st_size
        with start(MispSetup(record=str(self._writes))) as misp:
            self._export(misp, self._new_state())
        recorded = self._pages.read_bytes()[skipped:]
        self._pages = self._folder / "second-pages"  # the server goes on recording into the other
        self._pages.write_bytes(recorded)

    def exporter(self) -> Iterator[tuple[str, Result]]:
        """The exporter from nothing, and once more when there is nothing to do."""
        state = self._new_state()
        with start(self._misp) as misp:
            yield "first", self._export(misp, state)
            if "second" in self._scenario.contenders:
                yield "second", self._export(misp, state)

    def floor(self) -> Iterator[tuple[str, Result]]:
        """The same bytes."""
        with start(self._misp) as misp:
            brief = {"pages": str(self._pages), "writes": str(self._writes), "in_flight": self._scenario.in_flight}
            yield "floor", self._contend(misp, "benchmarks.floor", {"readers": READERS, **brief})

    def pymisp(self) -> Iterator[tuple[str, Result]]:
        """What one would write with PyMISP."""
        with start(self._misp) as misp:
            brief = {"indicators": min(self._scenario.sample, self._scenario.indicators)}
            yield "pymisp", self._contend(misp, "benchmarks.pymisp_exporter", brief)

    def _new_state(self) -> Path:
        self._states += 1
        return self._folder / f"state-{self._states}"

    def _export(self, misp: Server, state: Path) -> Result:
        config = self._folder / "tqmisp.toml"
        config.touch(mode=0o600)
        config.write_text(_config(self._threatq.login, misp.login, None if self._scenario.latency else FIRST))
        command = ["tqmisp", "run", "--config", str(config), "--state", str(state), "--json", "--no-progress", "--full"]
        result, told = self._run(misp, command)
        target = told["targets"][0]
        if not target["balanced"]:
            raise RuntimeError(f"the run does not balance: {target['imbalance']}")
        waiting = {name: round(seconds, 2) for name, seconds in target["seconds_waiting_for"].items()}
        tallies = {name: target[name] for name in ("created", "updated", "unchanged")}
        return result | _rates(told["seconds"], target["read"]) | tallies | {"waiting": waiting}

    def _contend(self, misp: Server, module: str, brief: dict[str, Any]) -> Result:
        where = {"threatq": self._threatq.login, "misp": misp.login}
        result, told = self._run(misp, [module, process.as_argument(where | brief)])
        return result | _rates(told["seconds"], result["rows_read"])

    def _run(self, misp: Server, command: list[str]) -> tuple[Result, dict[str, Any]]:
        before, written = self._threatq.ask(), misp.ask()
        struck = self._threatq.faults() + misp.faults()

        def look() -> dict[str, float]:
            threatq, stored = self._threatq.ask(), misp.ask()
            return {
                "read": threatq["rows"] - before["rows"],
                "stored": stored["rows"] - written["rows"],
                "in_flight": stored["in_flight"],
            }

        ended = process.run(command, look)
        read, stored = self._threatq.ask(), misp.ask()
        result: Result = {
            "wall_seconds": ended.wall_seconds,
            "cpu_seconds": ended.cpu_seconds,
            "peak_rss_mb": ended.peak_rss_mb,
            "rows_read": read["rows"] - before["rows"],
            "stored": stored["rows"] - written["rows"],
            "threatq_requests": read["requests"] - before["requests"],
            "misp_requests": stored["requests"] - written["requests"],
            "write_requests": stored["write_requests"] - written["write_requests"],
            "bytes_read": read["bytes"] - before["bytes"],
            "bytes_sent": stored["bytes"] - written["bytes"],
            "faults": self._threatq.faults() + misp.faults() - struck,
            "samples": ended.samples,
        }
        if saturated(self._scenario.misp):
            result["writes"] = misp.ask("/writes")
        return result, ended.told


def _rates(seconds: float, indicators: int) -> Result:
    return {
        "seconds": round(seconds, 3),
        "indicators": indicators,
        "indicators_per_second": round(indicators / seconds, 1),
        "microseconds_each": round(seconds / indicators * 1e6, 2),
    }


def summary(runs: list[Result]) -> Result:
    """The medians of all figures, the least and the greatest rate, and the course of the median run."""
    figures = {name for name, value in runs[0].items() if isinstance(value, int | float)}
    rates = sorted(run["indicators_per_second"] for run in runs)
    typical = next(run for run in runs if run["indicators_per_second"] == statistics.median_low(rates))
    return {
        "rounds": len(runs),
        "rates": rates,
        **{name: round(statistics.median(run[name] for run in runs), 3) for name in sorted(figures)},
        **{name: typical[name] for name in KEPT if name in typical},
    }


def saturated(setup: MispSetup) -> float | None:
    """Attributes a second when all workers are busy throughout; None for a server that costs nothing."""
    options = setup.options()
    if options.workers is None:
        return None
    return round(options.costs.saturated(Work(CHUNK, CHUNK), options.workers), 1)


def line(name: str, result: Result) -> str:
    """One run, for somebody who waits."""
    return (
        f"{name:<7} {result['indicators_per_second']:>9,.0f} indicators/s  {result['seconds']:>7.2f} s  "
        f"peak {result['peak_rss_mb']:>6.1f} MB  cpu {result['cpu_seconds']:>6.2f} s  "
        f"{result['write_requests']:>5} writes"
    )


def _config(threatq: dict[str, str], misp: dict[str, str], page_size: int | None) -> str:
    """Settings of the exporter; it must ask for the pages of the warm-up again, or they are made anew."""
    pages = {"page_size": page_size} if page_size else {}
    sections: dict[str, dict[str, Any]] = {
        "threatq": threatq | pages,
        "misp": misp,
        "events": {"namespace": "benchmark"},
    }
    lines = []
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    return "\n".join(lines) + "\n"
