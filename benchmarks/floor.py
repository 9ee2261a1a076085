"""The floor: the bytes that the exporter moved, moved again without a look at them.

The same requests for pages of ThreatQ, and the same bodies to MISP, recorded from a run of the exporter. Nothing is
decoded, mapped, remembered or read back. A body is sent when as large a part of the pages has come.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.watch import Recorded, recorded

Login = dict[str, str]


class Pump:
    """Moves recorded requests.

    Args:
        brief: ``threatq`` and ``misp`` say where they are; ``pages`` and ``writes`` are files; ``readers`` and
            ``in_flight`` say how many requests there are at a time on each side.
    """

    def __init__(self, brief: dict[str, Any]) -> None:
        self._brief = brief
        self._pages = list(recorded(Path(brief["pages"])))
        self._came = 0
        self._moved = asyncio.Condition()
        self._events: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def run(self) -> float:
        """Move everything; gives the seconds it took."""
        writes = Path(self._brief["writes"])
        total = sum(1 for _ in recorded(writes))
        began = time.perf_counter()
        queue = enumerate(recorded(writes))
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            token = await self._token(session, self._brief["threatq"])
            pages = iter(self._pages)
            for _ in range(self._brief["readers"]):
                tasks.create_task(self._read(session, token, pages))
            for _ in range(self._brief["in_flight"]):
                tasks.create_task(self._write(session, queue, total))
        return time.perf_counter() - began

    async def _token(self, session: aiohttp.ClientSession, login: Login) -> str:
        form = {"grant_type": "password", **{name: login[name] for name in ("client_id", "email", "password")}}
        async with session.post(f"{login['url']}/api/token", data=form) as answer:
            answer.raise_for_status()
            return str((await answer.json())["access_token"])

    async def _read(self, session: aiohttp.ClientSession, token: str, pages: Any) -> None:  # noqa: ANN401
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        for page in pages:
            url = self._brief["threatq"]["url"] + page.path
            async with session.post(url, data=page.body, headers=headers) as answer:
                answer.raise_for_status()
                await answer.read()
            async with self._moved:
                self._came += 1
                self._moved.notify_all()

    async def _write(self, session: aiohttp.ClientSession, queue: Any, total: int) -> None:  # noqa: ANN401
        headers = {
            "Authorization": self._brief["misp"]["key"],
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        for number, request in queue:
            await self._wait_for(number / total)
            await self._send(session, headers, request)

    async def _wait_for(self, share: float) -> None:
        """Wait until such a part of the pages has come."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._came >= share * len(self._pages))

    async def _send(self, session: aiohttp.ClientSession, headers: dict[str, str], request: Recorded) -> None:
        if request.path.startswith("/events/add"):
            event = json.loads(request.body)["Event"]["uuid"]
        else:
            event = request.path.split("/")[3]
            await self._events[event].wait()
        url = self._brief["misp"]["url"] + request.path
        async with session.post(url, data=request.body, headers=headers) as answer:
            answer.raise_for_status()
            await answer.read()
        self._events[event].set()


if __name__ == "__main__":
    print(json.dumps({"seconds": asyncio.run(Pump(json.loads(sys.argv[1])).run())}))
