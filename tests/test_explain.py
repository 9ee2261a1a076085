"""What is known of one indicator: at ThreatQ, in the mapping, in the journal and in MISP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from tests.test_export import World, only, world
from tests.test_retiring import ACTIVE, DOMAIN, EXPIRED, attribute, edit, library
from tqmisp.dossier import Dossier, Subject, forms
from tqmisp.errors import Interrupted
from tqmisp.export import Export
from tqmisp.misp.options import EventOptions
from tqmisp.pipeline.stop import Stop

URL = {"id": 24, "name": "URL"}


async def ask(here: World, asked: str) -> Dossier:
    """Explain, and see to it that nothing is written."""
    writes = here.store.write_requests
    async with Export.open(here.settings, look=True) as export:
        dossier = await export.explain(asked)
    assert here.store.write_requests == writes
    return dossier


async def one(here: World, asked: str) -> Subject:
    """The only indicator that is meant, everybody having been asked."""
    dossier = await ask(here, asked)
    assert dossier.not_asked == {}
    [subject] = dossier.indicators
    return subject


async def test_a_delivered_indicator_by_each_way_to_name_it(tmp_path: Path) -> None:
    """Value, defanged value, id, UUID of its attribute: selection, rules, event, run and links."""
    lib = library(20)
    async with world(lib, tmp_path) as here:
        here.settings = replace(here.settings, events=EventOptions(namespace="test", slice_size=7))
        receipt = await here.run()
        stored = attribute(here, "d9.example")
        key = str(list(lib.ids)[9])
        for asked in ("d9.example", " d9[.]example", key, stored.uuid, stored.uuid.upper()):
            subject = await one(here, asked)
            assert (subject.id, subject.selected, subject.refused) == (int(key), True, None)
        assert subject.indicator is not None
        assert (subject.indicator["value"], subject.indicator["type"]) == ("d9.example", "FQDN")
        assert subject.link == f"{here.settings.threatq.url.rstrip('/')}/indicators/{key}/details"
        assert subject.steps[0] == {"rule": "type", "before": "FQDN", "after": "domain, Network activity, True"}
        assert subject.becomes is not None
        assert (subject.becomes["uuid"], subject.becomes["comment"]) == (stored.uuid, "number 9")
        [place] = subject.places
        event = receipt.targets[0].events[1]
        assert (place.event, place.info, place.uuid) == (event.uuid, event.info, stored.uuid)
        assert (place.target, place.state, place.run, place.confirmed) == ("misp", "live", receipt.run_id, True)
        assert place.misp is not None
        assert (place.misp.event_id, place.misp.to_ids, place.misp.changed_by_people) == (event.id, True, [])
        assert place.misp.link == f"{here.misp_url.rstrip('/')}/events/view/{event.uuid}"


async def test_why_an_indicator_is_not_there(tmp_path: Path) -> None:
    """Not selected, rejected, deleted by people, withdrawn, gone from ThreatQ, known to nobody."""
    lib = library(6)
    [bad, low] = lib.add(
        [
            {"type": DOMAIN, "score": 5, "value": "no domain"} | ACTIVE,
            {"type": DOMAIN, "score": 1, "value": "low.example"} | ACTIVE,
        ]
    )
    async with world(lib, tmp_path) as here:
        here.settings = replace(here.settings, selection=replace(here.settings.selection, score_threshold=3))
        first = await here.run()
        await edit(here, f"/attributes/delete/{attribute(here, 'd0.example').uuid}", {})
        await edit(here, f"/attributes/edit/{attribute(here, 'd2.example').uuid}", {"comment": "theirs"})
        lib.change(lib.ids[1], EXPIRED)
        lib.delete(lib.ids[3])
        rejected = await one(here, "no domain")
        assert (rejected.id, rejected.selected, rejected.becomes) == (bad, True, None)
        assert rejected.refused is not None
        assert rejected.refused["code"] == "invalid_domain"
        [refusal] = rejected.refusals
        assert (refusal["code"], refusal["run"], refusal["target"]) == ("invalid_domain", first.run_id, "misp")
        below = await one(here, str(low))
        assert below.why_not is not None
        assert (below.selected, below.why_not["code"], below.places) == (False, "score_below_threshold", [])
        [place] = (await one(here, "d0.example")).places
        assert place.misp is not None
        assert place.misp.deleted
        [place] = (await one(here, "d2.example")).places
        assert place.misp is not None
        assert place.misp.changed_by_people == ["comment"]
        expired = await one(here, "d1.example")
        assert expired.why_not is not None
        assert (expired.selected, expired.why_not["code"]) == (False, "status_not_selected")
        assert [each.state for each in expired.places] == ["live"]
        only(await here.run())
        assert [each.state for each in (await one(here, "d1.example")).places] == ["retired"]
        gone = await one(here, "d3.example")
        assert (gone.indicator, gone.selected, gone.places[0].state) == (None, None, "live")
        assert (await ask(here, "nobody.example")).indicators == []
        assert (await ask(here, "4711")).indicators == []


async def test_indicators_that_share_an_attribute(tmp_path: Path) -> None:
    """All of them, and which one owns it."""
    lib = library(3)
    [twin] = lib.add([{"type": DOMAIN, "score": 5, "value": "D1.Example"} | ACTIVE])
    async with world(lib, tmp_path) as here:
        await here.run()
        owner = list(lib.ids)[1]
        found = await ask(here, attribute(here, "d1.example").uuid)
        assert [(each.id, each.places[0].state, each.places[0].owner) for each in found.indicators] == [
            (owner, "live", owner),
            (twin, "merged", owner),
        ]


async def test_a_value_as_threatq_may_have_it(tmp_path: Path) -> None:
    """URLs are often kept without their scheme; several types may have one value."""
    lib = library(1)
    lib.add(
        [
            {"type": URL, "score": 5, "value": "bad.example/path"} | ACTIVE,
            {"type": {"id": 11, "name": "FQDN"}, "score": 5, "value": "bad.example"} | ACTIVE,
            {"type": {"id": 21, "name": "String"}, "score": 5, "value": "bad.example"} | ACTIVE,
        ]
    )
    async with world(lib, tmp_path) as here:
        assert (await one(here, "hxxps://bad[.]example/path")).indicator is not None
        both = await ask(here, "bad.example")
        assert [each.indicator and each.indicator["type"] for each in both.indicators] == ["FQDN", "String"]


def test_forms_of_a_value() -> None:
    """As given, without blanks, whole again, and without the scheme; each once."""
    assert forms(" hxxp://a[.]b/c ") == [" hxxp://a[.]b/c ", "hxxp://a[.]b/c", "http://a.b/c", "a.b/c"]
    assert forms("a.b") == ["a.b"]


async def test_a_journal_that_does_not_know(tmp_path: Path) -> None:
    """MISP does, and says so."""
    async with world(library(2), tmp_path) as here:
        await here.run()
        here.settings = replace(here.settings, state=replace(here.settings.state, path=str(tmp_path / "new")))
        [place] = (await one(here, "d1.example")).places
        assert (place.state, place.uuid) == ("unknown", attribute(here, "d1.example").uuid)
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("away", ["threatq", "misp"])
async def test_a_server_that_is_away(tmp_path: Path, away: str) -> None:
    """It is named with the reason, and the others are told of, by value too."""
    async with world(library(2), tmp_path) as here:
        await here.run()
        options = getattr(here.settings, away)
        gone = replace(options, url="http://127.0.0.1:1", attempts=1)
        here.settings = replace(here.settings, **{away: gone})
        dossier = await ask(here, "d1.example")
        assert list(dossier.not_asked) == [away]
        assert "127.0.0.1:1" in dossier.not_asked[away]
        [subject] = dossier.indicators
        assert (subject.indicator is None) == (away == "threatq")
        [place] = subject.places
        assert (place.state, place.misp is None) == ("live", away == "misp")


@pytest.mark.parametrize("path", ["/servers/getVersion", "/api/token", "/attributes/restSearch"])
async def test_it_can_be_stopped_while_a_server_is_silent(tmp_path: Path, path: str) -> None:
    """At once, whichever of the two it is, since there is nothing to finish."""
    stop, silence = Stop(), anyio.Event()

    @web.middleware
    async def silent(request: web.Request, handler: Handler) -> web.StreamResponse:
        if path in request.path:
            stop.request("SIGINT")
            await silence.wait()
        return await handler(request)

    async with world(library(2), tmp_path, silent, of_threatq=[silent]) as here:
        with anyio.fail_after(30), pytest.raises(Interrupted, match="Stopped by SIGINT"):
            async with Export.open(here.settings, stop=stop, look=True) as export:
                await export.explain("d1.example")
        silence.set()
