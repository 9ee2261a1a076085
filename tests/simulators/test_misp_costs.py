"""The time that a simulated MISP takes, against what a real one took."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.simulators.misp import EVENT, OTHER_EVENT, domain, serving
from tqmisp.simulators.misp import CALIBRATIONS, Costs, MispSimulatorOptions, MispStore, Work
from tqmisp.simulators.misp.costs import work_of

MEASURED = CALIBRATIONS["measured-2.5.1"].costs


@pytest.mark.parametrize(
    ("work", "at_once", "rate"),
    [
        # chunks through events/edit, correlation off for the event
        (Work(100), 1, 469),
        (Work(500), 1, 739),
        (Work(1_000), 1, 814),
        (Work(5_000), 1, 859),
        # the same with default correlation
        (Work(1_000, 1_000), 1, 538),
        # several requests at a time, in a database with 400 events
        (Work(1_000), 2, 1_120),
        (Work(1_000), 4, 1_108),
        (Work(1_000, 1_000), 2, 659),
        (Work(1_000, 1_000), 4, 654),
        # each value in one or two other events: the second was faster than the first
        (Work(25_000, 25_000, 25_000), 1, 437),
        (Work(25_000, 25_000, 50_000), 1, 499),
    ],
)
def test_the_measured_calibration_is_near_what_was_measured(work: Work, at_once: int, rate: float) -> None:
    """Attributes a second of MISP 2.5.1, within 15 %; equal runs of the real one differed by up to 25 %."""
    assert MEASURED.rate(work, at_once) == pytest.approx(rate, rel=0.15)


def test_crosstalk_makes_the_rate_peak() -> None:
    """The law's peak is at sqrt((1 - contention) / crosstalk): three requests at once are best, eight are worse."""
    costs = Costs(attribute=0.001, contention=0.28, crosstalk=0.08)
    rates = [costs.rate(Work(1_000), busy) for busy in range(1, 9)]
    assert max(rates) == rates[2] == costs.saturated(Work(1_000), workers=8)
    assert rates[7] < rates[0] * 1.5


def test_without_contention_workers_do_not_slow_one_another() -> None:
    """Eight workers with a processor each are eight times as fast as one."""
    own = replace(MEASURED, contention=0.0, crosstalk=0.0)
    assert own.saturated(Work(1_000), workers=8) == pytest.approx(8 * own.rate(Work(1_000)))


@pytest.mark.parametrize(
    ("body", "work"),
    [
        ({"Event": {"Attribute": [domain("a.example"), domain("new.example")]}}, Work(2, 2, 1)),  # one is elsewhere
        ([domain("new.example"), domain("a.example") | {"disable_correlation": True}], Work(2, 1, 0)),
        ({"Attribute": domain("a.example")}, Work(1, 1, 1)),
        (domain("new.example"), Work(1, 1, 0)),
        ({"Event": {"info": "no attributes"}}, Work(0, 0, 0)),
        (None, Work(0, 0, 0)),  # an empty body
    ],
)
async def test_work_is_counted_from_the_body(body: object, work: Work) -> None:
    """Attributes, those that correlate, and the other events that hold their values."""
    store = MispStore()
    async with serving(store) as misp:
        await misp.event(rows=[domain("a.example")])
        await misp.event(OTHER_EVENT)
    assert work_of(store, OTHER_EVENT, body) == work


async def test_an_event_that_does_not_correlate_is_cheaper() -> None:
    """``disable_correlation`` of the event that is there, or of the one that is sent, spares the look elsewhere."""
    store = MispStore()
    async with serving(store) as misp:
        await misp.post("/events/add", {"Event": {"uuid": EVENT, "info": "x", "disable_correlation": True}})
    rows = [domain("a.example"), domain("b.example")]
    assert work_of(store, EVENT, {"Event": {"Attribute": rows}}) == Work(2)
    assert work_of(store, None, {"Event": {"disable_correlation": True, "Attribute": rows}}) == Work(2)


async def test_requests_slow_one_another() -> None:
    """With contention 1 two requests at a time take as long as one after the other."""
    options = MispSimulatorOptions(cost_per_request=0.05, contention=1.0)
    loop = asyncio.get_running_loop()
    async with serving(options=options) as misp:
        begun = loop.time()
        await asyncio.gather(*(misp.send("GET", "/servers/getVersion") for _ in range(2)))
        assert loop.time() - begun >= 0.09


async def test_a_server_may_become_slow() -> None:
    """All costs are multiplied by the slowness of the store, from the moment when it is set."""
    store = MispStore()
    loop = asyncio.get_running_loop()
    async with serving(store, MispSimulatorOptions(cost_per_request=0.01)) as misp:
        store.slowness = 5.0
        begun = loop.time()
        await misp.send("GET", "/servers/getVersion")
        assert loop.time() - begun >= 0.045
