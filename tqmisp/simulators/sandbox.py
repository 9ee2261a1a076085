"""Both simulators in one process: served here, or started as a child.

With a state folder the simulated MISP keeps what it was sent, and both answer at the same addresses when they are
started again. What was changed in the simulated ThreatQ while it ran is not kept.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import orjson
from aiohttp import web

from tqmisp.errors import ConfigError
from tqmisp.simulators import misp, threatq
from tqmisp.simulators.faults import FaultPlan

GENERATED = 70_000
"""Indicators where none are asked for: enough for three events."""
PORTS = "ports.json"
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
    """A folder that outlives the servers; without it, all is gone at the end."""
    ready_file: Path | None = None
    """Where to write the line that says where the servers are."""
    threatq_port: int = 0
    misp_port: int = 0
    """Where to listen; 0 is where the state folder says that they were, or any free port."""
    faults: str | None = None
    """What is to go wrong, as :meth:`tqmisp.simulators.faults.FaultPlan.parse` reads it."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the servers are, and how to log in."""

    threatq: dict[str, str] = field(repr=False)
    """``url``, ``client_id``, ``email``, ``password`` and ``client_secret``."""
    misp: dict[str, str] = field(repr=False)
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
        ConfigError: the corpus or the faults cannot be read, a port is taken, or another sandbox uses the state folder.
    """
    plan = FaultPlan.parse(options.faults or "")
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(options.state))
        library = await anyio.to_thread.run_sync(_library, options)
        store = await anyio.to_thread.run_sync(misp.MispStore, folder / "misp" if options.state else None)
        stack.callback(store.close)
        ports = _remembered(folder)
        key = misp.DEFAULT_KEY
        app = misp.create_app(store, faults=plan)
        async with _listening(app, options.misp_port, ports.get("misp", 0)) as misp_port:
            account = threatq.ThreatQSimulatorOptions(misp_url=_url(misp_port), misp_key=key)
            app = threatq.create_app(library, account, faults=plan)
            async with _listening(app, options.threatq_port, ports.get("threatq", 0)) as threatq_port:
                endpoints = _endpoints(account, threatq_port, folder / "tqmisp.toml")
                _write_whole(folder / PORTS, orjson.dumps({"threatq": threatq_port, "misp": misp_port}))
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
    with tempfile.TemporaryFile() as words:
        # the child sees the end of its standard input when this process is gone, however it went
        process = await anyio.open_process(_command(options), stderr=words, start_new_session=True)
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
                raise ConfigError(f"The simulators did not start: {_reason(words.read())}")
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


def _command(options: SandboxOptions) -> list[str]:
    """The command line of :mod:`tqmisp.simulators.__main__`."""
    given = {
        "--indicators": options.indicators if options.corpus is None else None,
        "--corpus": options.corpus,
        "--seed": options.seed,
        "--state": options.state,
        "--ready-file": options.ready_file,
        "--threatq-port": options.threatq_port,
        "--misp-port": options.misp_port,
        "--faults": options.faults,
    }
    words = [word for name, value in given.items() if value is not None for word in (name, str(value))]
    return [sys.executable, "-m", "tqmisp.simulators", "--end-with-stdin", *words]


def _reason(said: bytes) -> str:
    """What a process that failed wrote: its one line, or all of a traceback."""
    text = said.decode(errors="replace").strip()
    last = text.splitlines()[-1] if text else "it said nothing"
    return last.removeprefix("error: ") if last.startswith("error: ") or not text else text


@contextmanager
def _folder(state: Path | None) -> Iterator[Path]:
    """Hold a folder for this sandbox alone: the one of the state, or one that goes when the sandbox does.

    The system lets go of the lock however the process ends.
    """
    with ExitStack() as stack:
        if state is None:
            passing = tempfile.TemporaryDirectory(prefix="tqmisp-sandbox-", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(passing))
        else:
            folder = state.absolute()
            folder.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context((folder / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"Another sandbox uses {folder}. Stop it first, or choose another --state.") from None
        yield folder


def _remembered(folder: Path) -> dict[str, int]:
    """The ports of the last time, so that the addresses stay the same."""
    try:
        ports = orjson.loads((folder / PORTS).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return {name: port for name, port in ports.items() if isinstance(port, int)} if isinstance(ports, dict) else {}


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
async def _listening(app: web.Application, port: int, remembered: int) -> AsyncIterator[int]:
    """Serve an application on this machine only; gives the port.

    Args:
        app: the application.
        port: where to listen; 0 leaves it open.
        remembered: where to listen then, if it is free.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, "127.0.0.1", port or remembered).start()
        except OSError as error:
            if port:
                raise ConfigError(f"Port {port} of 127.0.0.1 cannot be used: {error.strerror}") from error
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _endpoints(account: threatq.ThreatQSimulatorOptions, port: int, config: Path) -> Endpoints:
    login = {name: getattr(account, name) for name in ("client_id", "email", "password", "client_secret")}
    return Endpoints({"url": _url(port)} | login, {"url": account.misp_url, "key": account.misp_key}, str(config))


def _write_config(endpoints: Endpoints, folder: Path) -> None:
    """A configuration with which everything works as against real servers."""
    sections = {
        "threatq": {name: endpoints.threatq[name] for name in ("url", "client_id", "email", "password")},
        "misp": endpoints.misp,
        "events": {"namespace": "sandbox"},  # ports may differ from start to start; identities must not
        "state": {"path": str(folder / "journal")},
    }
    lines: list[str] = []
    for name, section in sections.items():
        # a text of JSON is a text of TOML
        lines += [f"[{name}]", *(f"{key} = {orjson.dumps(value).decode()}" for key, value in section.items()), ""]
    _write_whole(folder / "tqmisp.toml", "\n".join(lines).encode())


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that nobody can see half-written, for its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
    draft.replace(path)
