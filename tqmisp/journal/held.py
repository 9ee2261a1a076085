"""What the ledger has decided and not written yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from tqmisp.journal.holders import Place
from tqmisp.journal.leaving import Why
from tqmisp.journal.rows import Merged
from tqmisp.pipeline.protocols import Refusal

ROWS = 5_000
"""Rows that wait for one transaction."""
PAGES = 50
"""Pages whose rows may wait."""


@dataclass(slots=True)
class Held:
    """Waits for the next transaction, with which all of it is written."""

    merged: dict[Place, Merged] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    forgiven: list[int] = field(default_factory=list)
    """Indicators whose refusals are to be forgotten."""
    seen: list[int] = field(default_factory=list)
    """Indicators that were read."""
    leaving: dict[Place, Why] = field(default_factory=dict)
    """Attributes to withdraw, with the reason."""
    back: set[Place] = field(default_factory=set)
    """Attributes that are not to be withdrawn any more."""
    stamps: dict[Place, int] = field(default_factory=dict)
    """Of attributes that are as they should be, though the rows of their indicators are not as they were."""
    drops: set[Place] = field(default_factory=set)
    """Rows to delete: never delivered, and their indicators have left or changed."""
    heirless: set[bytes] = field(default_factory=set)
    """Attributes whose owners are among these, so that others may have them."""
    pages: int = 0

    def is_full(self) -> bool:
        """Whether it is time for a transaction of its own."""
        waiting = (self.merged, self.refused, self.seen, self.leaving, self.stamps, self.drops)
        return sum(map(len, waiting)) >= ROWS or self.pages >= PAGES
