from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from tests.logs import capture_logs
from tests.threatq.conftest import ACCOUNT, login
from tests.threatq.samples import sample
from tqmisp.errors import ThreatQRefused, ThreatQUnavailable
from tqmisp.threatq.auth import LoginRefused, TokenRequest, Tokens

PRIVATE = {"email": None, "password": None, "client_secret": SecretStr(ACCOUNT.client_secret)}
MISSING = "The request is missing a required parameter."


class Server:
    """Gives tokens, and remembers what it was asked; a function may answer instead."""

    def __init__(self, **changes: object) -> None:
        self.now = 1_000.0
        self.asked: list[TokenRequest] = []
        self.expires_in: object = 3600
        self.refresh_token = True
        self.instead: Callable[[TokenRequest], None] = lambda _: None
        self.tokens = Tokens(login("https://threatq.test", **changes), self.post, clock=lambda: self.now)

    async def post(self, request: TokenRequest) -> dict[str, Any]:
        self.asked.append(request)
        await anyio.lowlevel.checkpoint()
        self.instead(request)
        number = len(self.asked)
        answer = {"access_token": f"token {number}", "expires_in": self.expires_in, "token_type": "bearer"}
        return answer | ({"refresh_token": f"refresh {number}"} if self.refresh_token else {})

    @property
    def names(self) -> list[str]:
        """The forms in which it was asked."""
        return [request.name for request in self.asked]


def refuse(words: str, *names: str) -> Callable[[TokenRequest], None]:
    """Refuses some forms of the login, or all."""

    def instead(request: TokenRequest) -> None:
        if not names or request.name in names:
            raise LoginRefused("refused", words)

    return instead


@pytest.mark.parametrize(
    ("expires_in", "good_for"),
    [
        (3600, 3480),  # two minutes early
        (172_799, 172_679),
        ("3600", 3480),  # a number as text
        (60, 30),  # shorter than the margin: half of it
        (None, 1680),  # unsaid: half an hour, as the vendor's own code takes it
        (0, 1680),
        (-5, 1680),
        ("soon", 1680),
    ],
)
async def test_a_token_is_renewed_before_it_ends(expires_in: object, good_for: float) -> None:
    """The same token serves until shortly before its end."""
    server = Server()
    server.expires_in = expires_in
    assert await server.tokens.get() == "token 1"
    server.now += good_for - 0.5
    assert await server.tokens.get() == "token 1"
    server.now += 1
    assert await server.tokens.get() == "token 2"


async def test_the_refresh_token_is_used_first() -> None:
    """A user's is sent with the old token, a private client's with its id and secret, as the vendor's SDK does."""
    for changes, basic, bearer in (
        ({}, None, "token 1"),
        (PRIVATE, (ACCOUNT.client_id, ACCOUNT.client_secret), None),
    ):
        server = Server(**changes)
        await server.tokens.get()
        server.now += 4_000
        assert await server.tokens.get() == "token 2"
        request = server.asked[1]
        assert request.params == {"grant_type": "refresh_token", "refresh_token": "refresh 1"}
        assert (request.basic, request.bearer) == (basic, bearer)


@pytest.mark.parametrize("error", [LoginRefused("The refresh token is invalid."), ThreatQUnavailable("failed (500)")])
async def test_where_the_refresh_token_fails_we_log_in_anew(error: Exception) -> None:
    """One that is too old is no reason to end a run, nor is a server that fails over it each time."""
    server = Server()
    await server.tokens.get()
    server.now += 4_000

    def instead(request: TokenRequest) -> None:
        if request.name == "refresh":
            raise error

    server.instead = instead
    assert await server.tokens.get() == "token 3"
    assert server.names == ["password", "refresh", "password"]


async def test_without_a_refresh_token_we_log_in_anew() -> None:
    """Client credentials often come without one."""
    server = Server(**PRIVATE)
    server.refresh_token = False
    await server.tokens.get()
    server.now += 4_000
    await server.tokens.get()
    assert server.names == ["client credentials", "client credentials"]


async def test_many_requests_renew_once() -> None:
    """However many find the token missing, too old or refused, one request for a token is sent."""
    server = Server()

    async def use(stale: str | None = None) -> None:
        if stale is not None:
            await server.tokens.replace(stale)
        await server.tokens.get()

    for number, stale in enumerate((None, None, "token 2"), 1):
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(use, stale)
        assert len(server.asked) == number
        server.now += 4_000 if stale is None and number == 1 else 0


async def test_another_form_is_tried_where_the_form_may_be_at_fault() -> None:
    """The log says which one is taken and why; from then on it comes first."""
    server = Server()
    server.refresh_token = False
    server.instead = refuse(MISSING, "password", "password, all in the body")
    with capture_logs() as logs:
        await server.tokens.get()
        server.now += 4_000
        await server.tokens.get()
    assert server.names == ["password", "password, all in the body", "password, as a form", "password, as a form"]
    assert [(line["form"], line["refused"]) for line in logs] == [("password, as a form", "refused")]


@pytest.mark.parametrize("words", [sample("token_error_400.json")["errors"][0], "Wrong password"])
async def test_wrong_credentials_are_sent_only_once(words: str) -> None:
    """Where the server says that it read them, further forms would only be further wrong logins of that account."""
    server = Server()
    server.instead = refuse(words)
    with pytest.raises(LoginRefused):
        await server.tokens.get()
    assert server.names == ["password"]


async def test_the_error_is_that_of_the_first_form() -> None:
    """It is the form that every version takes, so its error is the one that means something."""
    server = Server()

    def instead(request: TokenRequest) -> None:
        raise LoginRefused(f"refused as {request.name}", MISSING)

    server.instead = instead
    with pytest.raises(ThreatQRefused, match=r"refused as password$"):
        await server.tokens.get()
    assert len(server.asked) == 3


async def test_a_server_that_is_away_is_no_refusal() -> None:
    """No other form is tried; the next attempt logs in."""
    server = Server()
    await server.tokens.get()
    server.now += 4_000

    def away(_request: TokenRequest) -> None:
        raise ThreatQUnavailable("away")

    server.instead = away
    with pytest.raises(ThreatQUnavailable):
        await server.tokens.get()
    server.instead = lambda _: None
    await server.tokens.get()
    assert server.names == ["password", "refresh", "password", "password"]


@pytest.mark.parametrize("answer", [{}, {"access_token": None}, {"access_token": ""}])
async def test_an_answer_without_a_token_is_explained(answer: dict[str, Any]) -> None:
    """It is not that of a ThreatQ."""

    async def post(_request: TokenRequest) -> dict[str, Any]:
        return answer

    with pytest.raises(ThreatQRefused, match=r"no access_token.*\[threatq\] url"):
        await Tokens(login("https://threatq.test"), post).get()
