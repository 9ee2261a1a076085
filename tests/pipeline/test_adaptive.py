from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.servers import Server, Speed, curve, halving, workers
from tqmisp.pipeline.adaptive import CHUNK, DECISIONS, IN_FLIGHT, Controller, Knee, Range, Result

STARTING = 20
"""Requests in which the knee must be found."""
NOISE = 0.15
SEEDS = range(6)

SERVERS = {
    "1 worker": (workers(1), False),
    "2 workers": (workers(2), False),
    "2 processors": (workers(2), True),
    "3 workers": (workers(3), False),
    "5 processors": (workers(5), True),
    "8 workers": (workers(8), False),
    "8 processors": (workers(8), True),
    "12 workers": (workers(12), False),
    "16 workers": (workers(16), False),
    "peaks at 3": (curve(1, 1.9, 2.6, 2.2, 1.9, 1.6, 1.4, 1.2), True),
    "peaks sharply at 3": (curve(1, 1.9, 2.6, 1.5, 1.2, 1.1), True),
    "peaks gently at 3": (curve(1, 1.6, 2.0, 1.9, 1.7, 1.6, 1.5), True),
    "collapses above 4": (curve(1, 2, 3, 4, 1, 0.8, 0.6, 0.5), True),
}
"""Speeds, and whether requests share it or queue for workers."""


def served(speed: Speed, requests: int = 200, **how: object) -> tuple[Server, Controller]:
    """A server and a controller that knew nothing of it, after so many requests."""
    server, controller = Server(speed, **how), Controller()  # type: ignore[arg-type]
    server.serve(controller, requests)
    return server, controller


@pytest.mark.parametrize(("speed", "shared"), SERVERS.values(), ids=SERVERS)
def test_the_full_rate_is_found_within_twenty_requests(speed: Speed, shared: bool) -> None:  # noqa: FBT001
    """From the 20th request on, trials included, the rate is at least 95 % of the best that any setting gives."""
    server, _ = served(speed, shared=shared)
    assert server.rate(STARTING) >= 0.95 * server.best()


@pytest.mark.parametrize(("speed", "shared"), SERVERS.values(), ids=SERVERS)
def test_it_is_found_also_where_requests_differ(speed: Speed, shared: bool) -> None:  # noqa: FBT001
    """Requests whose work varies by 15 % cost 95 % of the time at most in the median, and 89 % in the worst case."""
    servers = [served(speed, shared=shared, noise=NOISE, seed=seed)[0] for seed in SEEDS]
    shares = [server.rate(STARTING) / server.best() for server in servers]
    assert statistics.median(shares) >= 0.93
    assert min(shares) >= 0.87


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("noise", [0, NOISE])
def test_a_server_that_becomes_half_as_fast_is_kept_busy(count: int, shared: bool, noise: float) -> None:  # noqa: FBT001
    """Slower answers are not taken for a queue: as many requests as before are under way."""
    server, controller = Server(halving(workers(count), 60), shared=shared, noise=noise), Controller()
    while server.now < 60:
        server.serve(controller, 1)
    before = len(server.done)
    server.serve(controller, 150)
    assert server.rate(before) >= 0.95 * server.best(now=server.now)


def test_workers_that_come_later_are_found() -> None:
    """A server that grows from 2 workers to 8 gets as many requests in the end."""

    def grows(flying: int, now: float) -> float:
        return min(flying, 2 if now < 100 else 8)

    server, controller = served(grows, 400)
    assert server.now > 100
    assert controller.knee.in_flight >= 8


@pytest.mark.parametrize(("speed", "shared"), SERVERS.values(), ids=SERVERS)
def test_it_comes_to_rest(speed: Speed, shared: bool) -> None:  # noqa: FBT001
    """Once found, the knee does not swing: trials become rare, and what is kept hardly changes."""
    server, controller = served(speed, 400, shared=shared)
    settled, begin = controller.knee, len(controller.decisions)
    server.serve(controller, 1200)
    late = list(controller.decisions)[begin:]
    assert controller.knee.in_flight <= settled.in_flight + 1
    assert sum(a[1:3] != b[1:3] for a, b in pairwise(late)) <= len(late) / 4
    assert server.rate(400) >= 0.97 * server.best()


def test_the_size_of_requests_follows_their_overhead() -> None:
    """A server that takes half a second for any request gets large ones; one that suffers from size, small ones."""
    _, large = served(workers(4), per_request=0.5, per_item=0.001)
    assert large.knee.chunk == CHUNK.most
    server, controller = Server(workers(4), per_request=0.005, per_item=0.001, swells=300), Controller()
    server.serve(controller, 400)
    assert controller.knee.chunk <= 500


def test_a_server_that_asks_for_less_is_obeyed_at_once() -> None:
    """After the first 429 half as many are under way; errors of requests that were sent before change no more."""
    controller = Controller(knee=Knee(8, 1000))
    requests = [controller.started(0, 1000) for _ in range(8)]
    for request in requests:
        controller.finished(request, 1, Result.BUSY)
        assert (controller.in_flight, controller.chunk) == (4, 1000)
    again = controller.started(2, 1000)
    controller.finished(again, 3, Result.BUSY)
    assert controller.in_flight == 2


@pytest.mark.parametrize(
    ("result", "point"),
    [(Result.TOO_LARGE, (8, 500)), (Result.FAILED, (4, 500)), (Result.BUSY, (4, 1000)), (Result.VOID, (8, 1000))],
)
def test_each_failure_shrinks_what_it_is_about(result: Result, point: tuple[int, int]) -> None:
    """413 makes requests smaller, 429 fewer, a breakdown both; the fault of an item changes nothing."""
    controller = Controller(knee=Knee(8, 1000))
    controller.finished(controller.started(0, 1000), 1, result)
    assert (controller.in_flight, controller.chunk) == point


def test_a_request_that_takes_too_long_makes_the_next_ones_smaller() -> None:
    """Before a proxy loses patience."""
    controller = Controller(knee=Knee(2, 1000))
    controller.finished(controller.started(0, 1000), 45, Result.DONE)
    assert controller.chunk == 500


def test_a_trial_that_fails_ends_where_it_began() -> None:
    """A server that refuses a fifth request is asked for four, and hardly ever for a fifth."""
    server, controller = served(
        curve(1, 2, 3, 4), 400, shared=True, fails=lambda flying, _items, _now: Result.BUSY if flying > 4 else None
    )
    assert controller.knee.in_flight == 4
    assert server.rate(STARTING) >= 0.95 * server.best()
    assert sum(result is Result.BUSY for _, _, result in server.done) <= 12


def test_a_limit_on_size_is_kept_to() -> None:
    """A server that takes at most 700 items refuses few requests."""
    server, controller = served(
        workers(2), fails=lambda _flying, items, _now: Result.TOO_LARGE if items > 700 else None
    )
    assert 350 <= controller.knee.chunk <= 700
    assert sum(result is Result.TOO_LARGE for _, _, result in server.done) <= 8


def chance(share: float, seed: int) -> Callable[[int, int, float], Result | None]:
    """Loses a share of all answers, whatever the load."""
    draw = random.Random(seed).random
    return lambda _flying, _items, _now: Result.FAILED if draw() < share else None


@pytest.mark.parametrize("share", [0.02, 0.03, 0.05])
def test_answers_that_are_lost_by_chance_say_nothing_of_the_load(share: float) -> None:
    """Where some are lost however little is asked for, the rate is nearly what it is without."""
    whole, _ = served(workers(4), 1000)
    rates = [served(workers(4), 1000, fails=chance(share, seed), seed=seed)[0].rate(STARTING) for seed in SEEDS]
    assert statistics.median(rates) >= (0.95 - share) * whole.rate(STARTING)
    assert min(rates) >= 0.6 * whole.rate(STARTING)


@pytest.mark.parametrize(
    ("good", "seconds", "forgiven"), [(0, 5, 0), (5, 5, 0), (6, 5, 1), (11, 5, 1), (12, 5, 2), (15, 5, 2), (15, 45, 0)]
)
def test_lost_answers_close_to_each_other_are_taken_for_load(good: int, seconds: float, forgiven: int) -> None:
    """Six good answers make up for a lost one and twelve for two, but none for one that has taken too long."""
    controller = Controller(knee=Knee(8, 1000))
    for _ in range(good):
        controller.finished(controller.started(0, 1000), 1, Result.DONE)
    for _ in range(forgiven):
        controller.finished(controller.started(1, 1000), 1 + seconds, Result.FAILED)
        assert (controller.in_flight, controller.chunk) == (8, 1000)
    controller.finished(controller.started(1, 1000), 1 + seconds, Result.FAILED)
    assert (controller.in_flight, controller.chunk) == (4, 500)


@pytest.mark.parametrize("share", [0.08, 0.3])
def test_after_trouble_the_rate_comes_back(share: float) -> None:
    """However often trials have failed in a long time of trouble, it is forgotten 300 requests later."""
    shares = []
    for seed in range(12):
        server, controller = Server(workers(4), seed=seed), Controller()
        server.fails = chance(share, seed)
        server.serve(controller, 1500)
        server.fails = chance(0, seed)
        server.serve(controller, 300)
        begin = len(server.done)
        server.serve(controller, 100)
        shares.append(server.rate(begin) / server.best())
    assert statistics.median(shares) >= 0.9
    assert min(shares) >= 0.7


def test_what_has_failed_often_is_tried_again_in_the_end() -> None:
    """A server that refuses a fifth request refuses one in 50 at most, and gets more once it takes more."""
    server, controller = Server(workers(8)), Controller()
    server.fails = lambda flying, _items, _now: Result.BUSY if flying > 4 else None
    server.serve(controller, 4000)
    assert sum(result is Result.BUSY for _, _, result in server.done) <= 4000 / 50
    server.fails = lambda _flying, _items, _now: None
    server.serve(controller, 800)
    assert controller.knee.in_flight >= 8


def test_after_a_breakdown_the_rate_comes_back() -> None:
    """A server that fails for half a minute is asked for little meanwhile, and for more again in the next minute."""
    server, controller = Server(workers(8)), Controller()
    server.fails = lambda _flying, _items, now: Result.FAILED if 60 < now < 90 else None
    while server.now < 89:
        server.serve(controller, 1)
    assert (controller.in_flight, controller.chunk) == (1, CHUNK.least)
    while server.now < 150:
        server.serve(controller, 1)
    begin = len(server.done)
    server.serve(controller, 100)
    assert server.rate(begin) >= 0.9 * server.best()


@given(st.lists(st.tuples(st.sampled_from(Result), st.floats(0, 100), st.integers(1, 3000))), st.integers(1, 40))
def test_whatever_happens_bounds_are_kept(story: list[tuple[Result, float, int]], under_way: int) -> None:
    """No order of answers, times and sizes leads out of the bounds, or moves what is pinned."""
    free, pinned = Controller(), Controller(in_flight=Range(3, 3), chunk=Range(700, 700), knee=Knee(9, 90))
    for controller in (free, pinned):
        now, flying = 0.0, [controller.started(0, 10) for _ in range(under_way)]
        for result, seconds, items in story:
            now += seconds
            controller.finished(flying.pop(0), now, result)
            flying.append(controller.started(now, items))
            assert IN_FLIGHT.least <= controller.in_flight <= IN_FLIGHT.most
            assert CHUNK.least <= controller.chunk <= CHUNK.most
    assert (pinned.in_flight, pinned.chunk) == (pinned.knee.in_flight, pinned.knee.chunk) == (3, 700)


def test_one_of_the_two_may_be_pinned() -> None:
    """The other one is still looked for."""
    server, controller = Server(workers(8)), Controller(chunk=Range(500, 500))
    server.serve(controller, 200)
    assert controller.chunk == 500
    assert server.rate(STARTING) >= 0.95 * server.best(chunk=500)


def test_the_next_run_starts_at_the_knee() -> None:
    """What was found goes through text; from the first request on the rate is there."""
    first, found = served(workers(8))
    knee = Knee.from_json(found.knee.as_json())
    assert knee == found.knee
    assert knee.rate == pytest.approx(first.best(), rel=0.1)
    again, controller = Server(workers(8)), Controller(knee=knee)
    assert controller.in_flight == knee.in_flight
    again.serve(controller, 100)
    assert again.rate(1) >= 0.95 * again.best()


@pytest.mark.parametrize(
    "text",
    [None, "", "no JSON", "[]", "{}", '{"in_flight": 0, "chunk": 1, "rate": 1}', '{"in_flight": 2, "chunk": null}',
     '{"in_flight": 1e999, "chunk": 5, "rate": 1}', '{"in_flight": 2, "chunk": 5, "rate": NaN}'],
)  # fmt: skip
def test_what_was_kept_may_be_of_no_use(text: str | None) -> None:
    """A journal of another version does no harm."""
    assert Knee.from_json(text) is None


@pytest.mark.parametrize("demand", [1, 3])
def test_a_client_with_little_to_send_says_nothing_about_the_server(demand: int) -> None:
    """The limit does not run away from what is really under way."""
    server, controller = Server(workers(16)), Controller()
    server.serve(controller, 200, demand=demand)
    assert server.most == demand
    assert controller.knee.in_flight <= max(2, demand)


def test_decisions_can_be_shown_and_are_bounded() -> None:
    """Each has its moment, what is asked for from then on, what was measured, and why; old ones go."""
    _, controller = served(workers(8), 60)
    first = controller.decisions[0]
    assert (first.in_flight, first.chunk, first.reason) == (4, 1000, "try more")
    assert first.rate == pytest.approx(2 * 1000 / first.latency, rel=0.05)
    assert [decision.time for decision in controller.decisions] == sorted(d.time for d in controller.decisions)
    for number in range(DECISIONS + 10):
        controller.finished(controller.started(1000 + number, 10), 1000 + number, Result.BUSY)
    assert len(controller.decisions) == DECISIONS


def test_fewer_than_the_limit_are_never_exceeded() -> None:
    """What the simulated client had under way at most was allowed at some time."""
    fails: Callable[[int, int, float], Result | None] = lambda flying, _i, _n: Result.BUSY if flying > 6 else None  # noqa: E731
    server, controller = served(workers(8), fails=fails)
    assert server.most <= max(decision.in_flight for decision in controller.decisions)
