from __future__ import annotations

import pytest

from tqmisp.errors import MispRefused, MispUnavailable
from tqmisp.pipeline.retry import RetryPolicy


class Clock:
    """Sleeps in no time and remembers how long."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


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
