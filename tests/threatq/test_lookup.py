from __future__ import annotations

import pytest

from tests.threatq.conftest import Serve
from tqmisp.simulators.threatq import ThreatQSimulatorOptions, generate
from tqmisp.threatq.lookup import Found, Lookup
from tqmisp.threatq.options import Selection

OLD = ThreatQSimulatorOptions(query_route=False)


@pytest.mark.parametrize("options", [None, OLD], ids=["new", "without the query route"])
async def test_an_indicator_is_found_by_id_and_by_value(serve: Serve, options: ThreatQSimulatorOptions | None) -> None:
    """The same either way, whatever the age of the server; what is not there is not found."""
    library = generate(200, seed=4)
    lookup = Lookup(await serve(library, options), Selection(statuses=()))
    await lookup.prepare()
    for place in (0, 50, 199):
        row = library.row(place)
        by_id = await lookup.by_id(row["id"])
        assert isinstance(by_id, Found)
        assert by_id.objection is None
        assert by_id.indicator.value == row["value"]
        [found] = [each for each in await lookup.by_value(["nothing", row["value"]]) if each.indicator.id == row["id"]]
        assert found == by_id
    assert await lookup.by_id(1) is None
    assert await lookup.by_value(["nothing, at all"]) == []
    assert await lookup.by_value([]) == []


async def test_a_collection_is_asked_whether_it_holds_an_indicator(serve: Serve) -> None:
    """A row does not tell."""
    library = generate(200, seed=4)
    lookup = Lookup(await serve(library), Selection(statuses=(), collection="MISP - high confidence"))
    await lookup.prepare()
    rows = [library.row(place) for place in range(200)]
    high = next(row for row in rows if row["score"] >= 7 and row["status"]["name"] == "Active")
    low = next(row for row in rows if row["score"] < 7)
    taken, left = await lookup.by_id(high["id"]), await lookup.by_id(low["id"])
    assert isinstance(taken, Found)
    assert isinstance(left, Found)
    assert taken.objection is None
    assert left.objection is not None
    assert left.objection.code == "not_in_collection"
