"""``python -m benchmarks.controller``: what the controller finds out about servers that it knows nothing of.

Attributes go to a simulated MISP in a process of its own through the sink of the exporter, without ThreatQ, mapping or
journal. The share of the saturated rate counts from the end of the 20th request on, everything included: trials, and
looking up what has been stored.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import orjson
from anyio.streams.memory import MemoryObjectReceiveStream
from pydantic import SecretStr

from benchmarks.rounds import saturated
from benchmarks.servers import MispSetup, Server, start
from benchmarks.verdicts import used
from tqmisp.misp import identity
from tqmisp.misp.client import MispClient
from tqmisp.misp.options import EventOptions, MispOptions
from tqmisp.misp.sink import MispSink
from tqmisp.model import Change, EventRef, Planned
from tqmisp.pipeline.adaptive import Decision
from tqmisp.pipeline.protocols import Slice
from tqmisp.pipeline.retry import RetryPolicy

MEASURED = "measured-2.5.1"
SERVERS = {
    "two-workers": (MispSetup(calibration=MEASURED), 60_000),
    "eight-workers": (MispSetup(calibration=MEASURED, workers=8), 240_000),
    "halving": (MispSetup(calibration=MEASURED, halves_after=30_000), 60_000),
}
"""Each with the attributes to send there."""
SLICE = 4_500
EVENT = 22_500
SPACE = identity.namespace("https://benchmark.example")


def planned(number: int, timestamp: int) -> Planned:
    """An attribute that MISP does not have."""
    value = f"host{number}.benchmark.example"
    uuid = identity.identify(SPACE, "domain", "Network activity", value)[0]
    body = {
        "uuid": identity.as_text(uuid),
        "type": "domain",
        "category": "Network activity",
        "value": value,
        "to_ids": True,
        "comment": "ThreatQ 4711, score 7, first seen by a source with a name of ordinary length",
        "timestamp": str(timestamp),
    }
    return Planned(number, uuid, b"", number, timestamp, Change.CREATE, orjson.dumps(body), b"")


async def slices(attributes: int) -> AsyncIterator[Slice[EventRef, Planned]]:
    """Slices as the pipeline makes them."""
    timestamp = int(time.time())
    for first in range(0, attributes, SLICE):
        part = first // EVENT + 1
        ref = EventRef(part, identity.event_uuid(SPACE, "Benchmark", "2026-11-24", part), f"Benchmark {part}", "")
        items = [planned(number, timestamp) for number in range(first, min(first + SLICE, attributes))]
        yield Slice(ref, items, sum(len(item.body) for item in items))


async def deliver(server: Server, attributes: int, **pinned: int) -> Sequence[Decision]:
    """Deliver so many attributes with nothing known; gives what the controller decided."""
    options = MispOptions(url=server.url, key=SecretStr(server.login["key"]), **pinned)  # type: ignore[arg-type]
    async with MispClient.connect(options) as client:
        sink = MispSink(client, options, EventOptions(), retry=RetryPolicy())
        send, receive = anyio.create_memory_object_stream[Slice[EventRef, Planned]](0)

        async def consume(parts: MemoryObjectReceiveStream[Slice[EventRef, Planned]]) -> None:
            async with parts:
                async for part in parts:
                    outcome = await sink.deliver(part)
                    if len(outcome.stored) != len(part.items):
                        raise RuntimeError(f"{len(part.items) - len(outcome.stored)} attributes did not arrive")

        began = time.monotonic()
        async with anyio.create_task_group() as tasks, send, receive:
            for _ in range(options.consumers):
                tasks.start_soon(consume, receive.clone())
            async for part in slices(attributes):
                await send.send(part)
        return [decision._replace(time=decision.time - began) for decision in sink.pace.controller.decisions]


def measure(setup: MispSetup, attributes: int, **pinned: int) -> dict[str, Any]:
    """One run against a server of its own."""
    with start(setup) as server:
        decisions = anyio.run(lambda: deliver(server, attributes, **pinned))
        writes = server.ask("/writes")
    most = saturated(setup) or 0.0
    last = decisions[-1]
    return {
        "attributes": attributes,
        "saturated": most,
        "share": round(used(writes, most, setup.halves_after), 3),
        "in_flight": last.in_flight,
        "chunk": last.chunk,
        "decisions": [decision._asdict() for decision in decisions],
    }


def write_csv(decisions: Sequence[dict[str, Any]], place: Path) -> None:
    """A line for each decision."""
    with place.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["seconds", "in_flight", "chunk", "attributes_a_second", "seconds_a_request", "reason"])
        for each in decisions:
            figures = round(each["rate"]), round(each["latency"], 2)
            out.writerow([round(each["time"], 1), each["in_flight"], each["chunk"], *figures, each["reason"]])


def main() -> None:
    """Measure, and print or keep the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.controller", description=__doc__)
    parser.add_argument("servers", nargs="*", choices=[[], *SERVERS], metavar="SERVER", help=", ".join(SERVERS))
    parser.add_argument("--csv", type=Path, metavar="FOLDER", help="write the decisions about each server there")
    parser.add_argument("--in-flight", type=int, metavar="N", help="pin the requests in flight")
    parser.add_argument("--chunk", type=int, metavar="N", help="pin the attributes a request")
    parser.add_argument("--consumers", type=int, metavar="N", help="slices at the same time")
    given = parser.parse_args()
    pins = {"requests_in_flight": given.in_flight, "chunk_size": given.chunk, "consumers": given.consumers}
    pinned = {name: value for name, value in pins.items() if value}
    for name in given.servers or SERVERS:
        setup, attributes = SERVERS[name]
        result = measure(setup, attributes, **pinned)
        if given.csv:
            given.csv.mkdir(parents=True, exist_ok=True)
            write_csv(result["decisions"], given.csv / f"controller-{name}.csv")
        del result["decisions"]
        print(json.dumps({"server": name, **result}), flush=True)


if __name__ == "__main__":
    main()
