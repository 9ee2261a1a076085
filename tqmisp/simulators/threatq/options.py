"""How the simulated ThreatQ is set up."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatQSimulatorOptions:
    """The account, and the version that is played."""

    client_id: str = "simulatedclientid00000000000000"
    email: str = "analyst@threatq.test"
    password: str = field(default="simulated password", repr=False)
    client_secret: str = field(default="simulated client secret", repr=False)
    token_seconds: float = 3600.0
    """How long a token is good for; ``expires_in`` says so."""
    sees_lookups: bool = True
    """Let the account see the lists of types and statuses; without the right to it the answer is ``{}``."""
    max_limit: int = 10_000
    """Rows a page at most, whatever is asked for."""
    seconds_per_page: float = 0.0
    """How long every page takes, beyond the work it is."""
    answer_of_2026: bool = True
    """Leave sources and attributes out where the request names no fields, as servers do since July 2026."""
    cursors: bool = True
    """Give a nextCursorMark; older servers know only offsets, and take no notice of a mark."""
    end_as_object: bool = False
    """Give ``{}`` instead of ``[]`` for the rows of a page that has none, as some servers do."""
    query_route: bool = True
    """Have ``POST /api/indicators/query``; the oldest servers do not."""
    field_lists: bool = True
    """Take a list of fields; otherwise answer 400 to one."""
    fields_ignored: bool = False
    """Take no notice of a list of fields."""
    clock_ahead: float = 0.0
    """Seconds by which the ``Date`` of answers is ahead of this machine."""
    connector: str = "MISP Export"
    """The name of the connector in the user interface; it is there when ``misp_url`` is set."""
    misp_url: str = ""
    misp_key: str = field(default="", repr=False)
    score_threshold: str = "0"
    """These three are what its fields say."""
