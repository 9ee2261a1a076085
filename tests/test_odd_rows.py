"""Whole runs over rows that ThreatQ should not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.test_export import only, world
from tests.test_retiring import ACTIVE, DOMAIN, library
from tqmisp.journal import Journal


async def test_half_characters_in_a_row_cost_no_other(tmp_path: Path) -> None:
    """Wherever they are: what can be delivered is, all else is refused, and journal and receipt can say so."""
    half = "half \ud83d"
    rows: list[dict[str, Any]] = [
        {"type": {"id": 99, "name": half}},
        {"type": {"id": 99, "name": half}, "value": ""},
        {"value": half},
        {"description": half},
        {"sources": [{"name": half, "tlp_name": half}]},
        {"attributes": [{"name": half, "value": half}, {"name": "Malware Family", "value": half}]},
        {"tags": [half], "adversaries": [{"name": half}]},
        {"created_at": half, "published_at": half, "expires_at": half},
    ]
    lib = library(3)
    domain = {"type": DOMAIN, "score": 5} | ACTIVE
    lib.add(domain | {"value": f"h{number}.example"} | row for number, row in enumerate(rows))
    async with world(lib, tmp_path) as here:
        target = only(await here.run())
        assert (target.read, target.created, sum(target.rejected.values())) == (11, 9, 2)
        async with Journal.open(here.settings.state.place) as journal:
            [lacking] = await journal.refusals(1, code="missing_value")
        assert lacking.label == r"half \ud83d"
        lib.change(lib.ids[0], {"status": {"id": 98, "name": half}})
        assert only(await here.run()).retired == 1
