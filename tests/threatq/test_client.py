from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from aiohttp import web
from pydantic import SecretStr

from tests.threatq.conftest import ACCOUNT, Serve, login, serving
from tqmisp.errors import ConfigError, ThreatQError, ThreatQRefused, ThreatQUnavailable
from tqmisp.simulators.threatq import ThreatQSimulatorOptions, generate
from tqmisp.threatq.client import ThreatQClient, base_url
from tqmisp.threatq.connectors import ConnectorSettings
from tqmisp.threatq.connectors import read as read_connector

SECRETS = (ACCOUNT.password, ACCOUNT.client_secret, "token-of-the-test")


def answering(*answers: Callable[[], web.Response], token: dict[str, object] | None = None) -> web.Application:
    """A server that lets everybody in and answers each request with the next answer, the last one for ever."""
    waiting = list(answers)

    async def answer(_request: web.Request) -> web.Response:
        return (waiting.pop(0) if len(waiting) > 1 else waiting[0])()

    async def let_in(_request: web.Request) -> web.Response:
        return web.json_response(token or {"access_token": "token-of-the-test", "expires_in": 3600})

    app = web.Application()
    app.add_routes([web.post("/api/token", let_in), web.get("/api/{tail:.*}", answer)])
    return app


def json(body: object, status: int = 200, **headers: str) -> Callable[[], web.Response]:
    """Gives a JSON answer."""
    return lambda: web.json_response(body, status=status, headers=headers)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (json({"data": {"errors": {"value": ["The value is required."]}}}, 400), ThreatQRefused, "value: The value"),
        (json({"errors": ["First", ["Second", "third"]]}, 400), ThreatQRefused, "First; Second; third"),
        (json({"errors": ["Search is unavailable"]}, 200), ThreatQRefused, "Search is unavailable"),
        (json({"errors": ["denied"]}, 403), ThreatQRefused, "role Read Only"),
        (json({"errors": ["Not Found"]}, 404), ThreatQRefused, "address of a ThreatQ"),
        (json({"name": "HttpException", "message": "went wrong"}, 422), ThreatQRefused, "went wrong"),
        (json({"data": [{"error": "hidden"}]}, 409), ThreatQRefused, "hidden"),
        (json({"errors": ["no"]}, 401), ThreatQRefused, "does not accept the token"),
        (json({}, 500), ThreatQUnavailable, "500"),
        (json({}, 503), ThreatQUnavailable, "503"),
        (json({}, 429), ThreatQUnavailable, "slow down"),
        (lambda: web.Response(text="<html>", content_type="text/html"), ThreatQRefused, "text/html instead of JSON"),
        (lambda: web.Response(status=302, headers={"Location": "https://x/login"}), ThreatQRefused, "https://x/login"),
        (json({"errors": ["\x1b[31mred\u202e"]}, 400), ThreatQRefused, r" \[31mred "),
    ],
)
async def test_each_kind_of_error_says_what_to_do(
    answer: Callable[[], web.Response], kind: type[ThreatQError], words: str
) -> None:
    """Every error body becomes one line with the server's words, without a secret in it."""
    async with serving(answering(answer)) as client:
        with pytest.raises(kind, match=words) as caught:
            await client.get("/api/thing")
    text = str(caught.value)
    assert "\n" not in text
    assert text.isprintable()
    assert not any(secret in text for secret in SECRETS)


async def test_what_passes_is_waited_out() -> None:
    """Failures that may pass are repeated, and counted."""
    app = answering(json({}, 502), json({}, 503), json({"data": 1}))
    async with serving(app) as client:
        assert (await client.get("/api/thing")).data == {"data": 1}
        assert client.retries == 2


async def test_retry_after_is_understood_as_seconds_and_as_a_date() -> None:
    """The wait that the server asks for travels with the error."""
    for asked, expected in (("7", 7), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)):
        async with serving(answering(json({}, 429, **{"Retry-After": asked})), attempts=1) as client:
            with pytest.raises(ThreatQUnavailable) as caught:
                await client.get("/api/thing")
        assert caught.value.retry_after == expected


async def test_half_characters_are_no_reason_to_refuse_a_page() -> None:
    """JSON that the fast decoder does not take is decoded all the same."""
    raw = b'{"value": "\\ud800", "id": 1}'
    app = answering(lambda: web.Response(body=raw, content_type="application/json"))
    async with serving(app) as client:
        assert (await client.get("/api/thing")).data == {"value": "\ud800", "id": 1}


async def test_a_server_that_is_not_there_is_named() -> None:
    """Nobody listens: the address is in the error, and what to check."""
    async with ThreatQClient.connect(login("http://127.0.0.1:9", attempts=1)) as client:
        with pytest.raises(ThreatQUnavailable, match=r"127\.0\.0\.1:9 cannot be reached.*Check \[threatq\] url"):
            await client.get("/api/thing")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"email": None, "password": None, "client_secret": SecretStr(ACCOUNT.client_secret)},
    ],
    ids=["password", "client credentials"],
)
async def test_both_logins_work(serve: Serve, changes: dict[str, object]) -> None:
    """A user and a private client are let in."""
    client = await serve(generate(1), **changes)
    assert (await client.get("/api/users/current")).data["data"]["email"] == ACCOUNT.email


@pytest.mark.parametrize("kept", [{"params"}, {"json"}, {"form"}])
async def test_the_login_finds_the_form_that_the_server_takes(kept: set[str]) -> None:
    """Three forms of the password grant are in use; whichever the server knows is found."""
    seen: list[str] = []

    async def token(request: web.Request) -> web.Response:
        form = "params" if request.query else "json" if request.content_type == "application/json" else "form"
        seen.append(form)
        if form in kept:
            return web.json_response({"access_token": "t"})
        return web.json_response({"errors": ["The request is missing a required parameter."]}, status=400)

    async def thing(_request: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application()
    app.add_routes([web.post("/api/token", token), web.get("/api/thing", thing)])
    async with serving(app) as client:
        await client.get("/api/thing")
    assert set(seen[-1:]) == kept


async def test_a_wrong_login_is_refused_with_a_hint(serve: Serve) -> None:
    """The error names the keys to check, and not the password."""
    client = await serve(generate(1), password=SecretStr("wrong password"))
    with pytest.raises(ThreatQRefused, match=r"credentials were incorrect.*Check \[threatq\] client_id") as caught:
        await client.get("/api/users/current")
    assert "wrong password" not in str(caught.value)


async def test_a_login_must_be_complete() -> None:
    """Neither a password nor a secret is an error of the configuration."""
    with pytest.raises(ConfigError, match="client_secret"):
        async with ThreatQClient.connect(login("http://127.0.0.1:9", password=None)):
            pass


async def test_a_token_that_the_server_forgot_is_replaced_once() -> None:
    """A 401 leads to one new login and one repetition of the request."""
    logins = 0

    async def token(_request: web.Request) -> web.Response:
        nonlocal logins
        logins += 1
        return web.json_response({"access_token": f"token {logins}", "expires_in": 3600})

    async def thing(request: web.Request) -> web.Response:
        good = request.headers["Authorization"] == "Bearer token 2"
        return web.json_response({}, status=200 if good else 401)

    app = web.Application()
    app.add_routes([web.post("/api/token", token), web.get("/api/thing", thing)])
    async with serving(app) as client:
        await client.get("/api/thing")
    assert logins == 2


async def test_secrets_stay_out_of_logs_and_reprs(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Neither password nor token is in any log line, repr or error."""
    caplog.set_level(logging.DEBUG)
    client = await serve(generate(1), ThreatQSimulatorOptions(token_seconds=0.01))
    await client.get("/api/users/current")
    shown = caplog.text + repr(client.options) + repr(vars(client))
    assert ACCOUNT.password not in shown
    assert "Bearer" not in shown


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("threatq.example", "https://threatq.example"),
        ("https://threatq.example/", "https://threatq.example"),
        ("https://threatq.example:8443/api/", "https://threatq.example:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1:80"),
    ],
)
def test_addresses_are_completed(given: str, expected: str) -> None:
    """A bare host is https, and the path of the API is added by us."""
    assert base_url(given) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], None),
        (
            [
                {
                    "name": "MISP Export",
                    "custom_fields": {"misp_url": "https://m", "misp_api_key": "k", "score_threshold": "5"},
                }
            ],
            ConnectorSettings(active=True, misp_url="https://m", misp_key="k", score_threshold=5.0),
        ),
        (
            [
                {
                    "name": "MISP Export",
                    "is_active": "False",
                    "custom_fields": [
                        {"name": "MISP URL", "value": "https://m"},
                        {"name": "MISP Authorization Key", "value": "k"},
                        {"name": "Score Threshold", "value": ""},
                    ],
                }
            ],
            ConnectorSettings(active=False, misp_url="https://m", misp_key="k", score_threshold=None),
        ),
    ],
)
async def test_settings_of_the_connector_are_read(rows: list[object], expected: ConnectorSettings | None) -> None:
    """Fields come as a map or as a list, in several spellings; an unknown connector is none."""
    async with serving(answering(json({"total": len(rows), "data": rows}))) as client:
        assert await read_connector(client, "MISP Export") == expected
