"""One test for each fault on the way to a server."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.check.conftest import Rig, is_finding
from tests.misp.conftest import fault, hang_up
from tests.transport.tls import demanding, make_certificates
from tqmisp.simulators.misp import create_app

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port at which nobody listens, nor can begin to: it is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def certificate(folder: Path, *, days: int = 90, name: str = "IP:127.0.0.1") -> ssl.SSLContext:
    """A self-signed certificate, also as ``certificate.pem``."""
    files = folder / "certificate.pem", folder / "key.pem"
    made = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days {days} -subj /CN=x"
    command = ["openssl", *made.split(), "-addext", f"subjectAltName={name}"]
    await anyio.run_process([*command, "-keyout", str(files[1]), "-out", str(files[0])])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    return context


async def serve_tls(rig: Rig, context: ssl.SSLContext) -> None:
    """Serve the simulated MISP by https."""
    server = TestServer(create_app(rig.store, rig.misp), scheme="https")
    await server.start_server(ssl=context)
    rig.closing(server.close)
    rig.values["misp.url"] = f"https://127.0.0.1:{server.port}"


async def test_a_host_that_is_not_known(rig: Rig) -> None:
    """The name server says so."""
    rig.values["misp.url"] = "https://no-such-host.invalid"
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.address", "failure", "[misp] url", "[misp] proxy")


async def test_a_connection_that_is_refused(rig: Rig, deaf_port: int) -> None:
    """Nobody listens there."""
    rig.values["threatq.url"] = f"http://127.0.0.1:{deaf_port}"
    (found,) = await rig.trouble()
    assert is_finding(found, "threatq.connection", "failure", "[threatq] url", "firewall")


async def test_a_server_that_hangs_up(rig: Rig) -> None:
    """It takes the connection and gives no answer, nor to the second attempt of a client that reads."""
    rig.middlewares.append(fault("/", hang_up, hang_up))
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.connection", "failure", "[misp] url")


async def test_a_proxy_that_is_not_there(rig: Rig, deaf_port: int) -> None:
    """The name is left to the proxy, the connection to it is ours."""
    rig.values |= {"misp.proxy": f"http://127.0.0.1:{deaf_port}", "misp.url": "http://only-the-proxy-knows.invalid"}
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.proxy", "failure", "[misp] proxy")


async def test_a_proxy_that_refuses(rig: Rig) -> None:
    """It wants a password."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=407)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    rig.values |= {"misp.proxy": await rig.serve(app), "misp.url": "https://only-the-proxy-knows.invalid"}
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.proxy", "failure", "[misp] proxy", "password")


async def test_a_proxy_in_the_environment(rig: Rig) -> None:
    """It is not looked at, and whoever set it should know."""
    rig.env["HTTPS_PROXY"] = "http://user:secret@proxy.example:3128"
    (found,) = await rig.trouble()
    assert is_finding(found, "local.proxy_environment", "warning", "[threatq] proxy", "[misp] proxy")
    assert "secret" not in repr(found)


@needs_openssl
async def test_a_certificate_that_signed_itself(rig: Rig) -> None:
    """Both ways out are told, the safe one first."""
    await serve_tls(rig, await certificate(rig.folder))
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.certificate", "failure", "[misp] ca_file", "[misp] verify_tls = false")
    rig.values["misp.ca_file"] = "certificate.pem"
    await rig.trouble(0)


@needs_openssl
async def test_a_certificate_that_ends_soon(rig: Rig) -> None:
    """It is trusted, but not for long."""
    await serve_tls(rig, await certificate(rig.folder, days=7))
    rig.values["misp.ca_file"] = "certificate.pem"
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.certificate", "warning", "renewed", "[misp] url")


@needs_openssl
async def test_a_certificate_for_another_name(rig: Rig) -> None:
    """The authority is known, the name is another."""
    await serve_tls(rig, await certificate(rig.folder, name="DNS:misp.example"))
    rig.values["misp.ca_file"] = "certificate.pem"
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.certificate", "failure", "[misp] url", "name")


@needs_openssl
async def test_a_certificate_that_nobody_verifies(rig: Rig) -> None:
    """It works, and is said each time."""
    await serve_tls(rig, await certificate(rig.folder))
    rig.values["misp.verify_tls"] = False
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.encryption", "warning", "[misp] verify_tls", "[misp] ca_file")


async def test_https_where_none_is_spoken(rig: Rig) -> None:
    """A port without TLS is not a matter of trust."""
    settings = await rig.settings()
    rig.values["misp.url"] = settings.misp.url.replace("http:", "https:")
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.certificate", "failure", "port", "[misp] url")


async def test_a_file_of_certificates_that_is_none(rig: Rig) -> None:
    """It is a mistake of the configuration."""
    (rig.folder / "ca.pem").write_text("no certificate")
    rig.values["misp.ca_file"] = "ca.pem"
    (found,) = await rig.trouble()
    assert is_finding(found, "local.ca_file", "failure", "[misp] ca_file")


@needs_openssl
@pytest.mark.parametrize("most", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_that_is_wanted(most: ssl.TLSVersion, rig: Rig) -> None:
    """Whether the server says so in the handshake or, since TLS 1.3, behind it."""
    await make_certificates(rig.folder)
    rig.values["misp.ca_file"] = "server.pem"
    with demanding(rig.folder, most) as url:
        rig.values["misp.url"] = url
        (found,) = await rig.trouble()
        assert is_finding(found, "misp.certificate", "failure", "[misp] client_cert_file")
        rig.values |= {"misp.client_cert_file": "client.pem", "misp.client_key_file": "client.key"}
        (found,) = await rig.trouble()
        assert is_finding(found, "misp.answer", "failure", "[misp] url")  # we are in, and it is no MISP


async def test_a_client_certificate_that_a_page_asks_for(rig: Rig) -> None:
    """As nginx does: the handshake passes, and the first request is refused."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=400, text="<title>400 No required SSL certificate was sent</title>")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    rig.values["misp.url"] = await rig.serve(app)
    (found,) = await rig.trouble()
    assert is_finding(found, "misp.certificate", "failure", "[misp] client_cert_file")


async def test_a_client_certificate_that_is_none(rig: Rig) -> None:
    """It is a mistake of the configuration, too."""
    rig.values["threatq.client_cert_file"] = "client.pem"
    (found,) = await rig.trouble()
    assert is_finding(found, "local.client_cert_file", "failure", "[threatq] client_cert_file")
    assert "No such file" in found.reason


async def test_http_beyond_this_machine(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Login and data travel in the clear."""
    monkeypatch.setattr("tqmisp.check.network._is_here", lambda _: False)
    found, other = await rig.trouble(2)
    assert is_finding(found, "threatq.encryption", "warning", "[threatq] url to https://")
    assert is_finding(other, "misp.encryption", "warning", "[misp] url to https://")
