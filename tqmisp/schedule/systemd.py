"""Telling systemd how it goes, where it has asked for it; see sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

import anyio

from tqmisp.log import get_logger
from tqmisp.schedule.state import State, moment

log = get_logger(__name__)


def tell(*assignments: str) -> None:
    """Send assignments such as ``READY=1``; does nothing where no systemd listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # a name outside the file system
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)  # a manager that does not listen must not stop the loop
            out.sendto("\n".join(assignments).encode(), address)
    except OSError as error:
        log.debug("systemd could not be told", error=error.strerror)


def tell_state(state: State) -> None:
    """Put the state into one line, as ``systemctl status`` shows it."""
    words = []
    if state.running_since is not None:
        words.append(f"running since {moment(state.running_since)}")
    elif state.next is not None:
        words.append(f"next run at {moment(state.next)}")
    if state.last is not None:
        words.append(f"last run {state.last.outcome} with exit code {state.last.exit_code}")
    if state.failures_in_a_row > 1:
        words.append(f"{state.failures_in_a_row} failures in a row")
    if state.refused:
        words.append("configuration refused")
    tell("STATUS=" + ", ".join(words))


def tell_reloading() -> None:
    """Say that the configuration is read again; ``READY=1`` follows."""
    tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_seconds(env: Mapping[str, str]) -> float | None:
    """After how many seconds of silence systemd takes us for dead; None where it does not watch."""
    microseconds, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdecimal() or pid != str(os.getpid()) or int(microseconds) == 0:
        return None
    return int(microseconds) / 1e6


async def keep_alive(seconds: float) -> None:
    """Show that the event loop turns, twice as often as needed, until cancelled."""
    while True:
        tell("WATCHDOG=1")
        await anyio.sleep(seconds / 2)
