"""Whether a plan says what the run that follows does, and leaves everything as it was."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from tests.test_export import CORPUS, World, only, world
from tests.test_retiring import ACTIVE, DOMAIN, EXPIRED, attribute, edit, library
from tqmisp.errors import LockHeld, MispUnavailable
from tqmisp.export import Export
from tqmisp.journal import Journal
from tqmisp.misp.options import EventOptions
from tqmisp.misp.retire import RetireOptions
from tqmisp.observe.plan import Plan
from tqmisp.observe.receipt import TargetReceipt
from tqmisp.simulators.threatq import Library, from_corpus, generate
from tqmisp.threatq import source

ESTIMATES = {"requests", "retries", "seconds_waiting_for", "advice", "requests_in_flight", "chunk_size"}
"""Fields of a target that depend on how the servers answer."""


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def held(here: World) -> list[tuple[object, ...]]:
    """Every attribute in MISP."""
    return [(each.uuid, each.timestamp, each.deleted, each.to_ids) for each in here.store.every_attribute()]


def foreseeable(receipt: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """What a plan and the receipt of its run have in common; MISP gives a new event its number."""
    [target] = receipt["targets"]
    line = {name: value for name, value in target.items() if name not in ESTIMATES}
    line["events"] = [event | {"id": event["id"] if event["uuid"] in known else None} for event in target["events"]]
    source = {name: value for name, value in receipt["source"].items() if name not in {"requests", "retries"}}
    return {"target": line, "source": source, "types": receipt["types"], "stopped_by": receipt["stopped_by"]}


async def plan(here: World, *, full: bool = False) -> Plan:
    """Plan, and see to it that nothing has changed, neither in MISP nor in the folder of the journal."""
    place = Path(here.settings.state.path)
    before, writes = content(place), here.store.write_requests
    stored = held(here)
    async with Export.open(here.settings, look=True) as export:
        made = await export.plan(full=full)
    assert here.store.write_requests == writes
    assert held(here) == stored
    assert content(place) == before
    return made


async def planned(here: World, *, full: bool = False) -> TargetReceipt:
    """Plan, run, and hold one against the other field by field; what the run did."""
    made = await plan(here, full=full)
    known = {event.uuid for event in here.store.events()}
    receipt = await here.run(full=full)
    expected, actual = made.as_json(), receipt.as_json()
    assert expected.keys() == actual.keys() | {"estimate", "changes"}
    assert foreseeable(expected, known) == foreseeable(actual, known)
    [line] = receipt.targets
    changes = Counter[str]()
    for change in made.changes:
        changes.update(created=change.created, updated=change.updated, retired=change.retired)
        assert change.event in {event.uuid for event in line.events}
    assert changes["created"] == line.created
    assert changes["retired"] <= line.retired + line.replaced, "some have nothing left to withdraw"
    return line


async def test_a_first_run_and_one_that_finds_nothing_to_do(tmp_path: Path) -> None:
    """The real corpus with everything it rejects and merges, in several events; then again, in part and in full."""
    async with world(from_corpus(CORPUS), tmp_path) as here:
        here.settings = replace(here.settings, events=EventOptions(namespace="test", slice_size=3000))
        first = await planned(here)
        assert len(first.events) > 3
        assert sum(first.rejected.values()) > 10
        assert first.merged
        assert (await planned(here, full=True)).write_requests == 0
        assert (await planned(here)).created == 0


async def test_all_that_can_happen_to_an_indicator(tmp_path: Path) -> None:
    """Changed, expired, new, deleted at either end, worked on by people, merged, replaced, refused."""
    lib = library(120)
    async with world(lib, tmp_path) as here:
        here.settings = replace(here.settings, events=EventOptions(namespace="test", slice_size=50))
        await planned(here)
        ids = list(lib.ids)
        for key in ids[:5]:
            lib.change(key, {"description": "changed"})
        for key in ids[5:8]:
            lib.change(key, EXPIRED)
        lib.change(ids[8], {"value": "another.example"})
        lib.change(ids[9], {"value": "no domain at all"})
        lib.delete(ids[10])
        new = {"type": DOMAIN, "score": 5} | ACTIVE
        lib.add([new | {"value": f"new{number}.example"} for number in range(30)])
        lib.add([new | {"value": "D20.example"}, new | {"value": "bad domain"}])
        await edit(here, f"/attributes/delete/{attribute(here, 'd0.example').uuid}", {})
        await edit(here, f"/attributes/delete/{attribute(here, 'd5.example').uuid}/1", {})
        await edit(here, f"/attributes/edit/{attribute(here, 'd1.example').uuid}", {"comment": "theirs"})
        await edit(here, f"/attributes/delete/{attribute(here, 'd40.example').uuid}", {})
        second = await planned(here)
        assert (second.created, second.updated, second.replaced, second.merged) == (31, 3, 1, 1)
        assert second.retired == 4
        assert second.kept["comment"] == 1
        assert second.rejected == {"invalid_domain": 1}, "the other one is withdrawn"
        third = await planned(here, full=True)
        assert (third.created, third.updated, third.absent) == (0, 0, 1)
        for key in ids[5:8]:
            lib.change(key, ACTIVE)
        assert (await planned(here)).updated == 2


async def test_a_run_that_broke_off(tmp_path: Path) -> None:
    """Some of what it had promised is there and some is not; its reading is gone on with where it stopped."""
    edits = 0

    @web.middleware
    async def away(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal edits
        edits += "/events/edit" in request.path
        return web.Response(status=503) if edits in range(4, 20) else await handler(request)

    async with world(library(200), tmp_path, away) as here:
        here.settings = replace(
            here.settings,
            events=EventOptions(namespace="test", slice_size=40),
            threatq=replace(here.settings.threatq, page_size=20),
            misp=replace(here.settings.misp, settle_seconds=0, consumers=1, chunk_size=20, requests_in_flight=1),
        )
        with pytest.raises(MispUnavailable):
            await here.run()
        assert 0 < here.store.stored_count() < 200
        edits = 20
        line = await planned(here)
        assert 0 < line.created < 200
        assert here.store.stored_count() == 200
        assert (await planned(here, full=True)).unchanged == 200


async def test_an_event_that_people_deleted(tmp_path: Path) -> None:
    """What was in it stays out, and what is new goes to another one."""
    lib = library(30)
    async with world(lib, tmp_path) as here:
        [event] = only(await here.run()).events
        await edit(here, f"/events/delete/{event.uuid}", {})
        lib.change(lib.ids[0], {"description": "changed"})
        lib.add([{"type": DOMAIN, "score": 5, "value": "new.example"} | ACTIVE])
        line = await planned(here)
        assert line.filtered == {"deleted_in_misp": 1}
        assert [each.info[-3:] for each in line.events] == ["(2)"]


async def test_a_journal_that_was_lost(tmp_path: Path) -> None:
    """What MISP has of ours is taken over."""
    lib = library(40)
    async with world(lib, tmp_path) as here:
        await here.run()
        await edit(here, f"/attributes/delete/{attribute(here, 'd3.example').uuid}", {})
        lib.change(lib.ids[5], {"description": "changed"})
        here.settings = replace(here.settings, state=replace(here.settings.state, path=str(tmp_path / "new")))
        line = await planned(here)
        assert (line.created, line.unchanged, line.filtered) == (0, 39, {"deleted_in_misp": 1})


async def test_the_lowest_id_takes_over_what_the_run_has_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that become the same attribute, the higher id first, as it happens with several parts of the source."""
    lib = twice_the_same(monkeypatch)
    async with world(lib, tmp_path) as here:
        here.settings = replace(here.settings, threatq=replace(here.settings.threatq, page_size=10, producers=1))
        here.settings = replace(here.settings, pipeline=replace(here.settings.pipeline, slice_bytes=1000))
        line = await planned(here)
        assert (line.created, line.merged) == (50, 50)
        assert attribute(here, "d0.example").comment == "number 0"


async def test_the_lowest_id_takes_over_what_is_only_sent_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waited for that is known already: ThreatQ is not asked for it once more."""
    asked: list[str] = []

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked.append(request.path)
        return await handler(request)

    async with world(twice_the_same(monkeypatch), tmp_path, of_threatq=[note]) as here:
        here.settings = replace(here.settings, threatq=replace(here.settings.threatq, page_size=10, producers=1))
        line = await planned(here)
        assert (line.created, line.merged) == (50, 50)
        assert {attribute(here, f"d{number}.example").comment for number in range(50)} == {
            f"number {number}" for number in range(50)
        }
        assert not [path for path in asked if path.startswith("/api/indicators/") and path[-1].isdigit()]


def twice_the_same(monkeypatch: pytest.MonkeyPatch) -> Library:
    """A hundred rows of which each two become the same attribute; the parts with the higher ids come first."""
    monkeypatch.setattr(source, "SMALL", 10)
    lib = generate(0)
    row = {"type": DOMAIN, "score": 5, "sources": [], "attributes": [], "tags": []} | ACTIVE
    lib.add(
        row
        | {
            "value": f"d{number % 50}.example",
            "description": f"number {number}",
            "touched_at": f"2026-11-{20 if number >= 50 else 22} 00:00:{number % 50:02}",
        }
        for number in range(100)
    )
    return lib


@pytest.mark.parametrize("policy", ["to_ids", "delete", "leave"])
async def test_what_leaves_by_each_policy(tmp_path: Path, policy: Any) -> None:
    """Withdrawn, deleted or left; too much at once is held back until it is confirmed."""
    lib = library(60)
    async with world(lib, tmp_path) as here:
        here.settings = replace(here.settings, retire=RetireOptions(policy=policy))
        await here.run()
        for key in list(lib.ids)[:20]:
            lib.change(key, EXPIRED)
        held = await planned(here)
        assert (held.held_back is None, held.retired) == (policy == "leave", 0)
        here.settings = replace(here.settings, run=replace(here.settings.run, confirm_retire=True))
        assert (await planned(here)).retired == (0 if policy == "leave" else 20)


async def test_events_are_published_in_the_plan_as_in_the_run(tmp_path: Path) -> None:
    """New ones, and those that an update has unpublished."""
    lib = library(20)
    async with world(lib, tmp_path) as here:
        here.settings = replace(here.settings, events=EventOptions(namespace="test", publish=True))
        assert all(event.published for event in (await planned(here)).events)
        lib.change(lib.ids[0], {"description": "changed"})
        assert all(event.published for event in (await planned(here)).events)


async def test_what_it_takes_is_estimated(tmp_path: Path) -> None:
    """Attributes, bytes and requests to write; the rate is what was learnt, what a past run had, or what is usual."""
    sent = Counter[str]()

    @web.middleware
    async def weigh(request: web.Request, handler: Handler) -> web.StreamResponse:
        sent[request.path.split("/")[2]] += len(await request.read())
        return await handler(request)

    async with world(library(3000), tmp_path, weigh) as here:
        made = await plan(here)
        assert (made.estimate.attributes, made.estimate.rate_from) == (3000, "usual")
        assert made.estimate.minutes == pytest.approx(3000 / made.estimate.rate / 60, abs=0.01)
        [line] = made.receipt.targets
        run = only(await here.run())
        assert line.write_requests == run.write_requests
        assert made.estimate.bytes == sent["add"] + sent["edit"]
        assert (await plan(here, full=True)).estimate.rate_from in {"learned", "past run"}


async def test_plan_and_run_over_the_same_connections(tmp_path: Path) -> None:
    """Each counts for itself."""
    async with world(library(30), tmp_path) as here, Export.open(here.settings) as export:
        made = await export.plan()
        line = only(await export.run())
        assert made.receipt.targets[0].created == line.created == 30
        assert made.receipt.targets[0].write_requests == line.write_requests == 2


async def test_while_a_run_is_at_work_there_is_no_plan(tmp_path: Path) -> None:
    """Nobody knows what it will leave to do."""
    async with world(library(3), tmp_path) as here:
        await here.run()
        async with Journal.open(tmp_path) as journal, journal.lease(1):
            with pytest.raises(LockHeld):
                await plan(here)
