from __future__ import annotations

import pytest
from blockbuster import BlockingError

import tqmisp.pipeline

NAP = "import time\ndef nap():\n    time.sleep(0)\n"


async def test_a_blocking_call_on_the_loop_fails_the_test() -> None:
    """The guard of `conftest.py` is on, and knows the package by where its code lies."""
    names: dict[str, object] = {}
    exec(compile(NAP, tqmisp.pipeline.__file__, "exec"), names)  # noqa: S102
    nap = names["nap"]
    assert callable(nap)
    with pytest.raises(BlockingError, match=r"time\.sleep"):
        nap()


def test_off_the_loop_it_may_block() -> None:
    """Commands read their files before the loop begins."""
    names: dict[str, object] = {}
    exec(compile(NAP, tqmisp.pipeline.__file__, "exec"), names)  # noqa: S102
    nap = names["nap"]
    assert callable(nap)
    nap()
