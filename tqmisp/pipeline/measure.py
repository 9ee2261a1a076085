"""The rate of a server, from the requests that it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Request(NamedTuple):
    """A request under way."""

    number: int
    """From 1 on."""
    epoch: int
    """A word of the caller for the time at which it was sent."""
    items: int
    began: float
    area: float


class Flight:
    """Requests under way, and how many there were over the life of each."""

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0
        self.begun = 0
        self._area = 0.0

    def begin(self, now: float, items: int, epoch: int) -> Request:
        """Another request is sent."""
        self._advance(now)
        self.count += 1
        self.begun += 1
        return Request(self.begun, epoch, items, now, self._area)

    def end(self, request: Request, now: float) -> tuple[float, float]:
        """A request is over; gives its seconds, and the integral of the requests in flight over them."""
        self._advance(now)
        self.count -= 1
        seconds = max(now - request.began, 1e-6)
        return seconds, max(self._area - request.area, seconds)

    def _advance(self, now: float) -> None:
        self._area += self.count * max(0.0, now - self.now)
        self.now = max(now, self.now)


@dataclass(slots=True)
class Round:
    """Some requests under the same conditions."""

    count: int = 0
    items: int = 0
    seconds: float = 0.0
    """Of all of them together."""
    area: float = 0.0
    """The requests in flight, integrated over the lives of all of them."""

    def add(self, items: int, seconds: float, area: float) -> None:
        """Take in one more."""
        self.count += 1
        self.items += items
        self.seconds += seconds
        self.area += area

    @property
    def in_flight(self) -> float:
        """Requests under way at once, on average."""
        return self.area / self.seconds if self.seconds else 0.0

    @property
    def rate(self) -> float:
        """Items a second, by Little's law: each request is a sample, and none has to wait for the end of a window."""
        return self.in_flight * self.items / self.seconds if self.seconds else 0.0

    @property
    def latency(self) -> float:
        """Seconds a request."""
        return self.seconds / self.count if self.count else 0.0
