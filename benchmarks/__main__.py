"""``python -m benchmarks``: compare the exporter with others, and keep, draw and judge the figures."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine, report, rounds
from benchmarks.scenario import SIZES, Scenario, catalogue
from benchmarks.servers import MispSetup
from benchmarks.verdicts import verdicts
from tqmisp.simulators.misp import CALIBRATIONS


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("--scenarios", nargs="+", metavar="NAME", help="only these; instant, latency, or see --list")
    made.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="of instant; such as 10000000")
    made.add_argument("--rounds", type=int, default=3, metavar="N")
    made.add_argument("--latency", type=float, metavar="SECONDS", help="of ThreatQ, for each page")
    made.add_argument("--calibration", choices=CALIBRATIONS, help="of MISP")
    made.add_argument("--workers", type=int, metavar="N", help="of MISP, with a processor each")
    made.add_argument("--faults", metavar="SPEC", help="of both, as of tqmisp sandbox; PyMISP and the floor may fail")
    made.add_argument("--output", type=Path, metavar="FOLDER", help="write figures, table and pictures there")
    made.add_argument("--page", type=Path, metavar="FILE", help="put tables and pictures into this page")
    made.add_argument(
        "--check", action="store_true", help="say for each claim whether it holds; exit with 1 if not all do"
    )
    made.add_argument("--again", type=Path, metavar="FILE", help="do not measure: judge and draw these figures")
    made.add_argument("--list", action="store_true", help="name the scenarios")
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure, or read what was measured; then write, draw and judge."""
    given = parser().parse_args(argv)
    if given.list:
        print("\n".join(f"{name:<18} {each.title}" for name, each in catalogue(given.sizes).items()))
        return 0
    if given.again:
        document = json.loads(given.again.read_text())
        _write(document, given.output)
    else:
        document = _measure(given)
    table = report.markdown(document)
    print("\n" + table)
    if given.page:
        report.insert(given.page, table, given.output)
    if given.check:
        found = verdicts(document["scenarios"])
        print("\n".join(map(str, found)))
        return int(any(each.holds is False for each in found))
    return 0


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    """Measure each scenario, and write what there is after each: all of them take an hour."""
    scenarios: dict[str, Any] = {}
    document = {
        "taken": datetime.now(UTC).date().isoformat(),
        "machine": machine.describe(),
        "rounds": given.rounds,
        "scenarios": scenarios,
    }
    for scenario in [_changed(scenario, given) for scenario in _chosen(given)]:
        scenarios[scenario.name] = rounds.measure(scenario, given.rounds, _say)
        _write(document, given.output)
    return document


def _chosen(given: argparse.Namespace) -> list[Scenario]:
    """The scenarios of these names, or whose names begin so."""
    known = catalogue(given.sizes)
    if not given.scenarios:
        return list(known.values())
    chosen = {name: each for wanted in given.scenarios for name, each in known.items() if name.startswith(wanted)}
    if not chosen:
        raise SystemExit(f"There is no such scenario; there are: {', '.join(known)}")
    return list(chosen.values())


def _changed(scenario: Scenario, given: argparse.Namespace) -> Scenario:
    """A scenario with other servers."""
    if given.latency is not None:
        scenario = replace(scenario, latency=given.latency, title=f"{scenario.title}, {given.latency:g} s a page")
    if given.calibration or given.workers:
        calibration = given.calibration or scenario.misp.calibration
        setup = MispSetup(calibration=calibration, workers=given.workers)
        title = f"{scenario.title}, MISP {calibration} with {given.workers or 'its'} workers"
        scenario = replace(scenario, misp=setup, title=title)
    if given.faults is not None:
        scenario = replace(scenario, faults=given.faults, title=f"{scenario.title}, with faults")
    return scenario


def _write(document: dict[str, Any], folder: Path | None) -> None:
    if folder is None:
        return
    from benchmarks import plots  # noqa: PLC0415  pygal is not needed to measure

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(document) + "\n")
    (folder / "table.md").write_text(report.markdown(document))
    plots.draw(document, folder)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
