"""Whatever fails on whatever route, MISP holds in the end what it holds where nothing has failed.

A few of the faults of ``python -m benchmarks.faults``, which tries each on each route; see docs/fault-matrix.md.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.faults import KINDS_TRIED, keep, mix, plans, verdict
from benchmarks.faulty import Trial, live
from tqmisp.simulators.faults import KINDS, FaultPlan

INDICATORS = 300


@pytest.fixture(scope="module")
def clean() -> Trial:
    """What becomes of a life in which nothing goes wrong."""
    return asyncio.run(live(INDICATORS))


@pytest.mark.parametrize(
    ("spec", "runs"),
    [
        ("threatq:token=500@2x", 3),
        ("threatq:indicators/query=stall@1x", 3),
        ("threatq:indicators/query=half-answer@3x", 3),
        ("threatq:indicators/query=token-expired@2x", 3),
        ("threatq:indicators/query=cursor-repeats:same@2x", 3),
        ("threatq:indicators/query=cursor-repeats:first@1x,after=1", 3),
        ("threatq:indicators/query=short-page@2x", 3),
        ("threatq:indicators/query=rows-change:20@2x", 6),  # what came back is read by the next run
        ("misp:events/add=reset-after@2x", 3),
        ("misp:events/edit=500-after@1x", 3),
        ("misp:events/edit=502@2x", 3),
        ("misp:events/add=untagged@1x", 3),
        ("misp:events/edit=untagged@2x", 3),
        ("misp:events/edit=untagged@7x", 4),  # the run ends before it has looked; the next one finds out
        ("misp:events/edit=504:50ms@2x", 3),
        ("misp:events/edit=stall-after@1x", 3),
        ("misp:events/edit=503@6x", 5),  # as often as an export tries, so that another one must go on
        ("misp:attributes/add=500-during@2x", 3),
        ("misp:attributes/restsearch=html@2x", 3),
        ("misp:events/publish=maintenance@6x", 6),
    ],
)
async def test_a_fault_changes_nothing_in_the_end(spec: str, runs: int, clean: Trial) -> None:
    """The fault strikes, and every field of every attribute is what it would have been."""
    trial = await live(INDICATORS, FaultPlan.parse(spec), clean.contents)
    assert verdict(trial, clean.contents).startswith("complete"), trial
    assert trial.runs == runs, trial


async def test_all_faults_on_all_routes_change_nothing_in_the_end() -> None:
    """A tenth of all requests fail, each in one of all the ways."""
    lines, good = await mix(2000, percent=10, seed=4)
    assert good, lines


async def test_the_matrix_leaves_nothing_out(clean: Trial) -> None:
    """Every kind is tried, on every route that an export knows."""
    tried = [(what.partition(":")[0], route) for what, route, _ in plans(clean)]
    assert {kind for kind, _ in tried} == set(KINDS) - {"any"}
    assert {what.partition(":")[0] for what in KINDS_TRIED} == set(KINDS) - {"any"}
    writing = {"events/add", "events/edit", "events/publish", "attributes/add", "attributes/edit"}
    reading = {"servers/getversion", "users/view", "events/restsearch", "attributes/restsearch"}
    theirs = {"token", "indicator/types", "indicator/statuses", "indicators/query", "indicators/{id}"}
    expected = {f"misp:{route}" for route in writing | reading} | {f"threatq:{route}" for route in theirs}
    assert expected <= {route for _, route in tried}


async def test_a_difference_is_seen(clean: Trial) -> None:
    """A fault that did not strike proves nothing, and what is not there is missed."""
    nothing = await live(INDICATORS, FaultPlan.parse("misp:events/delete=500"), clean.contents)
    assert verdict(nothing, clean.contents) == "THE FAULT DID NOT HAPPEN"
    plan = FaultPlan.parse("threatq:indicators/query=rows-change:20@2x")
    too_early = await live(INDICATORS, plan, clean.contents, runs=1)
    assert verdict(too_early, clean.contents).startswith("DIFFERENT in ")


def test_figures_are_kept_in_their_place(tmp_path: Path) -> None:
    """A section of a page is replaced, and a page without one is not touched."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- mix -->\nold\n<!-- end of mix -->\nafter\n")
    keep(page, "mix", ["new"])
    begin, taken, empty, new, end = page.read_text().removeprefix("before\n").removesuffix("\nafter\n").splitlines()
    assert (begin, empty, new, end) == ("<!-- mix -->", "", "new", "<!-- end of mix -->")
    assert taken.startswith("Taken 20")
    with pytest.raises(SystemExit, match="has no place for it"):
        keep(page, "matrix", ["new"])
