"""Logging in to ThreatQ, and keeping the token fresh."""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from pydantic import SecretStr

from tqmisp.errors import ConfigError, ThreatQError, ThreatQRefused
from tqmisp.log import get_logger
from tqmisp.threatq.options import ThreatQOptions

log = get_logger(__name__)

ASSUMED_SECONDS = 1_800.0
"""How long a token is taken for good where ThreatQ does not say; its own SDK uses this for all."""
MARGIN_SECONDS = 120.0
"""How long before its end a token is renewed."""
_UNDERSTOOD = ("credential", "password")
"""Words in a refusal that name what was read: another form of the same login would only be a second wrong one."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One form of asking for a token; published clients use several. At most one of the last two is set."""

    name: str
    params: dict[str, str] = field(default_factory=dict, repr=False)
    json: dict[str, str] | None = field(default=None, repr=False)
    form: dict[str, str] | None = field(default=None, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)

    @property
    def authorization(self) -> str | None:
        """The header of that name."""
        if self.basic is not None:
            return "Basic " + base64.b64encode(":".join(self.basic).encode()).decode()
        return None if self.bearer is None else f"Bearer {self.bearer}"


Post = Callable[[TokenRequest], Awaitable[dict[str, Any]]]
"""Sends a token request; raises LoginRefused when it is refused."""


class LoginRefused(ThreatQRefused):
    """ThreatQ does not let us in.

    Attributes:
        words: what the server says about it.
    """

    def __init__(self, message: str, words: str = "") -> None:
        super().__init__(message)
        self.words = words

    @property
    def may_be_the_form(self) -> bool:
        """Whether the same login may be taken in another form: nothing says that it was read and found wrong."""
        said = self.words.casefold()
        return not any(word in said for word in _UNDERSTOOD)


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

    Args:
        options: who logs in.
        post: sends a token request.
        clock: gives seconds.
    """

    def __init__(self, options: ThreatQOptions, post: Post, clock: Callable[[], float] = time.monotonic) -> None:
        self._forms = forms(options)
        self._options = options
        self._post = post
        self._clock = clock
        self._lock = anyio.Lock()
        self._token: SecretStr | None = None
        self._refresh: SecretStr | None = None
        self._good_until = 0.0

    async def get(self) -> str:
        """A token that is good for a while yet.

        Raises:
            ThreatQRefused: the login is wrong.
        """
        async with self._lock:
            if self._token is None or self._clock() >= self._good_until:
                return await self._renew()
            return self._token.get_secret_value()

    async def replace(self, stale: str) -> None:
        """Get a new token, unless somebody else has done so since ``stale`` was used."""
        async with self._lock:
            if self._token is not None and self._token.get_secret_value() == stale:
                self._refresh = None  # it may have been withdrawn together with the token
                await self._renew()

    def secrets(self) -> list[str]:
        """All that must not be shown."""
        held = (self._options.password, self._options.client_secret, self._token, self._refresh)
        headers = [(form.authorization or "").partition(" ")[2] for form in self._forms[:1]]
        return [each.get_secret_value() for each in held if each is not None] + headers

    async def _renew(self) -> str:
        if self._refresh is not None:
            try:
                return self._take(await self._post(self._refreshing(self._refresh)))
            except ThreatQError as error:  # also one that may pass: the login may work where this never will
                log.info("the token cannot be refreshed; logging in again", error=str(error))
                self._refresh = None
        return await self._log_in()

    async def _log_in(self) -> str:
        refused: list[LoginRefused] = []
        for form in self._forms:
            try:
                answer = await self._post(form)
            except LoginRefused as error:
                refused.append(error)
                if not error.may_be_the_form:
                    break
                continue
            if refused:
                log.info("ThreatQ takes another form of the login", form=form.name, refused=str(refused[0]))
                self._forms = [form]
            return self._take(answer)
        raise refused[0]  # that of the form which all versions since 2017 are known to take

    def _refreshing(self, refresh: SecretStr) -> TokenRequest:
        """The request with which ThreatQ's own SDK renews a token."""
        asked = {"grant_type": "refresh_token", "refresh_token": refresh.get_secret_value()}
        if self._options.client_secret is not None:
            basic = (self._options.client_id, self._options.client_secret.get_secret_value())
            return TokenRequest("refresh", params=asked, basic=basic)
        bearer = None if self._token is None else self._token.get_secret_value()
        return TokenRequest("refresh", params=asked, bearer=bearer)

    def _take(self, answer: dict[str, Any]) -> str:
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise ThreatQRefused("POST /api/token: ThreatQ's answer holds no access_token. Is [threatq] url right?")
        refresh = answer.get("refresh_token")
        self._token = SecretStr(token)
        self._refresh = SecretStr(refresh) if isinstance(refresh, str) and refresh else None
        good = _seconds(answer.get("expires_in"))
        self._good_until = self._clock() + max(good - MARGIN_SECONDS, good / 2)
        return token


def _seconds(given: object) -> float:
    """How long a token is good."""
    if isinstance(given, str) and given.isascii() and given.isdigit():
        given = float(given[:9])
    if isinstance(given, (int, float)) and 0 < given < 1e9:
        return float(given)
    return ASSUMED_SECONDS
