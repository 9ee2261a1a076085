"""Simulated servers for a controller: events in a clock of their own, no I/O."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tqmisp.pipeline.adaptive import Controller, Result
from tqmisp.pipeline.measure import Request

Speed = Callable[[int, float], float]
"""Workers' worth of work done in a second, by requests at the server and time."""


def workers(count: int) -> Speed:
    """A server with so many workers, or processors."""
    return lambda flying, _now: min(flying, count)


def halving(speed: Speed, when: float) -> Speed:
    """A server that does everything at half its speed from a moment on."""
    return lambda flying, now: speed(flying, now) * (1 if now < when else 0.5)


def curve(*speeds: float) -> Speed:
    """A server with this speed for one request at once, two, and so on; the last one goes for more, too."""
    return lambda flying, _now: speeds[min(flying, len(speeds)) - 1]


@dataclass
class Job:
    """A request at the server."""

    ticket: Request
    arrives: float
    work: float
    items: int
    fails: Result | None = None


@dataclass
class Server:
    """Serves requests, either all at once at a shared speed, or the first come first, one by each worker."""

    speed: Speed
    shared: bool = False
    per_request: float = 0.07
    per_item: float = 0.0018
    swells: int | None = None
    """Above so many items each one costs ten times as much."""
    noise: float = 0.0
    """Relative standard deviation of the work of a request."""
    way: float = 0.02
    """Seconds to the server and back."""
    fails: Callable[[int, int, float], Result | None] = lambda _flying, _items, _now: None
    """How a request ends that arrives when so many are there, with so many items; None where it ends well."""
    seed: int = 0
    now: float = 0.0
    jobs: list[Job] = field(default_factory=list)
    done: list[tuple[float, int, Result]] = field(default_factory=list)
    """When each request was finished, with how many items, and how."""
    most: int = 0
    """Requests that were under way at once at most."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def serve(self, controller: Controller, requests: int, *, demand: int | None = None) -> None:
        """Let a client that always has more to send finish so many requests.

        Args:
            controller: tells how many requests of which size.
            requests: how many to finish.
            demand: requests that the client can have under way at most.
        """
        goal = len(self.done) + requests
        while len(self.done) < goal:
            while len(self.jobs) < min(controller.in_flight, demand or controller.in_flight):
                self._start(controller)
            self._go_on(controller)

    def _start(self, controller: Controller) -> None:
        items = controller.chunk
        weight = items + 9 * max(0, items - (self.swells or items))
        work = (self.per_request + weight * self.per_item) * max(0.2, self._random.gauss(1, self.noise))
        fails = self.fails(len(self.jobs) + 1, items, self.now)
        job = Job(controller.started(self.now, items), self.now + self.way, 0.01 if fails else work, items, fails)
        self.jobs.append(job)
        self.most = max(self.most, len(self.jobs))

    def _go_on(self, controller: Controller) -> None:
        """To the next arrival or completion, but no further than a tenth of a second, as speeds may change."""
        here = [job for job in self.jobs if job.arrives <= self.now]
        speed = self.speed(len(here), self.now) if here else 0.0
        if self.shared:
            paces = [speed / len(here) for _ in here]
        else:
            paces = [min(1.0, max(0.0, speed - place)) for place in range(len(here))]
        steps = [job.arrives - self.now for job in self.jobs if job.arrives > self.now]
        steps += [job.work / pace for job, pace in zip(here, paces, strict=True) if pace]
        step = min(*steps, 0.1) if len(steps) > 1 else min(steps[0], 0.1)
        self.now += step
        for job, pace in zip(here, paces, strict=True):
            job.work -= step * pace
            if job.work <= 1e-9:
                self.jobs.remove(job)
                result = job.fails or Result.DONE
                self.done.append((self.now, job.items, result))
                controller.finished(job.ticket, self.now, result)

    def rate(self, first: int) -> float:
        """Items a second from one finished request to the last."""
        part = self.done[first:]
        return sum(items for _, items, result in part if result is Result.DONE) / (self.now - self.done[first - 1][0])

    def best(self, now: float = 0.0, most: int = 16, chunk: int = 2000) -> float:
        """Items a second when it is asked for the right number of requests of the right size."""
        peak = max(self.speed(flying, now) for flying in range(1, most + 1))
        return peak * chunk / (self.per_request + chunk * self.per_item)
