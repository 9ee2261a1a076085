"""When something is due: pure, so that years can be tried in no time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timetable:
    """Moments that are one interval apart, each put off by chance, so that not everybody comes at the same time.

    The delays do not add up. Moments are seconds since 1970.
    """

    every: float
    """Seconds from one moment to the next, without their delays."""
    jitter: float = 0.0
    """The longest delay, as a share of the interval; less than 1."""
    origin: float = 0.0
    """One of the moments."""
    chance: Callable[[], float] = random.random
    """Gives numbers from 0 to 1, without 1 itself."""

    def after(self, now: float) -> float:
        """The next moment, with its delay; what is in between for whoever comes late is left out."""
        number = math.floor((now - self.origin) / self.every) + 1
        if self.origin + number * self.every <= now:  # the division was rounded
            number += 1
        return self.origin + (number + self.jitter * self.chance()) * self.every

    @property
    def longest(self) -> float:
        """Seconds that :meth:`after` is ahead of ``now`` at most."""
        return self.every * (1 + self.jitter)
