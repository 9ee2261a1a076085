"""Running a contender in a process of its own, and looking at it from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MOST_SAMPLES = 160
GLANCE = 0.05
"""Seconds between two looks at the memory."""
FIRST_INTERVAL = 0.1
"""Seconds between two samples; doubled whenever there are too many."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process went."""

    told: dict[str, Any]
    """The JSON that it printed."""
    wall_seconds: float
    """From its start to its end, the start of the interpreter and all imports with it."""
    cpu_seconds: float
    peak_rss_mb: float
    samples: list[dict[str, float]]


def run(command: Sequence[str], look: Callable[[], dict[str, float]]) -> Ended:
    """Run a Python module to its end.

    The peak is the high-water mark that the kernel keeps, as it was seen last; the one that a parent is told in the end
    holds that of the parent, too.

    Args:
        command: the module and its arguments.
        look: gives what else belongs into a sample.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as words:
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=out, stderr=words)  # noqa: S603
        sampler = _Sampler(process.pid, began, look)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        sampler.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        words.seek(0)
        said = out.read()
        if process.returncode != 0:
            raise RuntimeError(
                f"{command[0]} ended with {process.returncode}: {said[-2000:]!r} {words.read()[-4000:]!r}"
            )
    return Ended(
        json.loads(said),
        round(seconds, 3),
        round(usage.ru_utime + usage.ru_stime, 3),
        sampler.peak_rss_mb,
        sampler.samples,
    )


def as_argument(brief: dict[str, Any]) -> str:
    """What a contender is told, as its one argument."""
    return json.dumps(brief)


class _Sampler:
    """A thread that looks at a process every now and then."""

    def __init__(self, pid: int, began: float, look: Callable[[], dict[str, float]]) -> None:
        self.samples: list[dict[str, float]] = []
        self.peak_rss_mb = 0.0
        self._status = Path(f"/proc/{pid}/status")
        self._began = began
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        interval, due = FIRST_INTERVAL, self._began
        while not self._over.wait(GLANCE):
            memory = _memory(self._status)
            if memory is None:
                continue
            self.peak_rss_mb = memory["VmHWM"]
            now = time.monotonic()
            if now >= due:
                self.samples.append({"seconds": round(now - self._began, 2), "rss_mb": memory["VmRSS"], **self._look()})
                due = now + interval
            if len(self.samples) >= MOST_SAMPLES:
                del self.samples[::2]
                interval *= 2


def _memory(status: Path) -> dict[str, float] | None:
    """Megabytes; None where the process is gone."""
    try:
        words = [line.split() for line in status.read_text().splitlines()]
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = {word[0].rstrip(":"): round(int(word[1]) / 1024, 1) for word in words if word[0] in {"VmHWM:", "VmRSS:"}}
    return found or None
