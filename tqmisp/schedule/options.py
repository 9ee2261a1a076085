"""What an operator can set about runs that follow one another."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LENGTH = re.compile("".join(rf"(?:(?P<{unit}>\d{{1,6}}){unit})?" for unit in _UNITS), re.ASCII)


def seconds(length: str) -> int:
    """Read a length of time such as ``4h``, ``1h30m`` or ``0``.

    Raises:
        ValueError: it is none.
    """
    match = _LENGTH.fullmatch(length)
    if length == "0":
        return 0
    if not length or match is None:
        raise ValueError(f"{length!r} is no length of time such as 30m, 4h or 1d12h")
    return sum(int(count) * _UNITS[unit] for unit, count in match.groupdict("0").items())


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """Staying, and running again and again, instead of once; docs/scheduling.md tells more."""

    every: str | None = None
    """Stay, and begin a run this often, such as 30m, 4h or 1d; 0, as without it, means once."""
    jitter: float = 0.05
    """Begin each run but the first later by chance, by at most this share of the interval."""
    health_port: int | None = None
    """Answer GET /health on this port: 200 if the last run went well, 503 if not."""
    health_address: str = "127.0.0.1"
    """The address that the port belongs to; everybody who reaches it can read the answer."""

    @property
    def interval(self) -> int:
        """Seconds from one run to the next; 0 for one run only."""
        return seconds(self.every or "0")
