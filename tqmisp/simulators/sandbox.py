"""Both simulators in one process: served here, or started as a child."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import orjson
from aiohttp import web

from tqmisp.errors import ConfigError
from tqmisp.simulators import misp, threatq

GENERATED = 70_000
"""Indicators where none are asked for: enough for three events."""
STOP_SECONDS = 20.0
"""How long a child may take to end before it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """What to serve."""

    indicators: int = GENERATED
    """How many to generate, where no corpus is named."""
    seed: int = 0
    corpus: Path | None = None
    """A file with a row a line, as ThreatQ's full answer holds it; may be packed by gzip."""
    state: Path | None = None
    """A folder in which the simulated MISP keeps what it was sent; without it, all is gone at the end."""
    ready_file: Path | None = None
    """Where to write the line that says where the servers are."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the servers are, and how to log in."""

    threatq: dict[str, str]
    """``url``, ``client_id``, ``email``, ``password`` and ``client_secret``."""
    misp: dict[str, str]
    """``url`` and ``key``."""
    config: str
    """The path of a configuration file that fits."""

    def as_json(self) -> bytes:
        """One line for a reader that waits for the servers."""
        return orjson.dumps({"threatq": self.threatq, "misp": self.misp, "config": self.config})


async def serve(options: SandboxOptions, ready: Callable[[Endpoints], None]) -> None:
    """Serve both until cancelled.

    Args:
        options: what to serve.
        ready: told where, when both answer.

    Raises:
        ConfigError: the corpus cannot be read.
    """
    with ExitStack() as stack:
        folder = options.state or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="tqmisp-sandbox-", ignore_cleanup_errors=True))
        )
        folder.mkdir(parents=True, exist_ok=True)
        library = await anyio.to_thread.run_sync(_library, options)
        store = await anyio.to_thread.run_sync(misp.MispStore, folder / "misp" if options.state else None)
        stack.callback(store.close)
        key = misp.DEFAULT_KEY
        async with _listening(misp.create_app(store)) as misp_url:
            account = replace(threatq.ThreatQSimulatorOptions(), misp_url=misp_url, misp_key=key)
            async with _listening(threatq.create_app(library, account)) as threatq_url:
                endpoints = Endpoints(
                    {
                        "url": threatq_url,
                        "client_id": account.client_id,
                        "email": account.email,
                        "password": account.password,
                        "client_secret": account.client_secret,
                    },
                    {"url": misp_url, "key": key},
                    str(folder / "tqmisp.toml"),
                )
                _write_config(endpoints, folder)
                if options.ready_file is not None:
                    _write_whole(options.ready_file, endpoints.as_json() + b"\n")
                ready(endpoints)
                await anyio.sleep_forever()


@asynccontextmanager
async def launch(options: SandboxOptions) -> AsyncIterator[Endpoints]:
    """Serve both in a process of their own, which ends with the block, or with this process.

    Raises:
        ConfigError: the process ended before it was ready; its own words are in the error.
    """
    command = [sys.executable, "-m", "tqmisp.simulators"]
    command += ["--corpus", str(options.corpus)] if options.corpus else ["--indicators", str(options.indicators)]
    command += ["--seed", str(options.seed)]
    command += ["--state", str(options.state)] if options.state else []
    with tempfile.TemporaryFile() as words:
        # the child sees the end of its standard input when this process is gone, however it went
        process = await anyio.open_process(command, stderr=words, start_new_session=True)
        async with process:
            assert process.stdout is not None  # noqa: S101  open_process gives a pipe
            line = b""
            async for piece in process.stdout:
                line += piece
                if line.endswith(b"\n"):
                    break
            if not line.endswith(b"\n"):
                await process.wait()
                words.seek(0)
                said = words.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
                raise ConfigError(f"The simulators did not start: {said[-1].removeprefix('error: ')}")
            told: dict[str, Any] = orjson.loads(line)
            try:
                yield Endpoints(**told)
            finally:
                with anyio.CancelScope(shield=True):
                    process.terminate()
                    with anyio.move_on_after(STOP_SECONDS) as patience:
                        await process.wait()
                    if patience.cancelled_caught:
                        process.kill()


def _library(options: SandboxOptions) -> threatq.Library:
    if options.corpus is None:
        return threatq.generate(options.indicators, options.seed)
    try:
        return threatq.from_corpus(options.corpus)
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"The corpus {options.corpus} cannot be read: {error}. Each line must be one indicator as JSON."
        ) from error


@asynccontextmanager
async def _listening(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free port of this machine only."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _write_config(endpoints: Endpoints, folder: Path) -> None:
    """A configuration with which everything works as against real servers."""
    there, here = endpoints.threatq, endpoints.misp
    lines = [
        "[threatq]",
        *(f'{name} = "{there[name]}"' for name in ("url", "client_id", "email", "password")),
        "",
        "[misp]",
        *(f'{name} = "{here[name]}"' for name in ("url", "key")),
        "",
        "[events]",
        'namespace = "sandbox"  # ports differ from start to start; identities should not',
        "",
        "[state]",
        f'path = "{folder / "journal"}"',
        "",
    ]
    _write_whole(folder / "tqmisp.toml", "\n".join(lines).encode())


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that nobody can see half-written, for its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
    draft.replace(path)
