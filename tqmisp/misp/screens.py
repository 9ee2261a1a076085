"""Values that must not reach detection. All screens are off unless the policy switches them on."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple

from tqmisp.misp.policy import Action, MappingPolicy
from tqmisp.misp.warninglists import host_of, warninglist_test

REASONS = {
    "private_address": "Nobody can reach this address from the internet.",
    "too_short": "The value is so short that it would match anything.",
    "warninglist": "The value is on a warninglist of MISP.",
    "tlp_too_strict": "The TLP of the indicator is stricter than this MISP may get.",
}
"""Each code under which an indicator is filtered, with a sentence for it."""

WORDS = frozenset(
    {
        *("email-attachment", "email-subject", "email-x-mailer", "filename", "mutex", "other", "pattern-in-file"),
        *("regkey", "text", "uri", "user-agent", "windows-service-displayname", "windows-service-name"),
    }
)
"""MISP types whose values are words that may be too short to mean anything."""

_PUBLIC = re.compile(r"(?!(?:0|10|100|127|169|172|192|198|203|22[4-9]|2[345][0-9])\.)[0-9.]+(?:\|[0-9]+)?")
"""Most public IPv4 addresses, found faster than by the module that knows all."""

Test = Callable[[str, str], bool]
"""Whether a screen finds a value of a MISP type."""


class Filtered(Exception):
    """An indicator must not reach MISP.

    Attributes:
        code: a key of :data:`REASONS`.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{REASONS[code]} {detail}".rstrip())
        self.code = code


class Screen(NamedTuple):
    """One screen that is on."""

    code: str
    action: Action
    finds: Test


def screens(policy: MappingPolicy) -> tuple[Screen, ...]:
    """The screens that a policy switches on.

    Raises:
        ConfigError: warninglists are asked for, and their package is not installed or has no list of that name.
    """
    found = []
    if policy.private_addresses != "off":
        found.append(Screen("private_address", policy.private_addresses, is_private))
    if policy.short_values != "off":
        shortest = policy.shortest
        found.append(
            Screen("too_short", policy.short_values, lambda kind, value: kind in WORDS and len(value) < shortest)
        )
    if policy.warninglists != "off":
        found.append(Screen("warninglist", policy.warninglists, warninglist_test(policy.warninglist_names)))
    return tuple(found)


def is_private(kind: str, value: str) -> bool:
    """Whether an address, a network, or the host of a URL lies outside the public address space."""
    if kind == "url":
        value = host_of(value)
        if not value[-1:].isdigit() and ":" not in value:
            return False
    elif not kind.startswith("ip-"):
        return False
    if _PUBLIC.fullmatch(value):
        return False
    try:
        network = ipaddress.ip_network(value.partition("|")[0], strict=False)
    except ValueError:
        return False
    return not network.is_global or network.is_multicast
