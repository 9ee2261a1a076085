"""What became of the indicators of one run, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Raised by the ledger as it learns the fate of each indicator."""

    read: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    merged: int = 0
    retired: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    filtered: Counter[str] = field(default_factory=Counter)
    rescued: Counter[str] = field(default_factory=Counter)

    def refuse(self, kind: str, code: str) -> None:
        """Count an indicator that goes no further."""
        refused = {"rejected": self.rejected, "quarantined": self.quarantined, "filtered": self.filtered}
        refused[kind][code] += 1
