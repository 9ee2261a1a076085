"""The way to a server: its name, the proxy, the connection, the certificate, and who answers there.

The first request carries no login, so that nothing secret goes to whoever answers.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import anyio
import orjson
from anyio.streams.tls import TLSAttribute, TLSStream

from tqmisp.check.finding import Notes
from tqmisp.transport.options import PeerOptions
from tqmisp.transport.reply import NoReply, Reply, seconds_since_1970
from tqmisp.transport.session import Transport
from tqmisp.transport.trust import distrust, no_tls
from tqmisp.transport.words import one_line

CLOCK_SECONDS = 60.0
"""How far two clocks may be apart."""
EXPIRY_DAYS = 30.0
"""How long before its end a certificate or a key is worth a warning."""
_NAMES = {"threatq": "ThreatQ", "misp": "MISP"}
READ_SECONDS = 60.0
"""How long an answer may take; nothing that is asked here is much work."""


@dataclass(frozen=True, slots=True)
class Seen(Reply):
    """An answer, and what it says."""

    @property
    def json(self) -> Any:  # noqa: ANN401  it is JSON
        """The decoded body; None where it is no JSON."""
        try:
            return orjson.loads(self.content)
        except orjson.JSONDecodeError:
            return None

    @property
    def words(self) -> str:
        """What the server says, as one line."""
        said = self.json
        if isinstance(said, dict):
            return one_line(str(said.get("message") or said.get("errors") or ""))
        return f"{self.kind} and no JSON"


class Peer:
    """A server that requests can be sent to, each once. Use :meth:`connect`."""

    def __init__(self, transport: Transport, options: PeerOptions) -> None:
        self.section = transport.section
        self.url = transport.url
        self._transport = transport
        self._options = options

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, section: str, options: PeerOptions, url: str, trusted: ssl.SSLContext
    ) -> AsyncIterator[Peer]:
        """Open a pool; nothing is sent yet.

        Args:
            section: of the configuration, for the texts.
            options: how to get there.
            url: without a slash at its end.
            trusted: which certificates to take.
        """
        headers = {"Accept": "application/json", "Connection": "close"}
        async with Transport.connect(
            _NAMES[section], section, url, options, connections=2, headers=headers, trusted=trusted
        ) as transport:
            yield cls(transport, options)

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, padding: int = 0, body: bytes = b""
    ) -> Seen:
        """Send a request and follow no redirect.

        Args:
            method: of HTTP.
            path: behind the address of the server.
            headers: beside the usual ones.
            padding: send the body with so many bytes of white space in all.
            body: JSON, or nothing.

        Raises:
            NoReply: nobody answered.
        """
        sent = dict(headers or {})
        data: Any = body or None
        if padding:
            sent["Content-Length"] = str(padding)
            data = _padded(body, padding)
        if body:
            sent["Content-Type"] = "application/json"
        # much to send takes its time on a slow line
        seconds = self._options.read_timeout if padding else min(READ_SECONDS, self._options.read_timeout)
        reply = await self._transport.exchange(method, path, seconds=seconds, data=data, headers=sent)
        return Seen(reply.status, reply.headers, reply.content)


async def reach(notes: Notes, options: PeerOptions, url: str, path: str, trusted: ssl.SSLContext) -> Seen | None:
    """Go all the way to the first answer, and note what is found; None where there is no way."""
    section = notes.area
    parts = urlsplit(url)
    try:
        if options.proxy is None:
            await _look_up(notes, parts)
            await _shake_hands(notes, options, parts, trusted)
        async with Peer.connect(section, options, url, trusted) as peer:
            seen = await peer.ask("GET", path)
    except NoReply as error:
        notes.fail(error.area, error.reason, error.fix)
        return None
    if options.proxy is not None:
        notes.ok("proxy", "The proxy lets us through.")
    _compare_clocks(notes, seen)
    if 300 <= seen.status < 400:
        _redirected(notes, url, seen)
        return None
    if seen.asks_for_certificate:
        notes.fail("certificate", "Its web server wants a client certificate.", f"Check [{section}] client_cert_file.")
        return None
    return seen


async def _look_up(notes: Notes, parts: SplitResult) -> None:
    host = parts.hostname or ""
    if _is_address(host):
        return
    try:
        found = await anyio.getaddrinfo(
            host, parts.port or (443 if parts.scheme == "https" else 80), type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError) as error:
        raise NoReply(
            "address",
            "mend",
            f"The name {one_line(host)} is not known ({one_line(str(error))}).",
            f"Check [{notes.area}] url for a slip, and the name server of this machine; "
            f"set [{notes.area}] proxy where only a proxy knows the way.",
        ) from None
    addresses = sorted({str(each[4][0]) for each in found})
    notes.ok("address", f"{one_line(host)} is {', '.join(addresses[:3])}.")


async def _shake_hands(notes: Notes, options: PeerOptions, parts: SplitResult, trusted: ssl.SSLContext) -> None:
    """Connect, and look at the certificate where there is one."""
    section, host = notes.area, parts.hostname or ""
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        with anyio.fail_after(options.connect_timeout):
            certificate = await _shake(host, port, trusted if secure else None)
    except ssl.SSLCertVerificationError as error:
        raise distrust(section, parts.geturl(), options, error) from None
    except ssl.SSLError as error:
        raise no_tls(section, parts.geturl(), one_line(str(error))) from None
    except (OSError, TimeoutError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        said = one_line(str(error.__cause__ or error) or type(error).__name__)
        raise NoReply(
            "connection",
            "away",
            f"Nobody answers at port {port} of {one_line(host)}: {said}.",
            f"Check the port in [{section}] url, that the server runs, and that no firewall stands between.",
        ) from None
    notes.ok("connection", f"Port {port} answers.")
    if not secure:
        if not _is_here(host):
            notes.warn(
                "encryption",
                "The address begins with http: whoever is in between can read the login and the data.",
                f"Serve it by https, and set [{section}] url to https://{host}.",
            )
    elif not options.verify_tls:
        notes.warn(
            "encryption",
            "The certificate is not verified: whoever is in between can read the login and the data.",
            f"Take [{section}] verify_tls = false out; name an authority of your own in [{section}] ca_file.",
        )
    elif certificate:
        _check_expiry(notes, str(certificate["notAfter"]))


async def _shake(host: str, port: int, trusted: ssl.SSLContext | None) -> Mapping[str, Any] | None:
    """Connect and hang up again; gives the certificate where one was verified."""
    async with await anyio.connect_tcp(host, port) as stream:
        if trusted is None:
            return None
        secured = await TLSStream.wrap(stream, hostname=host, ssl_context=trusted, standard_compatible=False)
        return secured.extra(TLSAttribute.peer_certificate)  # noqa: S610  no Django here


def _check_expiry(notes: Notes, until: str) -> None:
    days = (ssl.cert_time_to_seconds(until) - time.time()) / 86_400
    if days < EXPIRY_DAYS:
        notes.warn(
            "certificate",
            f"The certificate is trusted, but only until {until}, which is {days:.0f} days from now.",
            f"Have the certificate of the server in [{notes.area}] url renewed before that day.",
        )
    else:
        notes.ok("certificate", f"The certificate is trusted, and valid until {until}.")


def _compare_clocks(notes: Notes, seen: Seen) -> None:
    moment = seconds_since_1970(seen.headers.get("date", ""))
    if moment is None:
        return
    ahead = moment - time.time()
    if abs(ahead) <= CLOCK_SECONDS:
        notes.ok("clock", "Its clock agrees with ours.")
        return
    minutes = abs(ahead) / 60
    notes.warn(
        "clock",
        f"Its clock is {minutes:,.0f} minutes {'ahead of' if ahead > 0 else 'behind'} ours: changes may be missed "
        "or seem older than they are.",
        f"Set the clock of this machine, or of the server in [{notes.area}] url, by NTP.",
    )


def _redirected(notes: Notes, url: str, seen: Seen) -> None:
    """A redirect is never followed: a POST would arrive as something else."""
    section = notes.area
    try:
        here, there = urlsplit(url), urlsplit(urljoin(url + "/", seen.headers.get("location", "")))
        better = f"{there.scheme}://{there.netloc.rpartition('@')[2]}"
    except ValueError:
        there, better = here, ""
    if (here.scheme, there.scheme) == ("http", "https") and here.hostname == there.hostname:
        reason, fix = "It sends us on from http to https.", f'Set [{section}] url to "{one_line(better + here.path)}".'
    elif there.path.rstrip("/").endswith("login"):
        reason = f"It sends us on to {one_line(better + there.path)}, a login page."
        fix = f"Keep single sign-on away from its API, and check that [{section}] url is the right address."
    else:
        reason = f"It sends us on to {one_line(better + there.path)}."
        fix = f"Set [{section}] url to the address that the server really has."
    notes.fail("redirect", f"{reason} A redirect is never followed, since it loses what is sent.", fix)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_here(host: str) -> bool:
    return ip_address(host).is_loopback if _is_address(host) else host == "localhost"


async def _padded(body: bytes, size: int) -> AsyncIterator[bytes]:
    """A body with white space behind it, which JSON does not mind, never whole in memory."""
    yield body
    left = size - len(body)
    blank = b" " * 65_536
    while left > 0:
        yield blank[:left]
        left -= len(blank)
