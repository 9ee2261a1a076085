"""``python -m benchmarks.crash``: kill the exporter and both servers again and again, and look what MISP holds then.

Each line of the table is a whole life: an export, an incremental one after changes, and a full one after deletions.
SIGKILL comes at random moments, of the exporter and of the servers. In the end MISP must hold what it holds where
nobody was killed, field by field, and the ledger must say the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks import spoiled
from benchmarks.corpora import three_moments
from benchmarks.faults import keep
from benchmarks.lives import Life, Stage, disturbed, undisturbed

SHOWN = 20
"""Problems that are shown of each life."""
HEAD = [
    "| seed | kills of the exporter | kills of the servers | runs | receipts | seconds | result |",
    "| ---: | ---: | ---: | ---: | ---: | ---: | --- |",
]


def stages(folder: Path, indicators: int, seed: int = 0) -> list[Stage]:
    """A life's three stages: everything, what has changed, and everything after deletions."""
    first, second, third = three_moments(folder, indicators, seed)
    return [Stage(first), Stage(second), Stage(third, ("--full",))]


def lives(folder: Path, indicators: int, seeds: Sequence[int], exporter: int, servers: int) -> tuple[list[str], bool]:
    """Live once in peace, and once for each seed; give the table, and whether all ended well."""
    course = stages(folder, indicators)
    calm = undisturbed(folder / "calm", course)
    lines = [*HEAD, _row("none", calm)]
    print("\n".join(lines), flush=True)
    all_lives = [calm]
    for seed in seeds if not calm.problems else ():
        life = disturbed(folder / f"seed {seed}", course, calm, seed, exporter=exporter, servers=servers)
        all_lives.append(life)
        lines.append(_row(str(seed), life))
        print(lines[-1], flush=True)
    figures = _figures(indicators, calm, all_lives[1:])
    print("\n".join(figures), flush=True)
    for life in all_lives:
        _complain(life.problems)
    return [*lines, "", *figures], not any(life.problems for life in all_lives)


def _figures(indicators: int, calm: Life, others: Sequence[Life]) -> list[str]:
    killed: Counter[str] = Counter()
    for life in others:
        for (victim, moment), times in life.kills.items():
            killed[f"the {victim} while {moment}"] += times
    held = ", ".join(f"{len(each.content):,}" for each in calm.holdings)
    return [
        f"- {indicators:,} indicators; after the stages MISP holds {held} attributes",
        f"- killed: {', '.join(f'{moment} {times}' for moment, times in sorted(killed.items()))}",
        f"- kills of the exporter between a promise and its confirmation: {sum(life.promised for life in others)}",
        f"- kills of the exporter with something left to withdraw: {sum(life.withdrawing for life in others)}",
        f"- attributes in another event of the day than before: {', '.join(f'{life.moved:,}' for life in others)}",
    ]


def _complain(problems: Sequence[str]) -> None:
    for problem in problems[:SHOWN]:
        print(problem, file=sys.stderr)


def _row(seed: str, life: Life) -> str:
    result = f"{len(life.problems)} PROBLEMS" if life.problems else "equal" if life.kills else "undisturbed"
    killed = f"{life.killed('exporter')} | {life.killed('servers')}"
    return f"| {seed} | {killed} | {life.runs} | {life.receipts}, balanced | {life.seconds:.0f} | {result} |"


def bad_rows(folder: Path, indicators: int, bad: int) -> tuple[list[str], bool]:
    """Export a corpus with bad rows; give the figures, and whether all was as it should be."""
    figures, problems = spoiled.run(folder, indicators, bad)
    lines = [f"- {figure}" for figure in figures]
    print("\n".join(lines), flush=True)
    _complain(problems)
    return lines, not problems


def main() -> None:
    """Do what was asked for; the exit code is 1 where something did not end well."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash", description=__doc__)
    parser.add_argument("--indicators", type=int, default=100_000, help="how many there are [100000]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="a life for each of them [1 2]")
    parser.add_argument("--kills", type=int, default=30, help="of the exporter, in each life [30]")
    parser.add_argument("--server-kills", type=int, default=4, help="of both servers at once, in each life [4]")
    parser.add_argument("--bad", type=int, default=1_000, help="bad rows among as many indicators [1000]")
    parser.add_argument("--output", type=Path, help="keep table and figures in this page")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tqmisp-crash-") as place:
        folder = Path(place)
        table, survived = lives(folder, given.indicators, given.seeds, given.kills, given.server_kills)
        (folder / "bad").mkdir()
        figures, told = bad_rows(folder / "bad", given.indicators, given.bad)
    if not (survived and told):
        sys.exit(1)
    if given.output is not None:
        keep(given.output, "crash", table)
        keep(given.output, "bad rows", figures)


if __name__ == "__main__":
    main()
