from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.test_export import only, world
from tqmisp.journal.store import Journal
from tqmisp.pipeline.adaptive import Knee
from tqmisp.simulators.threatq import generate


async def learned(state: Path) -> Knee | None:
    """What the journal remembers of the only target."""
    async with Journal.open(state) as journal:
        [(number, _, _)] = await journal.targets()
        return Knee.from_json(await journal.learned(number))


async def test_the_knee_outlives_a_run(tmp_path: Path) -> None:
    """What one run finds is in its receipt and in the journal, and a run that writes nothing leaves it there."""
    async with world(generate(12_000, seed=3), tmp_path) as here:
        # one request at a time is always under way, however busy the machine is
        here.settings = replace(here.settings, misp=replace(here.settings.misp, requests_in_flight=1))
        first = only(await here.run())
        knee = await learned(tmp_path)
        assert knee is not None
        assert (knee.in_flight, knee.chunk) == (first.requests_in_flight, first.chunk_size)
        assert knee.rate > 0
        second = only(await here.run(full=True))
        assert second.write_requests == 0
        assert (second.requests_in_flight, second.chunk_size) == (None, None)
        assert await learned(tmp_path) == knee


async def test_the_next_run_begins_there(tmp_path: Path) -> None:
    """A single chunk, too few to find anything out, is cut as the journal says."""
    async with world(generate(300, seed=3), tmp_path) as here:
        async with Journal.open(tmp_path) as journal:
            target = await journal.target(here.settings.misp.name, here.settings.misp.url)
            await journal.learn(target, Knee(5, 50, 800).as_json())
        made = only(await here.run()).created
        assert here.store.requests["POST /events/edit"] == -(-made // 50)
