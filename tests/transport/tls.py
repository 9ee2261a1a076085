"""A server that wants to see a certificate."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import anyio


async def make_certificates(folder: Path) -> None:
    """``server``, ``client`` and ``stranger`` signed by themselves, and a key that has a passphrase."""
    for name in ("server", "client", "stranger"):
        made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=" + name
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        await anyio.run_process([*made.split(), "-addext", "subjectAltName=IP:127.0.0.1", *files])
    locked = ["openssl", "ec", "-in", str(folder / "client.key"), "-aes256", "-passout", "pass:secret"]
    await anyio.run_process([*locked, "-out", str(folder / "locked.key")])


class Answers(BaseHTTPRequestHandler):
    """Answers every request in the same way."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        body = b'{"access_token": "t"}'
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


class Doorkeeper(ThreadingHTTPServer):
    """Shakes hands; those who are not let in have the time to read why, before it hangs up."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self._context = context

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        plain, address = super().get_request()
        secured = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        try:
            secured.do_handshake()
        except OSError:
            with secured, suppress(OSError):
                secured.shutdown(socket.SHUT_WR)
                while secured.recv(4096):
                    pass
            raise
        return secured, address


@contextmanager
def demanding(folder: Path, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Iterator[str]:
    """A server that lets in only those who show the certificate of ``client``; gives its address.

    It has a thread, since that of asyncio hangs up without a word on those that it does not let in.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "client.pem"))
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = most
    with Doorkeeper(context) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def shown(folder: Path, name: str) -> dict[str, Any]:
    """The settings with which we show a certificate."""
    files = {"client_cert_file": str(folder / f"{name}.pem"), "client_key_file": str(folder / f"{name}.key")}
    return files | {"ca_file": str(folder / "server.pem")}
