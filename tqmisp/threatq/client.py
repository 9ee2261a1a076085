"""Requests to ThreatQ, and what its answers mean."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from tqmisp.errors import ConfigError, ThreatQError, ThreatQRefused, ThreatQUnavailable
from tqmisp.log import get_logger
from tqmisp.pipeline.retry import RetryPolicy
from tqmisp.threatq.answers import loads, refusal_in, words_of
from tqmisp.threatq.auth import LoginRefused, TokenRequest, Tokens
from tqmisp.threatq.options import ThreatQOptions
from tqmisp.transport.reply import NoReply, Reply, retry_after, seconds_since_1970
from tqmisp.transport.session import Transport
from tqmisp.transport.words import explain_redirect

log = get_logger(__name__)

TOKENS = 2
"""So many tokens may be refused, one after the other, before the login is taken to be at fault."""


Decode = Callable[[bytes], Any]
"""Makes something of a body, or raises ValueError where it is no JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of ThreatQ that is none of its errors."""

    data: Any
    """The decoded JSON; None for an empty body."""
    size: int
    """Bytes of the body."""


class ThreatQClient:
    """One ThreatQ, over one pool of connections. Use :meth:`connect`.

    Attributes:
        options: as given.
        url: its address, without a slash at the end.
        server_clock: by how many seconds its clock is ahead of ours, as far as its answers tell; None before the
            first one.
        requests: how many were sent.
        retries: how many of them were repetitions.
        waited: seconds between failures and their repetitions.
    """

    def __init__(self, options: ThreatQOptions, transport: Transport) -> None:
        self.options = options
        self.url = transport.url
        self.server_clock: float | None = None
        self.requests = 0
        self.retries = 0
        self.waited = 0.0
        self._transport = transport
        self._is_known = False
        """Whether it has answered as a ThreatQ does, so that its address is right."""
        self._retry = RetryPolicy(
            options.attempts, options.backoff, options.backoff_max, options.patience, hook=self._on_retry
        )
        self._tokens = Tokens(options, self._ask_for_token)
        transport.secrets = self._tokens.secrets

    @classmethod
    @asynccontextmanager
    async def connect(cls, options: ThreatQOptions) -> AsyncIterator[ThreatQClient]:
        """Open the pool; nothing is sent yet.

        Raises:
            ConfigError: the address or the login is incomplete, or a file of certificates cannot be used.
        """
        async with Transport.connect(
            "ThreatQ",
            "threatq",
            base_url(options.url),
            options,
            connections=options.producers + 1,
            headers={"Accept": "application/json", "Accept-Encoding": "gzip, deflate"},
        ) as transport:
            yield cls(options, transport)

    async def get(self, path: str, params: dict[str, str] | None = None, decode: Decode = loads) -> Answer:
        """Read something; a failure that may pass is waited out."""
        return await self._retry.call(lambda: self._with_token("GET", path, params or {}, None, decode))

    async def query(self, path: str, params: dict[str, str], body: dict[str, Any], decode: Decode = loads) -> Answer:
        """Read something with a POST request, which changes nothing; a failure that may pass is waited out."""
        return await self._retry.call(lambda: self._with_token("POST", path, params, body, decode))

    async def post(self, path: str, body: dict[str, Any]) -> Answer:
        """Change something; sent once, since nobody knows whether doing it twice does no harm."""
        return await self._with_token("POST", path, {}, body, loads)

    def _on_retry(self, attempt: int, error: Exception, wait: float) -> None:
        self.retries += 1
        self.waited += wait
        log.info("trying again", attempt=attempt, error=str(error), seconds=round(wait, 1))

    async def _with_token(
        self, method: str, path: str, params: dict[str, str], body: dict[str, Any] | None, decode: Decode
    ) -> Answer:
        """Send a request with a token; one that the server does not know is replaced, but not for ever."""
        for _ in range(TOKENS):
            token = await self._tokens.get()
            try:
                return await self._request(method, path, params, body, token, decode=decode)
            except TokenRefused:
                await self._tokens.replace(token)
        return await self._request(method, path, params, body, await self._tokens.get(), decode=decode)

    async def _request(
        self, method: str, path: str, params: dict[str, str], body: dict[str, Any] | None, token: str, *, decode: Decode
    ) -> Answer:
        what = f"{method} {path}"
        # capital B: a live server refused "bearer", though it calls its own tokens so
        headers = {"Authorization": f"Bearer {token}"}
        data = None
        if body is not None:
            data = orjson.dumps(body)
            headers["Content-Type"] = "application/json"
        reply = await self._send(method, path, params=params, data=data, headers=headers)
        if reply.status == 401:
            raise TokenRefused(f"{what}: ThreatQ does not accept the token (401). {_LOGIN}")
        if reply.status >= 300:
            raise self._error(what, reply)
        decoded = self._decode(what, reply, decode)
        if (words := refusal_in(decoded)) is not None:
            raise ThreatQRefused(f"{what}: ThreatQ answered with an error: {self._line(words)}")
        return Answer(decoded, len(reply.content))

    async def _ask_for_token(self, form: TokenRequest) -> dict[str, Any]:
        """Send one form of the token request."""
        what = "POST /api/token"
        headers = {} if form.authorization is None else {"Authorization": form.authorization}
        data: bytes | dict[str, str] | None = form.form
        if form.json is not None:
            data = orjson.dumps(form.json)
            headers["Content-Type"] = "application/json"
        reply = await self._send("POST", "/api/token", params=form.params, data=data, headers=headers)
        if reply.status in {400, 401, 403, 415, 422} and not reply.asks_for_certificate:
            words = self._line(words_of(reply.content))
            raise LoginRefused(
                f"{what}: ThreatQ refused the login ({reply.status} {words or 'without a word'}). {_LOGIN}", words
            )
        if reply.status >= 300:
            raise self._error(what, reply)
        decoded = self._decode(what, reply)
        if (said := refusal_in(decoded)) is not None:
            words = self._line(said)
            raise LoginRefused(f"{what}: ThreatQ refused the login ({words}). {_LOGIN}", words)
        if not isinstance(decoded, dict):
            raise ThreatQRefused(f"{what}: ThreatQ's answer is no object. Is [threatq] url right?")
        return decoded

    async def _send(self, method: str, path: str, **request: Any) -> Reply:  # noqa: ANN401  as aiohttp takes it
        """One request; every way in which it can fail to be answered becomes an error of ours."""
        self.requests += 1
        try:
            reply = await self._transport.exchange(method, path, **request)
        except NoReply as error:
            if error.area == "address":
                raise ConfigError(str(error)) from error
            kind = ThreatQRefused if error.fate == "mend" else ThreatQUnavailable
            raise kind(f"{method} {path}: {error}") from error
        if (now := seconds_since_1970(reply.headers.get("date", ""))) is not None:
            self.server_clock = now - time.time()
        return reply

    def _decode(self, what: str, reply: Reply, decode: Decode = loads) -> Any:  # noqa: ANN401  it is JSON
        """Decode a body, here and not in a thread: the decoder keeps the interpreter to itself either way."""
        if not reply.content:
            return None
        try:
            decoded = decode(reply.content)
        except (ValueError, RecursionError) as error:
            if "json" in reply.kind.lower():
                raise ThreatQUnavailable(f"{what}: ThreatQ's answer is broken off, or is no JSON") from error
            if self._is_known:  # something stands in between, for a while
                raise ThreatQUnavailable(f"{what}: {self.url} answered with {reply.kind} instead of JSON") from error
            raise ThreatQRefused(
                f"{what}: {self.url} answered with {reply.kind} instead of JSON. "
                "Is [threatq] url the address of a ThreatQ?"
            ) from error
        self._is_known = True
        return decoded

    def _error(self, what: str, reply: Reply) -> ThreatQError:
        """What an answer above 299 means for the caller."""
        status, words = reply.status, self._line(words_of(reply.content)) or "without a word"
        wait = retry_after(reply.headers)
        if 300 <= status < 400:
            location = reply.headers.get("location", "")
            return ThreatQRefused(f"{what}: {self.url} {explain_redirect('ThreatQ', 'threatq', self.url, location)}")
        if status == 429:
            return ThreatQUnavailable(f"{what}: ThreatQ asks us to slow down", retry_after=wait)
        if status >= 500 or status == 408:
            return ThreatQUnavailable(f"{what}: ThreatQ failed ({status} {words})", retry_after=wait)
        advice = {
            403: " The account needs at least the role Read Only.",
            404: " Is [threatq] url the address of a ThreatQ?",
            407: " Check [threatq] proxy, with its user and password.",
        }.get(status, "")
        if reply.asks_for_certificate:
            advice = " The web server wants a client certificate: see [threatq] client_cert_file."
        return HttpRefused(f"{what}: ThreatQ refused ({status} {words}).{advice}", status)

    def _line(self, said: str) -> str:
        """Words that came from outside, without our secrets."""
        return self._transport.line(said)


class HttpRefused(ThreatQRefused):
    """A refusal with its HTTP status, for those who know another way to ask."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class TokenRefused(ThreatQRefused):
    """The token is too old, or was withdrawn."""


_LOGIN = "Check [threatq] client_id with email and password, or with client_secret."


def base_url(url: str) -> str:
    """An address with a scheme and without a slash, or ``/api``, at its end; a bare host is taken as https.

    Raises:
        ConfigError: it is none, or holds a user and a password, which would be shown wherever the address is.
    """
    given = url.strip()
    given = given if "://" in given else f"https://{given}"
    try:
        parts = urlsplit(given)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in given or "?" in given or "#" in given or any(c.isspace() for c in given):
        raise ConfigError(
            "[threatq] url: expected an address such as https://threatq.example, without user, password or query"
        )
    return given.rstrip("/").removesuffix("/api").rstrip("/")
