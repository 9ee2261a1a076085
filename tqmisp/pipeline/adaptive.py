"""How much to ask of a server at once, found out by working with it.

A :class:`Controller` climbs the hill of the measured rate in two directions: requests in flight, and items a request.
It tries a neighbour of what it has for one round of requests and moves there when the rate says so. It does no I/O,
has no clock, and is told of each request when it starts and when it is finished.
"""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import asdict, dataclass
from enum import Enum
from typing import NamedTuple

from tqmisp.pipeline.measure import Flight, Request, Round

SLOW = 30.0
"""Seconds after which a request counts as too long, though it was answered: proxies give up after a minute."""
BUDGET = 0.02
"""The part of all items that may be lost by trying what turns out slower."""
NOISE = 0.04
"""A gain up to which more requests in flight may have it by chance."""
PATIENCE = 32
"""Rounds between two trials at most; they double with each one that was in vain."""
BAN = 64
"""Requests for which what has failed as a trial is not tried again; so many for each in flight after a later failure.

Such a trial costs the requests in flight, which bounds the loss; and trouble is not held against the server for long.
"""
AMENDS = 6
"""Good answers that make up for a lost one: so far apart, answers are lost by chance, whatever is asked for."""
DECISIONS = 1000
"""How many decisions are kept, the newest of them."""


class Result(Enum):
    """How a request ended, by what it says about the server."""

    DONE = "done"
    BUSY = "busy"
    """It asked us to slow down, or was not there: fewer requests."""
    TOO_LARGE = "too large"
    """Fewer items a request."""
    FAILED = "failed"
    """It broke down, ran out of time, or the answer was lost: less of both, unless it is the only one far and wide."""
    VOID = "void"
    """Nothing; one of its items was at fault."""


class Point(NamedTuple):
    """What is asked of the server at once."""

    in_flight: int
    chunk: int
    """Items a request."""


@dataclass(frozen=True, slots=True)
class Knee:
    """Where a server gives its full rate with the least under way, to start from the next time."""

    in_flight: int = 2
    chunk: int = 1000
    rate: float = 0.0
    """Items a second; 0 where it is not known."""

    def as_json(self) -> str:
        """As text to be kept."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> Knee | None:
        """Read what was kept; None where it is of no use."""
        try:
            found = json.loads(text or "null")
            knee = cls(int(found["in_flight"]), int(found["chunk"]), float(found["rate"]))
        except (ValueError, TypeError, KeyError, OverflowError):
            return None
        return knee if knee.in_flight > 0 and knee.chunk > 0 and 0 <= knee.rate < math.inf else None


class Range(NamedTuple):
    """Bounds, both included; equal ones pin a value."""

    least: int
    most: int

    def clamp(self, value: int) -> int:
        """The nearest value within."""
        return max(self.least, min(value, self.most))


IN_FLIGHT = Range(1, 16)
CHUNK = Range(50, 2000)


class Decision(NamedTuple):
    """What was made of a round of requests."""

    time: float
    in_flight: int
    """From now on."""
    chunk: int
    rate: float
    """Items a second in the round before; 0 where it could not be told."""
    latency: float
    """Seconds a request in that round."""
    reason: str


class _Way(Enum):
    """A direction to try: which of the two, and up or down."""

    MORE = (0, 1)
    LARGER = (1, 1)
    FEWER = (0, -1)
    SMALLER = (1, -1)


_WAYS = list(_Way)
_SHRINKS = {Result.BUSY: (True, False), Result.TOO_LARGE: (False, True), Result.FAILED: (True, True)}
"""Which of the two a result makes smaller."""


class _Ban(NamedTuple):
    """What has failed and is not tried again for a while."""

    value: int
    until: int
    """The number of the request from which on it may be tried."""


class Controller:
    """Finds how many requests of which size a server answers best; both may change whenever one is finished.

    Args:
        in_flight: bounds for requests in flight.
        chunk: bounds for items a request.
        knee: where an earlier run ended.
    """

    def __init__(self, *, in_flight: Range = IN_FLIGHT, chunk: Range = CHUNK, knee: Knee | None = None) -> None:
        self.decisions: deque[Decision] = deque(maxlen=DECISIONS)
        self._ranges = (in_flight, chunk)
        start = knee or Knee()
        self._base = self._at = Point(in_flight.clamp(start.in_flight), chunk.clamp(start.chunk))
        self._rate = 0.0
        """Items a second at the base; 0 until it has been measured."""
        self._ratios: tuple[dict[int, float], dict[int, float]] = ({}, {})
        """What other requests in flight, and other sizes, gave in proportion to the base."""
        self._way = _Way.MORE
        self._step = 1 if knee else self._base.in_flight
        self._quick = knee is None
        self._hold = 0
        self._patience = 1
        self._credit = 4.0 * self._base.chunk
        self._amends = 0
        """Good answers that can still make up for a lost one; no more than two of those need."""
        self._bans: dict[int, _Ban] = {}
        """By what is banned: 0 for requests in flight, 1 for items a request."""
        self._round = Round()
        self._flight = Flight()
        self._epoch = self._shrunk = 0
        """The number of the present point, and of the first one since less was asked for."""
        self._skip = 0
        """The last request that tells nothing of the present point."""

    @property
    def in_flight(self) -> int:
        """How many requests may be under way now."""
        return self._at.in_flight

    @property
    def chunk(self) -> int:
        """How many items the next request should carry at most."""
        return self._at.chunk

    @property
    def knee(self) -> Knee:
        """What has been found so far, without what is only being tried."""
        return Knee(self._base.in_flight, self._base.chunk, round(self._rate, 1))

    def started(self, now: float, items: int) -> Request:
        """A request is about to be sent; ``now`` is in seconds of any clock that does not go back."""
        return self._flight.begin(now, items, self._epoch)

    def finished(self, request: Request, now: float, result: Result) -> None:
        """A request has been answered, or has failed."""
        seconds, area = self._flight.end(request, now)
        if result is Result.DONE:
            self._credit += BUDGET * request.items
            self._amends = min(self._amends + 1, 2 * AMENDS)
            if seconds > SLOW and request.items > self._ranges[1].least:
                self._shrink(request, Result.TOO_LARGE, seconds, "slow")
            elif request.epoch == self._epoch and request.number > self._skip:
                self._round.add(request.items, seconds, area)
                self._judge()
        elif result is Result.FAILED and seconds <= SLOW and self._amends >= AMENDS:
            self._amends -= AMENDS  # it is sent again, which costs less than to shrink and to climb back
        elif result is not Result.VOID:
            self._shrink(request, result, seconds, result.value)

    def _judge(self) -> None:
        """Look at the round, if it is long enough, or long enough to see that it is hopeless."""
        probing = self._at != self._base
        hopeless = probing and self._round.rate < 0.4 * self._rate
        if self._round.count < self._needed(self._at) and not hopeless:
            return
        if self._round.in_flight < 0.9 * self._at.in_flight:  # nobody had more to send
            reached = int(self._round.in_flight + 0.1)
            if self._way is not _Way.MORE or reached <= self._base.in_flight:
                self._settle(self._base, "too little to do", hold=2)
                return
            self._at = self._at._replace(in_flight=reached)
        if probing:
            self._compare(self._round.rate)
        else:
            self._learn(self._round.rate)

    def _learn(self, rate: float) -> None:
        """A round where we stay: take note of the rate, and try something else when it is time to."""
        known, reason = self._rate, "steady"
        if not known:
            self._rate, reason = rate, "measured"
        elif 0.75 < rate / known < 1.33:
            self._rate = (known + rate) / 2
        else:  # it is the server that has changed
            self._rate = rate
            slower = rate < known
            reason = "server has become slower" if slower else "server has become faster"
            self._way, self._step = (_Way.FEWER if slower else _Way.MORE), 1
            self._patience, self._hold = 1, 1
        self._hold -= 1
        candidate = self._candidate() if self._hold < 0 else None
        if candidate is None:
            self._go(self._base, reason)
        else:
            self._go(candidate, f"try {self._way.name.lower()}")

    def _compare(self, rate: float) -> None:
        """A round of something else: go there, part of the way, or back."""
        base, at = self._base, self._at
        axis = self._way.value[0]
        gain = rate / self._rate
        self._ratios[axis][at[axis]] = gain
        self._credit -= max(0.0, self._round.items * (1 / gain - 1))
        goal = base
        if self._way is not _Way.MORE:
            if gain > {_Way.FEWER: 1 - 0.1 / base.in_flight, _Way.LARGER: 1.015, _Way.SMALLER: 1.05}[self._way]:
                goal = at
        elif gain - 1 > 0.6 * (at.in_flight / base.in_flight - 1):
            goal = at
        else:  # as many as would give this rate at the pace of one before
            enough = math.ceil(base.in_flight * (gain - NOISE) - 0.1)
            goal = at._replace(in_flight=max(base.in_flight, min(at.in_flight, enough)))
        if goal != base:
            self._ratios[axis][base[axis]] = 1.0
            for value, ratio in self._ratios[axis].items():
                self._ratios[axis][value] = ratio / gain
            self._rate = rate if goal == at else 0.0
        if goal == at:
            if gain > 1 + NOISE:
                self._patience = 1
            self._step *= 2 if axis == 0 else 1
            self._base, self._hold = at, 0
            self._go(self._at_once() or at, "better" if gain > 1 else "as good with less")
        elif goal != base:
            self._quick = False
            self._step = max(1, (at.in_flight - goal.in_flight) // 2)
            self._settle(goal, "better up to here", hold=1)
        elif self._step > 1:
            self._step //= 2
            self._hold = 0
            self._go(self._at_once() or base, "no better")
        else:
            self._quick = False
            self._next_way()
            self._settle(base, "no better", hold=self._patience)
            self._patience = min(2 * self._patience, PATIENCE)

    def _at_once(self) -> Point | None:
        """The next point to try without a round where we are, as long as the knee is not in sight."""
        further = self._affordable() if self._quick else None
        self._quick = further is not None
        return further

    def _shrink(self, request: Request, result: Result, seconds: float, reason: str) -> None:
        """Ask for less at once; failures of what was under way before that say nothing new.

        What failed as a trial is not tried again for a while.
        """
        if request.epoch < self._shrunk:
            return
        self._round = Round(1, request.items, seconds, seconds)
        goal = list(self._base)
        for axis, shrinks in enumerate(_SHRINKS[result]):
            if not shrinks:
                continue
            if self._at[axis] > self._base[axis]:  # a trial was too much; what was before it was not
                length = BAN * (self._at.in_flight if axis in self._bans else 1)
                self._bans[axis] = _Ban(self._at[axis], self._flight.begun + length)
                goal = list(self._base)
                break
            tried = min(self._at[axis], request.items) if axis else self._at[axis]
            goal[axis] = self._ranges[axis].clamp(min(goal[axis], tried // 2))
        if tuple(goal) != self._base:
            self._rate = 0.0
            for ratios in self._ratios:
                ratios.clear()
        self._quick = False
        self._way, self._step, self._patience = _Way.MORE, 1, 1
        self._settle(Point(*goal), reason, hold=1, rate=0.0)
        self._shrunk = self._epoch = self._epoch + 1

    def _candidate(self) -> Point | None:
        """The next point worth a trial, if any can be afforded."""
        for _ in _WAYS:
            point = self._affordable()
            if point is not None:
                return point
            self._next_way()
        return None

    def _affordable(self) -> Point | None:
        """The next point on the way that we are on, if there is one and the loss can be borne."""
        axis, sign = self._way.value
        point = self._step_to(axis, sign)
        return None if point is None or self._loss(point, axis, sign) > self._credit else point

    def _step_to(self, axis: int, sign: int) -> Point | None:
        here = self._base[axis]
        if axis == 0:
            there = here + self._step if sign > 0 else here - min(self._step, here // 2)
        else:
            there = here * 2 if sign > 0 else here // 2
        there = self._ranges[axis].clamp(there)
        ban = self._bans.get(axis)
        if sign > 0 and ban is not None and self._flight.begun < ban.until and there >= ban.value:
            there = ban.value - 1 if axis == 0 else (here + ban.value) // 2
        if (there - here) * sign <= 0 or (0.8 < there / here < 1.25 and axis == 1):
            return None
        return self._base._replace(in_flight=there) if axis == 0 else self._base._replace(chunk=there)

    def _loss(self, point: Point, axis: int, sign: int) -> float:
        """The items that a round at a point would cost, as far as can be foreseen.

        Behind what is unknown stands the next known point in that direction: what is slow there may be slow here.
        """
        beyond = [
            (abs(value - point[axis]), ratio)
            for value, ratio in self._ratios[axis].items()
            if (value - point[axis]) * sign >= 0
        ]
        unknown = point.in_flight / self._base.in_flight if sign < 0 else 1.0
        expected = min(beyond)[1] if beyond else unknown
        return self._needed(point) * point.chunk * max(0.0, 1 / expected - 1)

    def _needed(self, point: Point) -> int:
        """Requests a round."""
        return max(4, point.in_flight) if self._quick else max(8, 2 * point.in_flight)

    def _next_way(self) -> None:
        self._way = _WAYS[(_WAYS.index(self._way) + 1) % len(_WAYS)]
        self._step = 1

    def _settle(self, base: Point, reason: str, *, hold: int, rate: float | None = None) -> None:
        self._base = base
        self._hold = hold
        self._go(base, reason, rate)

    def _go(self, point: Point, reason: str, rate: float | None = None) -> None:
        """Begin a new round at a point."""
        was, measured = self._at, self._round
        rate = measured.rate if rate is None else rate
        self._at, self._round = point, Round()
        self.decisions.append(Decision(self._flight.now, *point, rate, measured.latency, reason))
        if point != was:
            self._epoch += 1
            # requests of another size are still in the way of the first new ones
            old = max(point.in_flight, self._flight.count) if point.chunk != was.chunk else 0
            self._skip = self._flight.begun + old
