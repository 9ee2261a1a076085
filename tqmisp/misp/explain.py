"""Why an indicator becomes what it becomes: plain data, for a person or for JSON."""

from __future__ import annotations

from typing import NamedTuple

from tqmisp.misp.attribute import Attribute
from tqmisp.pipeline.protocols import Refusal


class Step(NamedTuple):
    """One rule that had an effect."""

    rule: str
    """``type``, ``misp`` (MISP's own rules for values), a rescue rule, a screen, or a setting of ``[mapping]``."""
    before: str
    after: str


class Explanation(NamedTuple):
    """All steps in their order, and what came out."""

    steps: tuple[Step, ...]
    outcome: Attribute | Refusal
