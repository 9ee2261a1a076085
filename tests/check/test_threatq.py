"""One test for each fault of a ThreatQ, of the account, or of the selection."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from tests.check.conftest import ACCOUNT, Rig, is_finding
from tests.misp.conftest import fault, status
from tqmisp.simulators.threatq import generate
from tqmisp.simulators.threatq.app import create_app


async def test_a_wrong_client_id(rig: Rig) -> None:
    """ThreatQ does not say which part of the login is wrong; the fix says where the id is found."""
    rig.values["threatq.client_id"] = "wrong"
    (found,) = await rig.trouble()
    assert is_finding(found, "threatq.login", "failure", "client_id", "API password")


async def test_a_wrong_password(rig: Rig) -> None:
    """The password itself is not shown."""
    rig.values["threatq.password"] = "not the password"
    (found,) = await rig.trouble()
    assert is_finding(found, "threatq.login", "failure", "[threatq] email and password")
    assert "not the password" not in repr(found)


async def test_a_wrong_client_secret(rig: Rig) -> None:
    """A private client has no e-mail address to check."""
    rig.values |= {"threatq.email": None, "threatq.password": None, "threatq.client_secret": "wrong secret"}
    (found,) = await rig.trouble()
    assert is_finding(found, "threatq.login", "failure", "[threatq] client_id and client_secret")


async def test_a_token_that_is_not_taken(rig: Rig) -> None:
    """As where a proxy takes the header away."""

    async def forgetful(request: web.Request) -> web.StreamResponse:
        if request.path == "/api/token":
            return web.json_response({"access_token": "some token", "expires_in": 3600})
        return web.json_response({"errors": ["no"]}, status=401)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", forgetful)
    rig.values["threatq.url"] = await rig.serve(app)
    (found,) = await rig.trouble()
    assert is_finding(found, "threatq.token", "failure", "Authorization", "[threatq] email")


async def test_an_account_that_sees_no_names(rig: Rig) -> None:
    """A slip in the selection would go unnoticed."""
    rig.threatq = replace(ACCOUNT, sees_lookups=False)
    (found,) = await rig.trouble()
    assert is_finding(found, "threatq.names", "warning", "[threatq] email")


@pytest.mark.parametrize("name", ["statuses", "types"])
async def test_an_unknown_name_in_the_selection(rig: Rig, name: str) -> None:
    """It is a mistake of the configuration, and those that exist are told."""
    rig.values[f"selection.{name}"] = ["Actife"]
    (found,) = await rig.trouble()
    assert is_finding(found, "local.selection", "failure", "[selection]")
    assert f"[selection] {name}" in found.reason
    assert "'Actife'" in found.reason


async def test_an_unknown_collection(rig: Rig) -> None:
    """The account sees none of that name."""
    rig.values["selection.collection"] = "mine"
    (found,) = await rig.trouble()
    assert is_finding(found, "local.selection", "failure", "[selection]")
    assert "collection" in found.reason


async def test_an_empty_selection(rig: Rig) -> None:
    """A run would work, and do nothing; what there is instead is told."""
    rig.values |= {"selection.score_threshold": 10, "selection.types": ["Mutex"]}
    (found,) = await rig.trouble()
    assert is_finding(found, "threatq.selection_count", "warning", "[selection]", "score_threshold")
    assert "Expired" in found.reason


async def test_a_server_that_cannot_select(rig: Rig) -> None:
    """Old ones have no query route."""
    rig.threatq = replace(ACCOUNT, query_route=False)
    (found,) = await rig.trouble()
    assert is_finding(found, "threatq.read", "warning", "Update ThreatQ")


async def test_a_clock_10_minutes_behind(rig: Rig) -> None:
    """The date of its answers tells."""
    rig.threatq = replace(ACCOUNT, clock_ahead=-600)
    (found,) = await rig.trouble()
    assert is_finding(found, "threatq.clock", "warning", "NTP", "[threatq] url")
    assert "10 minutes behind" in found.reason


async def test_html_at_the_address(rig: Rig) -> None:
    """Some other site answers."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<html>hello</html>", content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", page)
    rig.values["threatq.url"] = await rig.serve(app)
    (found,) = await rig.trouble()
    assert is_finding(found, "threatq.answer", "failure", "[threatq] url")


@pytest.mark.parametrize("code", [401, 403])
async def test_a_refusal_without_json(rig: Rig, code: int) -> None:
    """That of a server whose login then works, or of something else, where that fails, too."""
    works = True

    @web.middleware
    async def terse(request: web.Request, handler: Handler) -> web.StreamResponse:
        known = works and ("Authorization" in request.headers or request.path == "/api/token")
        return await handler(request) if known else web.Response(status=code, text="Unauthorized")

    rig.values["threatq.url"] = await rig.serve(create_app(generate(10), ACCOUNT, middlewares=[terse]))
    (found,) = await rig.trouble()
    assert is_finding(found, "threatq.answer", "warning", "[threatq] url")
    works = False
    found, failed = await rig.trouble(2)
    assert (found.name, found.level) == ("answer", "warning")
    assert is_finding(failed, "threatq.login", "failure", "[threatq] email and password")


async def test_maintenance(rig: Rig) -> None:
    """503, as an application of that kind answers then."""
    closed = create_app(generate(10), ACCOUNT, middlewares=[fault("/", status(503))])
    rig.values["threatq.url"] = await rig.serve(closed)
    (found,) = await rig.trouble()
    assert is_finding(found, "threatq.answer", "failure", "[threatq] url")
    assert "503" in found.reason
