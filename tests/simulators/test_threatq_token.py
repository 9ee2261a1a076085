from __future__ import annotations

from typing import Any

import pytest

from tests.simulators.threatq import ACCOUNT, basic, serving
from tqmisp.simulators.threatq import ACCOUNTS, ThreatQSimulatorOptions, generate

WHO = {"email": ACCOUNT.email, "password": ACCOUNT.password}
HOW = {"grant_type": "password", "client_id": ACCOUNT.client_id}
CLIENT = {"grant_type": "client_credentials"}
SECRET = {"client_id": ACCOUNT.client_id, "client_secret": ACCOUNT.client_secret}


@pytest.mark.parametrize(
    "request_",
    [
        {"params": HOW, "json": WHO},  # the vendor's SDK
        {"json": HOW | WHO},  # Kibana, Polarity
        {"data": HOW | WHO},  # XSOAR
        {"params": CLIENT, "headers": basic(ACCOUNT.client_id, ACCOUNT.client_secret)},  # the vendor's SDK, private
        {"data": CLIENT, "headers": basic(ACCOUNT.client_id, ACCOUNT.client_secret)},  # Elastic
        {"params": CLIENT | SECRET},  # one client
    ],
    ids=["query and JSON", "JSON", "form", "Basic and query", "Basic and form", "query"],
)
async def test_every_published_form_of_the_login_is_taken(request_: dict[str, Any]) -> None:
    """Each form gives a token that opens the other routes, and says how long it is good."""
    async with serving(generate(1), ThreatQSimulatorOptions(token_seconds=7200)) as asker:
        reply = await asker.log_in(**request_)
        assert reply.status == 200
        assert reply.body["expires_in"] == 7200
        assert set(reply.body) == {"access_token", "token_type", "expires_in", "refresh_token"}
        assert (await asker.get("/api/users/current"))["data"]["email"] == ACCOUNT.email


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"json": HOW | WHO | {"password": "wrong"}}, "The user credentials were incorrect."),
        ({"json": HOW | WHO | {"client_id": "wrong"}}, "The user credentials were incorrect."),
        ({"json": HOW}, "The user credentials were incorrect."),
        ({"params": CLIENT, "headers": basic(ACCOUNT.client_id, "wrong")}, "The user credentials were incorrect."),
        ({"params": CLIENT, "headers": {"Authorization": "Basic ???"}}, "The user credentials were incorrect."),
        ({"params": {"grant_type": "refresh_token", "refresh_token": "no"}}, "The user credentials were incorrect."),
        ({"json": WHO}, "The authorization grant type is not supported by the authorization server."),
        ({"data": b"{"}, "The authorization grant type is not supported by the authorization server."),
        ({"json": [1]}, "The authorization grant type is not supported by the authorization server."),
    ],
)
async def test_a_wrong_login_is_answered_with_400(request_: dict[str, Any], words: str) -> None:
    """ThreatQ answers 400, and not 401, with a list of errors."""
    async with serving(generate(1)) as asker:
        reply = await asker.log_in(**request_)
        assert (reply.status, reply.body) == (400, {"errors": [words]})


async def test_a_refresh_token_is_good_for_one_new_pair() -> None:
    """The answer holds new tokens; the same refresh token is not taken again."""
    async with serving(generate(1)) as asker:
        first = (await asker.log_in()).body
        asked = {"params": {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}}
        second = (await asker.log_in(**asked)).body
        assert second["access_token"] != first["access_token"]
        assert second["refresh_token"] != first["refresh_token"]
        assert (await asker.send("GET", "/api/users/current")).status == 200
        assert (await asker.log_in(**asked)).status == 400


async def test_a_token_grows_old() -> None:
    """After ``expires_in`` seconds the answer is 401 with the documented body."""
    async with serving(generate(1), ThreatQSimulatorOptions(token_seconds=60)) as asker:
        app = asker.client.app
        assert app is not None
        began = app[ACCOUNTS].clock()
        app[ACCOUNTS].clock = lambda: began + 59
        assert (await asker.send("GET", "/api/users/current")).status == 200
        app[ACCOUNTS].clock = lambda: began + 61
        reply = await asker.send("GET", "/api/users/current")
        assert reply.status == 401
        assert reply.body == {"errors": ["The resource owner or authorization server denied the request."]}


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Token", ""])
async def test_only_the_scheme_with_a_capital_is_taken(scheme: str) -> None:
    """A live server refused ``bearer`` in lower case, although its own answer writes it so."""
    async with serving(generate(1)) as asker:
        headers = {"Authorization": f"{scheme} {asker.token}"}
        async with asker.client.get("/api/users/current", headers=headers) as response:
            assert response.status == 401


async def test_tokens_can_be_withdrawn() -> None:
    """A test can let the server forget everybody, as after a restart."""
    async with serving(generate(1)) as asker:
        app = asker.client.app
        assert app is not None
        app[ACCOUNTS].withdraw()
        assert (await asker.send("GET", "/api/users/current")).status == 401


def test_secrets_do_not_show() -> None:
    """The options can be printed."""
    shown = repr(ThreatQSimulatorOptions(misp_key="key of the misp"))
    assert not any(secret in shown for secret in (ACCOUNT.password, ACCOUNT.client_secret, "key of the misp"))
