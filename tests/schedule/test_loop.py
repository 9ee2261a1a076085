from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from tests.logs import capture_logs
from tqmisp.errors import ConfigError, Interrupted, LockHeld, ThreatQUnavailable
from tqmisp.observe import logs
from tqmisp.pipeline.stop import Stop
from tqmisp.schedule import Clock, Result, Schedule, State, Timetable

HOUR = 3600.0
START = 1_700_000_000.0


class FastClock(Clock):
    """Time goes by as fast as somebody waits for it."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.time += seconds


class Days:
    """A schedule of one run an hour, whose runs do what they are told to, one after the other; then it ends."""

    def __init__(self, *turns: Callable[[], Result], jitter: float = 0.0) -> None:
        self.clock = FastClock()
        self.stop = Stop()
        self.began: list[float] = []
        self.seen: list[tuple[bool, float | None]] = []
        self._turns = list(turns)
        self.schedule = Schedule(
            self._work,
            Timetable(HOUR, jitter),
            stop=self.stop,
            reload=self._reload,
            on_change=self._look,
            clock=self.clock,
        )
        self.reload: Callable[[], Timetable] = lambda: Timetable(HOUR)

    @property
    def state(self) -> State:
        return self.schedule.state

    def hours(self) -> list[float]:
        """When the runs began, in hours since the start."""
        return [(began - START) / HOUR for began in self.began]

    async def _work(self) -> Result:
        self.began.append(self.clock.time)
        turn = self._turns.pop(0)
        if not self._turns:
            self.stop.request("SIGTERM")
        return turn()

    async def _reload(self) -> Timetable:
        return self.reload()

    def _look(self, state: State) -> None:
        self.seen.append((state.running_since is not None, state.next))


def _fails(error: Exception) -> Callable[[], Result]:
    def turn() -> Result:
        raise error

    return turn


async def test_the_first_at_once_and_then_each_hour() -> None:
    """Nothing drifts, and who looks sees what comes next."""
    days = Days(*[Result] * 4)
    await days.schedule.run()
    assert days.hours() == [0, 1, 2, 3]
    assert (days.state.turns, days.state.failures, days.state.next) == (4, 0, None)
    assert days.seen[:5] == [
        (True, None),
        (False, None),
        (False, START + HOUR),
        (True, None),
        (False, None),
    ]


async def test_jitter() -> None:
    """Each but the first is put off within its share."""
    days = Days(*[Result] * 20, jitter=0.1)
    await days.schedule.run()
    delays = [hour - number for number, hour in enumerate(days.hours())]
    assert delays[0] == 0
    assert all(0 <= delay < 0.1 for delay in delays)
    assert len(set(delays)) > 10


async def test_a_long_run_leaves_out_its_followers() -> None:
    """No run begins while another is at work, and none is made up for."""

    def long() -> Result:
        days.clock.time += 2.5 * HOUR
        return Result()

    days = Days(Result, long, Result)
    with capture_logs() as logged:
        await days.schedule.run()
    assert days.hours() == [0, 1, 4]
    assert [(entry["event"], entry["seconds"]) for entry in logged] == [("the run took longer than the interval", 9000)]


async def test_what_goes_wrong_is_counted_and_the_next_comes_all_the_same() -> None:
    """A server that is away, a fault of ours, and a run that needs somebody; a good one ends the row."""
    days = Days(
        _fails(ThreatQUnavailable("POST /api/token: ThreatQ cannot be reached")),
        _fails(ZeroDivisionError("division by zero")),
        lambda: Result(6, "one is off"),
        Result,
        Result,
    )
    rows: list[tuple[int, str, int, str, bool]] = []

    def look(state: State) -> None:
        if state.last is not None and state.running_since is None and len(rows) < state.turns:
            last = state.last
            rows.append((last.exit_code, last.outcome, state.failures_in_a_row, last.text, state.healthy))

    days.schedule._on_change = look
    with capture_logs() as logged:
        await days.schedule.run()
    assert days.hours() == [0, 1, 2, 3, 4]
    assert rows[:4] == [
        (3, "failed", 1, "POST /api/token: ThreatQ cannot be reached", False),
        (1, "failed", 2, "unexpected ZeroDivisionError: division by zero", False),
        (6, "done", 3, "one is off", False),
        (0, "done", 0, "", True),
    ]
    assert (days.state.turns, days.state.failures) == (5, 3)
    assert [entry["event"] for entry in logged] == [
        "the run failed",
        "the run failed unexpectedly",
        "the run needs somebody",
    ]


async def test_a_held_lock_is_no_failure() -> None:
    """The verdict on the last run stays as it was."""
    days = Days(
        lambda: Result(6, "one is off"), _fails(LockHeld("Run 4711 is at work.")), _fails(LockHeld("again")), Result
    )
    healthy: dict[int, bool] = {}
    days.schedule._on_change = lambda state: healthy.__setitem__(state.skipped, state.healthy)
    await days.schedule.run()
    assert days.hours() == [0, 1, 2, 3]
    assert (days.state.turns, days.state.failures, days.state.skipped) == (2, 1, 2)
    assert healthy[1] is False


async def test_a_run_that_is_stopped_is_the_last() -> None:
    """By way of its receipt, or before it had one."""
    for turn in (Result, _fails(Interrupted("Stopped before everything was delivered."))):
        days = Days(turn)
        await days.schedule.run()
        assert days.state.last is not None
        assert days.state.last.outcome == "stopped"
        assert days.state.turns == 1


async def test_stopped_while_it_waits() -> None:
    """Without another run, and without waiting for its moment."""
    days = Days(Result, Result)

    def stop_once_it_waits(state: State) -> None:
        if state.next is not None:
            days.stop.request("SIGTERM")

    days.schedule._on_change = stop_once_it_waits
    await days.schedule.run()
    assert days.hours() == [0]
    assert days.clock.time == START


async def test_stopped_before_it_begins() -> None:
    """Then there is no run at all."""
    days = Days(Result)
    days.stop.request("SIGTERM")
    await days.schedule.run()
    assert days.hours() == []


async def test_a_clock_that_is_set() -> None:
    """Forward, the run comes as soon as that is seen; backward, it is not put off for days."""
    days = Days(Result, Result, Result)
    sleep = days.clock.sleep

    async def jump(seconds: float) -> None:
        await sleep(seconds)
        if len(days.began) == 1:
            days.clock.time += 24 * HOUR
        elif days.clock.time > START + 20 * HOUR:
            days.clock.time -= 24 * HOUR

    days.clock.sleep = jump  # type: ignore[method-assign]
    await days.schedule.run()
    assert days.hours()[1] == pytest.approx(24, abs=0.01)
    assert days.hours()[2] < 3


async def _during(days: Days, act: Callable[[], object]) -> None:
    """Do something at the end of the first nap."""
    sleep: Callable[[float], Awaitable[None]] = days.clock.sleep
    acts = [act]

    async def nap(seconds: float) -> None:
        await sleep(seconds)
        if acts:
            acts.pop()()

    days.clock.sleep = nap  # type: ignore[method-assign]
    await days.schedule.run()


async def test_reloading_brings_the_next_run_nearer() -> None:
    """From an hour to ten minutes; the grid stays where it was."""
    days = Days(*[Result] * 3)
    days.reload = lambda: Timetable(HOUR / 6)
    await _during(days, days.schedule.reload_soon)
    assert days.hours() == pytest.approx([0, 1 / 6, 2 / 6])


async def test_reloading_puts_no_run_off() -> None:
    """The one that was announced comes when it was announced."""
    days = Days(*[Result] * 3)
    days.reload = lambda: Timetable(12 * HOUR)
    await _during(days, days.schedule.reload_soon)
    assert days.hours() == [0, 1, 12]


async def test_a_configuration_that_cannot_be_read() -> None:
    """The earlier one stays, the state says why, without secrets; the next good one clears it."""
    logs.register(["hunter22"])
    days = Days(*[Result] * 3)

    def refuse() -> Timetable:
        raise ConfigError("tqmisp.toml: misp.url is 'hunter22'; expected an address")

    refused = []
    days.reload = refuse
    days.schedule._on_change = lambda state: refused.append(state.refused)
    try:
        with capture_logs() as logged:
            await _during(days, days.schedule.reload_soon)
    finally:
        logs.register(())
    assert days.hours() == [0, 1, 2]
    assert f"tqmisp.toml: misp.url is '{logs.MASK}'; expected an address" in refused
    assert logged[0]["event"] == "the configuration could not be read again; the earlier one stays"


async def test_reloading_waits_for_the_end_of_a_run() -> None:
    """A run keeps the settings that it began with."""
    order: list[str] = []

    def first() -> Result:
        days.schedule.reload_soon()
        order.append("run")
        return Result()

    def reload() -> Timetable:
        order.append("reload")
        return Timetable(HOUR)

    def second() -> Result:
        order.append("run")
        return Result()

    days = Days(first, second)
    days.reload = reload
    await days.schedule.run()
    assert order == ["run", "reload", "run"]


async def test_with_the_clock_of_the_machine() -> None:
    """Its defaults: real time, no jitter, nothing to be read again."""
    runs = 0

    async def work() -> Result:
        nonlocal runs
        runs += 1
        if runs == 2:
            stop.request("enough")
        return Result()

    stop = Stop()
    schedule = Schedule(work, Timetable(0.01), stop=stop)
    schedule.reload_soon()
    with anyio.fail_after(10):
        await schedule.run()
    assert runs == 2
