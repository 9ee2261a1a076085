"""Requests to ThreatQ, and what its answers mean."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

import aiohttp
import orjson
import structlog

from tqmisp.errors import ConfigError, ThreatQError, ThreatQRefused, ThreatQUnavailable
from tqmisp.pipeline.retry import RetryPolicy
from tqmisp.threatq.answers import (
    explain_redirect,
    loads,
    one_line,
    refusal_in,
    retry_after,
    seconds_since_1970,
    words_of,
)
from tqmisp.threatq.auth import LoginRefused, TokenRequest, Tokens
from tqmisp.threatq.options import ThreatQOptions

log = structlog.get_logger(__name__)

TOKENS = 2
"""So many tokens may be refused, one after the other, before the login is taken to be at fault."""


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

    def __init__(self, options: ThreatQOptions, session: aiohttp.ClientSession) -> None:
        self.options = options
        self.url = base_url(options.url)
        self.server_clock: float | None = None
        self.requests = 0
        self.retries = 0
        self.waited = 0.0
        self._session = session
        self._is_known = False
        """Whether it has answered as a ThreatQ does, so that its address is right."""
        self._retry = RetryPolicy(
            options.attempts, options.backoff, options.backoff_max, options.patience, hook=self._on_retry
        )
        self._tokens = Tokens(options, self._ask_for_token)

    @classmethod
    @asynccontextmanager
    async def connect(cls, options: ThreatQOptions) -> AsyncIterator[ThreatQClient]:
        """Open the pool; nothing is sent yet.

        Raises:
            ConfigError: the address or the login is incomplete, or the file of certificates cannot be read.
        """
        base_url(options.url)
        connections = options.producers + 1
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections, limit_per_host=connections, ttl_dns_cache=300, ssl=_trust(options)
            ),
            timeout=aiohttp.ClientTimeout(
                total=None,  # a large page may take its time, as long as it keeps coming
                connect=None,  # waiting for a connection of our own pool is no failure
                sock_connect=options.connect_timeout,
                sock_read=options.read_timeout,
                ceil_threshold=5,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",
                "User-Agent": f"tqmisp/{version('tqmisp')}",
            },
            proxy=options.proxy,
        )
        async with session:
            yield cls(options, session)

    async def get(self, path: str, params: dict[str, str] | None = None) -> Answer:
        """Read something; a failure that may pass is waited out."""
        return await self._retry.call(lambda: self._with_token("GET", path, params or {}, None))

    async def query(self, path: str, params: dict[str, str], body: dict[str, Any]) -> Answer:
        """Read something with a POST request, which changes nothing; a failure that may pass is waited out."""
        return await self._retry.call(lambda: self._with_token("POST", path, params, body))

    def _on_retry(self, attempt: int, error: Exception, wait: float) -> None:
        self.retries += 1
        self.waited += wait
        log.info("trying again", attempt=attempt, error=str(error), seconds=round(wait, 1))

    async def _with_token(self, method: str, path: str, params: dict[str, str], body: dict[str, Any] | None) -> Answer:
        """Send a request with a token; one that the server does not know is replaced, but not for ever."""
        for _ in range(TOKENS):
            token = await self._tokens.get()
            try:
                return await self._request(method, path, params, body, token)
            except TokenRefused:
                await self._tokens.replace(token)
        return await self._request(method, path, params, body, await self._tokens.get())

    async def _request(
        self, method: str, path: str, params: dict[str, str], body: dict[str, Any] | None, token: str
    ) -> Answer:
        what = f"{method} {path}"
        # capital B: a live server refused "bearer", though it calls its own tokens so
        headers = {"Authorization": f"Bearer {token}"}
        data = None
        if body is not None:
            data = orjson.dumps(body)
            headers["Content-Type"] = "application/json"
        status, answered, content = await self._send(what, method, path, params=params, data=data, headers=headers)
        if status == 401:
            raise TokenRefused(f"{what}: ThreatQ does not accept the token (401). {_LOGIN}")
        if status >= 300:
            raise self._error(what, status, answered, content)
        decoded = self._decode(what, answered, content)
        if (words := refusal_in(decoded)) is not None:
            raise ThreatQRefused(f"{what}: ThreatQ answered with an error: {self._line(words)}")
        return Answer(decoded, len(content))

    async def _ask_for_token(self, form: TokenRequest) -> dict[str, Any]:
        """Send one form of the token request."""
        what = "POST /api/token"
        headers = {} if form.authorization is None else {"Authorization": form.authorization}
        data: bytes | dict[str, str] | None = form.form
        if form.json is not None:
            data = orjson.dumps(form.json)
            headers["Content-Type"] = "application/json"
        status, answered, content = await self._send(
            what, "POST", "/api/token", params=form.params, data=data, headers=headers
        )
        if status in {400, 401, 403, 415, 422}:
            words = self._line(words_of(content))
            raise LoginRefused(
                f"{what}: ThreatQ refused the login ({status} {words or 'without a word'}). {_LOGIN}", words
            )
        if status >= 300:
            raise self._error(what, status, answered, content)
        decoded = self._decode(what, answered, content)
        if (said := refusal_in(decoded)) is not None:
            words = self._line(said)
            raise LoginRefused(f"{what}: ThreatQ refused the login ({words}). {_LOGIN}", words)
        if not isinstance(decoded, dict):
            raise ThreatQRefused(f"{what}: ThreatQ's answer is no object. Is [threatq] url right?")
        return decoded

    async def _send(
        self,
        what: str,
        method: str,
        path: str,
        *,
        params: dict[str, str],
        data: bytes | dict[str, str] | None,
        headers: dict[str, str],
    ) -> tuple[int, dict[str, str], bytes]:
        """One request; every way in which it can fail to be answered becomes an error of ours."""
        self.requests += 1
        try:
            async with self._session.request(
                method, self.url + path, params=params, data=data, headers=headers, allow_redirects=False
            ) as response:
                content = await response.read()
                answered = {name.lower(): value for name, value in response.headers.items()}
        except (aiohttp.ClientError, TimeoutError) as error:
            self._explain(what, error)
        if (now := seconds_since_1970(answered.get("date", ""))) is not None:
            self.server_clock = now - time.time()
        return response.status, answered, content

    def _explain(self, what: str, error: aiohttp.ClientError | TimeoutError) -> NoReturn:
        """Raise what it means that a request was not answered."""
        if isinstance(error, aiohttp.ClientHttpProxyError):
            # its text, as that of every error with a response in it, holds an address with everything in its query
            raise ThreatQRefused(
                f"{what}: the proxy refused to connect us ({error.status} {self._line(error.message)}). "
                "Check [threatq] proxy, with its user and password."
            ) from None
        if isinstance(error, aiohttp.ClientResponseError):
            raise ThreatQUnavailable(
                f"{what}: ThreatQ's answer is no proper HTTP: {self._line(error.message)}"
            ) from None
        if isinstance(error, aiohttp.InvalidURL):
            raise ConfigError(f"[threatq] url or proxy: {self.url!r}, or its proxy, is not an address") from None
        said = self._line(str(error) or type(error).__name__)
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            raise ThreatQRefused(
                f"The certificate of {self.url} is not trusted ({said}). "
                "Name its authority in [threatq] ca_file, or set verify_tls = false if you accept the risk."
            ) from error
        if isinstance(error, aiohttp.ClientSSLError):
            raise ThreatQRefused(
                f"ThreatQ at {self.url} does not speak TLS with us ({said}). Check the port in [threatq] url."
            ) from error
        if isinstance(error, TimeoutError):
            raise ThreatQUnavailable(f"{what}: no answer from ThreatQ in time") from error
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            raise ThreatQUnavailable(
                f"The proxy before ThreatQ cannot be reached: {said}. Check [threatq] proxy."
            ) from error
        if isinstance(error, aiohttp.ClientConnectorError):
            raise ThreatQUnavailable(
                f"ThreatQ at {self.url} cannot be reached: {said}. Check [threatq] url and the network."
            ) from error
        raise ThreatQUnavailable(f"{what}: the connection to ThreatQ was lost: {said}") from error

    def _decode(self, what: str, headers: dict[str, str], content: bytes) -> Any:  # noqa: ANN401  it is JSON
        """Decode a body, here and not in a thread: the decoder keeps the interpreter to itself either way."""
        if not content:
            return None
        try:
            decoded = loads(content)
        except (ValueError, RecursionError) as error:
            kind = one_line(headers.get("content-type", "no content type").partition(";")[0])
            if "json" in kind.lower():
                raise ThreatQUnavailable(f"{what}: ThreatQ's answer is broken off, or is no JSON") from error
            if self._is_known:  # something stands in between, for a while
                raise ThreatQUnavailable(f"{what}: {self.url} answered with {kind} instead of JSON") from error
            raise ThreatQRefused(
                f"{what}: {self.url} answered with {kind} instead of JSON. Is [threatq] url the address of a ThreatQ?"
            ) from error
        self._is_known = True
        return decoded

    def _error(self, what: str, status: int, headers: dict[str, str], content: bytes) -> ThreatQError:
        """What an answer above 299 means for the caller."""
        words = self._line(words_of(content)) or "without a word"
        wait = retry_after(headers)
        if 300 <= status < 400:
            return ThreatQRefused(f"{what}: {self.url} {explain_redirect(self.url, headers.get('location', ''))}")
        if status == 429:
            return ThreatQUnavailable(f"{what}: ThreatQ asks us to slow down", retry_after=wait)
        if status >= 500 or status == 408:
            return ThreatQUnavailable(f"{what}: ThreatQ failed ({status} {words})", retry_after=wait)
        advice = {
            403: " The account needs at least the role Read Only.",
            404: " Is [threatq] url the address of a ThreatQ?",
            407: " Check [threatq] proxy, with its user and password.",
        }.get(status, "")
        return HttpRefused(f"{what}: ThreatQ refused ({status} {words}).{advice}", status)

    def _line(self, said: str) -> str:
        """Words that came from outside, without our secrets: some servers repeat what they refuse."""
        secrets = self._tokens.secrets()
        if self.options.proxy is not None:
            secrets.append(unquote(urlsplit(self.options.proxy).password or ""))
        return one_line(said, secrets)


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


def _trust(options: ThreatQOptions) -> ssl.SSLContext | bool:
    if not options.verify_tls:
        return False
    if options.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=options.ca_file)
    except OSError as error:
        raise ConfigError(f"[threatq] ca_file: {options.ca_file} cannot be used: {error}") from error
