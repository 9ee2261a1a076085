from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler, Middleware
from pydantic import SecretStr
from pymisp import MISPEvent, PyMISP

from tests.logs import capture_logs
from tqmisp.config import Settings, StateOptions
from tqmisp.errors import Interrupted, LockHeld, MispRefused, MispUnavailable, ThreatQRefused
from tqmisp.export import Export
from tqmisp.misp.options import EventOptions, MispOptions
from tqmisp.observe.receipt import Receipt, TargetReceipt
from tqmisp.pipeline.limits import Limits
from tqmisp.pipeline.stop import Stop
from tqmisp.simulators.misp import DEFAULT_KEY, MispStore, key_of
from tqmisp.simulators.misp import create_app as misp_app
from tqmisp.simulators.threatq import Library, ThreatQSimulatorOptions, from_corpus, generate
from tqmisp.simulators.threatq import create_app as threatq_app
from tqmisp.threatq.options import Selection, ThreatQOptions

CORPUS = Path(__file__).parent / "data" / "threatq-small.ndjson.gz"
ACCOUNT = ThreatQSimulatorOptions()


@dataclass
class World:
    """Both servers, and settings that fit."""

    library: Library
    store: MispStore
    settings: Settings
    misp_url: str

    async def run(self, *, full: bool = False, settings: Settings | None = None, stop: Stop | None = None) -> Receipt:
        async with Export.open(settings or self.settings, stop=stop) as export:
            return await export.run(full=full)


@asynccontextmanager
async def world(
    library: Library, state: Path, *middlewares: Middleware, of_threatq: Sequence[Middleware] = ()
) -> AsyncIterator[World]:
    """Serve a library and an empty MISP."""
    store = MispStore()
    async with (
        TestServer(threatq_app(library, middlewares=of_threatq)) as threatq,
        TestServer(misp_app(store, middlewares=middlewares)) as misp,
    ):
        settings = Settings(
            threatq=ThreatQOptions(
                url=str(threatq.make_url("")),
                client_id=ACCOUNT.client_id,
                email=ACCOUNT.email,
                password=SecretStr(ACCOUNT.password),
                attempts=2,
                patience=0,
                backoff=0,
            ),
            misp=MispOptions(url=str(misp.make_url("")), key=SecretStr(DEFAULT_KEY), attempts=3, patience=0, backoff=0),
            events=EventOptions(namespace="test"),
            state=StateOptions(path=str(state)),
        )
        yield World(library, store, settings, str(misp.make_url("")))


def only(receipt: Receipt) -> TargetReceipt:
    """The one target of a receipt, which must balance."""
    [target] = receipt.targets
    assert target.imbalance == []
    assert target.balanced
    assert target.read == target.accounted()
    return target


async def test_the_real_corpus_arrives_and_a_second_run_writes_nothing(tmp_path: Path) -> None:
    """Every active row is accounted for, the receipt counts what MISP holds, and again means no write at all."""
    library = from_corpus(CORPUS)
    async with world(library, tmp_path) as here:
        first = only(await here.run())
        assert first.read == sum(library.row(place)["status"]["name"] == "Active" for place in range(len(library)))
        assert first.created == here.store.stored_count() == sum(event.attributes for event in first.events)
        assert first.created + first.merged + sum(first.rejected.values()) == first.read
        assert not first.quarantined
        writes = here.store.write_requests
        second = only(await here.run(full=True))
        assert (second.read, second.created, second.updated) == (first.read, 0, 0)
        assert second.unchanged == first.created
        assert second.rejected == first.rejected
        third = only(await here.run())
        assert third.read < 100
        assert here.store.write_requests == writes
        assert second.write_requests == third.write_requests == 0


async def test_pymisp_finds_what_the_receipt_says(tmp_path: Path) -> None:
    """The real client reads the events back, and finds the same attributes."""
    async with world(generate(3000, seed=5), tmp_path) as here:
        here.settings = replace(here.settings, events=EventOptions(namespace="test", slice_size=1000))
        target = only(await here.run())
        assert [event.attributes for event in target.events][:2] == [1000, 1000]

        def read_back() -> list[MISPEvent]:
            misp = PyMISP(here.misp_url, DEFAULT_KEY)
            found = [misp.get_event(event.uuid, pythonify=True) for event in target.events]
            return [event for event in found if isinstance(event, MISPEvent)]

        events = await anyio.to_thread.run_sync(read_back)
        assert [len(event.attributes) for event in events] == [event.attributes for event in target.events]
        assert [event.info for event in events] == [event.info for event in target.events]
        found = Counter((str(a.uuid), a.type, str(a.value)) for event in events for a in event.attributes)
        stored = Counter(
            (a.uuid, a.type, a.value) for event in here.store.events() for a in here.store.attributes(event.uuid)
        )
        assert found == stored
        assert len(found) == target.created


async def test_a_change_updates_the_attribute_where_it_lives(tmp_path: Path) -> None:
    """An indicator that changes is updated in its old event, incrementally, and nothing else is written."""
    async with world(generate(300, seed=6), tmp_path) as here:
        first = only(await here.run())
        chosen = next(a for a in here.store.attributes(first.events[0].uuid) if a.type == "domain")
        row = next(place for place in range(300) if here.library.row(place)["value"] == chosen.value)
        here.library.change(here.library.ids[row], {"description": "seen again", "status": {"id": 1, "name": "Active"}})
        second = only(await here.run())
        assert (second.updated, second.created) == (1, 0)
        assert second.read < first.read
        assert [event.uuid for event in second.events] == [first.events[0].uuid]
        [changed] = [a for a in here.store.attributes(first.events[0].uuid) if a.uuid == chosen.uuid]
        assert changed.comment.startswith("seen again")


async def test_new_indicators_fill_the_event_of_the_day(tmp_path: Path) -> None:
    """A later run on the same day tops the last event up before it makes another."""
    async with world(generate(100, seed=7), tmp_path) as here:
        here.settings = replace(here.settings, events=EventOptions(namespace="test", slice_size=60))
        first = only(await here.run())
        new = {"type": {"id": 11, "name": "FQDN"}, "status": {"id": 1, "name": "Active"}, "score": 5}
        here.library.add(new | {"value": f"new{n}.example", "touched_at": "2026-11-24 00:00:00"} for n in range(40))
        second = only(await here.run())
        assert second.created == 40
        counts = sorted((event.info, len(here.store.attributes(event.uuid))) for event in here.store.events())
        assert [count for _, count in counts[:2]] == [60, 60]
        assert sum(count for _, count in counts) == first.created + 40


async def test_publishing_comes_last(tmp_path: Path) -> None:
    """With ``publish`` every event of the run is published in the end, and the receipt says so."""
    async with world(generate(200, seed=8), tmp_path) as here:
        here.settings = replace(here.settings, events=EventOptions(namespace="test", slice_size=100, publish=True))
        target = only(await here.run())
        assert len(target.events) == 2
        assert all(event.published for event in target.events)
        assert all(event.published for event in here.store.events())


async def test_what_is_published_though_misp_failed_at_it_is_no_fault(tmp_path: Path) -> None:
    """Without background jobs MISP tells other servers at once, and says that it failed where one of them is away."""

    @web.middleware
    async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        return web.Response(status=403) if "/publish/" in request.path else answer

    async with world(generate(50), tmp_path, tell) as here:
        here.settings = replace(here.settings, events=EventOptions(namespace="test", publish=True))
        assert only(await here.run()).balanced


@pytest.mark.parametrize("status", [500, 503])
async def test_what_could_not_be_published_is_published_by_the_next_run(tmp_path: Path, status: int) -> None:
    """Though that run writes nothing; what was written while publishing was not asked for stays as it is."""
    ill = True

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        return web.Response(status=status) if ill and "/publish/" in request.path else await handler(request)

    async with world(generate(200, seed=8), tmp_path, refuse) as here:
        quiet = replace(here.settings, events=EventOptions(namespace="test", name="Quiet", slice_size=100))
        only(await here.run(settings=quiet))
        here.library.change(here.library.ids[0], {"description": "seen again"})
        loud = replace(here.settings, events=replace(quiet.events, publish=True))
        if status == 500:
            assert not (await here.run(settings=loud)).balanced
        else:
            with pytest.raises(MispUnavailable):
                await here.run(settings=loud)
        assert not any(event.published for event in here.store.events())
        ill, writes = False, here.store.write_requests
        target = only(await here.run(settings=loud))
        assert here.store.write_requests == writes + 1
        assert [event.published for event in here.store.events()].count(True) == len(target.events) == 1
        only(await here.run(settings=loud))
        assert here.store.write_requests == writes + 1


async def test_a_run_that_is_stopped_is_finished_by_the_next(tmp_path: Path) -> None:
    """After a stop in mid-run another run brings the rest; nothing is there twice."""
    library = generate(6000, seed=9)
    stop = Stop()

    @web.middleware
    async def stop_soon(request: web.Request, handler: Handler) -> web.StreamResponse:
        if "/events/edit" in request.path and not stop.requested:
            stop.request("SIGTERM")
        return await handler(request)

    async with world(library, tmp_path, stop_soon) as here:
        slow = replace(here.settings, pipeline=Limits(slice_bytes=100_000, queue_pages=1))
        receipt = await here.run(settings=slow, stop=stop)
        assert receipt.stopped_by == "SIGTERM"
        before = here.store.stored_count()
        assert 0 < before < 5000
        rest = only(await here.run())
        assert rest.unchanged <= before
        assert rest.read < 6000, "what was accounted for is not read again"
        assert rest.created + before == here.store.stored_count()
        values = Counter((a.type, a.value) for e in here.store.events() for a in here.store.attributes(e.uuid))
        assert max(values.values()) == 1


@pytest.mark.parametrize(
    ("path", "signals"),
    [("/servers/getVersion", 1), ("/api/token", 1), ("/events/restSearch", 1), ("/events/restSearch", 2)],
)
async def test_a_run_that_waits_for_a_server_can_be_stopped(path: str, signals: int, tmp_path: Path) -> None:
    """Before it has read anything at once, at its end after a while or at the second wish; the next run goes on."""
    stop, ill = Stop(), True

    @web.middleware
    async def away(request: web.Request, handler: Handler) -> web.StreamResponse:
        if ill and path in request.path:
            for _ in range(signals):
                stop.request("SIGTERM")
            return web.Response(status=503)
        return await handler(request)

    async with world(generate(500, seed=9), tmp_path, away, of_threatq=[away]) as here:
        settings = replace(
            here.settings,
            misp=replace(here.settings.misp, patience=900.0, backoff=60.0, settle_seconds=0),
            threatq=replace(here.settings.threatq, patience=900.0, backoff=60.0),
            selection=Selection(types=("FQDN",)),
            pipeline=Limits(drain_seconds=0.1 if signals == 1 else 60),
        )
        with anyio.fail_after(30), pytest.raises(Interrupted, match="Stopped by SIGTERM"):
            await here.run(settings=settings, stop=stop)
        ill = False
        target = only(await here.run(settings=settings))
        assert target.created + target.unchanged > 50
        assert here.store.stored_count() == target.created + target.unchanged


async def test_two_runs_do_not_overlap(tmp_path: Path) -> None:
    """While one run is at work, another on the same journal and MISP is refused."""
    refused: list[LockHeld] = []

    @web.middleware
    async def run_another(request: web.Request, handler: Handler) -> web.StreamResponse:
        if "/events/edit" in request.path and not refused:
            with pytest.raises(LockHeld) as caught:
                await here.run()
            refused.append(caught.value)
        return await handler(request)

    async with world(generate(100), tmp_path, run_another) as here:
        only(await here.run())
    assert "Another run is at work" in str(refused[0])


async def test_a_selection_narrows_what_is_read(tmp_path: Path) -> None:
    """Only what is selected is read, and a wider selection later brings the rest."""
    async with world(generate(1000, seed=10), tmp_path) as here:
        narrow = replace(here.settings, selection=Selection(score_threshold=8))
        few = only(await here.run(settings=narrow))
        many = only(await here.run())
        assert few.read < many.read
        assert many.unchanged == few.created


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"misp": {"key": SecretStr("0" * 40)}}, MispRefused),
        ({"threatq": {"password": SecretStr("wrong")}}, ThreatQRefused),
    ],
)
async def test_a_server_that_refuses_us_ends_the_run(
    tmp_path: Path, changes: dict[str, dict[str, SecretStr]], error: type[Exception]
) -> None:
    """A bad key or login is an error of its own kind, and nothing has been written."""
    async with world(generate(50), tmp_path) as here:
        bad = here.settings
        for section, values in changes.items():
            bad = replace(bad, **{section: replace(getattr(bad, section), **values)})
        with pytest.raises(error):
            await here.run(settings=bad)
        assert here.store.write_requests == 0


async def test_tags_that_the_key_may_not_make_are_left_out(tmp_path: Path) -> None:
    """A plain user's attributes carry the tags that MISP has, and nothing is sent that would vanish."""
    async with world(generate(300, seed=11), tmp_path) as here:
        plain = replace(here.settings, misp=replace(here.settings.misp, key=SecretStr(key_of("User"))))
        with capture_logs() as logs:
            only(await here.run(settings=plain))
        [warning] = [entry for entry in logs if "may not make them" in entry["event"]]
        assert warning["tags"] > 0
        names = {
            link.tag.name
            for event in here.store.events()
            for attribute in here.store.attributes(event.uuid)
            for link in attribute.tags or ()
        }
        assert "tlp:green" in names
        assert not any(name.startswith(("threatq:", "misp-galaxy:")) for name in names)
