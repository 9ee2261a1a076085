from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import anyio
import orjson
import pytest

from tqmisp.simulators.sandbox import Endpoints, SandboxOptions, launch

INDICATORS = 6_000
KILLS = 8


def start(endpoints: Endpoints, state: Path) -> subprocess.Popen[bytes]:
    """Start a run as an operator would, with slices so small that there are many."""
    command = [sys.executable, "-m", "tqmisp", "run", "--config", endpoints.config, "--state", str(state), "--json"]
    small = {"TQMISP_PIPELINE__SLICE_BYTES": "100000", "TQMISP_MISP__CHUNK_SIZE": "100", "TQMISP_SLICE_SIZE": "2500"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | small)  # noqa: S603


async def stored(endpoints: Endpoints) -> int:
    """How many attributes the simulated MISP holds now."""
    async with aiohttp.ClientSession() as session, session.get(f"{endpoints.misp['url']}/_simulator/summary") as answer:
        return int(orjson.loads(await answer.read())["attributes"])


async def content(endpoints: Endpoints) -> Counter[tuple[str, str, str]]:
    """UUID, type and value of each attribute that MISP holds, over all events."""
    headers = {"Authorization": endpoints.misp["key"], "Accept": "application/json", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:
        url = f"{endpoints.misp['url']}/attributes/restSearch"
        async with session.post(url, json={"returnFormat": "json"}) as answer:
            rows = orjson.loads(await answer.read())["response"]["Attribute"]
    return Counter((row["uuid"], row["type"], row["value"]) for row in rows)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_kills_at_random_moments_leave_no_trace(tmp_path: Path) -> None:
    """After SIGKILLs in mid-run MISP holds what an undisturbed run brings: nothing lost, nothing twice."""
    options = SandboxOptions(indicators=INDICATORS, seed=12)
    async with launch(options) as calm:
        undisturbed = start(calm, tmp_path / "calm")
        out, _ = await anyio.to_thread.run_sync(undisturbed.communicate)
        assert undisturbed.returncode == 0
        expected = await content(calm)
        [target] = orjson.loads(out)["targets"]
        assert expected.total() == target["created"]

    chance = random.Random(12)
    async with launch(options) as wild:
        for number in range(KILLS):
            process = start(wild, tmp_path / "wild")
            # killed when MISP holds a little more than before, wherever the run may be then
            goal = (number + chance.random()) * expected.total() / (KILLS + 1)
            while process.poll() is None and await stored(wild) < goal:
                await anyio.lowlevel.checkpoint()
            process.kill()
            await anyio.to_thread.run_sync(process.communicate)
        last = start(wild, tmp_path / "wild")
        out, _ = await anyio.to_thread.run_sync(last.communicate)
        assert last.returncode == 0
        [target] = orjson.loads(out)["targets"]
        assert target["balanced"]
        assert await content(wild) == expected
