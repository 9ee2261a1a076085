"""What becomes of attributes whose indicators have left the selection: the policy, and the body that carries it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tqmisp.misp.identity import as_text
from tqmisp.misp.marks import withdrawn
from tqmisp.misp.merge import withdrawal
from tqmisp.model import Leaver
from tqmisp.pipeline.protocols import Mapped

TOO_STRICT = "tlp_too_strict"
"""The reason of indicators whose TLP is stricter than ``[mapping] max_tlp``."""
Withdrawal = Literal["to_ids", "delete", "leave"]
"""Switch to_ids off, delete softly, or leave as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireOptions:
    """What becomes of attributes in MISP whose indicators are expired, whitelisted, deleted or below the threshold."""

    policy: Withdrawal = "to_ids"
    """``to_ids`` switches it off, ``delete`` deletes softly, ``leave`` leaves everything as it is."""
    statuses: Mapping[str, Withdrawal] = field(default_factory=dict)
    """Another policy by the status that the indicator has now."""
    types: Mapping[str, Withdrawal] = field(default_factory=dict)
    """Another policy by the type of the indicator; that of a status counts more."""
    share: float = 0.1
    """Where more than this share of all attributes would be withdrawn, the run stops before and asks to be sure."""
    always: int = 10
    """So many may be withdrawn without asking, whatever their share."""

    def action(self, leaver: Leaver) -> Withdrawal:
        """What becomes of one attribute; what has become too strict to be sent does not stay to be shared."""
        action = self.statuses.get(leaver.status) or self.types.get(leaver.type) or self.policy
        return "delete" if leaver.code == TOO_STRICT and action != "leave" else action

    def needs_leave(self, listed: int, live: int) -> bool:
        """Whether so many of all that MISP holds of ours are too many to be withdrawn without asking."""
        return listed > max(self.always, self.share * live)


class Withdrawn(NamedTuple):
    """An attribute with the body that withdraws it."""

    leaver: Leaver
    body: bytes | None
    """None where it is left as it is."""
    marks: bytes = b""
    """Of the attribute as it will be."""


class Retirer:
    """Turns what has left into what must be sent; implements :class:`tqmisp.pipeline.protocols.Mapper`."""

    def __init__(self, options: RetireOptions) -> None:
        self._options = options

    def map(self, items: Sequence[Leaver]) -> Mapped[Withdrawn]:
        """Apply the policy."""
        return Mapped([self._one(leaver) for leaver in items])

    def _one(self, leaver: Leaver) -> Withdrawn:
        action = self._options.action(leaver)
        if action == "leave":
            return Withdrawn(leaver, None)
        delete = action == "delete"
        body = withdrawal(as_text(leaver.uuid), leaver.timestamp + 1, delete=delete)
        return Withdrawn(leaver, body, withdrawn(leaver.marks, delete=delete))
