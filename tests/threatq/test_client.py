from __future__ import annotations

import asyncio
import base64
import re
import shutil
import ssl
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from tests.logs import capture_logs
from tests.threatq.conftest import ACCOUNT, Serve, login, serving
from tests.threatq.samples import sample
from tqmisp.errors import ConfigError, ThreatQError, ThreatQRefused, ThreatQUnavailable
from tqmisp.simulators.threatq import generate
from tqmisp.threatq.client import HttpRefused, ThreatQClient, base_url
from tqmisp.threatq.connectors import ConnectorSettings
from tqmisp.threatq.connectors import read as read_connector


def answering(*answers: Callable[[], web.Response], token: dict[str, object] | None = None) -> web.Application:
    """A server that lets everybody in and answers each request with the next answer, the last one for ever."""
    waiting = list(answers)

    async def answer(_request: web.Request) -> web.Response:
        return (waiting.pop(0) if len(waiting) > 1 else waiting[0])()

    async def let_in(_request: web.Request) -> web.Response:
        return web.json_response(token or {"access_token": "token-of-the-test", "expires_in": 3600})

    app = web.Application()
    app.add_routes([web.post("/api/token", let_in), web.get("/api/{tail:.*}", answer)])
    return app


def json(body: object, status: int = 200, **headers: str) -> Callable[[], web.Response]:
    """Gives a JSON answer."""
    return lambda: web.json_response(body, status=status, headers=headers)


def text(body: str, kind: str = "application/json", status: int = 200) -> Callable[[], web.Response]:
    """Gives an answer that is no JSON, whatever it calls itself."""
    return lambda: web.Response(text=body, content_type=kind, status=status)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (json(sample("error_400_fields.json"), 400), HttpRefused, r"\(400 value: The value field is required"),
        (json(sample("error_400_list.json"), 400), HttpRefused, "First problem; Second problem, part 1"),
        (json(sample("error_200_with_errors.json")), ThreatQRefused, "with an error: Search is unavailable"),
        (json({"data": [{"error": "hidden"}]}), ThreatQRefused, "with an error: hidden"),
        (json({"errors": [[]]}), ThreatQRefused, "with an error: without a word"),
        (json({"errors": ["denied"]}, 403), HttpRefused, "role Read Only"),
        (json(sample("error_404.json"), 404), HttpRefused, "404 Not Found.*address of a ThreatQ"),
        (text("<h1>Not Found</h1>", "text/html", 404), HttpRefused, "404 without a word.*address of a ThreatQ"),
        (json(sample("error_http_exception.json"), 422), HttpRefused, "Something went wrong"),
        (json(sample("error_401.json"), 401), ThreatQRefused, "does not accept the token"),
        (json({}, 407), HttpRefused, r"\[threatq\] proxy"),
        (json({}, 500), ThreatQUnavailable, "500 without a word"),
        (json({}, 503), ThreatQUnavailable, "503"),
        (json({}, 408), ThreatQUnavailable, "408"),
        (json({}, 429), ThreatQUnavailable, "slow down"),
        (text("<html>", "text/html"), ThreatQUnavailable, "text/html instead of JSON$"),  # it has given us a token
        (text('{"data": [{"id"'), ThreatQUnavailable, "broken off"),
        (text("[" * 100_000), ThreatQUnavailable, "broken off"),
        (lambda: web.Response(status=302, headers={"Location": "https://x/login"}), ThreatQRefused, "login page"),
        (lambda: web.Response(status=301), ThreatQRefused, "sends us on to"),
        (json({"errors": ["\x1b[31mred\u202e\n"]}, 400), ThreatQRefused, r" \[31mred "),
    ],
)
async def test_each_kind_of_error_says_what_to_do(
    answer: Callable[[], web.Response], kind: type[ThreatQError], words: str
) -> None:
    """Every error becomes one line that names method and path, with the server's words and what to do."""
    async with serving(answering(answer)) as client:
        with pytest.raises(kind, match=words) as caught:
            await client.get("/api/thing")
    said = str(caught.value)
    assert said.isprintable()
    assert said.startswith("GET /api/thing: ")
    assert isinstance(caught.value, ThreatQRefused) != isinstance(caught.value, ThreatQUnavailable)


async def test_what_passes_is_waited_out() -> None:
    """Failures that may pass are repeated, and counted."""
    app = answering(json({}, 502), json({}, 503), json({"data": 1}))
    async with serving(app) as client:
        assert (await client.get("/api/thing")).data == {"data": 1}
        assert client.retries == 2


async def test_the_wait_that_the_server_asks_for_travels_with_the_error() -> None:
    """Retry-After of a 429 and of a 503."""
    for status in (429, 503):
        async with serving(answering(json({}, status, **{"Retry-After": "7"})), attempts=1) as client:
            with pytest.raises(ThreatQUnavailable) as caught:
                await client.get("/api/thing")
        assert caught.value.retry_after == 7


async def test_half_characters_are_no_reason_to_refuse_a_page() -> None:
    """JSON that the fast decoder does not take is decoded all the same."""
    raw = b'{"value": "\\ud800", "id": 1}'
    app = answering(lambda: web.Response(body=raw, content_type="application/json"))
    async with serving(app) as client:
        assert (await client.get("/api/thing")).data == {"value": "\ud800", "id": 1}


async def test_a_server_that_is_not_there_is_named() -> None:
    """Nobody listens: the address is in the error, and what to check."""
    async with ThreatQClient.connect(login("http://127.0.0.1:9", attempts=1)) as client:
        with pytest.raises(ThreatQUnavailable, match=r"127\.0\.0\.1:9 cannot be reached.*Check \[threatq\] url"):
            await client.get("/api/thing")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"email": None, "password": None, "client_secret": SecretStr(ACCOUNT.client_secret)},
    ],
    ids=["password", "client credentials"],
)
async def test_both_logins_work(serve: Serve, changes: dict[str, object]) -> None:
    """A user and a private client are let in."""
    client = await serve(generate(1), **changes)
    assert (await client.get("/api/users/current")).data["data"]["email"] == ACCOUNT.email


@pytest.mark.parametrize("kept", [{"params"}, {"json"}, {"form"}])
async def test_the_login_finds_the_form_that_the_server_takes(kept: set[str]) -> None:
    """Three forms of the password grant are in use; whichever the server knows is found."""
    seen: list[str] = []

    async def token(request: web.Request) -> web.Response:
        form = "params" if request.query else "json" if request.content_type == "application/json" else "form"
        seen.append(form)
        if form in kept:
            return web.json_response({"access_token": "t"})
        return web.json_response({"errors": ["The request is missing a required parameter."]}, status=400)

    async def thing(_request: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application()
    app.add_routes([web.post("/api/token", token), web.get("/api/thing", thing)])
    async with serving(app) as client:
        await client.get("/api/thing")
    assert set(seen[-1:]) == kept


async def test_a_wrong_login_is_refused_with_a_hint(serve: Serve) -> None:
    """The error names the keys to check, and not the password."""
    client = await serve(generate(1), password=SecretStr("wrong password"))
    with pytest.raises(ThreatQRefused, match=r"credentials were incorrect.*Check \[threatq\] client_id") as caught:
        await client.get("/api/users/current")
    assert "wrong password" not in str(caught.value)


async def test_a_login_must_be_complete() -> None:
    """Neither a password nor a secret is an error of the configuration."""
    with pytest.raises(ConfigError, match="client_secret"):
        async with ThreatQClient.connect(login("http://127.0.0.1:9", password=None)):
            pass


async def test_a_token_that_the_server_forgot_is_replaced_once() -> None:
    """A 401 leads to one new login and one repetition of the request."""
    logins = 0

    async def token(_request: web.Request) -> web.Response:
        nonlocal logins
        logins += 1
        return web.json_response({"access_token": f"token {logins}", "expires_in": 3600})

    async def thing(request: web.Request) -> web.Response:
        good = request.headers["Authorization"] == "Bearer token 2"
        return web.json_response({}, status=200 if good else 401)

    app = web.Application()
    app.add_routes([web.post("/api/token", token), web.get("/api/thing", thing)])
    async with serving(app) as client:
        await client.get("/api/thing")
    assert logins == 2


async def test_a_page_of_html_is_a_wrong_address_only_at_first() -> None:
    """Where a ThreatQ has answered before, something stands in between for a while, and is waited out."""
    tokens = [text("<html>", "text/html"), json({"access_token": "t"})]
    things = [text("<html>", "text/html"), json({"data": 1})]

    async def token(_request: web.Request) -> web.Response:
        return tokens.pop(0)()

    async def thing(_request: web.Request) -> web.Response:
        return things.pop(0)()

    app = web.Application()
    app.add_routes([web.post("/api/token", token), web.get("/api/thing", thing)])
    async with serving(app, attempts=2, backoff=0) as client:
        with pytest.raises(ThreatQRefused, match=r"Is \[threatq\] url the address of a ThreatQ"):
            await client.get("/api/thing")
        assert (await client.get("/api/thing")).data == {"data": 1}


async def test_requests_say_who_we_are() -> None:
    """Bearer has a capital B, packed answers are taken, and the name and version of the software are told."""
    seen: list[web.Request] = []

    async def thing(request: web.Request) -> web.Response:
        seen.append(request)
        response = web.json_response({"text": "x" * 5000})
        response.enable_compression()
        return response

    app = answering(json({}))
    app.router.add_get("/other/thing", thing)
    async with serving(app) as client:
        answer = await client.get("/other/thing")
        assert client.server_clock is not None
        assert abs(client.server_clock) < 5
    assert answer.data == {"text": "x" * 5000}
    assert answer.size > 5000
    [request] = seen
    assert request.headers["Authorization"] == "Bearer token-of-the-test"
    assert "gzip" in request.headers["Accept-Encoding"]
    assert request.headers["User-Agent"] == f"tqmisp/{version('tqmisp')}"


async def test_the_clock_of_the_server_is_read_from_its_answers() -> None:
    """The watermark of a run is in the server's time."""
    ahead = formatdate(time.time() + 3600, usegmt=True)
    async with serving(answering(json({}, Date=ahead))) as client:
        await client.get("/api/thing")
        assert client.server_clock is not None
        assert 3590 < client.server_clock < 3610


@asynccontextmanager
async def raw_server(answer: Callable[[bytes], bytes], **tls: Any) -> AsyncIterator[int]:
    """A server that answers a request with any bytes, and hangs up; gives its port."""
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", head.lower())
            body = await reader.readexactly(int(found[1]) if found else 0)
            writer.write(answer(head + body))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, **tls)
    async with server:
        yield server.sockets[0].getsockname()[1]
    for writer in connections:
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


def http(body: bytes) -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "connection to ThreatQ was lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "connection to ThreatQ was lost"),
        (b"220 mail.test ESMTP\r\n\r\n", "no proper HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "connection .* was lost"),
    ],
    ids=["hung up", "broken off", "another protocol", "broken packing"],
)
async def test_an_answer_that_breaks_off_may_pass(answer: bytes, words: str) -> None:
    """Connections that drop occur under load; they are tried again."""
    async with (
        raw_server(lambda _: answer) as port,
        ThreatQClient.connect(login(f"http://127.0.0.1:{port}", attempts=2)) as client,
    ):
        with pytest.raises(ThreatQUnavailable, match=words):
            await client.get("/api/thing")
        assert (client.requests, client.retries) == (2, 1)


async def test_a_server_that_stops_talking_is_left() -> None:
    """The time without a byte is bounded, also in the middle of a body."""
    gone = anyio.Event()

    async def slow(_request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(_request)
        await response.write(b"{")
        await gone.wait()
        return response

    app = answering(json({}))
    app.router.add_get("/other/slow", slow)
    async with serving(app, read_timeout=0.05, attempts=1) as client:
        with pytest.raises(ThreatQUnavailable, match=r"no answer from ThreatQ within 0\.05 seconds"):
            await client.get("/other/slow")
        gone.set()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_an_untrusted_certificate_is_explained(tmp_path: Path) -> None:
    """By default it is checked; its authority can be named, or the check switched off."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    await anyio.run_process(["openssl", *made.split(), "-keyout", str(key), "-out", str(certificate)])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with raw_server(lambda _: http(b'{"access_token": "t"}'), ssl=tls) as port:
        for changes in ({"ca_file": str(certificate)}, {"verify_tls": False}):
            async with ThreatQClient.connect(login(f"https://127.0.0.1:{port}", **changes)) as client:
                await client.get("/api/thing")
        async with ThreatQClient.connect(login(f"https://127.0.0.1:{port}")) as client:
            with pytest.raises(ThreatQRefused, match=r"certificate of .* is not trusted.*ca_file"):
                await client.get("/api/thing")


async def test_a_port_without_tls_is_explained() -> None:
    """Plain HTTP under an https address is not a matter of certificates."""
    async with (
        TestServer(answering(json({}))) as server,
        ThreatQClient.connect(login(f"https://127.0.0.1:{server.port}", attempts=1)) as client,
    ):
        with pytest.raises(ThreatQRefused, match=r"does not speak TLS with us.*\[threatq\] url"):
            await client.get("/api/thing")


async def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match=r"ca_file.*none\.pem"):
        async with ThreatQClient.connect(login("https://tq.test", ca_file=str(tmp_path / "none.pem"))):
            pass


async def test_requests_go_through_the_proxy() -> None:
    """With the address of ThreatQ in the request line, and the login of the proxy in a header."""
    heads: list[bytes] = []

    def answer(head: bytes) -> bytes:
        heads.append(head)
        return http(b'{"access_token": "t"}')

    async with raw_server(answer) as port:
        proxy = f"http://user:secret-of-proxy@127.0.0.1:{port}"
        async with ThreatQClient.connect(login("http://threatq.test", proxy=proxy)) as client:
            await client.get("/api/thing")
    assert heads[1].startswith(b"GET http://threatq.test/api/thing HTTP/1.1")
    assert b"Proxy-Authorization: Basic " in heads[1]


REFRESH = "refresh-token-of-the-test"
PROXY_SECRET = "secret-of-the-proxy"
BASIC = base64.b64encode(f"{ACCOUNT.client_id}:{ACCOUNT.client_secret}".encode()).decode()
SECRETS = (ACCOUNT.password, ACCOUNT.client_secret, BASIC, "token-of-the-test", REFRESH, PROXY_SECRET)


def tells(*answers: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Lets us in with a token that is soon over, and after that answers as told, again and again."""
    given = b'{"access_token": "token-of-the-test", "refresh_token": "%b", "expires_in": 1e-9}' % REFRESH.encode()
    waiting = [lambda _: http(given), lambda _: http(b"{}"), *answers]

    def answer(head: bytes) -> bytes:
        now = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return now(head)

    return answer


def echo(request: bytes) -> bytes:
    """Refuses, with what it was told that should be kept secret."""
    head, _, body = request.decode().partition("\r\n\r\n")
    authorization = re.findall(r"Authorization: (.*)", head)
    words = orjson.dumps({"errors": [head.split()[1], *authorization, body]})
    return b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%b" % (len(words), words)


def redirect(head: bytes) -> bytes:
    """Sends us elsewhere, with the whole query."""
    path = head.split()[1]
    return b"HTTP/1.1 302 Found\r\nLocation: https://x.test%b\r\nContent-Length: 0\r\n\r\n" % path


@pytest.mark.parametrize(
    ("answer", "through_proxy"),
    [
        (echo, False),
        (redirect, False),
        (lambda head: b"nonsense " + head, False),
        (lambda head: b"HTTP/1.1 200 OK\r\nX: " + head.replace(b"\r\n", b" ") + b"\r\n\x00\r\n\r\n", False),
        (lambda _: b"", False),
        (lambda _: http(b"<"), False),
        (lambda _: http(b'{"access_token": ""}'), False),
        (lambda _: b"HTTP/1.1 407 Authenticate\r\nContent-Length: 0\r\n\r\n", True),
        (lambda head: b"HTTP/1.1 407 " + head.replace(b"\r\n", b" ") + b"\r\nContent-Length: 0\r\n\r\n", True),
        (lambda _: b"", True),
    ],
    ids=["echo", "redirect", "nonsense", "bad header", "hung up", "no json", "no token", "407", "407 echo", "no proxy"],
)
@pytest.mark.parametrize("private", [False, True], ids=["password", "client credentials"])
async def test_secrets_stay_secret(
    *, answer: Callable[[bytes], bytes], through_proxy: bool, private: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """No text, repr, traceback or log line holds a password, a secret or a token, whatever a server answers."""
    changes: dict[str, Any] = {"attempts": 2}
    if private:
        changes |= {"email": None, "password": None, "client_secret": SecretStr(ACCOUNT.client_secret)}
    behaviour = answer if through_proxy else tells(answer)
    shown: list[object] = []
    async with raw_server(behaviour) as port:
        url = f"http://127.0.0.1:{port}"
        if through_proxy:
            url, changes["proxy"] = "https://threatq.test", f"http://user:{PROXY_SECRET}@127.0.0.1:{port}"
        options = login(url, **changes)
        with capture_logs() as logs:
            async with ThreatQClient.connect(options) as client:
                try:
                    for _ in range(3):
                        await client.get("/api/thing")
                except ThreatQError as error:
                    shown += [traceback.format_exc(), repr(error), repr(error.__cause__), repr(error.args)]
                    shown.append("".join(traceback.format_exception(error, chain=True)))
                shown += [options, client, vars(client), client._tokens, vars(client._tokens), logs]
    assert any(isinstance(each, str) for each in shown), "the server was expected to be refused"
    text = "\n".join(each if isinstance(each, str) else repr(each) for each in shown) + "".join(capsys.readouterr())
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("threatq.example", "https://threatq.example"),
        ("https://threatq.example/", "https://threatq.example"),
        ("https://threatq.example:8443/api/", "https://threatq.example:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1:80"),
        (" https://[::1]:8443// ", "https://[::1]:8443"),
        ("threatq.example/behind/api/", "https://threatq.example/behind"),
    ],
)
def test_addresses_are_completed(given: str, expected: str) -> None:
    """A bare host is https, and the path of the API is added by us."""
    assert base_url(given) == expected


@pytest.mark.parametrize(
    "given",
    ["", "https://", "ftp://h", "h ost", "https://user:token-of-the-test@h", "https://h?x=1", "https://h#x", "h:99999"],
)
async def test_what_is_no_address_is_refused_at_once(given: str) -> None:
    """Without repeating it, since it may hold a password."""
    with pytest.raises(ConfigError, match="without user, password or query") as caught:
        async with ThreatQClient.connect(login(given)):
            pass
    assert "token-of-the-test" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], None),
        (
            [
                {
                    "name": "MISP Export",
                    "custom_fields": {"misp_url": "https://m", "misp_api_key": "k", "score_threshold": "5"},
                }
            ],
            ConnectorSettings(active=True, misp_url="https://m", misp_key="k", score_threshold=5.0),
        ),
        (
            [
                {
                    "name": "MISP Export",
                    "is_active": "False",
                    "custom_fields": [
                        {"name": "MISP URL", "value": "https://m"},
                        {"name": "MISP Authorization Key", "value": "k"},
                        {"name": "Score Threshold", "value": ""},
                    ],
                }
            ],
            ConnectorSettings(active=False, misp_url="https://m", misp_key="k", score_threshold=None),
        ),
        (
            sample("connector_by_name.json")["data"],
            ConnectorSettings(active=True, misp_url="https://misp.example", misp_key="REDACTED", score_threshold=5.0),
        ),
        (
            [{"name": "Another"}, "text", {"name": "MISP Export", "is_active": "", "custom_fields": None}],
            ConnectorSettings(active=False, misp_url=None, misp_key=None, score_threshold=None),
        ),
    ],
)
async def test_settings_of_the_connector_are_read(rows: list[object], expected: ConnectorSettings | None) -> None:
    """Fields come as a map or as a list, in several spellings; an unknown connector is none."""
    async with serving(answering(json({"total": len(rows), "data": rows}))) as client:
        assert await read_connector(client, "MISP Export") == expected


@pytest.mark.parametrize("answer", [json(sample("connector_missing.json")), json({}), json([]), json({}, 403)])
async def test_a_connector_that_cannot_be_seen_is_none(answer: Callable[[], web.Response]) -> None:
    """It does not exist, or the account may not see connectors."""
    async with serving(answering(answer)) as client:
        assert await read_connector(client, "MISP Export") is None


@pytest.mark.parametrize("threshold", ["high", "nan", "inf", "5%"])
async def test_a_threshold_that_is_no_number_is_named(threshold: str) -> None:
    """What people type into a field is read as they meant it, or not at all."""
    row = {"name": "MISP Export", "custom_fields": {"score_threshold": threshold}}
    async with serving(answering(json({"total": 1, "data": [row]}))) as client:
        with pytest.raises(ValueError, match=threshold):
            await read_connector(client, "MISP Export")


def test_the_key_of_the_connector_is_masked() -> None:
    """The key of MISP does not come into a log by way of a repr."""
    assert "secret-key" not in repr(ConnectorSettings(True, "https://m", "secret-key", 5.0))
