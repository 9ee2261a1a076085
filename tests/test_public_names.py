from __future__ import annotations

import subprocess
import sys

import pytest

import tqmisp


@pytest.mark.parametrize("name", tqmisp.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """What `__all__` promises can be imported."""
    assert getattr(tqmisp, name).__doc__


def test_the_public_names_are_these() -> None:
    """A name that comes or goes is a decision, not an accident."""
    assert tqmisp.__all__ == sorted(tqmisp.__all__)
    assert set(tqmisp._HOMES) | {"load_settings"} == set(tqmisp.__all__)
    assert set(tqmisp.__all__) <= set(dir(tqmisp))
    with pytest.raises(AttributeError, match="no_such_name"):
        tqmisp.no_such_name  # noqa: B018


def test_a_part_costs_no_more_than_itself() -> None:
    """The pipeline is there without any product, and without their libraries."""
    code = (
        "import sys, tqmisp.pipeline.run\n"
        "bad = {'aiohttp', 'orjson', 'sqlalchemy', 'pydantic', 'pymisp', 'rich'} & set(sys.modules)\n"
        "sys.exit(', '.join(bad) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603
