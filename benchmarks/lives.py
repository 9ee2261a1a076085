"""The life of an export whose processes are killed at random moments, and what is in MISP afterwards."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks.holdings import Holdings, differences, read, under_way
from benchmarks.processes import Exporter, Servers

CAPACITY = 10_000
"""Attributes an event: few enough that several are filled."""
SMALL = {
    "TQMISP_SLICE_SIZE": str(CAPACITY),
    "TQMISP_PUBLISH": "true",
    "TQMISP_PIPELINE__SLICE_BYTES": "100000",
    "TQMISP_MISP__CHUNK_SIZE": "100",
    "TQMISP_MISP__SETTLE_SECONDS": "0.5",
    "TQMISP_MISP__UNCLEAR_SECONDS": "0.5",
    "TQMISP_MISP__BACKOFF_MAX": "1",
    "TQMISP_THREATQ__BACKOFF_MAX": "1",
}
"""So little at a time that there is always something under way."""
GLANCE = 0.01
"""Seconds between two looks at what the servers were asked."""
STARTING = 1.5
"""Seconds in which an exporter comes to its first requests."""
AHEAD = 1.5
"""How far the work between two kills may be from its fair share."""
GIVEN_UP = frozenset({3, 4})
"""Exit codes with which a run may end whose servers were killed."""

Victim = Literal["exporter", "servers"]
MOMENTS = {
    "starting": None,
    "reading": "POST /api/indicators/query",
    "delivering": "POST /events/edit",
    "looking what has arrived": "POST /attributes/restSearch",
    "asking for what is absent": "GET /api/indicators/{id}",
    "publishing": "POST /events/publish",
}
"""When somebody is killed: the route that is counted, as the servers name it."""
_WEIGHTS = (1, 2, 5, 4, 2, 1)
_LATE = ("asking for what is absent", "publishing")
"""Moments at which the work of a stage is as good as done; only its last kills come then."""


class Stage(NamedTuple):
    """A state of ThreatQ, and how it is exported."""

    corpus: Path
    arguments: tuple[str, ...] = ()


@dataclass
class Life:
    """What became of an export.

    Attributes:
        runs: how often the exporter was started.
        kills: of whom, at which moment.
        promised: kills of the exporter between the promise of a slice and its confirmation.
        withdrawing: kills of the exporter while it was to withdraw what had left.
        usual: in each stage of an undisturbed life, how often each route was asked for.
        holdings: what was there after each stage.
        problems: what must not be, a sentence each.
        receipts: how many were printed.
        moved: attributes that are in another event than in the undisturbed life.
    """

    runs: int = 0
    seconds: float = 0.0
    kills: Counter[tuple[Victim, str]] = field(default_factory=Counter)
    promised: int = 0
    withdrawing: int = 0
    usual: list[Counter[str]] = field(default_factory=list, repr=False)
    holdings: list[Holdings] = field(default_factory=list, repr=False)
    problems: list[str] = field(default_factory=list)
    receipts: int = 0
    moved: int = 0

    def killed(self, victim: Victim) -> int:
        """How often somebody was killed."""
        return sum(times for (who, _), times in self.kills.items() if who == victim)


def undisturbed(folder: Path, stages: Sequence[Stage]) -> Life:
    """Live without being killed."""
    return _Living(folder, stages).live()


def disturbed(folder: Path, stages: Sequence[Stage], calm: Life, seed: int, *, exporter: int, servers: int = 0) -> Life:
    """Live, be killed so many times, and compare what is there after each stage with an undisturbed life.

    More than half of the kills come in the first stage; those for which a stage was too short come in the next one.

    Args:
        folder: for all state.
        stages: of the life.
        calm: the undisturbed life.
        seed: of the moments.
        exporter: kills of the exporter.
        servers: kills of both servers; what MISP has committed is kept, and all else is gone.
    """
    victims: list[Victim] = [*["exporter"] * exporter, *["servers"] * servers]  # type: ignore[list-item]
    living = _Living(folder, stages, random.Random(seed), victims, calm)
    return living.live()


class _Living:
    """A life under way."""

    def __init__(
        self,
        folder: Path,
        stages: Sequence[Stage],
        chance: random.Random | None = None,
        victims: Sequence[Victim] = (),
        calm: Life | None = None,
    ) -> None:
        self._life = Life()
        self._journal = folder / "journal"
        self._servers = Servers(folder / "servers")
        self._stages = stages
        self._chance = chance or random.Random()
        self._victims = list(victims)
        self._chance.shuffle(self._victims)
        self._calm = calm
        self._left = 0
        """Victims that are for later stages."""
        self._shares = 1
        """Kills over which the work of this stage is shared."""
        self._idle = False
        """Whether a run of this stage has ended well."""

    def live(self) -> Life:
        life, began = self._life, time.monotonic()
        for number, stage in enumerate(self._stages):
            self._servers.start(stage.corpus)
            try:
                self._live_through(number, stage)
                if self._calm is None:
                    life.usual.append(self._servers.requests())
            finally:
                self._servers.stop()
            there = read(self._servers.state / "misp", self._journal / "journal.sqlite", CAPACITY)
            life.problems += [f"After stage {number + 1}: {problem}" for problem in there.problems]
            if self._calm is not None:
                usual = self._calm.holdings[number]
                life.problems += [f"After stage {number + 1}: {each}" for each in differences(there, usual)]
                life.moved = sum(there.homes[uuid] != home for uuid, home in usual.homes.items() if uuid in there.homes)
            life.holdings.append(there)
            if life.problems:
                break
        life.seconds = time.monotonic() - began
        return life

    def _live_through(self, number: int, stage: Stage) -> None:
        """Start the exporter again and again, until a run ends well and nobody has to be killed any more."""
        last = number == len(self._stages) - 1
        due = len(self._victims) if last else round(len(self._victims) * (0.6 if number == 0 else 0.5))
        most = self._life.runs + 3 * due + 10
        self._left, self._shares = len(self._victims) - due, max(1, due)
        self._idle = False
        while self._life.runs < most:
            well = self._run(number, stage)
            self._idle = self._idle or well
            if self._life.problems or (well and (not last or len(self._victims) == self._left)):
                return
        self._life.problems.append(f"After stage {number + 1}: no run has ended well within {most} runs.")

    def _run(self, number: int, stage: Stage) -> bool:
        """Run the exporter to its end, whatever that is; True where it ended well."""
        life = self._life
        life.runs += 1
        exporter = Exporter(self._servers.endpoints.config, self._journal, *stage.arguments, environment=SMALL)
        bereft = False
        try:
            while len(self._victims) > self._left:
                moment = self._wait(exporter, number)
                if moment is None:
                    break
                victim = self._victims.pop()
                life.kills[victim, moment] += 1
                if victim == "exporter":
                    exporter.kill()
                    promised, withdrawing = under_way(self._journal / "journal.sqlite")
                    life.promised += promised
                    life.withdrawing += withdrawing
                    break
                bereft = True
                self._servers.kill()
                self._servers.start(stage.corpus)
            while not exporter.ended(1.0):
                pass
            return self._ended(exporter, bereft=bereft)
        finally:
            exporter.close()

    def _wait(self, exporter: Exporter, number: int) -> str | None:
        """Wait for a random moment; give its name, or None where the exporter has ended before."""
        assert self._calm is not None  # noqa: S101  nobody is killed in an undisturbed life
        usual = self._calm.usual[number]
        names = [name for name, route in MOMENTS.items() if route is None or usual[route]]
        if self._idle:
            names = names[:2]  # nothing will be written any more
        elif 3 * (len(self._victims) - self._left) > self._shares:
            names = [name for name in names if name not in _LATE]
        weights = [_WEIGHTS[list(MOMENTS).index(name)] for name in names]
        [name] = self._chance.choices(names, weights)
        route = MOMENTS[name]
        if route is None:
            return None if exporter.ended(self._chance.uniform(0, STARTING)) else name
        goal = self._servers.requests()[route] + self._chance.uniform(1, max(1.0, AHEAD * usual[route] / self._shares))
        while not exporter.ended(GLANCE):
            if self._servers.requests()[route] >= goal:
                return name
        return None

    def _ended(self, exporter: Exporter, *, bereft: bool) -> bool:
        """Look at how a run has ended, and at what it printed."""
        life, code = self._life, exporter.exit_code
        try:
            receipt = exporter.receipt()
        except json.JSONDecodeError:
            receipt = None  # it was killed while it wrote
        if receipt is not None:
            life.receipts += 1
            for target in receipt["targets"]:
                life.problems += [f"Run {life.runs} is not balanced: {each}" for each in target["imbalance"]]
                if target["held_back"]:
                    life.problems.append(f"Run {life.runs} has withdrawn nothing: {target['held_back']}")
        if code == 0 and receipt is None:
            life.problems.append(f"Run {life.runs} has printed nothing.")
        if code > 0 and not (bereft and code in GIVEN_UP):
            life.problems.append(f"Run {life.runs} has ended with {code}: {exporter.words()}")
        return code == 0
