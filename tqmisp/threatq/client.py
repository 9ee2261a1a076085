"""Requests to ThreatQ, and what its answers mean."""

from __future__ import annotations

import base64
import email.utils
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import aiohttp
import anyio
import orjson
import structlog

from tqmisp.errors import ConfigError, ThreatQError, ThreatQRefused, ThreatQUnavailable
from tqmisp.pipeline.retry import RetryPolicy
from tqmisp.threatq.auth import TokenRequest, Tokens
from tqmisp.threatq.options import ThreatQOptions

log = structlog.get_logger(__name__)

LARGE_BODY = 4 * 2**20
"""Answers above this many bytes are decoded in a thread; below, the way there and back costs more than it frees."""


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
        url: its address, without a slash at the end.
        server_clock: by how many seconds its clock is ahead of ours, as far as its answers tell; None before the
            first one.
    """

    def __init__(self, options: ThreatQOptions, session: aiohttp.ClientSession) -> None:
        self.options = options
        self.url = base_url(options.url)
        self.server_clock: float | None = None
        self.requests = 0
        self.retries = 0
        self._session = session
        self._retry = RetryPolicy(options.attempts, options.backoff, options.backoff_max, hook=self._on_retry)
        self._tokens = Tokens(options, self._ask_for_token)

    @classmethod
    @asynccontextmanager
    async def connect(cls, options: ThreatQOptions) -> AsyncIterator[ThreatQClient]:
        """Open the pool; nothing is sent yet.

        Raises:
            ConfigError: the login is incomplete, or the file of certificates cannot be read.
        """
        connections = options.producers + 1
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections, limit_per_host=connections, ttl_dns_cache=300, ssl=_trust(options)
            ),
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=None,  # waiting for a connection of our own pool is no failure
                sock_connect=options.connect_timeout,
                sock_read=options.read_timeout,
                ceil_threshold=5,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "User-Agent": f"tqmisp/{version('tqmisp')}"},
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
        log.info("trying again", attempt=attempt, error=str(error), seconds=round(wait, 1))

    async def _with_token(self, method: str, path: str, params: dict[str, str], body: dict[str, Any] | None) -> Answer:
        """Send a request with a token; a token that the server does not know is replaced once."""
        token = await self._tokens.get()
        try:
            return await self._request(method, path, params, body, token)
        except _UnknownTokenError:
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
            raise _UnknownTokenError(f"{what}: ThreatQ does not accept the token (401). {_LOGIN}")
        if status >= 300:
            raise self._error(what, status, answered, content)
        decoded = await self._decode(what, answered, content)
        words = _error_words(decoded)
        if words and isinstance(decoded, dict) and decoded.get("errors"):
            raise ThreatQRefused(f"{what}: ThreatQ answered with an error: {words}")
        return Answer(decoded, len(content))

    async def _ask_for_token(self, form: TokenRequest) -> dict[str, Any]:
        """Send one form of the token request."""
        what = "POST /api/token"
        headers = {"Authorization": _basic(*form.basic)} if form.basic else {}
        data: bytes | dict[str, str] | None = form.form
        if form.json is not None:
            data = orjson.dumps(form.json)
            headers["Content-Type"] = "application/json"
        status, answered, content = await self._send(
            what, "POST", "/api/token", params=form.params, data=data, headers=headers
        )
        if status in {400, 401, 403, 422}:
            words = _error_words(_try_json(content))
            raise ThreatQRefused(f"{what}: ThreatQ refused the login ({status} {words or 'without a word'}). {_LOGIN}")
        if status >= 300:
            raise self._error(what, status, answered, content)
        decoded = await self._decode(what, answered, content)
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
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            raise ThreatQRefused(
                f"The certificate of {self.url} is not trusted ({_short(str(error))}). "
                "Name its authority in [threatq] ca_file, or set verify_tls = false if you accept the risk."
            ) from error
        except aiohttp.InvalidURL as error:
            raise ConfigError(f"[threatq] url: {self.url!r} is not an address") from error
        except aiohttp.ClientConnectorError as error:
            raise ThreatQUnavailable(
                f"ThreatQ at {self.url} cannot be reached: {_short(str(error))}. Check [threatq] url and the network."
            ) from error
        except TimeoutError as error:
            raise ThreatQUnavailable(f"{what}: no answer from ThreatQ in time") from error
        except aiohttp.ClientError as error:
            said = _short(str(error) or type(error).__name__)
            raise ThreatQUnavailable(f"{what}: the connection to ThreatQ was lost: {said}") from error
        if (date := email.utils.parsedate_tz(answered.get("date", ""))) is not None:
            self.server_clock = email.utils.mktime_tz(date) - time.time()
        return response.status, answered, content

    async def _decode(self, what: str, headers: dict[str, str], content: bytes) -> Any:  # noqa: ANN401  it is JSON
        if not content:
            return None
        try:
            if len(content) > LARGE_BODY:
                return await anyio.to_thread.run_sync(loads, content)
            return loads(content)
        except ValueError as error:
            kind = headers.get("content-type", "no content type").partition(";")[0]
            raise ThreatQRefused(
                f"{what}: {self.url} answered with {kind} instead of JSON. Is [threatq] url the address of a ThreatQ?"
            ) from error

    def _error(self, what: str, status: int, headers: dict[str, str], content: bytes) -> ThreatQError:
        """What an answer above 299 means for the caller."""
        words = _error_words(_try_json(content))
        wait = _retry_after(headers)
        if 300 <= status < 400:
            location = _short(headers.get("location", "nowhere"))
            return ThreatQRefused(
                f"{what}: {self.url} sends us on to {location}. Set [threatq] url to the address ThreatQ really has."
            )
        if status == 429:
            return ThreatQUnavailable(f"{what}: ThreatQ asks us to slow down", retry_after=wait)
        if status >= 500 or status == 408:
            return ThreatQUnavailable(
                f"{what}: ThreatQ failed ({status} {words or 'without a word'})", retry_after=wait
            )
        advice = {
            403: " The account needs at least the role Read Only.",
            404: " Is [threatq] url the address of a ThreatQ?",
        }.get(status, "")
        return HttpRefused(f"{what}: ThreatQ refused ({status} {words or 'without a word'}).{advice}", status)


class HttpRefused(ThreatQRefused):
    """A refusal with its HTTP status, for those who know another way to ask."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _UnknownTokenError(ThreatQRefused):
    """The token is too old, or was withdrawn."""


_LOGIN = "Check [threatq] client_id with email and password, or with client_secret."


def base_url(url: str) -> str:
    """An address with a scheme and without a slash, or ``/api``, at its end; a bare host is taken as https."""
    url = url.strip().rstrip("/")
    url = url if "://" in url else f"https://{url}"
    return url.removesuffix("/api")


def loads(content: bytes) -> Any:  # noqa: ANN401  it is JSON
    """Decode JSON, also with half characters in its texts, which the fast decoder refuses.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content)


def _try_json(content: bytes) -> Any:  # noqa: ANN401  it is JSON
    try:
        return loads(content)
    except ValueError:
        return None


def _error_words(body: object) -> str:
    """The texts of an error body, whatever its kind: lists, fields, name and message, or hidden in the data."""
    if isinstance(body, dict):
        data = body.get("data")
        inner = data.get("errors") if isinstance(data, dict) else None
        if inner is None and isinstance(data, list) and data and isinstance(data[0], dict):
            inner = data[0].get("error")
        for found in (body.get("errors"), inner, body.get("message"), body.get("name")):
            if found:
                return _short("; ".join(_flat(found)))
    return ""


def _basic(user: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def _flat(found: object) -> list[str]:
    if isinstance(found, dict):
        return [f"{name}: {' '.join(_flat(texts))}" for name, texts in found.items()]
    if isinstance(found, list):
        return [text for each in found for text in _flat(each)]
    return [str(found)]


def _short(said: str, limit: int = 300) -> str:
    """A server's words as one line that a terminal can take."""
    line = "".join(c if c.isprintable() else " " for c in said[: limit + 1])
    return line if len(line) <= limit else line[:limit] + "…"


def _retry_after(headers: dict[str, str]) -> float | None:
    """The seconds that Retry-After asks for, given as a number or as a date."""
    asked = headers.get("retry-after", "")
    try:
        return max(0.0, float(asked))
    except ValueError:
        date = email.utils.parsedate_tz(asked)
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None


def _trust(options: ThreatQOptions) -> ssl.SSLContext | bool:
    if not options.verify_tls:
        return False
    if options.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=options.ca_file)
    except OSError as error:
        raise ConfigError(f"[threatq] ca_file: {options.ca_file} cannot be used: {error}") from error
