from __future__ import annotations

import shutil
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer, TestServer
from pydantic import SecretStr

from tests.transport.tls import demanding, make_certificates, shown
from tqmisp.errors import MispRefused, MispUnavailable, MispUnclear, TqmispError
from tqmisp.misp.client import MispClient
from tqmisp.misp.options import MispOptions
from tqmisp.threatq.client import ThreatQClient
from tqmisp.threatq.options import ThreatQOptions
from tqmisp.transport.options import PeerOptions
from tqmisp.transport.reply import NoReply
from tqmisp.transport.session import Transport
from tqmisp.transport.trust import FileUnusable, trust

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for certificates."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture
async def certificates(folder: Path) -> Path:
    """Made once."""
    if not (folder / "locked.key").exists():
        await make_certificates(folder)
    return folder


async def ask_threatq(url: str, **changes: Any) -> object:
    """Ask a ThreatQ for something."""
    options = ThreatQOptions(url=url, client_id="c", client_secret=SecretStr("s"), patience=0, attempts=1, **changes)
    async with ThreatQClient.connect(options) as client:
        return (await client.get("/api/thing")).data


async def ask_misp(url: str, **changes: Any) -> object:
    """Ask a MISP for something."""
    async with MispClient.connect(MispOptions(url=url, key=SecretStr("k"), **changes)) as client:
        return (await client.get("/thing")).data


Ask = Callable[..., Awaitable[object]]


@pytest.mark.parametrize("ask", [ask_threatq, ask_misp])
async def test_a_client_certificate_is_shown(ask: Ask, certificates: Path) -> None:
    """With its key in a file of its own, or in the same; both servers can ask for one."""
    with demanding(certificates) as url:
        assert await ask(url, **shown(certificates, "client")) == {"access_token": "t"}
        both = certificates / "both.pem"
        parts = [(certificates / f"client.{end}").read_text() for end in ("pem", "key")]
        both.write_text("".join(parts))
        settings = shown(certificates, "client") | {"client_cert_file": str(both), "client_key_file": None}
        assert await ask(url, **settings) == {"access_token": "t"}


@pytest.mark.parametrize(("ask", "section"), [(ask_threatq, "threatq"), (ask_misp, "misp")])
@pytest.mark.parametrize("name", ["stranger", None])
@pytest.mark.parametrize("most", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_that_is_refused(
    ask: Ask, section: str, name: str | None, most: ssl.TLSVersion, certificates: Path
) -> None:
    """Another one, or none: it is said what is missing, and not tried again."""
    settings = shown(certificates, name) if name else {"ca_file": str(certificates / "server.pem")}
    words = rf"client certificate.*\[{section}\] client_cert_file"
    with demanding(certificates, most) as url, pytest.raises(TqmispError, match=words) as caught:
        await ask(url, **settings)
    assert "Refused" in type(caught.value).__name__


@pytest.mark.parametrize(("ask", "section"), [(ask_threatq, "threatq"), (ask_misp, "misp")])
async def test_a_web_server_that_asks_for_a_certificate_by_a_page(ask: Ask, section: str) -> None:
    """As nginx does, behind the handshake."""

    async def answer(_request: web.Request) -> web.Response:
        page = "<html><head><title>400 No required SSL certificate was sent</title></head></html>"
        return web.Response(status=400, text=page, content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        with pytest.raises(TqmispError, match=rf"wants a client certificate: see \[{section}\] client_cert_file"):
            await ask(str(server.make_url("")).rstrip("/"))


@pytest.mark.parametrize(
    ("files", "key", "words"),
    [
        (("none.pem", None), "client_cert_file", "none.pem cannot be used: No such file"),
        (("client.pem", "none.key"), "client_cert_file", "cannot be used: No such file"),
        (("client.pem", "stranger.key"), "client_cert_file", "client.pem with .*stranger.key cannot be used"),
        (("client.pem", "locked.key"), "client_cert_file", "the key has a passphrase"),
        (("client.key", None), "client_cert_file", "client.key cannot be used"),
    ],
    ids=["no certificate", "no key", "another key", "passphrase", "a key alone"],
)
def test_files_that_cannot_be_used(files: tuple[str, str | None], key: str, words: str, certificates: Path) -> None:
    """They are named before anything is sent; OpenSSL never asks the terminal for a passphrase."""
    paths = [None if name is None else str(certificates / name) for name in files]
    with pytest.raises(FileUnusable, match=words) as caught:
        trust("misp", PeerOptions(client_cert_file=paths[0], client_key_file=paths[1]))
    assert caught.value.key == key


@pytest.mark.parametrize(("status", "fate"), [(407, "mend"), (403, "mend"), (502, "away"), (503, "away")])
async def test_a_proxy_that_cannot_reach_the_server(status: int, fate: str) -> None:
    """What it says of itself passes; what it says of us does not. Nothing has arrived, so that nothing is unclear."""

    async def refuse(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=status)

    async with RawTestServer(refuse) as server:
        proxy = f"http://me:secret-of-proxy@127.0.0.1:{server.port}"
        options = MispOptions(url="https://misp.test", key=SecretStr("k"), proxy=proxy)
        assert "secret-of-proxy" not in repr(options)
        async with MispClient.connect(options) as client:
            with pytest.raises((MispRefused, MispUnavailable), match=r"\[misp\] proxy") as caught:
                await client.write("/events/edit/1", b"{}")
    assert isinstance(caught.value, MispRefused if fate == "mend" else MispUnavailable)
    assert not isinstance(caught.value, MispUnclear)
    assert isinstance(caught.value.__cause__, NoReply)
    assert "secret-of-proxy" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_connection_that_times_out_was_not_made() -> None:
    """Nothing has arrived; the deadline for the answer is another matter."""
    options = PeerOptions(connect_timeout=1e-9)
    async with Transport.connect("X", "x", "http://127.0.0.1:1", options, connections=1, headers={}) as transport:
        with pytest.raises(NoReply, match="cannot be reached") as caught:
            await transport.exchange("GET", "/")
    assert (caught.value.area, caught.value.fate) == ("connection", "away")


@pytest.mark.parametrize(
    "options",
    [
        ThreatQOptions(url="u", client_id="c", proxy="http://me:hush@p"),
        MispOptions(url="u", key=SecretStr("hush"), proxy="http://me:hush@p"),
    ],
)
def test_options_by_themselves_show_no_secret(options: PeerOptions) -> None:
    """Neither the key nor the password of a proxy."""
    assert "hush" not in repr(options)
