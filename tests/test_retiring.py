"""What becomes of attributes whose indicators leave the selection, and of those that people have worked on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler

from tests.test_export import World, only, world
from tqmisp.errors import ConfigError, MispRefused
from tqmisp.journal import Journal
from tqmisp.journal.audit import Audit
from tqmisp.misp.client import MispClient
from tqmisp.misp.options import EventOptions
from tqmisp.misp.retire import RetireOptions
from tqmisp.simulators.misp import create_app
from tqmisp.simulators.misp.model import Attribute
from tqmisp.simulators.threatq import Library, generate
from tqmisp.threatq.source import ThreatQSource

DOMAIN = {"id": 11, "name": "FQDN"}
ACTIVE = {"status": {"id": 1, "name": "Active"}}
EXPIRED = {"status": {"id": 2, "name": "Expired"}}
WHITELISTED = {"status": {"id": 5, "name": "Whitelisted"}}


def library(count: int, **fields: Any) -> Library:
    """So many domains."""
    made = generate(0)
    row = {"type": DOMAIN, "score": 5, "sources": [], "attributes": [], "tags": []} | ACTIVE | fields
    made.add(row | {"value": f"d{number}.example", "description": f"number {number}"} for number in range(count))
    return made


def attribute(here: World, value: str) -> Attribute:
    """The attribute with a value, deleted or not."""
    return next(each for each in here.store.every_attribute() if each.value == value)


async def edit(here: World, path: str, body: dict[str, Any]) -> None:
    """Change something as an analyst would."""
    async with MispClient.connect(here.settings.misp) as client:
        await client.write(path, orjson.dumps(body))


async def test_what_expires_loses_to_ids_and_gets_it_back(tmp_path: Path) -> None:
    """Incrementally; the receipt counts it, and again is nothing to do."""
    lib = library(100)
    async with world(lib, tmp_path) as here:
        assert only(await here.run()).created == 100
        lib.change(lib.ids[3], EXPIRED)
        lib.change(lib.ids[4], {"score": -1} | EXPIRED)
        target = only(await here.run())
        assert (target.retired, target.absent, target.filtered.get("status_not_selected")) == (2, 0, None)
        assert not attribute(here, "d3.example").to_ids
        writes = here.store.write_requests
        assert only(await here.run()).retired == 0
        assert here.store.write_requests == writes
        lib.change(lib.ids[3], ACTIVE)
        assert only(await here.run()).updated == 1
        assert attribute(here, "d3.example").to_ids


async def test_what_threatq_has_deleted_is_noticed_by_a_full_run(tmp_path: Path) -> None:
    """And asked for by itself before it is withdrawn."""
    lib = library(100)
    async with world(lib, tmp_path) as here:
        await here.run()
        lib.delete(lib.ids[0])
        assert only(await here.run()).retired == 0
        target = only(await here.run(full=True))
        assert (target.retired, target.absent, target.read, target.unchanged) == (1, 1, 100, 99)
        assert not attribute(here, "d0.example").to_ids


@pytest.mark.parametrize("change", [EXPIRED, None], ids=["expired", "deleted"])
async def test_too_much_at_once_needs_leave(tmp_path: Path, change: dict[str, Any] | None) -> None:
    """More than a share is held back until somebody says that it is right."""
    lib = library(100)
    async with world(lib, tmp_path) as here:
        await here.run()
        for key in list(lib.ids)[:20]:
            lib.change(key, change) if change else lib.delete(key)
        full = change is None
        receipt = await here.run(full=full)
        assert "20 of the 100" in (receipt.targets[0].held_back or "")
        assert "--confirm-retire" in (receipt.targets[0].held_back or "")
        assert all(each.to_ids for each in here.store.every_attribute())
        sure = replace(here.settings, run=replace(here.settings.run, confirm_retire=True))
        target = only(await here.run(settings=sure))
        assert (target.retired, target.held_back) == (20, None)
        assert sum(not each.to_ids for each in here.store.every_attribute()) == 20


async def test_an_empty_answer_withdraws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ThreatQ that lists nothing, even where somebody has given leave: each indicator is asked for by itself."""
    lib = library(30)
    async with world(lib, tmp_path) as here:
        await here.run()
        monkeypatch.setattr(lib, "remember", lambda _key, _find: [])
        assert only(await here.run(full=True)).held_back is not None
        sure = replace(here.settings, run=replace(here.settings.run, confirm_retire=True))
        target = only(await here.run(full=True, settings=sure))
        assert (target.retired, target.unchanged) == (0, 30)
        assert all(each.to_ids for each in here.store.every_attribute())


async def test_the_policy_follows_status_and_type(tmp_path: Path) -> None:
    """Deleted where it says so, left where it says so."""
    lib = library(100)
    async with world(lib, tmp_path) as here:
        here.settings = replace(here.settings, retire=RetireOptions(policy="leave", statuses={"Whitelisted": "delete"}))
        await here.run()
        lib.change(lib.ids[0], WHITELISTED)
        lib.change(lib.ids[1], EXPIRED)
        target = only(await here.run())
        assert (target.retired, target.filtered) == (1, {"status_not_selected": 1})
        assert attribute(here, "d0.example").deleted
        assert attribute(here, "d1.example").to_ids
        lib.change(lib.ids[0], ACTIVE)
        assert only(await here.run()).updated == 1
        assert not attribute(here, "d0.example").deleted
        assert attribute(here, "d0.example").to_ids


async def test_an_indicator_that_becomes_another_value_leaves_the_old_one(tmp_path: Path) -> None:
    """The new attribute is made, the old one is withdrawn."""
    lib = library(20)
    async with world(lib, tmp_path) as here:
        await here.run()
        lib.change(lib.ids[0], {"value": "other.example"})
        target = only(await here.run())
        assert (target.created, target.replaced, target.retired) == (1, 1, 0)
        assert attribute(here, "other.example").to_ids
        assert not attribute(here, "d0.example").to_ids


async def test_an_attribute_passes_to_the_indicator_that_shares_it(tmp_path: Path) -> None:
    """When its owner leaves, it stays, with what the heir lends; the lowest id lends where both are selected."""
    lib = library(20)
    low, high = (
        lib.ids[0],
        lib.add([{"type": DOMAIN, "value": "D0.example", "description": "heir", "score": 5} | ACTIVE])[0],
    )
    async with world(lib, tmp_path) as here:
        first = only(await here.run())
        assert (first.created, first.merged) == (20, 1)
        assert attribute(here, "d0.example").comment == "number 0"
        lib.change(low, EXPIRED)
        assert only(await here.run()).retired == 1
        kept = attribute(here, "d0.example")
        assert (kept.to_ids, kept.comment) == (True, "heir")
        lib.change(low, ACTIVE)
        assert only(await here.run()).merged >= 1
        assert attribute(here, "d0.example").comment == "number 0"
        lib.change(low, EXPIRED)
        lib.change(high, EXPIRED)
        assert only(await here.run()).retired == 2 - 1
        assert not attribute(here, "d0.example").to_ids


@pytest.mark.parametrize("last", ["asking for the heir", "sending what it lends"])
async def test_an_heir_is_not_forgotten_by_a_run_that_dies(
    tmp_path: Path, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing moves the heir in ThreatQ, the next incremental run writes what it lends, and counts it."""
    lib, dying = library(20), False
    heir = {
        "type": DOMAIN,
        "value": "D0.example",
        "description": "heir",
        "score": 5,
        "touched_at": "2024-01-01 00:00:00",
    }
    lib.add([heir | ACTIVE])

    @web.middleware
    async def die(request: web.Request, handler: Handler) -> web.StreamResponse:
        return web.Response(status=405) if dying and "/events/edit" in request.path else await handler(request)

    async def one(*_: object) -> None:
        raise MispRefused("killed")

    async with world(lib, tmp_path, die) as here:
        only(await here.run())
        lib.change(lib.ids[0], EXPIRED)
        dying = last == "sending what it lends"
        if not dying:
            monkeypatch.setattr(ThreatQSource, "one", one)
        with pytest.raises(MispRefused):
            await here.run()
        dying = False
        monkeypatch.undo()
        assert attribute(here, "d0.example").comment == "number 0"
        only(await here.run())
        kept = attribute(here, "d0.example")
        assert (kept.to_ids, kept.comment) == (True, "heir")
        assert only(await here.run()).write_requests == 0


@pytest.mark.parametrize("policy", ["to_ids", "delete"])
@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "not noticed"])
async def test_what_a_run_that_dies_has_withdrawn_can_come_back(
    tmp_path: Path, policy: Literal["to_ids", "delete"], *, noticed: bool
) -> None:
    """It was us who switched to_ids off, though nothing confirms it: nobody else has to be respected.

    Also where no run has noticed that it was withdrawn before it comes back.
    """
    lib, dying = library(20), False

    @web.middleware
    async def die(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        return web.Response(status=405) if dying and "/events/edit" in request.path else answer

    async with world(lib, tmp_path, die) as here:
        here.settings = replace(here.settings, retire=RetireOptions(policy=policy))
        only(await here.run())
        lib.change(lib.ids[0], EXPIRED)
        dying = True
        with pytest.raises(MispRefused):
            await here.run()
        dying = False
        if noticed:
            assert only(await here.run()).retired == 1
        gone = attribute(here, "d0.example")
        assert (gone.to_ids, gone.deleted) == (False, policy == "delete")
        lib.change(lib.ids[0], ACTIVE)
        only(await here.run())
        back = attribute(here, "d0.example")
        assert (back.to_ids, back.deleted) == (True, False)


async def test_what_was_to_be_mended_can_be_withdrawn_and_come_back(tmp_path: Path) -> None:
    """What nothing is known of but that it is ours is withdrawn once, and not again in each run."""
    lib = library(20)
    async with world(lib, tmp_path) as here:
        only(await here.run())
        uuid = bytes.fromhex(attribute(here, "d0.example").uuid.replace("-", ""))
        async with Journal.open(tmp_path) as journal:  # as verify does with what has become stale
            await Audit(journal, 1).deliver_again([], [uuid])
        lib.change(lib.ids[0], EXPIRED)
        assert [only(await here.run(full=full)).retired for full in (False, True)] == [1, 0]
        assert not attribute(here, "d0.example").to_ids
        lib.change(lib.ids[0], ACTIVE)
        only(await here.run())
        assert attribute(here, "d0.example").to_ids


async def test_people_win_and_the_receipt_says_so(tmp_path: Path) -> None:
    """Comment and deletion stay, whatever ThreatQ says later."""
    lib = library(20)
    async with world(lib, tmp_path) as here:
        await here.run()
        await edit(here, f"/attributes/edit/{attribute(here, 'd0.example').uuid}", {"comment": "theirs"})
        await edit(here, f"/attributes/delete/{attribute(here, 'd1.example').uuid}", {})
        for key in (lib.ids[0], lib.ids[1]):
            lib.change(key, {"description": "changed"})
        target = only(await here.run())
        assert target.kept == {"comment": 1}
        assert target.filtered == {"deleted_in_misp": 1}
        assert attribute(here, "d0.example").comment == "theirs"
        assert attribute(here, "d1.example").deleted
        again = only(await here.run(full=True))
        assert again.filtered == {"deleted_in_misp": 1}
        assert again.write_requests == 0


async def test_what_was_withdrawn_may_be_deleted_in_misp(tmp_path: Path) -> None:
    """The next run that writes to its event balances, and it stays deleted when it comes back."""
    lib = library(20)
    async with world(lib, tmp_path) as here:
        only(await here.run())
        lib.change(lib.ids[0], EXPIRED)
        assert only(await here.run()).retired == 1
        await edit(here, f"/attributes/delete/{attribute(here, 'd0.example').uuid}", {})
        lib.change(lib.ids[1], {"description": "changed"})
        assert only(await here.run()).updated == 1
        lib.change(lib.ids[0], ACTIVE)
        assert only(await here.run()).filtered == {"deleted_in_misp": 1}
        assert attribute(here, "d0.example").deleted


async def test_what_becomes_too_strict_does_not_stay(tmp_path: Path) -> None:
    """With its former TLP it would go on being shared; where everything is left, so is this."""
    lib = library(20, sources=[{"name": "Feed", "tlp_name": "GREEN"}])
    async with world(lib, tmp_path) as here:
        here.settings = replace(here.settings, mapping=replace(here.settings.mapping, max_tlp="GREEN"))
        only(await here.run())
        lib.change(lib.ids[0], {"sources": [{"name": "Feed", "tlp_name": "RED"}]})
        left = replace(here.settings, retire=RetireOptions(policy="leave"))
        assert only(await here.run(settings=left)).retired == 0
        assert only(await here.run()).retired == 1
        assert attribute(here, "d0.example").deleted
        lib.change(lib.ids[0], {"sources": [{"name": "Feed", "tlp_name": "GREEN"}]})
        only(await here.run())
        assert not attribute(here, "d0.example").deleted


async def test_a_deleted_event_of_the_day_is_left_and_another_takes_what_is_new(tmp_path: Path) -> None:
    """What was in it stays away; what comes later does not go with it."""
    lib = library(20)
    async with world(lib, tmp_path) as here:
        first = only(await here.run())
        await edit(here, f"/events/delete/{first.events[0].uuid}", {})
        lib.add([{"type": DOMAIN, "value": "late.example", "description": "", "score": 5} | ACTIVE])
        second = only(await here.run())
        assert second.created == 1
        [event] = here.store.events()
        assert event.uuid != first.events[0].uuid
        assert [each.value for each in here.store.attributes(event.uuid)] == ["late.example"]
        lib.add([{"type": DOMAIN, "value": "later.example", "description": "", "score": 5} | ACTIVE])
        only(await here.run())
        assert len(here.store.events()) == 1


async def test_without_its_journal_an_export_finds_its_own_again(tmp_path: Path) -> None:
    """A new journal beside a MISP that has everything: nothing is made, and people's work stays."""
    lib = library(50)
    async with world(lib, tmp_path / "one") as here:
        await here.run()
        await edit(here, f"/attributes/edit/{attribute(here, 'd0.example').uuid}", {"comment": "theirs"})
        writes = here.store.write_requests
        other = replace(here.settings, state=replace(here.settings.state, path=str(tmp_path / "two")))
        target = only(await here.run(settings=other))
        assert (target.created, target.unchanged, target.kept) == (0, 50, {"adopted": 1})
        assert here.store.write_requests == writes
        lib.change(lib.ids[1], {"description": "changed"})
        assert only(await here.run(settings=other)).updated == 1


async def test_people_keep_their_work_where_an_export_without_its_journal_breaks_off(tmp_path: Path) -> None:
    """The run that goes on takes over the rest as it is."""
    lib, looks = library(3000), 0

    @web.middleware
    async def sick(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal looks
        looks += "/attributes/restSearch" in request.path
        return web.Response(status=403) if looks == 2 else await handler(request)

    async with world(lib, tmp_path / "one", sick) as here:
        here.settings = replace(here.settings, pipeline=replace(here.settings.pipeline, slice_bytes=100_000))
        looks = 3
        only(await here.run())
        names = [f"d{number}.example" for number in range(0, 3000, 100)]
        for name in names:
            held = attribute(here, name)
            here.store.change_attribute(held, replace(held, comment="theirs", timestamp=1))  # long before the next run
        other = replace(here.settings, state=replace(here.settings.state, path=str(tmp_path / "two")))
        looks = 0
        with pytest.raises(MispRefused):
            await here.run(settings=other)
        looks = 3
        assert only(await here.run(settings=other)).created == 0
        assert {attribute(here, name).comment for name in names} == {"theirs"}


async def test_going_back_to_a_wider_selection_brings_back_what_a_narrower_one_has_withdrawn(tmp_path: Path) -> None:
    """Although nothing has changed in ThreatQ meanwhile."""
    lib = library(20, touched_at="2026-01-01 00:00:00")
    lib.add([{"type": {"id": 30, "name": "URL"}, "value": "http://late.example/", "score": 5} | ACTIVE])
    async with world(lib, tmp_path) as here:
        only(await here.run())
        narrow = replace(here.settings, selection=replace(here.settings.selection, exclude_types=("FQDN",)))
        narrow = replace(narrow, run=replace(narrow.run, confirm_retire=True))
        assert only(await here.run(settings=narrow)).retired == 20
        assert only(await here.run()).updated == 20
        mistyped = replace(narrow, selection=replace(narrow.selection, statuses=("Actve",)))
        with pytest.raises(ConfigError):
            await here.run(settings=mistyped)
        recent = replace(here.settings, selection=replace(here.settings.selection, since="2026-11-01"))
        only(await here.run(settings=recent))
        assert only(await here.run()).read == 1  # neither has made it necessary to read everything again
        assert attribute(here, "d0.example").to_ids


async def test_a_data_collection_that_was_widened_is_read_completely(tmp_path: Path) -> None:
    """Nothing in ThreatQ but the collection has changed since the last run."""
    lib, least = library(20, touched_at="2026-01-01 00:00:00", score=3), 5
    lib.add([{"type": DOMAIN, "value": "late.example", "score": 9} | ACTIVE])

    @web.middleware
    async def shared(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != "/api/search/query":
            return await handler(request)
        held = {"criteria": {}, "filters": {"+and": [{"score": {"+gte": least}}]}}
        return web.json_response({"total": 1, "data": [{"id": 1, "name": "Shared", "json": {"api_query": held}}]})

    async with world(lib, tmp_path, of_threatq=[shared]) as here:
        here.settings = replace(here.settings, selection=replace(here.settings.selection, collection="Shared"))
        assert only(await here.run()).created == 1
        least = 3
        assert only(await here.run()).created == 20


async def test_another_misp_under_the_same_name_is_noticed(tmp_path: Path) -> None:
    """What one has is not taken for delivered to the other, and a MISP that has moved is the same."""
    lib = library(20)
    async with world(lib, tmp_path) as one:
        first = only(await one.run())
        async with world(lib, tmp_path) as other:
            with pytest.raises(ConfigError, match=r"none of the events.*another \[misp\] name"):
                await other.run(full=True)
            assert other.store.events() == []
            named = replace(other.settings, misp=replace(other.settings.misp, name="other"))
            assert only(await other.run(settings=named)).created == first.created
        app = create_app(one.store)
        async with TestServer(app) as moved:
            misp = replace(one.settings.misp, url=str(moved.make_url("")))
            again = only(await one.run(full=True, settings=replace(one.settings, misp=misp)))
            assert (again.unchanged, again.created) == (first.created, 0)


async def test_only_what_was_written_to_is_published(tmp_path: Path) -> None:
    """Not what a new journal takes over as it is, and not what people have deleted; neither unbalances a run."""
    lib = library(50)
    async with world(lib, tmp_path / "one") as here:
        events = EventOptions(name="ThreatQ Export", namespace="test", publish=True)
        here.settings = replace(here.settings, events=events)
        first = only(await here.run())
        await edit(here, f"/events/unpublish/{first.events[0].uuid}", {})
        other = replace(here.settings, state=replace(here.settings.state, path=str(tmp_path / "two")))
        other = replace(other, events=replace(events, name="Export"))  # as on another day
        second = only(await here.run(settings=other))
        assert (second.created, second.unchanged, second.balanced) == (0, first.created, True)
        assert [event.published for event in here.store.events()] == [False]
        await edit(here, f"/events/delete/{first.events[0].uuid}", {})
        lib.change(lib.ids[0], {"description": "changed"})
        third = only(await here.run())
        assert (third.filtered, third.balanced) == ({"deleted_in_misp": 1}, True)


async def test_a_misp_in_maintenance_is_waited_for(tmp_path: Path) -> None:
    """Within the patience, the run goes on where it was; nothing is lost."""
    refusals = 0

    @web.middleware
    async def maintenance(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal refusals
        if "/events/edit" in request.path and refusals < 4:
            refusals += 1
            raise web.HTTPFound("/users/login")
        return await handler(request)

    async with world(library(20), tmp_path, maintenance) as here:
        patient = replace(here.settings.misp, patience=30, backoff=0.01, backoff_max=0.01)
        target = only(await here.run(settings=replace(here.settings, misp=patient)))
        assert target.created == 20
        assert target.retries >= 4
