"""Why a run is not faster, in one line."""

from __future__ import annotations

from typing import NamedTuple

from tqmisp.pipeline.progress import Progress

SOON = 2.0
"""Seconds of a run of which nothing is said yet."""
MUCH = 0.3
"""The share of the time from which on something is called the limit."""
BUSY = 0.85
"""The share of one processor from which on it is this machine that is waited for."""


class Advice(NamedTuple):
    """What a run spends its time on, and what would help."""

    shares: dict[str, float]
    """Of the time of the run; keys as ``seconds_waiting_for`` in the receipt. The stages work at the same time."""
    limit: str
    """One sentence; empty where nothing holds the run up."""
    hint: str
    """What to do about it; one sentence."""

    @property
    def text(self) -> str:
        """Both sentences."""
        return f"{self.limit} {self.hint}".strip()


def advise(progress: Progress, *, seconds: float, busy: float, correlates: bool = True) -> Advice:
    """Find what limits a run.

    Args:
        progress: its counters.
        seconds: since it began.
        busy: the share of one processor that this process has used.
        correlates: whether MISP looks for each value in other events.
    """
    waiting, knee = progress.waiting, progress.knee
    in_flight = knee.in_flight if knee else 1
    shares = {
        "threatq": waiting.source,
        "mapping": waiting.mapping,
        "journal": waiting.journal,
        "misp": waiting.sink,
        "backoff": waiting.backoff / in_flight,
    }
    shares = {name: min(1.0, spent / seconds) if seconds > 0 else 0.0 for name, spent in shares.items()}
    if seconds < SOON:
        return Advice(shares, "", "")
    if shares["backoff"] >= MUCH:
        return Advice(
            shares,
            f"Errors are the limit: {shares['backoff']:.0%} of the time went to pauses after them.",
            "The log says what they were, docs/errors.md what to do about them.",
        )
    if busy >= BUSY:
        return Advice(
            shares,
            f"This machine is the limit: the run kept {busy:.0%} of a processor busy.",
            "Neither server can make it faster; a faster processor can.",
        )
    name = max(("threatq", "misp", "mapping", "journal"), key=shares.__getitem__)
    if shares[name] < MUCH:
        return Advice(shares, "", "")
    if name == "misp":
        rate = (knee.rate if knee else 0.0) or progress.sent / seconds
        limit = f"MISP is the limit at {rate:,.0f} attributes a second with {in_flight} requests in flight."
        hint = "Correlation costs about half" if correlates else "Each attribute is saved by itself"
        return Advice(shares, limit, f"{hint}: see docs/operations.md.")
    if name == "threatq":
        return Advice(
            shares,
            f"ThreatQ is the limit: {shares[name]:.0%} of the time went to waiting for its pages.",
            "More [threatq] producers help if it has processors to spare.",
        )
    return Advice(
        shares,
        f"This machine is the limit: {shares[name]:.0%} of the time went to {name}.",
        "A faster disk helps the journal." if name == "journal" else "A faster processor helps.",
    )
