"""Calls at the same time."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from tqmisp.pipeline.groups import together


async def test_answers_come_in_the_order_of_the_calls() -> None:
    """Whichever is there first; none of them waits for another."""
    last = anyio.Event()

    async def call(number: int) -> int:
        if number == 2:
            last.set()
        await last.wait()
        return number

    with anyio.fail_after(5):
        assert await together(partial(call, number) for number in range(3)) == [0, 1, 2]
    assert await together([]) == []


async def test_the_first_error_ends_the_others() -> None:
    """It comes as it was raised, in no group."""
    ended = False

    async def wait() -> None:
        nonlocal ended
        try:
            await anyio.sleep_forever()
        finally:
            ended = True

    async def fail() -> None:
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        await together([wait, fail])
    assert ended
