"""Calls at the same time, and one clear exception out of a group of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

T = TypeVar("T")


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a person should see: the first one, at whatever depth."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def together(calls: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """What calls that run at the same time return, in their order; the first error of any is raised and ends them."""
    found: dict[int, T] = {}

    async def keep(number: int, call: Callable[[], Awaitable[T]]) -> None:
        found[number] = await call()

    try:
        async with anyio.create_task_group() as group:
            for number, call in enumerate(calls):
                group.start_soon(keep, number, call)
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None
    return [found[number] for number in sorted(found)]
