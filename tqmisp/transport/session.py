"""One server, over one pool of connections."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import anyio

from tqmisp.transport.options import PeerOptions
from tqmisp.transport.reply import NoReply, Reply
from tqmisp.transport.trust import distrust, no_tls, speaks_of_ours, trust
from tqmisp.transport.words import one_line

USER_AGENT = f"tqmisp/{version('tqmisp')}"


@dataclass(slots=True, kw_only=True)
class Transport:
    """One server, over one pool of connections. Use :meth:`connect`."""

    name: str
    """Of the product, for texts."""
    section: str
    """Of the configuration, for texts."""
    url: str
    """Of the server, without a slash at its end."""
    options: PeerOptions
    session: aiohttp.ClientSession = field(repr=False)
    secrets: Callable[[], Iterable[str]] = field(default=tuple, repr=False)
    """Gives what must not be shown, as of now."""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        name: str,
        section: str,
        url: str,
        options: PeerOptions,
        *,
        connections: int,
        headers: Mapping[str, str],
        trusted: ssl.SSLContext | None = None,
    ) -> AsyncIterator[Transport]:
        """Open the pool; nothing is sent yet.

        Args:
            name: of the product, for texts.
            section: of the configuration, for texts.
            url: of the server, without a slash at its end.
            options: how to get there.
            connections: how many there may be at once.
            headers: of each request.
            trusted: what :func:`trust` has given; by default it is asked.

        Raises:
            FileUnusable: a file of certificates or keys cannot be used.
        """
        if trusted is None:
            trusted = await anyio.to_thread.run_sync(trust, section, options)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections,
                limit_per_host=connections,
                ttl_dns_cache=300,
                ssl=trusted,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, **headers},
            proxy=options.proxy,
        )
        async with session:
            yield cls(name=name, section=section, url=url, options=options, session=session)

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        seconds: float | None = None,
        **request: Any,  # noqa: ANN401  as aiohttp takes it
    ) -> Reply:
        """Send one request and follow no redirect, since a POST would arrive as something else.

        Args:
            method: of HTTP.
            path: behind the address of the server.
            seconds: without a byte; by default as the options say.
            request: its ``params``, ``data`` and ``headers``, as aiohttp takes them.

        Raises:
            NoReply: it was not answered.
        """
        seconds = self.options.read_timeout if seconds is None else seconds
        timeout = aiohttp.ClientTimeout(
            total=None,  # a large answer may take its time, as long as it keeps coming
            connect=None,  # waiting for a connection of our own pool is no failure
            sock_connect=self.options.connect_timeout,
            sock_read=seconds,
            ceil_threshold=5,
        )
        try:
            async with self.session.request(
                method, self.url + path, timeout=timeout, allow_redirects=False, **request
            ) as response:
                content = await response.read()
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status, headers, content)
        except (aiohttp.ClientResponseError, aiohttp.InvalidURL) as error:
            # the text of the one holds an address with everything in its query, of the other that of the proxy
            raise self._explain(error, seconds) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._explain(error, seconds) from error

    def line(self, said: str) -> str:
        """Words that came from outside, without our secrets: some servers repeat what they refuse."""
        return one_line(said, [*self.secrets(), unquote(urlsplit(self.options.proxy or "").password or "")])

    def _explain(self, error: aiohttp.ClientError | TimeoutError, seconds: float) -> NoReply:
        """What it means that a request was not answered."""
        name, at, section = self.name, f"{self.name} at {self.url}", self.section
        said = self.line(str(error) or type(error).__name__)
        match error:
            case aiohttp.ClientHttpProxyError():
                return NoReply(
                    "proxy",
                    "away" if error.status >= 500 else "mend",
                    f"The proxy refused to connect us ({error.status} {self.line(error.message)}).",
                    f"Check [{section}] proxy, with its user and password.",
                )
            case aiohttp.ClientResponseError():
                reason = f"{name}'s answer is no proper HTTP: {self.line(error.message)}."
                return NoReply("connection", "lost", reason, f"Check the port in [{section}] url.")
            case aiohttp.InvalidURL():
                reason = f"{self.url!r}, or its proxy, is not an address."
                return NoReply("address", "mend", reason, f"Check [{section}] url and proxy.")
            case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as untrusted):
                return distrust(section, self.url, self.options, untrusted)
            case aiohttp.ClientOSError() if isinstance(error, aiohttp.ClientSSLError) or speaks_of_ours(said):
                return no_tls(section, self.url, said)
            case aiohttp.ClientProxyConnectionError():
                reason = f"The proxy before {name} cannot be reached: {said}."
                return NoReply("proxy", "away", reason, f"Check [{section}] proxy, or leave it out.")
            case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
                reason, fix = f"{at} cannot be reached: {said}.", f"Check [{section}] url, that the server runs, and "
                return NoReply("connection", "away", reason, f"{fix}that no firewall stands between.")
            case TimeoutError():
                reason = f"There was no answer from {name} within {seconds:g} seconds."
                return NoReply("connection", "late", reason, f"Look whether the server in [{section}] url is busy.")
            case _:
                reason = f"The connection to {name} was lost: {said}."
                return NoReply("connection", "lost", reason, f"Look into the log of the server in [{section}] url.")
