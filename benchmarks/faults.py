"""``python -m benchmarks.faults``: every fault on every route, and what is in MISP afterwards.

Each line of the table is a whole life: an export, changes on both sides, and another export, between servers that
fail on purpose. In the end MISP must hold what it holds where nothing has failed.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks import machine
from benchmarks.faulty import Content, Trial, live
from tqmisp.simulators.faults import KINDS, FaultPlan

KINDS_TRIED = (
    "latency:20ms",
    "slow:5ms",
    "stall",
    "stall-after",
    "429",
    "429:retry-after=1",
    "429:reset=1",
    "500",
    "500-during",
    "500-after",
    "502",
    "untagged",
    "503:1",
    "504:50ms",
    "reset",
    "reset-after",
    "half-answer",
    "html",
    "maintenance",
    "token-expired",
    "cursor-repeats:same",
    "cursor-repeats:first",
    "short-page",
    "rows-change:20",
)
_FIRST = {"misp:servers/getversion", "threatq:token"}
_PAGES = "threatq:indicators/query"
MIX_RUNS = 10
"""So often an export under a mix is started: a fault on the very first request is a reason to end."""


def plans(trial: Trial) -> Iterator[tuple[str, str, FaultPlan]]:
    """Each fault on each route that an undisturbed life has used.

    A route fails twice running, so that the first repetition fails, too; only in answer to the first request of all a
    page of HTML comes once, since that is not repeated: the address may be wrong.
    """
    for route in sorted({_route(name) for name in trial.requests}):
        server = route.partition(":")[0]
        for what in KINDS_TRIED:
            kind = KINDS[what.partition(":")[0]]
            if kind.server in {None, server} and (not kind.pages or route == _PAGES):
                times = 1 if what == "html" and route in _FIRST else 2
                yield what, route, FaultPlan.parse(f"{route}={what}@{times}x")


def _route(name: str) -> str:
    """``misp:POST /events/add`` as a plan names it."""
    server, _, rest = name.partition(":")
    path = rest.partition(" ")[2]
    return f"{server}:{path.removeprefix('/api/').removeprefix('/').lower()}"


def verdict(trial: Trial, expected: list[Content]) -> str:
    """What became of a trial, in words."""
    if not trial.injected:
        return "THE FAULT DID NOT HAPPEN"
    if trial.contents != expected:
        different = sum(
            now.get(uuid) != then.get(uuid)
            for now, then in zip(trial.contents, expected, strict=True)
            for uuid in now.keys() | then.keys()
        )
        return f"DIFFERENT in {different} places"
    return f"complete, with the next run after {', '.join(map(str, trial.ends))}" if trial.ends else "complete"


def row(what: str, route: str, trial: Trial, expected: list[Content]) -> str:
    """A line of the table."""
    times = trial.injected.total()
    result = verdict(trial, expected)
    return f"| `{what}` | `{route}` | {times} | {trial.retries} | {trial.seconds:.1f} | {result} |"


HEAD = [
    "| fault | route | injected | repeated requests | seconds | result |",
    "| --- | --- | ---: | ---: | ---: | --- |",
]


async def matrix(indicators: int, only: str = "*") -> tuple[list[str], bool]:
    """Try each fault on each route; give the table, and whether all ended well."""
    clean = await live(indicators)
    lines, good = [*HEAD], True
    print("\n".join(lines))
    for what, route, plan in plans(clean):
        if fnmatchcase(f"{route}={what}", only):
            trial = await live(indicators, plan, clean.contents)
            good = good and verdict(trial, clean.contents).startswith("complete")
            lines.append(row(what, route, trial, clean.contents))
            print(lines[-1], flush=True)
    return lines, good


async def mix(indicators: int, percent: float, seed: int) -> tuple[list[str], bool]:
    """Let a share of all requests fail in every way; give what happened, and whether it ended well."""
    clean = await live(indicators, patience=2.0, page=1000)
    plan = FaultPlan.parse(f"seed={seed}; *=any@{percent:g}%")
    trial = await live(indicators, plan, clean.contents, patience=2.0, page=1000, runs=MIX_RUNS)
    result = verdict(trial, clean.contents)
    kinds: Counter[str] = Counter()
    for (_, kind), times in sorted(trial.injected.items()):
        kinds[kind] += times
    lines = [
        f"- {indicators:,} indicators; {percent:g} % of the requests on every route of both servers, seed {seed}",
        f"- {trial.requests.total():,} requests, {trial.injected.total()} faults, {trial.retries} repeated requests",
        f"- the faults: {', '.join(f'{times} {kind}' for kind, times in kinds.items())}",
        f"- {trial.runs} runs in {trial.seconds:.0f} s; without faults {clean.runs} runs in {clean.seconds:.0f} s",
        f"- {len(clean.contents[-1]):,} events and attributes compared: **{result}**",
    ]
    print("\n".join(lines), flush=True)
    return lines, result.startswith("complete")


def keep(page: Path, section: str, lines: list[str]) -> None:
    """Put lines in the place of what a page holds between the marks of a section."""
    about = machine.describe()
    taken = f"Taken {datetime.now(UTC).date()} on {about['cores']} cores of {about['processor']}."
    begin, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    content = "\n".join([begin, taken, "", *lines, end])
    text, found = re.subn(f"{begin}.*{end}", lambda _: content, page.read_text(), flags=re.DOTALL)
    if not found:
        sys.exit(f"{page} has no place for it: {begin}")
    page.write_text(text)


def main() -> None:
    """Try what was asked for; the exit code is 1 where something did not end well."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--indicators", type=int, default=300, help="how many there are [300]")
    parser.add_argument("--only", default="*", help="of the matrix only this, such as 'misp:events/*=500*'")
    parser.add_argument("--mix", type=float, metavar="PERCENT", help="in place of the matrix: all faults, everywhere")
    parser.add_argument("--seed", type=int, default=1, help="of the mix [1]")
    parser.add_argument("--output", type=Path, help="keep the table, or the figures of the mix, in this page")
    given = parser.parse_args()
    if given.mix is None:
        section, lines, good = "matrix", *asyncio.run(matrix(given.indicators, given.only))
    else:
        section, lines, good = "mix", *asyncio.run(mix(given.indicators, given.mix, given.seed))
    if given.output is not None:
        keep(given.output, section, lines)
    sys.exit(not good)


if __name__ == "__main__":
    main()
