"""Logging in to ThreatQ, and keeping the token fresh."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from pydantic import SecretStr

from tqmisp.errors import ConfigError, ThreatQRefused
from tqmisp.threatq.options import ThreatQOptions

ASSUMED_SECONDS = 1_800.0
"""How long a token is taken for good where ThreatQ does not say; its own SDK uses this for all."""
MARGIN_SECONDS = 120.0
"""How long before its end a token is renewed."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One form of asking for a token; published clients use several."""

    name: str
    params: dict[str, str] = field(default_factory=dict)
    json: dict[str, str] | None = field(default=None, repr=False)
    form: dict[str, str] | None = field(default=None, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)


Post = Callable[[TokenRequest], Awaitable[dict[str, Any]]]
"""Sends a token request; raises ThreatQRefused when it is refused."""


def forms(options: ThreatQOptions) -> list[TokenRequest]:
    """The forms of the login, the most common one first.

    Raises:
        ConfigError: neither a password nor a client secret is given.
    """
    if options.client_secret is not None:
        grant = {"grant_type": "client_credentials"}
        basic = (options.client_id, options.client_secret.get_secret_value())
        return [
            TokenRequest("client credentials", params=grant, basic=basic),
            TokenRequest("client credentials, as a form", form=grant, basic=basic),
        ]
    if options.email is None or options.password is None:
        raise ConfigError("[threatq]: give either email and password, or client_secret")
    who = {"email": options.email, "password": options.password.get_secret_value()}
    how = {"grant_type": "password", "client_id": options.client_id}
    return [
        TokenRequest("password", params=how, json=who),
        TokenRequest("password, all in the body", json=how | who),
        TokenRequest("password, as a form", form=how | who),
    ]


class Tokens:
    """The token of one session, renewed before it ends and whenever the server does not know it any more.

    However many requests find it too old, one of them renews it and the others wait.
    """

    def __init__(self, options: ThreatQOptions, post: Post, clock: Callable[[], float] = time.monotonic) -> None:
        self._forms = forms(options)
        self._post = post
        self._clock = clock
        self._lock = anyio.Lock()
        self._token: SecretStr | None = None
        self._refresh: str | None = None
        self._good_until = 0.0

    async def get(self) -> str:
        """A token that is good for a while yet.

        Raises:
            ThreatQRefused: the login is wrong.
        """
        async with self._lock:
            if self._token is None or self._clock() >= self._good_until:
                await self._renew()
            assert self._token is not None  # noqa: S101  _renew sets it or raises
            return self._token.get_secret_value()

    async def replace(self, stale: str) -> None:
        """Get a new token, unless somebody else has done so since ``stale`` was used."""
        async with self._lock:
            if self._token is not None and self._token.get_secret_value() == stale:
                self._refresh = None  # it may have been withdrawn together with the token
                await self._renew()

    async def _renew(self) -> None:
        if self._refresh is not None:
            asked = {"grant_type": "refresh_token", "refresh_token": self._refresh}
            self._refresh = None
            try:
                return self._take(await self._post(TokenRequest("refresh", params=asked)))
            except ThreatQRefused:
                pass  # too old: log in again
        refused: ThreatQRefused | None = None
        for form in list(self._forms):
            try:
                answer = await self._post(form)
            except ThreatQRefused as error:
                # wrong credentials look the same in every form, an unknown form looks like wrong credentials
                refused = refused or error
                continue
            self._forms = [form]
            return self._take(answer)
        raise refused or ThreatQRefused("ThreatQ gave no token.")

    def _take(self, answer: dict[str, Any]) -> None:
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise ThreatQRefused("POST /api/token: ThreatQ's answer holds no access_token. Is [threatq] url right?")
        seconds = answer.get("expires_in")
        good = float(seconds) if isinstance(seconds, (int, float)) and seconds > 0 else ASSUMED_SECONDS
        refresh = answer.get("refresh_token")
        self._token = SecretStr(token)
        self._refresh = refresh if isinstance(refresh, str) and refresh else None
        self._good_until = self._clock() + max(good - MARGIN_SECONDS, good / 2)
