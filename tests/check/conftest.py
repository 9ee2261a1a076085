from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Middleware

from tqmisp.check import Finding, check
from tqmisp.config import Settings, load
from tqmisp.simulators import misp, threatq

ACCOUNT = threatq.ThreatQSimulatorOptions()


class Rig:
    """Two simulated servers, a configuration that fits them, and what the checks find."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.store = misp.MispStore()
        self.threatq = ACCOUNT
        # what we need and no more, so that no test sends 50 MiB for nothing
        self.misp = misp.MispSimulatorOptions(body_limit=2 * 2**20)
        self.middlewares: list[Middleware] = []
        self.values: dict[str, Any] = {}
        self.env: dict[str, str] = {}
        self._stack = stack

    def user(self, of: str = "Sync user", **changes: Any) -> None:
        """Let the key belong to this user."""
        (found,) = (user for user in misp.MispSimulatorOptions().users if user.role.name == of)
        key = misp.key_of("somebody")
        self.misp = replace(self.misp, users=(replace(found, key=key, **changes),))
        self.values["misp.key"] = key

    async def serve(self, app: web.Application, **changes: Any) -> str:
        """Serve an application until the end of the test; gives its address."""
        server = await self._stack.enter_async_context(TestServer(app, **changes))
        return str(server.make_url("")).rstrip("/")

    def closing(self, close: Callable[[], Awaitable[None]]) -> None:
        """Call something at the end of the test."""
        self._stack.push_async_callback(close)

    async def settings(self) -> Settings:
        """Start the servers and write the configuration."""
        library = threatq.generate(300)
        there = await self.serve(threatq.create_app(library, self.threatq))
        here = await self.serve(misp.create_app(self.store, self.misp, middlewares=self.middlewares))
        values = {
            "threatq.url": there,
            "threatq.client_id": ACCOUNT.client_id,
            "threatq.email": ACCOUNT.email,
            "threatq.password": ACCOUNT.password,
            "misp.url": here,
            "misp.key": misp.DEFAULT_KEY,
            "state.path": str(self.folder / "state"),
        } | self.values
        file = self.folder / "tqmisp.toml"
        sections: dict[str, list[str]] = {}
        for dotted, value in values.items():
            section, key = dotted.split(".")
            if value is not None:
                sections.setdefault(section, []).append(f"{key} = {orjson.dumps(value).decode()}")
        lines = [line for name, keys in sections.items() for line in (f"[{name}]", *keys)]
        file.write_text("\n".join(lines))
        file.chmod(0o600)
        return load(file, env={})

    async def find(self) -> list[Finding]:
        """Start everything and look."""
        return await check(await self.settings(), env=self.env)

    async def trouble(self, count: int = 1) -> Sequence[Finding]:
        """Start everything; gives the findings that are not ok, of which there must be so many."""
        found = [finding for finding in await self.find() if finding.level != "ok"]
        assert len(found) == count, found
        return found


def is_finding(finding: Finding, name: str, level: str, *words: str) -> bool:
    """Whether it has that name and level, and its fix names what is to be mended."""
    assert (f"{finding.area}.{finding.name}", finding.level) == (name, level), finding
    assert finding.fix is not None
    for word in words:
        assert word in finding.fix, finding.fix
    return True


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Nothing is served before it is asked for."""
    async with AsyncExitStack() as stack:
        yield Rig(tmp_path, stack)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without settings."""
    for name in [name for name in os.environ if name.startswith("TQMISP_")]:
        monkeypatch.delenv(name)
