from __future__ import annotations

from typing import Any

import anyio
import orjson
import pytest
from aiohttp import web
from pydantic import SecretStr

from tests.misp.conftest import (
    NOW,
    OTHER,
    REF,
    Handler,
    Rig,
    domains,
    fault,
    hang_up,
    lose_answer,
    part,
    planned,
    rig,
    status,
    update,
)
from tqmisp.errors import MispRefused, MispUnavailable, MispUnclear
from tqmisp.misp import marks
from tqmisp.misp.identity import as_text
from tqmisp.misp.options import EventOptions
from tqmisp.misp.sink import MispSink
from tqmisp.model import Change, EventRef, Planned, Sight
from tqmisp.pipeline.protocols import Outcome
from tqmisp.pipeline.retry import RetryPolicy
from tqmisp.simulators.misp import DIES_UNTAGGED, ROWS_TO_LIVE, MispSimulatorOptions, MispStore, key_of


def codes(outcome: Outcome[EventRef, Planned]) -> dict[str, tuple[str, str]]:
    """Kind and code of each refusal, by value."""
    return {refusal.value: (refusal.kind, refusal.code) for _, refusal in outcome.refused}


async def test_a_slice_arrives_in_its_event() -> None:
    """Event and attributes are made as planned, in as many requests as there are chunks."""
    items = domains(35)
    async with rig() as here:
        outcome = await here.sink.deliver(part(items))
        assert outcome.stored == items
        assert not outcome.refused
        assert here.values() == sorted(f"host{number}.example" for number in range(35))
        [event] = here.store.events()
        assert (event.uuid, event.info, event.date, event.published) == (REF.uuid, REF.info, REF.date, False)
        assert {attribute.timestamp for attribute in here.store.attributes(REF.uuid)} == {NOW}
        assert here.client.counters.write_requests == 1 + 4


async def test_requests_in_flight_are_bounded_over_all_slices() -> None:
    """However many slices are delivered at once, no more chunks are on their way than allowed."""
    flying, highest = 0, 0

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal flying, highest
        if "/events/edit" not in request.path:
            return await handler(request)
        flying += 1
        highest = max(highest, flying)
        await anyio.lowlevel.checkpoint()
        try:
            return await handler(request)
        finally:
            flying -= 1

    items = domains(200)
    async with rig(count, requests_in_flight=3) as here:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.sink.deliver, part(items[:100]))
            tasks.start_soon(here.sink.deliver, part(items[100:], OTHER))
        assert len(here.values()) == len(here.values(OTHER)) == 100
    assert 1 < highest <= 3


async def test_delivering_again_changes_nothing() -> None:
    """A repetition with the same timestamps is stored once, and counts as stored."""
    items = domains(15)
    async with rig() as here:
        await here.sink.deliver(part(items))
        ids = {attribute.id for attribute in here.store.attributes(REF.uuid)}
        outcome = await here.sink.deliver(part(items))
        assert outcome.stored == items
        assert {attribute.id for attribute in here.store.attributes(REF.uuid)} == ids


async def test_an_update_is_taken_where_the_attribute_lives() -> None:
    """A newer timestamp changes what is stored."""
    async with rig() as here:
        await here.sink.deliver(part(domains(3)))
        newer = update("host1.example", comment="changed", to_ids=False)
        outcome = await here.sink.deliver(part([newer]))
        assert [item.uuid for item in outcome.stored] == [newer.uuid]
        [changed] = [each for each in here.store.attributes(REF.uuid) if each.value == "host1.example"]
        assert (changed.comment, changed.to_ids, changed.timestamp) == ("changed", False, NOW + 60)


async def test_one_bad_row_costs_no_other_and_keeps_the_servers_words() -> None:
    """What MISP drops silently is found, and its reason is asked for."""
    items = domains(25)
    bad = [planned("bad1", type="ip-dst", value="999.1.1.1"), planned("bad2", type="nosuchtype", value="x")]
    async with rig() as here:
        outcome = await here.sink.deliver(part([*items[:12], *bad, *items[12:]]))
        assert outcome.stored == items
        assert codes(outcome) == {
            "999.1.1.1": ("quarantined", "refused_by_misp"),
            "x": ("quarantined", "refused_by_misp"),
        }
        assert {refusal.reason for _, refusal in outcome.refused} == {
            "value: IP address has an invalid format.",
            "type: Invalid type.",
        }
        assert len(here.values()) == 25


async def test_a_value_that_makes_the_server_throw_stands_alone_in_the_end() -> None:
    """The chunk is cut in half until only the guilty row is left; the others are delivered."""
    items = domains(10)
    poison = planned("poison.example", comment="smile \U0001f600")
    async with rig() as here:
        outcome = await here.sink.deliver(part([*items[:7], poison, *items[7:]]))
        assert sorted(item.key for item in outcome.stored) == sorted(item.key for item in items)
        assert codes(outcome) == {"poison.example": ("quarantined", "server_error")}
        assert here.values() == sorted(f"host{number}.example" for number in range(10))


@pytest.mark.parametrize("lost", [hang_up, status(502)], ids=["reset", "502"])
async def test_a_request_that_takes_longer_than_the_server_gives_it_is_cut_in_half(lost: Any) -> None:
    """Workers that are killed for their time, or connections for their length, say nothing of the reason."""
    sizes: list[int] = []

    @web.middleware
    async def kill(request: web.Request, handler: Handler) -> web.StreamResponse:
        if "/events/edit" not in request.path:
            return await handler(request)
        size = len(orjson.loads(await request.read())["Event"]["Attribute"])
        sizes.append(size)
        return await (lost(request, handler) if size > 3 else handler(request))

    items = domains(10)
    async with rig(kill) as here:
        outcome = await here.sink.deliver(part(items))
        assert sorted(item.key for item in outcome.stored) == sorted(item.key for item in items)
        assert len(here.values()) == 10
    assert [size for size in sizes if size > 3] == [10, 10, 5, 5, 5, 5]


async def test_a_server_that_loses_every_change_is_waited_for() -> None:
    """A chunk is not cut where nothing at all comes through."""
    sizes: list[int] = []

    async def lose(request: web.Request, handler: Handler) -> web.StreamResponse:
        sizes.append(len(orjson.loads(await request.read())["Event"]["Attribute"]))
        return await hang_up(request, handler)

    async with rig(fault("/events/edit", *[lose] * 1000)) as here:
        with pytest.raises(MispUnclear):
            await here.sink.deliver(part(domains(10)))
    assert set(sizes) == {10, 0}


async def test_a_request_that_is_too_large_is_cut_in_half() -> None:
    """A web server that takes only small bodies gets small bodies."""
    items = domains(30)
    async with rig(server=MispSimulatorOptions(body_limit=1500), chunk_size=30) as here:
        outcome = await here.sink.deliver(part(items))
        assert sorted(item.key for item in outcome.stored) == sorted(item.key for item in items)
        assert len(here.values()) == 30


@pytest.mark.parametrize("path", ["/events/add", "/events/edit", "/attributes/restSearch", "/events/restSearch"])
@pytest.mark.parametrize(
    "answer",
    [lose_answer, hang_up, status(500), status(502), status(503), status(504), status(429, **{"Retry-After": "0"})],
    ids=["lost answer", "hang-up", "500", "502", "503", "504", "429"],
)
async def test_nothing_is_lost_or_doubled_when_a_request_fails(path: str, answer: object) -> None:
    """Whatever happens to a request, once or twice, the same attributes are there in the end, each once."""
    items = domains(25)
    async with rig(fault(path, answer, answer)) as here:  # type: ignore[arg-type]
        outcome = await here.sink.deliver(part(items))
        assert sorted(item.key for item in outcome.stored) == sorted(item.key for item in items)
        assert here.values() == sorted(f"host{number}.example" for number in range(25))
        assert len(here.store.events()) == 1


async def test_a_server_that_stays_away_ends_the_run_with_a_reason() -> None:
    """After the last attempt the caller learns that MISP is in maintenance."""
    async with rig() as here:
        here.store.maintenance = True
        with pytest.raises(MispUnavailable, match="maintenance"):
            await here.sink.deliver(part(domains(3)))


@pytest.mark.parametrize(
    ("key", "words"),
    [("x" * 40, r"Authentication failed.*Check \[misp\] key"), (key_of("Read Only"), "You do not have permission")],
)
async def test_a_key_that_will_not_do_ends_the_run_at_once(key: str, words: str) -> None:
    """No request is repeated for a key that is wrong, or may not write; the key is not in the error."""
    async with rig(key=SecretStr(key)) as here:
        with pytest.raises(MispRefused, match=words) as caught:
            await here.sink.deliver(part(domains(3)))
        assert key not in str(caught.value)
        assert here.client.counters.requests <= 2


async def test_an_attribute_that_people_deleted_stays_deleted() -> None:
    """The run says so, and leaves it alone."""
    async with rig() as here:
        await here.sink.deliver(part(domains(3)))
        gone = domains(3)[1]
        await here.client.write(f"/attributes/delete/{as_text(gone.uuid)}", b"")
        again = [update(f"host{number}.example", comment="changed") for number in range(3)]
        outcome = await here.sink.deliver(part(again))
        assert codes(outcome) == {"host1.example": ("filtered", "deleted_in_misp")}
        assert here.values() == ["host0.example", "host2.example"]


async def test_an_event_that_people_deleted_stays_deleted() -> None:
    """What was bound for it is filtered, each with the reason."""
    store = MispStore()
    async with rig(store=store) as here:
        await here.sink.deliver(part(domains(3)))
        await here.client.write(f"/events/delete/{REF.uuid}", b"", method="DELETE")
    async with rig(store=store) as here:
        outcome = await here.sink.deliver(part(domains(2)))
        assert set(codes(outcome).values()) == {("filtered", "event_blocked")}
        assert here.store.events() == []


async def test_an_attribute_of_an_older_delivery_is_found_and_brought_up_to_date() -> None:
    """What another event of ours holds is not lost to the uniqueness of UUIDs: it is updated there."""
    async with rig() as here:
        await here.sink.deliver(part(domains(2), OTHER))
        newer = [planned(f"host{number}.example", timestamp=NOW + 9, comment="new") for number in range(3)]
        outcome = await here.sink.deliver(part(newer))
        assert outcome.stored == newer[2:]
        assert [(item, ref.uuid) for item, ref in outcome.elsewhere] == [(item, OTHER.uuid) for item in newer[:2]]
        assert {attribute.comment for attribute in here.store.attributes(OTHER.uuid)} == {"new"}


async def test_a_key_that_expires_says_nothing_about_an_attribute() -> None:
    """What MISP refuses to anybody is an end of the run, and no reason to give an attribute up."""

    async def expired(_request: web.Request, _handler: Handler) -> web.StreamResponse:
        return web.json_response({"message": "Authentication failed."}, status=403)

    async with rig(fault("/attributes/edit", expired)) as here:
        await here.sink.deliver(part(domains(1), OTHER))
        with pytest.raises(MispRefused, match="Authentication failed"):
            await here.sink.deliver(part([update("host0.example", comment="new")]))


async def test_a_request_for_reasons_that_is_too_large_is_cut_in_half() -> None:
    """Attributes that MISP drops are asked for in as small requests as its web server takes."""
    items = [planned(f"bad{number}", type="ip-dst", comment="x" * 300) for number in range(12)]
    async with rig(server=MispSimulatorOptions(body_limit=2_000)) as here:
        outcome = await here.sink.deliver(part(items))
        assert set(codes(outcome).values()) == {("quarantined", "refused_by_misp")}
        assert len(outcome.refused) == 12


def deleting(store: MispStore) -> Any:
    """An analyst deletes the event just before a request."""

    async def delete(request: web.Request, handler: Handler) -> web.StreamResponse:
        held = store.event(REF.uuid)
        assert held is not None
        store.drop_event(held)
        return await handler(request)

    return delete


async def test_an_event_that_is_deleted_while_it_is_filled_is_no_end() -> None:
    """Its place is taken by another one, where there is one; otherwise what was bound for it stays out."""
    store = MispStore()
    async with rig(fault("/events/edit", deleting(store)), store=store, instead=lambda _: OTHER) as here:
        outcome = await here.sink.deliver(part(domains(25)))
        assert [ref for _, ref in outcome.elsewhere] == [OTHER] * 25
        assert len(here.values(OTHER)) == 25
    store = MispStore()
    async with rig(fault("/events/edit", deleting(store)), store=store) as here:
        outcome = await here.sink.deliver(part(domains(25)))
        assert set(codes(outcome).values()) == {("filtered", "event_blocked")}


async def test_an_event_that_is_deleted_before_reasons_are_asked_for_counts_nothing_twice() -> None:
    """What had arrived in it is gone, and is brought to the other one along with the rest."""
    items = [*domains(5), planned("bad", type="ip-dst")]
    store = MispStore()
    async with rig(fault("/attributes/add", deleting(store)), store=store, instead=lambda _: OTHER) as here:
        outcome = await here.sink.deliver(part(items))
        assert outcome.elsewhere == [(item, OTHER) for item in items[:5]]
        assert (outcome.stored, len(outcome.refused)) == ([], 1)


async def test_a_twin_in_the_same_event_is_named() -> None:
    """A value that only MISP takes for one that it has is refused with that reason."""
    async with rig() as here:
        one = planned("one", type="url", value="http://a.example/PaTh")
        two = planned("two", type="url", value="http://a.example/path")
        await here.sink.deliver(part([one]))
        outcome = await here.sink.deliver(part([two]))
        assert codes(outcome) == {"http://a.example/path": ("quarantined", "similar_value")}


async def test_an_event_of_somebody_else_is_not_taken_for_ours() -> None:
    """A UUID that MISP knows and we cannot see is an error, not a success."""
    store = MispStore()
    admin = key_of("admin")
    async with rig(store=store, key=SecretStr(admin)) as here:
        await here.sink.deliver(part(domains(1)))
    async with rig(store=store) as here:
        with pytest.raises(MispRefused, match="already exists"):
            await here.sink.deliver(part(domains(1)))


async def test_looking_tells_what_an_event_holds() -> None:
    """Timestamps by UUID, of this event only, and marks where tags lack."""
    tagged = domains(5, tags=("one", "two"))

    async def looked(here: Rig) -> dict[bytes, Sight]:
        return await here.sink.look(REF, {item.uuid: item.marks for item in tagged})

    async with rig() as here:
        await here.sink.deliver(part(domains(2)))
        await here.sink.deliver(part(domains(5)[3:], OTHER))
        seen = await looked(here)
        assert {uuid: sight.timestamp for uuid, sight in seen.items()} == {item.uuid: NOW for item in domains(2)}
        assert [marks.unpacked(sight.marks)[0].tags for sight in seen.values()] == [frozenset()] * 2
    async with rig() as here:
        await here.sink.deliver(part(tagged[:2]))
        assert await looked(here) == {item.uuid: Sight(NOW) for item in tagged[:2]}


def dying(rows: int) -> Any:
    """What lets the worker die before the tags of what it has saved, except those of so many attributes."""

    async def die(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[ROWS_TO_LIVE], request[DIES_UNTAGGED] = rows, True
        return await handler(request)

    return die


def tags_of(here: Rig, event: EventRef = REF) -> list[list[str]]:
    """The tags of each attribute of an event."""
    return [sorted(link.tag.name for link in each.tags or ()) for each in here.store.attributes(event.uuid)]


@pytest.mark.parametrize("lives", [0, 2, 4])
async def test_a_worker_that_dies_before_the_tags_costs_none(lives: int) -> None:
    """MISP saves the attributes first: what lacks tags gets them with a later timestamp, and nothing else is sent."""
    sent: list[bytes] = []

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        if "/events/edit" in request.path:
            sent.append(await request.read())
        return await handler(request)

    items = domains(5, tags=("one", "two"), comment="ours")
    async with rig(note, fault("/events/edit", dying(lives))) as here:
        outcome = await here.sink.deliver(part(items))
        assert outcome.stored == items
        assert tags_of(here) == [["one", "two"]] * 5
        held = here.store.attributes(REF.uuid)
        assert [each.timestamp for each in held] == [NOW] * lives + [NOW + 1] * (5 - lives)
    again = orjson.loads(sent[1])["Event"]["Attribute"]
    assert [set(each) for each in again] == [{"uuid", "timestamp", "Tag"}] * (5 - lives)


@pytest.mark.parametrize("runs", [1, 2])
async def test_an_event_whose_worker_died_before_its_tags_gets_them(runs: int) -> None:
    """Whether it is looked at again by the run that has made it, or by the next one, as that one died as well."""
    store, events = MispStore(), EventOptions(tags=("tlp:green", "feed"))
    if runs == 2:
        async with rig(fault("/events/add", dying(0), *[hang_up] * 3), store=store, events=events) as here:
            with pytest.raises(MispUnavailable):
                await here.sink.deliver(part(domains(3)))
        assert [len(event.tags) for event in store.events()] == [0]
    async with rig(fault("/events/add", dying(0)), store=store, events=events) as here:
        outcome = await here.sink.deliver(part(domains(3)))
        assert outcome.stored == domains(3)
        assert [sorted(link.tag.name for link in event.tags) for event in store.events()] == [["feed", "tlp:green"]]


async def test_tags_that_people_took_off_an_event_stay_off() -> None:
    """Only an event that is still empty can be one that MISP has not finished."""
    store = MispStore()
    async with rig(store=store) as here:
        await here.sink.deliver(part(domains(3)))
    async with rig(store=store, events=EventOptions(tags=("tlp:green",))) as here:
        await here.sink.deliver(part(domains(4)))
        assert [event.tags for event in store.events()] == [[]]


async def test_attributes_by_themselves_get_their_tags_as_well() -> None:
    """Those that are sent again for a reason, and those that live in other events."""
    items = domains(3, tags=("one", "two"))

    async def drop(_request: web.Request, _handler: Handler) -> web.StreamResponse:
        return web.json_response({"Event": {}})

    async with rig(fault("/events/edit", drop), fault("/attributes/add", dying(1))) as here:
        outcome = await here.sink.deliver(part(items))
        assert outcome.stored == items
        assert tags_of(here) == [["one", "two"]] * 3
        await here.sink.deliver(part([planned("elsewhere.example")], OTHER))
    async with rig(fault("/attributes/edit", dying(0)), store=here.store) as here:
        newer = update("elsewhere.example", tags=("three",))
        outcome = await here.sink.deliver(part([newer]))
        assert [item.uuid for item, _ in outcome.elsewhere] == [newer.uuid]
        assert tags_of(here, OTHER) == [["three"]]


async def test_a_worker_that_dies_within_an_update_is_made_up_for() -> None:
    """Tags that were to go are gone in the end, and what people have put on stays."""
    was: dict[str, Any] = {"tags": ("one", "two")}
    store = MispStore()
    async with rig(store=store) as here:
        await here.sink.deliver(part([planned("host0.example", **was)]))
        theirs = {"uuid": as_text(domains(1)[0].uuid), "tag": "theirs"}
        await here.client.write("/tags/add", b'{"name":"theirs"}')
        await here.client.write("/tags/attachTagToObject", orjson.dumps(theirs))
    async with rig(fault("/events/edit", dying(0)), store=store) as here:
        newer = update("host0.example", was=was, tags=("two", "three"), comment="changed")
        outcome = await here.sink.deliver(part([newer]))
        assert [item.uuid for item in outcome.stored] == [newer.uuid]
        [held] = here.store.attributes(REF.uuid)
        assert sorted(link.tag.name for link in held.tags or ()) == ["theirs", "three", "two"]
        assert held.comment == "changed"


async def test_a_server_that_fails_at_every_change_costs_no_attribute() -> None:
    """Where MISP answers and cannot write, the run waits or ends; nothing is taken for the one that is to blame."""

    async def broken(_request: web.Request, _handler: Handler) -> web.StreamResponse:
        return web.json_response({"name": "An Internal Error Has Occurred."}, status=500)

    async with rig(fault("/events/edit", *[broken] * 1000)) as here:
        with pytest.raises(MispUnavailable, match="cannot write"):
            await here.sink.deliver(part(domains(5)))
        assert here.values() == []


async def test_a_request_behind_a_504_is_waited_for_and_not_sent_twice() -> None:
    """MISP goes on with it; what arrives later is found by looking."""
    late: list[tuple[web.Request, Handler]] = []
    looks = 0

    async def time_out(request: web.Request, handler: Handler) -> web.StreamResponse:
        await request.read()
        late.append((request, handler))
        return web.Response(status=504)

    @web.middleware
    async def arrive_at_the_third_look(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal looks
        if late and "/attributes/restSearch" in request.path:
            looks += 1
            if looks == 3:
                await late[0][1](late[0][0])
        return await handler(request)

    async with rig(arrive_at_the_third_look, fault("/events/edit", time_out), unclear_seconds=30) as here:
        outcome = await here.sink.deliver(part(domains(3)))
        assert len(outcome.stored) == 3
        assert looks >= 3
        assert here.store.write_requests == 2, "one for the event, one for the attributes"


async def test_another_event_takes_the_place_of_one_that_people_deleted() -> None:
    """Where there is one; what was bound for the old one arrives there, and the ledger is told."""
    store = MispStore()
    async with rig(store=store) as here:
        await here.sink.deliver(part(domains(3)))
        await here.client.write(f"/events/delete/{REF.uuid}", b"", method="DELETE")
    async with rig(store=store, instead={REF: OTHER}.get) as here:
        outcome = await here.sink.deliver(part(domains(2)))
        assert [(item.key, ref) for item, ref in outcome.elsewhere] == [(item.key, OTHER) for item in domains(2)]
        assert here.values(OTHER) == ["host0.example", "host1.example"]


async def test_a_new_journal_takes_over_what_misp_has() -> None:
    """As it is there: what people have made of it stays, deleted stays deleted, and nothing is made twice."""
    async with rig() as here:
        await here.sink.deliver(part(domains(3), OTHER))
        first, second, _ = domains(3)
        await here.client.write(f"/attributes/edit/{as_text(first.uuid)}", b'{"comment":"theirs"}')
        await here.client.write(f"/attributes/delete/{as_text(second.uuid)}", b"{}")
        sink = MispSink(here.client, here.client.options, EventOptions(), retry=RetryPolicy(), adopts=True)
        outcome = await sink.deliver(part(domains(4)))
        assert codes(outcome) == {"host1.example": ("filtered", "deleted_in_misp")}
        assert [(item.change, ref.uuid) for item, ref in outcome.elsewhere] == [(Change.ADOPT, OTHER.uuid)] * 2
        assert [item.key for item in outcome.stored] == [domains(4)[3].key]
        assert outcome.kept == {"adopted": 1}
        assert {each.comment for each in here.store.attributes(OTHER.uuid)} == {"theirs", ""}


async def test_nothing_to_change_is_no_request() -> None:
    """An update that people, or an earlier attempt, have made already."""
    async with rig() as here:
        await here.sink.deliver(part(domains(1)))
        writes = here.store.write_requests
        outcome = await here.sink.deliver(part([update("host0.example")]))
        assert [item.key for item in outcome.unchanged] == [domains(1)[0].key]
        assert here.store.write_requests == writes


async def test_an_update_elsewhere_is_not_blamed_for_a_server_that_cannot_write() -> None:
    """Also on the route for single attributes, MISP is waited for until it takes changes again."""
    failures = 0

    @web.middleware
    async def fail(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal failures
        if ("/attributes/edit" in request.path or "/events/edit" in request.path) and failures > 0:
            failures -= 1
            return web.json_response({"name": "An Internal Error Has Occurred."}, status=500)
        return await handler(request)

    async with rig(fail) as here:
        await here.sink.deliver(part(domains(1), OTHER))
        await here.sink.deliver(part(domains(2)[1:]))
        failures = 5
        changed = update("host0.example", comment="new")
        outcome = await here.sink.deliver(part([changed]))
        assert [(item.key, ref.uuid) for item, ref in outcome.elsewhere] == [(changed.key, OTHER.uuid)]
        assert [each.comment for each in here.store.attributes(OTHER.uuid)] == ["new"]
