from __future__ import annotations

import anyio

from tqmisp.pipeline.budget import ByteBudget


async def test_takers_wait_until_there_is_room() -> None:
    """The bytes that are out never exceed the limit, and everybody is served in the end."""
    budget, out, highest = ByteBudget(10), 0, 0

    async def work(size: int) -> None:
        nonlocal out, highest
        await budget.take(size)
        out += size
        highest = max(highest, out)
        await anyio.lowlevel.checkpoint()
        out -= size
        budget.give(size)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for size in (3, 4, 5, 1, 9, 10, 2):
                tasks.start_soon(work, size)
    assert highest <= 10


async def test_one_taker_of_more_than_the_limit_is_let_through() -> None:
    """A page that is larger than the whole budget does not wait for ever."""
    budget = ByteBudget(10)
    with anyio.fail_after(5):
        await budget.take(50)
        budget.give(50)
        await budget.take(50)
