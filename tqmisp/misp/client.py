"""Requests to MISP, and what its answers mean.

The statuses and texts are those of a MISP 2.5.1 server as recorded; see docs/errors.md.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anyio
import orjson

from tqmisp.errors import (
    ConfigError,
    EventBlocked,
    MispError,
    MispFault,
    MispRefused,
    MispTooLarge,
    MispUnavailable,
    MispUnclear,
)
from tqmisp.misp.options import MispOptions
from tqmisp.pipeline.adaptive import IN_FLIGHT

LARGE_BODY = 4 * 2**20
"""Answers above this many bytes are decoded in a thread; below, the way there and back costs more than it frees."""
_NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ClientProxyConnectionError, aiohttp.ConnectionTimeoutError)
BLOCKED = "Event blocked by event blocklist."


@dataclass(slots=True)
class Counters:
    """What a client has asked of its server."""

    requests: int = 0
    write_requests: int = 0
    retries: int = 0
    backoff: float = 0.0
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of MISP with a status below 300."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    data: Any
    """The decoded JSON; None for an empty body."""


class MispClient:
    """One MISP, over one pool of connections. Use :meth:`connect`."""

    def __init__(self, options: MispOptions, session: aiohttp.ClientSession) -> None:
        self.options = options
        self.counters = Counters()
        self.url = options.url.rstrip("/")
        self._session = session
        self._is_known = False
        """Whether it has answered as a MISP does, so that its address is right."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, options: MispOptions) -> AsyncIterator[MispClient]:
        """Open the pool; nothing is sent yet.

        Raises:
            ConfigError: the file of certificates cannot be read.
        """
        connections = options.consumers + (options.requests_in_flight or IN_FLIGHT.most) + 1
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
            headers={
                # bare: MISP refuses the key behind a "Bearer"
                "Authorization": options.key.get_secret_value(),
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": f"tqmisp/{version('tqmisp')}",
            },
            proxy=options.proxy,
            auto_decompress=True,
        )
        async with session:
            yield cls(options, session)

    async def get(self, path: str) -> Answer:
        """Read something."""
        return await self._request("GET", path, None, writes=False)

    async def search(self, path: str, query: dict[str, Any]) -> Answer:
        """Read something with a POST request."""
        return await self._request("POST", path, orjson.dumps(query), writes=False)

    async def write(self, path: str, body: bytes, *, method: str = "POST") -> Answer:
        """Change something.

        Raises:
            MispUnclear: the answer was lost, so that it may have been changed.
            MispFault: the server threw.
            MispTooLarge: the body is larger than the server takes.
            MispUnavailable: the server did not take the request.
            EventBlocked: somebody deleted the event.
            MispRefused: the server will not do it.
        """
        return await self._request(method, path, body, writes=True)

    async def _request(self, method: str, path: str, body: bytes | None, *, writes: bool) -> Answer:
        self.counters.requests += 1
        self.counters.write_requests += writes
        what = f"{method} {path}"
        lost = MispUnclear if writes else MispUnavailable
        try:
            async with self._session.request(method, self.url + path, data=body, allow_redirects=False) as response:
                content = await response.read()
                status, headers = response.status, {name.lower(): value for name, value in response.headers.items()}
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            raise MispRefused(
                f"The certificate of {self.url} is not trusted ({_short(str(error))}). "
                "Name its authority in [misp] ca_file, or set verify_tls = false if you accept the risk."
            ) from error
        except aiohttp.InvalidURL as error:
            raise ConfigError(f"[misp] url: {self.url!r} is not an address such as https://misp.example") from error
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ClientProxyConnectionError,
            aiohttp.ConnectionTimeoutError,
        ) as error:
            raise MispUnavailable(
                f"MISP at {self.url} cannot be reached: {_short(str(error))}. Check [misp] url and the network."
            ) from error
        except TimeoutError as error:
            text = f"{what}: no answer from MISP within {self.options.read_timeout:g} seconds"
            raise (MispUnclear(text, may_still_run=True) if writes else MispUnavailable(text)) from error
        except aiohttp.ClientError as error:
            raise lost(
                f"{what}: the connection to MISP was lost: {_short(str(error) or type(error).__name__)}"
            ) from error
        if status < 300:
            return Answer(status, headers, await self._decode(what, headers, content, lost))
        raise self._error(what, status, headers, content, writes=writes)

    async def _decode(self, what: str, headers: dict[str, str], content: bytes, lost: type[MispUnavailable]) -> Any:  # noqa: ANN401  it is JSON
        if not content:
            return None
        try:
            if len(content) > LARGE_BODY:
                decoded = await anyio.to_thread.run_sync(orjson.loads, content)
            else:
                decoded = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            kind = headers.get("content-type", "no content type").partition(";")[0]
            told = f"{what}: {self.url} answered with {kind} instead of JSON"
            if self._is_known:
                raise lost(told) from error  # something stands in between, for a while
            raise MispRefused(f"{told}. Is [misp] url the address of a MISP?") from error
        self._is_known = True
        return decoded

    def _error(self, what: str, status: int, headers: dict[str, str], content: bytes, *, writes: bool) -> MispError:
        """What an answer above 299 means for the caller."""
        wait = _wait(headers)
        said, errors = _read_error(content)
        if status in {301, 302, 303, 307, 308}:
            return self._redirect(what, headers.get("location", ""))
        if status == 413:
            return MispTooLarge(f"{what}: MISP's web server does not take a request of this size")
        if status == 429:
            return MispUnavailable(f"{what}: MISP asks us to slow down", retry_after=wait)
        if status == 503:
            return MispUnavailable(f"{what}: MISP is not available (503)", retry_after=wait)
        if status in {502, 504, 408}:
            text = f"{what}: the web server got no answer from MISP ({status})"
            if not writes:
                return MispUnavailable(text, retry_after=wait)
            return MispUnclear(text, retry_after=wait, may_still_run=status != 502)
        if status >= 500 and not writes:
            return MispUnavailable(f"{what}: MISP failed ({status} {said or 'without a word'})", retry_after=wait)
        if status >= 500:
            return MispFault(f"{what}: MISP failed ({status} {said or 'without a word'})", retry_after=wait)
        if said.startswith(BLOCKED):
            return EventBlocked(f"{what}: {said}", status=status, errors=errors)
        return MispRefused(
            f"{what}: MISP refused ({status} {said or 'without a word'}){_advice(status, said)}",
            status=status,
            errors=errors,
        )

    def _redirect(self, what: str, location: str) -> MispError:
        """A redirect is never followed: a POST would arrive as something else."""
        if urlsplit(location).path.rstrip("/").endswith("/users/login"):
            return MispUnavailable(f"{what}: MISP is in maintenance; only its administrators may work with it now")
        return MispRefused(
            f"{what}: {self.url} sends us on to {_short(location)}. Set [misp] url to the address that MISP really has."
        )


def _trust(options: MispOptions) -> ssl.SSLContext | bool:
    if not options.verify_tls:
        return False
    if options.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=options.ca_file)
    except OSError as error:
        raise ConfigError(f"[misp] ca_file: {options.ca_file} cannot be used: {error}") from error


def _wait(headers: dict[str, str]) -> float | None:
    """The seconds that the server wants us to wait. MISP's search limit names them in X-Rate-Limit-Reset only."""
    for name in ("retry-after", "x-rate-limit-reset"):
        try:
            return max(0.0, float(headers[name]))
        except (KeyError, ValueError):
            continue
    return None


def _read_error(content: bytes) -> tuple[str, Any]:
    """The server's words and its ``errors`` member."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return "", None
    if not isinstance(body, dict):
        return "", None
    said = str(body.get("message") or body.get("name") or "")
    errors = body.get("errors")
    if isinstance(errors, str):
        said = f"{said}: {errors}" if said else errors
    return _short(said), errors


def _short(said: str, limit: int = 300) -> str:
    """A server's words as one line that a terminal can take."""
    line = "".join(c if c.isprintable() else " " for c in said[: limit + 1])
    return line if len(line) <= limit else line[:limit] + "…"


def _advice(status: int, said: str) -> str:
    if said.startswith("Authentication failed"):
        return ". Check [misp] key: it must be the key of an enabled user, and not have expired."
    if said.startswith("It is not possible to use this Auth key"):
        return ". The key is restricted to other addresses: change its allowed IPs in MISP."
    if said.startswith("You do not have permission"):
        return ". The role of the key must be allowed to add and modify events, such as Sync user."
    if status == 404 and not said:
        return ". Is [misp] url the address of a MISP, with its path if it has one?"
    return ""
