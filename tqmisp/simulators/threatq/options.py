"""How the simulated ThreatQ is set up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatQSimulatorOptions:
    """The account, and the version that is played."""

    client_id: str = "simulatedclientid00000000000000"
    email: str = "analyst@threatq.test"
    password: str = "simulated password"  # noqa: S105  a made-up one
    client_secret: str = "simulated client secret"  # noqa: S105  a made-up one
    token_seconds: float = 3600.0
    max_limit: int = 10_000
    """Rows a page at most, whatever is asked for."""
    seconds_per_page: float = 0.0
    answer_of_2026: bool = True
    """Leave sources and attributes out where the request names no fields, as servers do since July 2026."""
    cursors: bool = True
    """Give a nextCursorMark; older servers know only offsets."""
    query_route: bool = True
    """Have ``POST /api/indicators/query``; the oldest servers do not."""
    field_lists: bool = True
    """Take a list of fields; otherwise answer 400 to one."""
    misp_url: str = ""
    misp_key: str = ""
    """What the connector in the user interface says."""
    score_threshold: str = "0"
