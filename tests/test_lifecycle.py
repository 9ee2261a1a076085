"""Random histories of both servers and of people, against a simple model of what MISP must hold in the end."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.test_export import World, world
from tqmisp.errors import Interrupted
from tqmisp.misp.client import MispClient
from tqmisp.misp.retire import RetireOptions
from tqmisp.observe.receipt import Receipt
from tqmisp.pipeline.limits import Limits
from tqmisp.pipeline.stop import Stop
from tqmisp.simulators.misp.model import Attribute
from tqmisp.simulators.threatq import generate

SEQUENCES = int(os.environ.get("TQMISP_SEQUENCES", "12"))
STATUSES = {"Active": 1, "Expired": 2, "Whitelisted": 5}
DOMAIN = {"id": 11, "name": "FQDN"}


@dataclass
class Known:
    """An indicator, and what must have become of it."""

    value: str
    description: str
    status: str = "Active"
    score: int = 5
    exists: bool = True
    """In ThreatQ."""
    lent: str | None = None
    """The comment that MISP has from us; None as long as it was never delivered."""
    detects: bool = False
    """Whether we have switched to_ids on."""
    comment: str | None = None
    """As people wrote it."""
    silenced: bool = False
    """People have switched to_ids off."""
    deleted: bool = False
    """People have deleted the attribute."""

    @property
    def selected(self) -> bool:
        return self.exists and self.status == "Active" and self.score >= 3


class Histories(RuleBasedStateMachine):
    """New, changed, expired, revived and deleted indicators; deletions and edits in MISP; runs, and runs that die."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.folder = tempfile.TemporaryDirectory()
        self.known: dict[int, Known] = {}
        self.number = 0
        self.die_at: tuple[int, bool] | None = None
        self.stop = Stop()
        self.here: World
        self.misp: MispClient
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        @web.middleware
        async def die(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self.die_at is None:
                return await handler(request)
            left, after = self.die_at
            self.die_at = (left - 1, after)
            if left == 0 and not after:
                self._kill()
                await asyncio.sleep(0)
            answer = await handler(request)
            if left == 0 and after:
                self._kill()
            return answer

        here = await self.stack.enter_async_context(world(generate(0), Path(self.folder.name), die))
        here.settings = replace(
            here.settings,
            retire=RetireOptions(share=1.0),
            pipeline=Limits(slice_bytes=1_500),
            misp=replace(here.settings.misp, chunk_size=3, settle_seconds=0),
            selection=replace(here.settings.selection, score_threshold=3),
        )
        self.here = here
        self.misp = await self.stack.enter_async_context(MispClient.connect(here.settings.misp))

    def _kill(self) -> None:
        self.die_at = None
        self.stop.request("SIGKILL")
        self.stop.abort()

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()
        self.folder.cleanup()

    # -- ThreatQ

    @rule(count=st.integers(1, 6))
    def add(self, count: int) -> None:
        """New indicators."""
        rows: list[dict[str, Any]] = []
        for _ in range(count):
            self.number += 1
            rows.append({"type": DOMAIN, "value": f"n{self.number}.example", "description": f"first {self.number}"})
            rows[-1] |= {"status": {"id": 1, "name": "Active"}, "score": 5, "sources": [], "attributes": [], "tags": []}
        for key, row in zip(self.here.library.add(rows), rows, strict=True):
            self.known[key] = Known(str(row["value"]), str(row["description"]))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), status=st.sampled_from(sorted(STATUSES)), score=st.sampled_from([1, 5]))
    def change(self, data: st.DataObject, status: str, score: int) -> None:
        """Another description, and perhaps another status or score."""
        key = self._pick(data, lambda each: each.exists)
        if key is None:
            return
        self.number += 1
        known = self.known[key]
        known.description, known.status, known.score = f"changed {self.number}", status, score
        changes: dict[str, Any] = {"description": known.description, "score": score}
        self.here.library.change(key, changes | {"status": {"id": STATUSES[status], "name": status}})

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Deleted in ThreatQ."""
        key = self._pick(data, lambda each: each.exists)
        if key is not None:
            self.known[key].exists = False
            self.here.library.delete(key)

    # -- people

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def rewrite(self, data: st.DataObject) -> None:
        """An analyst writes another comment."""
        key = self._pick(data, lambda each: each.lent is not None and not each.deleted)
        if key is not None:
            self.number += 1
            self.known[key].comment = f"analyst {self.number}"
            self._edit(self._attribute(self.known[key]), {"comment": self.known[key].comment})

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def silence(self, data: st.DataObject) -> None:
        """An analyst switches to_ids off."""
        key = self._pick(data, lambda each: each.detects and not each.deleted)
        if key is not None:
            self.known[key].silenced = True
            self._edit(self._attribute(self.known[key]), {"to_ids": False})

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def take_away(self, data: st.DataObject) -> None:
        """An analyst deletes an attribute."""
        key = self._pick(data, lambda each: each.lent is not None and not each.deleted)
        if key is not None:
            self.known[key].deleted = True
            path = f"/attributes/delete/{self._attribute(self.known[key]).uuid}"
            self.runner.run(self.misp.write(path, b"{}"))

    # -- runs

    @rule(full=st.booleans())
    def run_to_the_end(self, full: bool) -> None:  # noqa: FBT001  Hypothesis passes names
        """A run ends, and MISP holds what the model says."""
        receipt = self.runner.run(self._run(full=full))
        [target] = receipt.targets
        assert target.imbalance == []
        assert target.balanced
        assert target.held_back is None
        for known in self.known.values():
            if known.selected:
                known.lent, known.detects = known.description, True
            elif known.lent is not None and (known.exists or full):
                known.detects = False
        self._compare(full=full)
        writes = self.here.store.write_requests
        self.runner.run(self._run(full=full))
        assert self.here.store.write_requests == writes, "a second run has written"

    @rule(full=st.booleans(), after=st.integers(0, 25), done=st.booleans())
    def run_and_die(self, full: bool, after: int, done: bool) -> None:  # noqa: FBT001
        """A run dies at one of its requests to MISP, before or after MISP has done what it asks."""
        self.die_at = (after, done)
        self.stop = Stop()
        with suppress(Interrupted):
            self.runner.run(self._run(full=full, stop=self.stop))
        self.die_at = None
        self.run_to_the_end(full=full)

    async def _run(self, *, full: bool, stop: Stop | None = None) -> Receipt:
        return await self.here.run(full=full, stop=stop)

    def _compare(self, *, full: bool) -> None:
        stored = {each.value: each for each in self.here.store.every_attribute()}
        assert len(stored) == sum(known.lent is not None for known in self.known.values())
        for known in self.known.values():
            if known.lent is None:
                assert known.value not in stored
                continue
            attribute = stored[known.value]
            assert attribute.deleted == known.deleted, known
            if not known.deleted:
                assert attribute.comment == (known.comment or known.lent), known
            if not known.deleted and (known.exists or full):
                assert attribute.to_ids == (known.detects and not known.silenced), known

    # -- helpers

    def _pick(self, data: st.DataObject, fits: Any) -> int | None:
        keys = sorted(key for key, known in self.known.items() if fits(known))
        return data.draw(st.sampled_from(keys)) if keys else None

    def _attribute(self, known: Known) -> Attribute:
        return next(each for each in self.here.store.every_attribute() if each.value == known.value)

    def _edit(self, attribute: Attribute, fields: dict[str, object]) -> None:
        self.runner.run(self.misp.write(f"/attributes/edit/{attribute.uuid}", orjson.dumps(fields)))


TestHistories = pytest.mark.long(Histories.TestCase)
TestHistories.settings = settings(
    max_examples=SEQUENCES,
    stateful_step_count=12,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
