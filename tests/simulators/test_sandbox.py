from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from aiohttp import ClientConnectionError, ClientSession

from tests.simulators.threatq import CORPUS
from tqmisp.errors import ConfigError
from tqmisp.simulators import sandbox
from tqmisp.simulators.sandbox import Endpoints, SandboxOptions, launch, serve

SERVE = [sys.executable, "-m", "tqmisp.simulators", "--indicators", "10"]
PATIENCE = 30.0


async def ask(method: str, url: str, **request: Any) -> Any:
    """The decoded answer of a request that must succeed."""
    async with ClientSession() as session, session.request(method, url, **request) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def total(endpoints: Endpoints) -> int:
    """Log in to the simulated ThreatQ, and ask how many indicators it has."""
    there = endpoints.threatq
    who = {name: there[name] for name in ("client_id", "email", "password")} | {"grant_type": "password"}
    token = (await ask("POST", f"{there['url']}/api/token", json=who))["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    answer = await ask("POST", f"{there['url']}/api/indicators/query", json={}, headers=headers)
    return int(answer["total"])


async def events(endpoints: Endpoints) -> list[Any]:
    """The events of the simulated MISP."""
    found: list[Any] = (await ask("GET", f"{endpoints.misp['url']}/_simulator/summary"))["events"]
    return found


async def add_event(endpoints: Endpoints) -> None:
    """Add an event to the simulated MISP."""
    headers = {"Authorization": endpoints.misp["key"], "Accept": "application/json"}
    await ask("POST", f"{endpoints.misp['url']}/events/add", json={"Event": {"info": "kept"}}, headers=headers)


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[bytes], Endpoints]]:
    """The module as a process of its own, ready; it must have ended when the block does."""
    with subprocess.Popen([*SERVE, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            yield process, Endpoints(**orjson.loads(process.stdout.readline()))
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


async def test_both_servers_answer_as_long_as_the_block_lasts() -> None:
    """The logins that are given work; after the block nobody listens any more."""
    async with launch(SandboxOptions(indicators=123)) as endpoints:
        assert await total(endpoints) == 123
        assert await events(endpoints) == []
        await add_event(endpoints)
        assert len(await events(endpoints)) == 1
        there = Path(endpoints.config).parent
    with pytest.raises(ClientConnectionError):
        await events(endpoints)
    assert not there.exists()


async def test_a_corpus_can_be_served() -> None:
    """A packed file with a row a line."""
    async with launch(SandboxOptions(corpus=CORPUS)) as endpoints:
        assert await total(endpoints) == 12_000


async def test_the_configuration_fits_and_is_for_its_owner_only(tmp_path: Path) -> None:
    """It names both servers, a namespace that does not depend on ports, and a journal beside it."""
    odd = tmp_path / 'a "quoted" folder\\'
    async with launch(SandboxOptions(indicators=1, state=odd)) as endpoints:
        path = Path(endpoints.config)
        assert path.stat().st_mode & 0o777 == 0o600
        assert tomllib.loads(path.read_text()) == {
            "threatq": {name: endpoints.threatq[name] for name in ("url", "client_id", "email", "password")},
            "misp": endpoints.misp,
            "events": {"namespace": "sandbox"},
            "state": {"path": str(odd / "journal")},
        }


async def test_the_ready_file_and_the_callback_say_the_same(tmp_path: Path) -> None:
    """Served in this process: told when both answer, and gone when cancelled."""
    ready_file = tmp_path / "ready.json"
    told: list[Endpoints] = []
    async with anyio.create_task_group() as tasks:

        def ready(endpoints: Endpoints) -> None:
            told.append(endpoints)
            tasks.cancel_scope.cancel()

        with anyio.fail_after(PATIENCE):
            await serve(SandboxOptions(indicators=1, ready_file=ready_file), ready)
    [endpoints] = told
    line = ready_file.read_bytes()
    assert line == endpoints.as_json() + b"\n"
    assert list(orjson.loads(line)) == ["threatq", "misp", "config"]
    assert list(endpoints.threatq) == ["url", "client_id", "email", "password", "client_secret"]
    assert list(endpoints.misp) == ["url", "key"]
    assert endpoints.misp["key"] not in repr(endpoints)
    assert endpoints.threatq["password"] not in repr(endpoints)


async def test_a_second_start_with_the_same_state_goes_on_from_the_first(tmp_path: Path) -> None:
    """Addresses and logins are the same, and MISP has what it was sent."""
    options = SandboxOptions(indicators=1, state=tmp_path / "state")
    async with launch(options) as first:
        await add_event(first)
    async with launch(options) as second:
        assert second == first
        assert [event["info"] for event in await events(second)] == ["kept"]


async def test_a_port_that_somebody_took_meanwhile_is_replaced(tmp_path: Path) -> None:
    """Remembered ports are a wish; the configuration follows."""
    options = SandboxOptions(indicators=1, state=tmp_path)
    async with launch(options) as first:
        pass
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(first.threatq["url"].rpartition(":")[2])))
        other.listen()
        async with launch(options) as second:
            assert second.threatq["url"] != first.threatq["url"]
            assert second.misp == first.misp
            assert await total(second) == 1
            assert tomllib.loads(Path(second.config).read_text())["threatq"]["url"] == second.threatq["url"]


async def test_a_port_that_was_asked_for_must_be_free() -> None:
    """The error names it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Port {port} of 127.0.0.1 cannot be used"):
            async with launch(SandboxOptions(indicators=1, misp_port=port)):
                pass


async def test_two_sandboxes_never_share_their_state(tmp_path: Path) -> None:
    """The second one says so; what MISP keeps would be spoiled."""
    options = SandboxOptions(indicators=1, state=tmp_path)
    async with launch(options) as first:
        with pytest.raises(ConfigError, match="Another sandbox uses"):
            async with launch(options):
                pass
        assert await total(first) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"<html>", "Each line must be one indicator"), (b"[]\n", "line 1 is no indicator")],
)
async def test_a_corpus_that_cannot_be_read_is_an_error_of_the_caller(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    """The words of the process that failed are in the error."""
    path = tmp_path / "rows.ndjson"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"did not start.*rows.ndjson.*{words}"):
        async with launch(SandboxOptions(corpus=path)):
            pass


def stand_in(folder: Path, body: str) -> str:
    """A program to start in the place of Python."""
    path = folder / "stand-in"
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(0o700)
    return str(path)


async def test_everything_that_a_crash_says_is_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only the last line of a traceback."""
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path, "import sys; sys.exit('first\\nlast')"))
    with pytest.raises(ConfigError, match=r"first\nlast"):
        async with launch(SandboxOptions()):
            pass


async def test_a_process_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, and the block ends all the same."""
    body = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('{"threatq": {}, "misp": {}, "config": ""}', flush=True)
while True:
    signal.pause()
"""
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path, body))
    monkeypatch.setattr(sandbox, "STOP_SECONDS", 0.1)
    with anyio.fail_after(PATIENCE):
        async with launch(SandboxOptions()):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(number: signal.Signals) -> None:
    """Without an error, although its standard input is still open."""
    with running("--end-with-stdin") as (process, _):
        process.send_signal(number)


def test_it_ends_with_the_process_that_started_it() -> None:
    """The system closes the pipe of a process that is gone, also after SIGKILL; that is seen."""
    with running("--end-with-stdin") as (process, _):
        assert process.stdin is not None
        process.stdin.close()


def test_on_its_own_it_does_not_look_at_its_standard_input() -> None:
    """A service has none; only a signal ends it."""
    with running() as (process, endpoints):
        assert process.stdin is not None
        process.stdin.close()
        assert anyio.run(total, endpoints) == 10
        process.terminate()
