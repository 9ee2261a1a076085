from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tqmisp.threatq.recognition import Sifted, Sighting, sift
from tqmisp.threatq.records import Lookups
from tqmisp.threatq.rows import as_row, loads_page

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
    rows: list[Any], known: Known, salt: int = 0, in_period: Callable[[str | None], bool] = lambda _: True
) -> Sifted:
    """Sift the rows of a page that comes as bytes, with the types that are known."""
    page = loads_page(json.dumps({"data": rows}).encode())
    return await sift(page["data"], known, salt, LOOKUPS, in_period)


def ids(sifted: Sifted) -> list[Any]:
    """Of the rows that are left."""
    return [row.id for row in map(as_row, sifted.rows) if row is not None]


async def test_the_same_row_is_recognised_and_every_change_is_seen() -> None:
    """A change anywhere in a row, down to a tag of a source, or in the salt, makes it another one."""
    known = Known()
    rows = [row(1), row(2, sources=[{"name": "A", "tlp_id": 1, "reference_id": 7}])]
    first = await sifted(rows, known)
    assert (first.recognised, ids(first), first.stamps) == ([], [1, 2], list(known.stamps.values()))
    assert known.asked[0].type == "FQDN"
    assert await sifted(rows, known) == ([1, 2], ["2026-11-24 06:00:00"] * 2, [], [])
    changed = [row(1), row(2, sources=[{"name": "A", "tlp_id": 1, "reference_id": 8}])]
    again = await sifted(changed, known)
    assert (again.recognised, again.touched, ids(again)) == ([1], ["2026-11-24 06:00:00"], [2])
    assert ids(await sifted(changed, known, 5)) == [1, 2]
    assert all(0 < stamp < 2**63 for stamp in known.stamps.values())


@pytest.mark.parametrize(
    "strange",
    [
        None,
        7,
        [],
        row(1) | {"id": "1"},
        row(1) | {"id": True},
        row(1) | {"id": -1},
        row(1) | {"id": 2**63},
        row(1) | {"id": None},
        row(1, touched_at=None),
        row(1, touched_at=20261124),
        row(1, touched_at=""),
    ],
)
async def test_a_strange_row_goes_the_long_way(strange: Any) -> None:
    """What has no id that a journal can keep, or no time, is asked of nobody and left to others."""
    known = Known()
    first = await sifted([row(2), strange], known)
    assert (first.recognised, len(first.rows), first.stamps) == ([], 2, [known.stamps[2], 0])
    again = await sifted([row(2), strange], known)
    assert (again.recognised, len(again.rows), again.stamps) == ([2], 1, [0])
    assert [each.key for each in known.asked] == [2]


@pytest.mark.parametrize("digest", [5, None, "x", -1, [1]])
async def test_a_row_cannot_say_its_own_stamp(digest: object) -> None:
    """Whatever ThreatQ gives under the name of a field of ours, it counts as any other change of a row."""
    known = Known()
    for text in ("a", "b"):
        assert ids(await sifted([row(1, digest=digest, description=text)], known)) == [1]
    assert (await sifted([row(1, digest=digest, description="b")], known)).recognised == [1]
    assert as_row(row(1, digest=digest)) == as_row(row(1))


@pytest.mark.parametrize("broken", [row(1, value="\ud800"), {}, row(1, score=float("nan"))])
async def test_a_page_that_must_be_read_the_slow_way_is_not_recognised(broken: dict[str, Any]) -> None:
    """Half characters, an error in place of a row, numbers that JSON does not have: nothing of it is lost."""
    known = Known()
    for _ in range(2):
        page = await sifted([broken, row(2)], known)
        assert (page.recognised, ids(page), page.stamps) == ([], [broken.get("id"), 2], [0, 0])
    assert known.asked == []


@pytest.mark.parametrize(
    "unusual",
    [
        {"description": 5},
        {"sources": ["A", None, {"name": "B"}]},
        {"attributes": {}},
        {"created_at": {"date": "2026-11-24"}},
    ],
)
async def test_a_row_with_fields_of_other_types_is_recognised(unusual: dict[str, Any]) -> None:
    """It says less, and is a row."""
    known = Known()
    assert ids(await sifted([row(1, **unusual)], known)) == [1]
    assert (await sifted([row(1, **unusual)], known)).recognised == [1]


async def test_a_row_outside_of_the_time_selected_is_not_recognised() -> None:
    """Whether it is wanted is for others to say."""
    known = Known()
    await sifted([row(1)], known)
    again = await sifted([row(1)], known, in_period=lambda touched: touched is not None and touched > "2026-11-25")
    assert (again.recognised, ids(again), known.asked) == ([], [1], [])
