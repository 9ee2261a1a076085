from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tqmisp.schedule import State, Turn, systemd


@pytest.fixture(params=["in the file system", "outside of it"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listens as systemd does."""
    path = str(tmp_path / "notify") if request.param == "in the file system" else f"@tqmisp-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(5)
        listener.bind(path.replace("@", "\0", 1) if path.startswith("@") else path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield listener


def _heard(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


def test_what_is_told(manager: socket.socket) -> None:
    """Assignments, one a line."""
    systemd.tell("READY=1")
    assert _heard(manager) == "READY=1"
    systemd.tell_reloading()
    reloading, since = _heard(manager).splitlines()
    assert reloading == "RELOADING=1"
    assert since.partition("=")[0] == "MONOTONIC_USEC"
    assert int(since.partition("=")[2]) > 0


def test_the_line_of_status(manager: socket.socket) -> None:
    """What runs, what comes, and what went wrong."""
    state = State(0)
    state.running_since = 1_700_000_000
    systemd.tell_state(state)
    assert _heard(manager) == "STATUS=running since 2023-11-14T22:13:20Z"
    state.running_since, state.next, state.refused = None, 1_700_014_400, "tqmisp.toml: no\nREADY=1"
    for _ in range(2):
        state.count(Turn("failed", 3, "ThreatQ is away\nSTOPPING=1", 1_700_000_000, 1_700_000_060))
    systemd.tell_state(state)
    assert _heard(manager) == (
        "STATUS=next run at 2023-11-15T02:13:20Z, last run failed with exit code 3, "
        "2 failures in a row, configuration refused"
    )


async def test_the_watchdog_is_fed(manager: socket.socket) -> None:
    """As long as the loop turns."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(systemd.keep_alive, 0.001)
        for _ in range(3):
            assert await anyio.to_thread.run_sync(_heard, manager) == "WATCHDOG=1"
        tasks.cancel_scope.cancel()


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, or after the manager has gone: nothing happens."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.tell("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "absent"))
    systemd.tell("READY=1")


def test_how_long_the_watchdog_waits() -> None:
    """Only for the process that is meant."""
    assert systemd.watchdog_seconds({}) is None
    assert systemd.watchdog_seconds({"WATCHDOG_USEC": "120000000"}) == 120
    assert systemd.watchdog_seconds({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid())}) == 120
    assert systemd.watchdog_seconds({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "1"}) is None
    assert systemd.watchdog_seconds({"WATCHDOG_USEC": "0"}) is None
    assert systemd.watchdog_seconds({"WATCHDOG_USEC": "soon"}) is None
