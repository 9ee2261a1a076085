"""The two servers that every contender meets, each in a process of its own.

They are the simulators that the package ships, watched: what they were asked, and when, is told at
``/_simulator/bench``. ThreatQ's pages are made once and remembered, so that making them costs the contenders nothing;
MISP begins empty.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import anyio
from aiohttp import web

from benchmarks.process import ROOT
from benchmarks.watch import PLACE, MispWatch, ThreatQWatch
from tqmisp.simulators import misp, threatq
from tqmisp.simulators.faults import FaultPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatQSetup:
    """A ThreatQ with so many indicators."""

    indicators: int
    latency: float = 0.0
    """Seconds for each page."""
    faults: str = ""
    """What goes wrong, as ``tqmisp sandbox --faults`` takes it; pages are made anew each time then."""
    record: str | None = None
    """The file to write each request for a page to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MispSetup:
    """A MISP without events."""

    calibration: str = "instant"
    """A name in :data:`tqmisp.simulators.misp.CALIBRATIONS`."""
    workers: int | None = None
    """Instead of the calibration's; each has a processor of its own then, and none slows another."""
    halves_after: int | None = None
    """Attributes after which everything takes twice as long."""
    faults: str = ""
    """As at ThreatQ."""
    record: str | None = None
    """The file to write each writing request to."""

    def options(self) -> misp.MispSimulatorOptions:
        """What the simulator is told."""
        options = misp.CALIBRATIONS[self.calibration]
        if self.workers is None:
            return options
        return replace(options, workers=self.workers, contention=0.0, crosstalk=0.0)


class Server:
    """A server that was started."""

    def __init__(self, told: dict[str, str]) -> None:
        self.url = told["url"]
        self.login = told

    def ask(self, what: str = "") -> Any:  # noqa: ANN401 - JSON
        """What the watch has seen: counters, or with ``/writes`` each writing request."""
        return self._get(f"{PLACE}{what}")

    def faults(self) -> int:
        """How many requests were struck by a fault so far."""
        return int(self._get("/_simulator/faults")["injected"])

    def _get(self, path: str) -> Any:  # noqa: ANN401
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:  # noqa: S310  our own server
            return json.load(answer)


@contextmanager
def start(setup: ThreatQSetup | MispSetup) -> Iterator[Server]:
    """Serve until the end of the block."""
    given = json.dumps({"product": type(setup).__name__, **asdict(setup)})
    process = subprocess.Popen(  # noqa: S603  our own module
        [sys.executable, "-m", "benchmarks.servers", given], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        line = process.stdout.readline() if process.stdout else b""
        if not line:
            raise RuntimeError(f"the server ended before it was ready: {given}")
        yield Server(json.loads(line))
    finally:
        process.terminate()  # what it holds is not worth an orderly end
        process.communicate()


async def _serve(setup: ThreatQSetup | MispSetup) -> None:
    faults = FaultPlan.parse(setup.faults)
    if isinstance(setup, ThreatQSetup):
        account = threatq.ThreatQSimulatorOptions()
        pages = ThreatQWatch(latency=setup.latency, record=setup.record, remembers=not setup.faults)
        library = threatq.generate(setup.indicators)
        app = threatq.create_app(library, account, middlewares=[pages.middleware], faults=faults)
        told = {name: getattr(account, name) for name in ("client_id", "email", "password")}
    else:
        store = misp.MispStore()
        writes = MispWatch(store, halves_after=setup.halves_after, record=setup.record)
        app = misp.create_app(store, setup.options(), middlewares=[writes.middleware], faults=faults)
        told = {"key": misp.DEFAULT_KEY}
    gc.freeze()
    gc.set_threshold(100_000, 50, 1_000)  # a million stored attributes are no garbage
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    told["url"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    print(json.dumps(told), flush=True)
    await anyio.wait_readable(sys.stdin.fileno())  # nobody writes to it: it is the end of the process that started us
    await runner.cleanup()


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    kind = {each.__name__: each for each in (ThreatQSetup, MispSetup)}[asked.pop("product")]
    asyncio.run(_serve(kind(**asked)))
