"""How it goes: the last turn, the next one, and what went wrong so far."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

Outcome = Literal["done", "failed", "stopped", "skipped"]


class Result(NamedTuple):
    """What a piece of work that came to its end says of itself."""

    exit_code: int = 0
    """0 if nobody needs to look at it."""
    text: str = ""
    """A sentence for people, without secrets."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One piece of work that is over; moments are seconds since 1970."""

    outcome: Outcome
    """``skipped``: somebody else was at it."""
    exit_code: int
    text: str
    began: float
    ended: float

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "text": self.text,
            "began_at": moment(self.began),
            "ended_at": moment(self.ended),
        }


@dataclass(slots=True)
class State:
    """What is known at this moment; moments are seconds since 1970."""

    started: float
    running_since: float | None = None
    next: float | None = None
    """When the next turn begins; None while one is at work, and at the end."""
    last: Turn | None = None
    """The last turn that was not skipped."""
    turns: int = 0
    """Those that are over, the skipped ones apart."""
    failures: int = 0
    failures_in_a_row: int = 0
    skipped: int = 0
    refused: str = ""
    """Why the configuration could not be read again; empty if it could, or nobody asked."""

    @property
    def healthy(self) -> bool:
        """Whether the last turn went well, or none is over yet."""
        return self.last is None or self.last.exit_code == 0

    def count(self, turn: Turn) -> None:
        """Take note of a turn."""
        if turn.outcome == "skipped":
            self.skipped += 1
            return
        self.last = turn
        self.turns += 1
        if turn.exit_code == 0:
            self.failures_in_a_row = 0
        else:
            self.failures += 1
            self.failures_in_a_row += 1

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "healthy": self.healthy,
            "started_at": moment(self.started),
            "running_since": moment(self.running_since),
            "next_run_at": moment(self.next),
            "last_run": self.last.as_json() if self.last else None,
            "runs": self.turns,
            "failures": self.failures,
            "failures_in_a_row": self.failures_in_a_row,
            "skipped": self.skipped,
            "configuration_refused": self.refused or None,
        }


def moment(seconds: float | None) -> str | None:
    """ISO 8601 in UTC, to the second."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
