"""The life of an export between simulators that fail on purpose, and what is in MISP afterwards."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import orjson
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from tqmisp.cli.common import exit_code
from tqmisp.config import Settings, StateOptions
from tqmisp.errors import TqmispError
from tqmisp.export import Export
from tqmisp.misp.identity import as_text, identify, namespace
from tqmisp.misp.options import EventOptions, MispOptions
from tqmisp.simulators import misp, threatq
from tqmisp.simulators.faults import FAULTS, FaultPlan, Injector
from tqmisp.simulators.misp.model import Attribute
from tqmisp.simulators.threatq import Library, ThreatQSimulatorOptions
from tqmisp.threatq.options import ThreatQOptions

Content = dict[str, Any]
"""By UUID, everything that MISP holds of an event or an attribute."""
RUNS = 2
"""So often an export is started until everything is there."""
_NAMESPACE = "faults"
_COMPARED = [each.name for each in fields(Attribute) if each.name not in {"id", "event", "timestamp", "tags"}]
"""Numbers and times differ from one undisturbed export to the next."""
_ANALYST = "aaaaaaaa-0000-4000-8000-000000000001"
_OLDER = "aaaaaaaa-0000-4000-8000-000000000002"


@dataclass
class Trial:
    """What became of one life.

    Attributes:
        plan: what was to go wrong.
        injected: how often each kind struck, by ``server:route``.
        requests: how often each ``server:METHOD /route`` was asked for.
        retries: how many of these were repetitions.
        runs: how often an export was started; once in each of the three stages where nothing goes wrong.
        ends: exit codes of the runs that did not end well; 0 where one ended well and something was not there yet.
        seconds: all of it.
        read: how many indicators were read in all.
        contents: what MISP held after each stage.
    """

    plan: FaultPlan
    injected: Counter[tuple[str, str]] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    runs: int = 0
    ends: list[int] = field(default_factory=list)
    seconds: float = 0.0
    read: int = 0
    contents: list[Content] = field(default_factory=list, repr=False)


async def live(
    indicators: int,
    plan: FaultPlan | None = None,
    expected: Sequence[Content] = (),
    *,
    patience: float = 0.5,
    page: int = 100,
    runs: int = RUNS,
) -> Trial:
    """Export, let the world change, and export again, each time under the faults of a plan from its beginning.

    The changes are such that every route is used that an export knows: indicators change, expire and come; one of
    those that come has been added to the event by an analyst, another one lives in an older event. Then some are
    deleted in ThreatQ, which only a full export can see.

    Args:
        indicators: how many are generated.
        plan: what goes wrong.
        expected: what MISP should hold after each stage; until it does, the export is started again.
        patience: seconds after which a request is given up.
        page: rows a page, and attributes a chunk.
        runs: so often an export is started at most.
    """
    trial = Trial(plan or FaultPlan())
    began = time.perf_counter()
    async with _world(indicators, patience, page) as world:
        for stage in range(3):
            if stage == 1:
                await world.change()
            if stage == 2:
                world.delete()
            for injector in world.injectors.values():
                injector.follow(trial.plan)
            for _ in range(runs):
                code = await world.export(trial, full=stage == 2)
                content = world.content()
                if code == 0 and (not expected or content == expected[stage]):
                    break
                trial.ends.append(code)
            trial.contents.append(content)
            for server, injector in world.injectors.items():
                for (route, kind), times in injector.injected.items():
                    trial.injected[f"{server}:{route}", kind] += times
                injector.follow(FaultPlan())
        trial.requests = await world.requests()
    trial.seconds = time.perf_counter() - began
    return trial


@dataclass
class _World:
    """Both servers, and settings that fit."""

    library: Library
    store: misp.MispStore
    settings: Settings
    injectors: dict[str, Injector]
    urls: dict[str, str]

    async def export(self, trial: Trial, *, full: bool) -> int:
        """Run an export as the command line would; give its exit code."""
        trial.runs += 1
        export = None
        try:
            async with Export.open(self.settings) as export:
                receipt = await export.run(full=full)
        except TqmispError as error:
            return error.exit_code
        finally:
            if export is not None:
                trial.retries += export.progress.retries
                trial.read += export.progress.read
        trial.retries += receipt.source["retries"]
        return exit_code(receipt, None)

    async def change(self) -> None:
        """Let ThreatQ and MISP change between two exports."""
        names = self._names()
        for name in names[:5]:
            self.library.change(name, {"description": "seen again", "score": 9})
        for name in names[5:8]:
            self.library.expire(name)
        new = {"type": {"id": 11, "name": "FQDN"}, "score": 5}
        self.library.add(new | {"value": f"new{number}.example"} for number in range(10))
        newest = max(self.store.events(), key=lambda event: event.id)
        theirs = {"type": "domain", "category": "Network activity", "value": "new0.example", "uuid": _ANALYST}
        await self._post(f"/attributes/add/{newest.uuid}", theirs, misp.key_of("admin"))
        ours = as_text(identify(namespace("", _NAMESPACE), "domain", "Network activity", "new1.example")[0])
        held = theirs | {"value": "new1.example", "uuid": ours, "timestamp": "1"}
        await self._post("/events/add", {"Event": {"uuid": _OLDER, "info": "older", "Attribute": [held]}})

    def delete(self) -> None:
        """Let some indicators be gone from ThreatQ."""
        for name in self._names()[10:13]:
            self.library.delete(name)

    def _names(self) -> list[int]:
        """The ids of the active names of hosts."""
        rows = (self.library.row(place) for place in range(len(self.library)))
        return [row["id"] for row in rows if row["status"]["name"] == "Active" and row["type"]["name"] == "FQDN"]

    async def _post(self, path: str, body: object, key: str = misp.DEFAULT_KEY) -> None:
        headers = {"Authorization": key, "Accept": "application/json"}
        async with ClientSession(headers=headers) as session, session.post(self.urls["misp"] + path, json=body) as got:
            got.raise_for_status()

    async def requests(self) -> Counter[str]:
        """What both servers were asked for."""
        found: Counter[str] = Counter()
        async with ClientSession() as session:
            for server, url in self.urls.items():
                async with session.get(f"{url}/_simulator/requests") as answer:
                    found.update({f"{server}:{name}": n for name, n in orjson.loads(await answer.read()).items()})
        return found

    def content(self) -> Content:
        """Everything that MISP holds, without what differs from one undisturbed export to the next."""
        found: Content = {}
        for event in self.store.events():
            tags = sorted(link.tag.name for link in event.tags)
            found[event.uuid] = (event.info, event.date, event.distribution, event.analysis, event.published, tags)
            for attribute in self.store.attributes(event.uuid, deleted=True):
                tags = sorted(link.tag.name for link in attribute.tags or ())
                found[attribute.uuid] = (*(getattr(attribute, name) for name in _COMPARED), tags)
        # twins would share a key above only by their UUID, which MISP does not allow
        return found


@asynccontextmanager
async def _world(indicators: int, patience: float, page: int) -> AsyncIterator[_World]:
    library = threatq.generate(indicators)
    last = max(library.columns.dates["touched_at"])
    library.now = lambda: last / 1000 + 60  # so that two lives have the same dates
    store = misp.MispStore()
    there, here = threatq.create_app(library), misp.create_app(store)
    account = ThreatQSimulatorOptions()
    async with TestServer(there) as source, TestServer(here) as target:
        urls = {"threatq": str(source.make_url("")), "misp": str(target.make_url(""))}
        urls = {server: url.rstrip("/") for server, url in urls.items()}
        with tempfile.TemporaryDirectory() as state:
            settings = Settings(
                threatq=ThreatQOptions(
                    url=urls["threatq"],
                    client_id=account.client_id,
                    email=account.email,
                    password=SecretStr(account.password),
                    page_size=page,
                    read_timeout=patience,
                    backoff=0.01,
                    backoff_max=0.1,
                    patience=0.0,
                ),
                misp=MispOptions(
                    url=urls["misp"],
                    key=SecretStr(misp.DEFAULT_KEY),
                    chunk_size=page,
                    read_timeout=patience,
                    backoff=0.01,
                    backoff_max=0.1,
                    patience=0.0,
                    settle_seconds=0.2,
                    unclear_seconds=0.3,
                ),
                events=EventOptions(namespace=_NAMESPACE, publish=True, tags=("tlp:green", "faulty")),
                state=StateOptions(path=state),
            )
            yield _World(library, store, settings, {"threatq": there[FAULTS], "misp": here[FAULTS]}, urls)
