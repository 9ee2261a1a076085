"""Values that a person would mend: what real feeds write, turned into what was meant.

A rule changes the value, or says that it belongs under another ThreatQ type. It is used only where the label of the
value cannot be right as it stands, and leaves its name with the attribute. A value whose label is plausible is never
filed elsewhere because of its form alone: a mutex of 64 hexadecimal characters stays a mutex.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec import Struct

from tqmisp.misp.explain import Step
from tqmisp.misp.reject import Unstorable
from tqmisp.misp.rules import HASH_LABELS, PLANS, Move, Plan, Rule
from tqmisp.misp.types import FALLBACK, TYPES, MispType
from tqmisp.misp.values import HASH_LENGTHS, MAX_BYTES, stored


class Reading(Struct, frozen=True, gc=False):
    """How a value is to be understood."""

    filed: MispType
    value: str
    """As MISP will store it."""
    rules: tuple[str, ...] = ()


_LIKE = {
    **dict.fromkeys(("ip-src", "ip-dst"), "IP Address"),
    **dict.fromkeys(("domain", "hostname"), "FQDN"),
    **dict.fromkeys(("email", "email-src", "email-dst"), "Email Address"),
    **{name: HASH_LABELS[length] for name, length in HASH_LENGTHS.items()},
    "url": "URL",
    "uri": "URL Path",
    "vulnerability": "CVE",
    "AS": "ASN",
    "regkey": "Registry Key",
}
"""Which type's rules serve the type of an instance's own that is filed the same way."""

_PATH = r"a-zA-Z0-9._~:/?#@!$&'*+,;=%-"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
_NAME = re.compile(r"(?:[a-z0-9_-]+\.)+[a-z][a-z0-9-]+")
_READY = {
    "md5": re.compile("[0-9a-f]{32}"),
    "sha1": re.compile("[0-9a-f]{40}"),
    "sha256": re.compile("[0-9a-f]{64}"),
    **dict.fromkeys(("ip-src", "ip-dst"), _IPV4),
    **dict.fromkeys(("domain", "hostname"), _NAME),
    "url": re.compile(rf"(?!(?i:hx|htx|h\*|meow))[{_PATH}]+"),
    "uri": re.compile(rf"[{_PATH}]+"),
}
"""What values look like that MISP stores as they are and no rule mends: most of a feed, so a short cut for them."""


class Reader:
    """Understands values under their labels.

    Args:
        filings: how ThreatQ types are filed, by name; others become :data:`tqmisp.misp.types.FALLBACK`.
        off: names of rules that are switched off.
    """

    def __init__(self, filings: Mapping[str, MispType] = TYPES, off: frozenset[str] = frozenset()) -> None:
        self._filings = filings
        self._plans = {label: _plan(label, filed, off) for label, filed in filings.items()}
        self._other = _plan("", FALLBACK, off)

    def read(self, label: str, value: str, trace: list[Step] | None = None) -> Reading:
        """Understand a value under its label.

        Args:
            label: the ThreatQ type.
            value: as ThreatQ holds it.
            trace: takes a note of each rule that has an effect.

        Raises:
            Unstorable: MISP would refuse it, and no rule can help.
        """
        plan = self._plans.get(label, self._other)
        if plan.ready is not None and plan.ready(value) and len(value) <= MAX_BYTES:
            return Reading(plan.filed, value)
        text = value
        rules: list[str] = []
        steps = [] if trace is None else trace
        for rule in plan.rules.clean:
            if (move := rule.apply(text)) is not None:
                rules.append(rule.name)
                steps.append(Step(rule.name, text, move.value))
                text = move.value
        filed = plan.filed
        moved = _first(plan.rules.early, text)
        if moved is None:
            try:
                return Reading(filed, self._stored(filed, text, steps), tuple(rules))
            except Unstorable:
                moved = _first(plan.rules.late, text) if text else None
                if moved is None:
                    raise
        rule, move = moved
        rules.append(rule.name)
        filed = self._filed(filed, move)
        steps.append(Step(rule.name, f"{label}: {text}", f"{move.label or move.type or label}: {move.value}"))
        return Reading(filed, self._stored(filed, move.value, steps), tuple(rules))

    def _filed(self, filed: MispType, move: Move) -> MispType:
        """Where MISP should have a value that a rule has moved."""
        if move.label:
            return self._filings[move.label]
        if move.type == "ip|port":
            kind = "ip-src|port" if filed.type == "ip-src" else "ip-dst|port"
            return MispType(kind, "Network activity", filed.to_ids)
        if move.type == "hostname|port":
            return MispType(move.type, "Network activity", filed.to_ids)
        if move.type == "text":
            return MispType(move.type, filed.category, to_ids=False)  # a text matches nothing
        return MispType(move.type, filed.category, filed.to_ids) if move.type else filed

    @staticmethod
    def _stored(filed: MispType, text: str, steps: list[Step]) -> str:
        value = stored(filed.type, text)
        if value != text:
            steps.append(Step("misp", text, value))
        return value


class _Planned(NamedTuple):
    """A plan with the filing of its label."""

    filed: MispType
    rules: Plan
    ready: Callable[[str], object] | None


def _plan(label: str, filed: MispType, off: frozenset[str]) -> _Planned:
    usual = PLANS.get(_LIKE.get(filed.type, ""))
    plan = PLANS.get(label) or usual or Plan()
    rules = Plan(*(tuple(rule for rule in part if rule.name not in off) for part in plan))
    pattern = _READY.get(filed.type) if plan is usual else None
    return _Planned(filed, rules, pattern.fullmatch if pattern else None)


def _first(rules: tuple[Rule, ...], text: str) -> tuple[Rule, Move] | None:
    for rule in rules:
        if (move := rule.apply(text)) is not None:
            return rule, move
    return None
