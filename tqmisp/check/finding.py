"""What a check says about one thing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Area = Literal["local", "threatq", "misp"]
Level = Literal["ok", "warning", "failure"]

EXIT_CODES: dict[Area, int] = {"local": 2, "threatq": 3, "misp": 4}
"""What a run would end with after a failure of that area; of several, the first counts."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    area: Area
    name: str
    """With the area before it, a key of :data:`tqmisp.check.catalogue.CATALOGUE`."""
    level: Level
    """A run fails after a failure; after a warning it works, but worse than it could."""
    reason: str
    """What was found, as a sentence."""
    fix: str | None = None
    """What to do about it; None where it is well."""


class Notes:
    """Findings of one area, as they are made."""

    def __init__(self, area: Area) -> None:
        self.area = area
        self.found: list[Finding] = []

    def ok(self, name: str, reason: str) -> None:
        """It is well."""
        self.found.append(Finding(self.area, name, "ok", reason))

    def warn(self, name: str, reason: str, fix: str) -> None:
        """It works, but worse than it could."""
        self.found.append(Finding(self.area, name, "warning", reason, fix))

    def fail(self, name: str, reason: str, fix: str) -> None:
        """It keeps a run from working."""
        self.found.append(Finding(self.area, name, "failure", reason, fix))


def exit_code(findings: Iterable[Finding]) -> int:
    """What the findings tell the shell: 0 without a failure."""
    failed = {finding.area for finding in findings if finding.level == "failure"}
    return next((code for area, code in EXIT_CODES.items() if area in failed), 0)
