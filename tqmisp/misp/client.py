"""Requests to MISP, and what its answers mean.

The statuses and texts are those of a MISP 2.5.1 server as recorded; see docs/errors.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

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
from tqmisp.transport.reply import NoReply, Reply, retry_after
from tqmisp.transport.session import Transport
from tqmisp.transport.words import explain_redirect

LARGE_BODY = 4 * 2**20
"""Answers above this many bytes are decoded in a thread; below, the way there and back costs more than it frees."""
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
    headers: Mapping[str, str]
    """Names in lower case."""
    data: Any
    """The decoded JSON; None for an empty body."""


class MispClient:
    """One MISP, over one pool of connections. Use :meth:`connect`."""

    def __init__(self, options: MispOptions, transport: Transport) -> None:
        self.options = options
        self.counters = Counters()
        self.url = transport.url
        self._transport = transport
        self._is_known = False
        """Whether it has answered as a MISP does, so that its address is right."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, options: MispOptions) -> AsyncIterator[MispClient]:
        """Open the pool; nothing is sent yet.

        Raises:
            ConfigError: a file of certificates cannot be used.
        """
        connections = options.consumers + (options.requests_in_flight or IN_FLIGHT.most) + 1
        key = options.key.get_secret_value()
        async with Transport.connect(
            "MISP",
            "misp",
            options.url.rstrip("/"),
            options,
            connections=connections,
            headers={
                "Authorization": key,  # bare: MISP refuses the key behind a "Bearer"
                "Accept": "application/json",
                "Content-Type": "application/json",
            },
        ) as transport:
            transport.secrets = lambda: (key,)
            yield cls(options, transport)

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
            reply = await self._transport.exchange(method, path, data=body)
        except NoReply as error:
            if error.area == "address":
                raise ConfigError(str(error)) from error
            text = f"{what}: {error}"
            if error.fate == "mend":
                raise MispRefused(text) from error
            if error.fate == "away" or not writes:
                raise MispUnavailable(text) from error
            raise MispUnclear(text, may_still_run=error.fate == "late") from error
        if reply.status < 300:
            return Answer(reply.status, reply.headers, await self._decode(what, reply, lost))
        raise self._error(what, reply, writes=writes)

    async def _decode(self, what: str, reply: Reply, lost: type[MispUnavailable]) -> Any:  # noqa: ANN401  it is JSON
        if not reply.content:
            return None
        try:
            if len(reply.content) > LARGE_BODY:
                decoded = await anyio.to_thread.run_sync(orjson.loads, reply.content)
            else:
                decoded = orjson.loads(reply.content)
        except orjson.JSONDecodeError as error:
            told = f"{what}: {self.url} answered with {reply.kind} instead of JSON"
            if self._is_known:
                raise lost(told) from error  # something stands in between, for a while
            raise MispRefused(f"{told}. Is [misp] url the address of a MISP?") from error
        self._is_known = True
        return decoded

    def _error(self, what: str, reply: Reply, *, writes: bool) -> MispError:
        """What an answer above 299 means for the caller."""
        status, wait = reply.status, _wait(reply)
        said, errors = _read_error(reply.content)
        said = self._transport.line(said)
        if status in {301, 302, 303, 307, 308}:
            return self._redirect(what, reply.headers.get("location", ""))
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
            f"{what}: MISP refused ({status} {said or 'without a word'}){_advice(reply, said)}",
            status=status,
            errors=errors,
        )

    def _redirect(self, what: str, location: str) -> MispError:
        """A redirect is never followed: a POST would arrive as something else."""
        if location.partition("?")[0].rstrip("/").endswith("/users/login"):
            return MispUnavailable(f"{what}: MISP is in maintenance; only its administrators may work with it now")
        return MispRefused(f"{what}: {self.url} {explain_redirect('MISP', 'misp', self.url, location)}")


def _wait(reply: Reply) -> float | None:
    """The seconds that the server wants us to wait. MISP's search limit names them in X-Rate-Limit-Reset only."""
    asked, reset = retry_after(reply.headers), reply.headers.get("x-rate-limit-reset", "").strip()
    return asked if asked is not None or not (reset.isascii() and reset.isdigit()) else float(reset[:9])


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
    return said, errors


def _advice(reply: Reply, said: str) -> str:
    if reply.asks_for_certificate:
        return ". The web server wants a client certificate: see [misp] client_cert_file."
    if said.startswith("Authentication failed"):
        return ". Check [misp] key: it must be the key of an enabled user, and not have expired."
    if said.startswith("It is not possible to use this Auth key"):
        return ". The key is restricted to other addresses: change its allowed IPs in MISP."
    if said.startswith("You do not have permission"):
        return ". The role of the key must be allowed to add and modify events, such as Sync user."
    if reply.status == 407:
        return ". Check [misp] proxy, with its user and password."
    if reply.status == 404 and not said:
        return ". Is [misp] url the address of a MISP, with its path if it has one?"
    return ""
