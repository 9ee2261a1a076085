"""What became of the indicators of one run, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tqmisp.journal.leaving import ABSENT, REPLACED
from tqmisp.model import Change, Leaver, Planned


@dataclass(slots=True)
class Tally:
    """Raised by the ledger as it learns the fate of each indicator."""

    read: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    merged: int = 0
    retired: int = 0
    absent: int = 0
    """Of those retired, those that ThreatQ did not give on this run; they count as read."""
    replaced: int = 0
    """Attributes withdrawn since their indicators have become others."""
    kept: Counter[str] = field(default_factory=Counter)
    """What was left as people have made it, by field."""
    rejected: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    filtered: Counter[str] = field(default_factory=Counter)
    rescued: Counter[str] = field(default_factory=Counter)

    def refuse(self, kind: str, code: str) -> None:
        """Count an indicator that goes no further."""
        refused = {"rejected": self.rejected, "quarantined": self.quarantined, "filtered": self.filtered}
        refused[kind][code] += 1

    def confirm(self, stored: Sequence[Planned], unchanged: Sequence[Planned], elsewhere: Sequence[Planned]) -> None:
        """Count what has reached MISP, and what was found there as it should be."""
        others = [item.change for item in (*stored, *elsewhere) if item.change is not Change.CREATE]  # few, or none
        self.created += len(stored) + len(elsewhere) - len(others)
        made = Counter(others)
        same = Counter([item.change for item in unchanged])
        self.created += made[Change.RETRY] + made[Change.REPAIR]
        self.updated += made[Change.UPDATE] + made[Change.REVIVE]
        self.unchanged += made[Change.ADOPT] + same[Change.UPDATE] + same[Change.REVIVE] + same[Change.ADOPT]

    def withdraw(self, leaver: Leaver, *, this_run: bool) -> None:
        """Count an attribute that was withdrawn; its indicator may have been counted as refused when it was read."""
        if leaver.code == REPLACED:
            self.replaced += 1
            return
        self.retired += 1
        if this_run and leaver.code != ABSENT:
            refused = {"rejected": self.rejected, "filtered": self.filtered}[leaver.kind]
            refused[leaver.code] -= 1
            if not refused[leaver.code]:
                del refused[leaver.code]
        else:
            self.absent += 1
            self.read += 1
