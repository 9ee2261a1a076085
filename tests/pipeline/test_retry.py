from __future__ import annotations

from collections import Counter

import anyio
import pytest

from tqmisp.errors import MispRefused, MispUnavailable
from tqmisp.pipeline.retry import SHORTEST, RetryPolicy


class Clock:
    """Sleeps in no time and remembers how long; its seconds pass only so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


class Away:
    """Takes its time, and fails each time."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.calls = 0

    async def __call__(self) -> None:
        self.calls += 1
        self.clock.now += self.seconds
        raise MispUnavailable("away")


class Flaky:
    """Fails some times, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_what_may_pass_is_tried_again() -> None:
    """Transient errors are waited out; the waits grow within their bounds."""
    clock, heard = Clock(), []
    policy = RetryPolicy(
        attempts=5, backoff=1, backoff_max=4, sleep=clock.sleep, hook=lambda n, _, wait: heard.append((n, wait))
    )
    assert await policy.call(Flaky(*[MispUnavailable("down")] * 4)) == "done"
    assert [number for number, _ in heard] == [1, 2, 3, 4]
    assert [wait for _, wait in heard] == clock.slept
    assert all(0.5 <= wait <= bound for wait, bound in zip(clock.slept, (1, 2, 4, 4), strict=True))


async def test_the_server_may_ask_for_a_longer_wait() -> None:
    """A Retry-After is obeyed even above our own longest wait."""
    clock = Clock()
    policy = RetryPolicy(attempts=2, backoff=1, backoff_max=4, sleep=clock.sleep)
    assert await policy.call(Flaky(MispUnavailable("slow down", retry_after=900))) == "done"
    assert clock.slept == [900]


async def test_what_will_not_pass_is_not_tried_again() -> None:
    """A refusal comes out at once."""
    clock = Clock()
    with pytest.raises(MispRefused):
        await RetryPolicy(sleep=clock.sleep).call(Flaky(MispRefused("no")))
    assert clock.slept == []


async def test_the_last_error_comes_out() -> None:
    """When the attempts are used up, the caller sees the error itself."""
    clock = Clock()
    with pytest.raises(MispUnavailable, match="third"):
        await RetryPolicy(attempts=3, sleep=clock.sleep).call(
            Flaky(*(MispUnavailable(text) for text in ("first", "second", "third", "fourth")))
        )
    assert len(clock.slept) == 2


async def test_many_tasks_may_share_one_policy() -> None:
    """Each call counts its own attempts; no task ends, or repeats, the call of another."""
    clock = Clock()
    policy = RetryPolicy(attempts=3, sleep=clock.sleep)
    calls = [Flaky(*[MispUnavailable("down")] * (number % 4)) for number in range(40)]
    outcomes: list[str] = []

    async def use(call: Flaky) -> None:
        try:
            outcomes.append(await policy.call(call))
        except MispUnavailable:
            outcomes.append("gave up")

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(use, call)
    assert Counter(outcomes) == {"done": 30, "gave up": 10}
    assert [len(call.errors) for call in calls] == [0] * 40


async def test_a_cancelled_call_is_not_made_again() -> None:
    """To be cancelled in the call, or in the wait before the next one, is no failure that may pass."""
    calls = 0

    async def hang() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await anyio.sleep_forever()
        raise MispUnavailable("down")

    for expected in (1, 2):
        with anyio.fail_after(5), anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(RetryPolicy(sleep=lambda _: anyio.sleep_forever()).call, hang)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        assert calls == expected


async def test_without_a_backoff_there_is_no_wait() -> None:
    """Tests, and whoever is in a hurry, may set it to nothing."""
    clock = Clock()
    await RetryPolicy(attempts=4, backoff=0, backoff_max=0, sleep=clock.sleep).call(
        Flaky(*[MispUnavailable("down")] * 3)
    )
    assert clock.slept == [0, 0, 0]


@pytest.mark.parametrize(("seconds", "calls"), [(300, 6), (100, 9)])
async def test_patience_ends_so_long_after_the_first_attempt(seconds: float, calls: int) -> None:
    """A server that never answers takes its time in the attempts, and not between them."""
    clock = Clock()
    away = Away(clock, seconds)
    policy = RetryPolicy(attempts=6, backoff=0, backoff_max=0, patience=900, sleep=clock.sleep, clock=clock)
    with pytest.raises(MispUnavailable):
        await policy.call(away)
    assert away.calls == calls


async def test_patience_is_no_hail_of_requests() -> None:
    """Without a backoff the first attempts follow each other at once, but no others."""
    clock = Clock()
    policy = RetryPolicy(attempts=4, backoff=0, backoff_max=0, patience=60, sleep=clock.sleep, clock=clock)
    with pytest.raises(MispUnavailable):
        await policy.call(Away(clock, 0))
    assert clock.slept == [0, 0, 0] + [SHORTEST] * 119
