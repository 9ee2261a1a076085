from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tqmisp.threatq.recognition import Sifted, Sighting, sift
from tqmisp.threatq.records import Lookups

LOOKUPS = Lookups(types={7: "FQDN"})


def row(key: int, **more: object) -> dict[str, Any]:
    """A row as ThreatQ gives it."""
    return {"id": key, "value": f"{key}.example", "type_id": 7, "touched_at": "2026-11-24 06:00:00", **more}


class Known:
    """Knows rows by the stamps that it was given before."""

    def __init__(self) -> None:
        self.stamps: dict[int, int] = {}
        self.asked: list[Sighting] = []

    async def __call__(self, rows: Sequence[Sighting]) -> set[int]:
        self.asked = list(rows)
        known = {each.key for each in rows if self.stamps.get(each.key) == each.stamp}
        self.stamps |= {each.key: each.stamp for each in rows}
        return known


async def sifted(
    rows: list[Any], known: Known, salt: bytes = b"", in_period: Callable[[str | None], bool] = lambda _: True
) -> Sifted:
    """Sift with the types that are known."""
    return await sift(rows, known, salt, LOOKUPS, in_period)


async def test_the_same_row_is_recognised_and_every_change_is_seen() -> None:
    """A change anywhere in a row, down to a tag of a source, or in the salt, makes it another one."""
    known = Known()
    rows = [row(1), row(2, sources=[{"name": "A", "tlp_id": 1}])]
    assert await sifted(rows, known) == ([], [], rows, list(known.stamps.values()))
    assert known.asked[0].type == "FQDN"
    assert await sifted(rows, known) == ([1, 2], ["2026-11-24 06:00:00"] * 2, [], [])
    changed = [row(1), row(2, sources=[{"name": "A", "tlp_id": 2}])]
    assert (await sifted(changed, known))[:3] == ([1], ["2026-11-24 06:00:00"], changed[1:])
    assert (await sifted(changed, known, b"another mapping")).rows == changed
    assert all(0 < stamp < 2**63 for stamp in known.stamps.values())


@pytest.mark.parametrize(
    "strange",
    [
        None,
        7,
        [],
        {},
        row(1) | {"id": "1"},
        row(1) | {"id": True},
        row(1) | {"id": -1},
        row(1) | {"id": 2**63},
        row(1) | {"id": None},
        row(1, touched_at=None),
        row(1, value="\ud800"),
        row(1, score=10**30),
    ],
)
async def test_a_strange_row_goes_the_long_way(strange: Any) -> None:
    """What has no id that a journal can keep, or cannot be written down, is asked of nobody and left to others."""
    known = Known()
    first = await sifted([strange, row(2)], known)
    assert (first.recognised, first.rows, first.stamps) == ([], [strange, row(2)], [0, known.stamps[2]])
    again = await sifted([strange, row(2)], known)
    assert (again.recognised, again.rows, again.stamps) == ([2], [strange], [0])
    assert [each.key for each in known.asked] == [2]


async def test_a_row_outside_of_the_time_selected_is_not_recognised() -> None:
    """Whether it is wanted is for others to say."""
    known = Known()
    await sifted([row(1)], known)
    again = await sifted([row(1)], known, in_period=lambda touched: touched is not None and touched > "2026-11-25")
    assert (again.recognised, again.rows, known.asked) == ([], [row(1)], [])
