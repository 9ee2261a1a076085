"""Both simulators and the exporter, each in a process that can be killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT
from tqmisp.simulators.sandbox import Endpoints

PATIENCE = 60.0
"""Seconds for what should take a moment."""


class Servers:
    """Both simulators on a state folder, which is what survives of MISP; ThreatQ's rows are in a file."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.endpoints: Endpoints
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, corpus: Path) -> None:
        """Serve a corpus, at the same addresses as before."""
        command = [sys.executable, "-m", "tqmisp.simulators", "--state", str(self.state), "--corpus", str(corpus)]
        process = subprocess.Popen(  # noqa: S603  our own module
            [*command, "--end-with-stdin"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._process = process
        line = process.stdout.readline() if process.stdout else b""
        if not line:
            raise RuntimeError("the simulators ended before they were ready")
        self.endpoints = Endpoints(**json.loads(line))

    def kill(self) -> None:
        """Send SIGKILL, whatever they are doing."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let them end in order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.communicate(timeout=PATIENCE)
            self._process = None

    def requests(self) -> Counter[str]:
        """How often each route was asked for since the start."""
        found: Counter[str] = Counter()
        for server in (self.endpoints.threatq, self.endpoints.misp):
            with urllib.request.urlopen(f"{server['url']}/_simulator/requests", timeout=PATIENCE) as answer:  # noqa: S310
                found.update(json.load(answer))
        return found


class Exporter:
    """One run of the exporter, as an operator would start it."""

    def __init__(self, config: str, state: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self._out = tempfile.TemporaryFile()  # noqa: SIM115  until close(); a pipe that nobody reads would fill up
        self._words = tempfile.TemporaryFile()  # noqa: SIM115
        places: Sequence[str] = ("--config", config, "--state", str(state))
        self._process = subprocess.Popen(  # noqa: S603  our own module
            [sys.executable, "-m", "tqmisp", "run", *places, "--json", "--no-progress", *arguments],
            cwd=ROOT,
            stdout=self._out,
            stderr=self._words,
            env={**os.environ, **(environment or {})},
        )

    def ended(self, within: float) -> bool:
        """Whether it has ended, now or within so many seconds."""
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """Send SIGKILL, whatever it is doing."""
        self._process.kill()
        self._process.wait()

    @property
    def exit_code(self) -> int:
        """After its end."""
        return self._process.returncode

    def receipt(self) -> dict[str, Any] | None:
        """The receipt that it printed; None where it did not come so far."""
        self._out.seek(0)
        said = self._out.read()
        receipt: dict[str, Any] | None = json.loads(said) if said else None
        return receipt

    def words(self) -> str:
        """The end of what it logged."""
        self._words.seek(0)
        return self._words.read()[-2000:].decode(errors="replace")

    def close(self) -> None:
        """See to it that nothing is left of it."""
        self.kill()
        self._out.close()
        self._words.close()
