from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from tests.test_export import World, only, world
from tests.test_retiring import ACTIVE, DOMAIN, EXPIRED, attribute, edit, library
from tqmisp.errors import MispRefused
from tqmisp.export import Export
from tqmisp.misp.retire import RetireOptions
from tqmisp.verification import KINDS, Verdict


async def verify(here: World, *, every: bool = False, repair: bool = False) -> Verdict:
    """Compare ledger and MISP."""
    async with Export.open(here.settings) as export:
        return await export.verify(every=every, repair=repair)


def found(verdict: Verdict) -> dict[str, int]:
    """The kinds of differences, and how many of each."""
    return {kind: verdict.count(kind) for kind in KINDS if verdict.count(kind)}


async def test_what_was_delivered_is_there(tmp_path: Path) -> None:
    """Several events, some withdrawn: nothing differs, and not one attribute has to be looked at."""
    lib = library(100)
    async with world(lib, tmp_path) as here:
        here.settings = replace(here.settings, events=replace(here.settings.events, slice_size=30))
        await here.run()
        lib.change(lib.ids[0], EXPIRED)
        await here.run()
        verdict = await verify(here)
        assert len(verdict.events) == 4
        assert (found(verdict), verdict.holds) == ({}, True)
        assert not any(event.compared for event in verdict.events)
        thorough = await verify(here, every=True)
        assert (found(thorough), thorough.holds) == ({}, True)
        assert all(event.compared for event in thorough.events)


async def test_every_difference_is_found_and_only_ours_is_mended(tmp_path: Path) -> None:
    """Lost, deleted, changed and added attributes, and a lost event; a second look after the repair is content."""
    lib = library(60)
    async with world(lib, tmp_path) as here:
        here.settings = replace(here.settings, events=replace(here.settings.events, slice_size=20))
        first = only(await here.run())
        await edit(here, f"/attributes/delete/{attribute(here, 'd0.example').uuid}/1", {})
        await edit(here, f"/attributes/delete/{attribute(here, 'd1.example').uuid}", {})
        await edit(here, f"/attributes/edit/{attribute(here, 'd2.example').uuid}", {"comment": "theirs"})
        added = {"type": "domain", "category": "Network activity", "value": "theirs.example"}
        await edit(here, f"/attributes/add/{first.events[1].uuid}", added)
        for each in here.store.attributes(first.events[2].uuid):
            await edit(here, f"/attributes/delete/{each.uuid}/1", {})
        verdict = await verify(here)
        assert not verdict.holds
        assert found(verdict) == {"missing": 21, "deleted": 1, "changed": 1, "extra": 1}
        [changed] = [sample for event in verdict.events for sample in event.changed.samples]
        assert (changed["value"], changed["fields"]) == ("d2.example", ["comment"])
        repaired = await verify(here, repair=True)
        assert repaired.to_deliver_again == 21
        assert only(await here.run(full=True)).created == 21
        after = await verify(here, every=True)
        assert after.holds
        assert found(after) == {"changed": 1, "extra": 1}, "the run has learnt what was deleted"
        assert attribute(here, "d2.example").comment == "theirs"
        assert attribute(here, "d1.example").deleted


async def test_an_older_state_is_stale(tmp_path: Path) -> None:
    """As after MISP's database was put back to yesterday."""
    lib = library(10)
    async with world(lib, tmp_path) as here:
        await here.run()
        delivered = attribute(here, "d0.example")
        old = replace(delivered, timestamp=delivered.timestamp - 86_400)
        lib.change(lib.ids[0], {"description": "changed"})
        await here.run()
        here.store.change_attribute(attribute(here, "d0.example"), old)
        here.store.commit()
        assert found(await verify(here, every=True)) == {"stale": 1}
        await verify(here, every=True, repair=True)
        assert only(await here.run(full=True)).updated == 1
        assert attribute(here, "d0.example").comment == "changed"


async def test_what_people_do_is_theirs_also_where_the_clock_of_misp_is_behind(tmp_path: Path) -> None:
    """What differs and is hardly older than what was sent is no older state."""
    lib = library(10)
    async with world(lib, tmp_path) as here:
        await here.run()
        held = attribute(here, "d0.example")
        here.store.change_attribute(held, replace(held, comment="theirs", timestamp=held.timestamp - 120))
        assert found(await verify(here, every=True, repair=True)) == {"changed": 1}
        await here.run(full=True)
        assert attribute(here, "d0.example").comment == "theirs"


async def test_what_a_dead_run_has_left_is_for_the_next_one(tmp_path: Path) -> None:
    """Nothing of it is missing or stale, and a repair takes no analyst's work."""
    lib, dying = library(10), False

    @web.middleware
    async def die(request: web.Request, handler: Handler) -> web.StreamResponse:
        return web.Response(status=405) if dying and "/events/edit" in request.path else await handler(request)

    async with world(lib, tmp_path, die) as here:
        here.settings = replace(here.settings, misp=replace(here.settings.misp, settle_seconds=0))
        await here.run()
        held = attribute(here, "d0.example")
        here.store.change_attribute(held, replace(held, comment="theirs"))  # before the second of the next run
        lib.change(lib.ids[0], {"description": "changed"})
        lib.add([{"type": DOMAIN, "value": "new.example", "score": 5} | ACTIVE])
        dying = True
        with pytest.raises(MispRefused):
            await here.run()
        dying = False
        assert found(await verify(here, every=True, repair=True)) == {}
        target = only(await here.run())
        assert (target.created, target.kept) == (1, {"comment": 1})
        assert attribute(here, "d0.example").comment == "theirs"


async def test_an_event_that_people_have_deleted_is_not_brought_back(tmp_path: Path) -> None:
    """Neither it nor what was in it, though it is of today and nobody has noticed before the repair."""
    lib = library(10)
    async with world(lib, tmp_path) as here:
        first = only(await here.run())
        await edit(here, f"/events/delete/{first.events[0].uuid}", {})
        assert found(await verify(here, repair=True)) == {"missing": 10}
        assert only(await here.run(full=True)).filtered == {"event_blocked": 10}
        assert here.store.events() == []


async def test_what_was_refused_is_tried_again(tmp_path: Path) -> None:
    """Quarantined by a server that was at fault, or rejected and mended since; by code and by type."""
    lib = library(5)
    faults = True

    @web.middleware
    async def throw(request: web.Request, handler: Handler) -> web.StreamResponse:
        if faults and "/events/edit" in request.path and b"d3.example" in await request.read():
            return web.json_response({"name": "An Internal Error Has Occurred."}, status=500)
        return await handler(request)

    [bad] = lib.add([{"type": DOMAIN, "value": "no domain at all", "score": 5} | ACTIVE])
    async with world(lib, tmp_path, throw) as here:
        first = only(await here.run())
        assert (first.quarantined, first.rejected) == ({"server_error": 1}, {"invalid_domain": 1})
        again = only(await here.run(full=True))
        assert again.quarantined == {"server_error": 1}, "what has not changed is not tried again by itself"
        faults = False
        lib.change(bad, {"value": "a.domain.example"})

        async with Export.open(here.settings) as export:
            nothing = only(await export.replay(codes=["no_such_code"]))
        assert nothing.read == 0
        async with Export.open(here.settings) as export:
            one = only(await export.replay(codes=["server_error"]))
        assert (one.read, one.created) == (1, 1)
        async with Export.open(here.settings) as export:
            other = only(await export.replay(types=["FQDN"]))
        assert (other.read, other.created) == (1, 1)
        assert here.store.stored_count() == 6
        async with Export.open(here.settings) as export:
            assert only(await export.replay()).read == 0


async def test_the_policy_to_delete_is_no_difference(tmp_path: Path) -> None:
    """What we have deleted ourselves is where it should be."""
    lib = library(10)
    async with world(lib, tmp_path) as here:
        here.settings = replace(here.settings, retire=RetireOptions(policy="delete"))
        await here.run()
        lib.change(lib.ids[0], EXPIRED)
        assert only(await here.run()).retired == 1
        verdict = await verify(here, every=True)
        assert (found(verdict), verdict.holds) == ({}, True)
