"""Values that a person would mend: what real feeds write, turned into what was meant.

Each rule has a name, is applied only where the label of the value cannot be right as it stands, and leaves its name
with the attribute. A value whose label is plausible is never filed elsewhere because of its form alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tqmisp.misp.types import MispType
from tqmisp.misp.values import HASH_LENGTHS, Unstorable, is_host, is_ip, lower, punycode, stored

RULES = (
    "blanks",
    "refang",
    "half_refang",
    "ip_port",
    "cidr_under_ip",
    "host_under_ip",
    "ip_under_host",
    "url_under_host",
    "email_under_host",
    "host_port",
    "wildcard_host",
    "punycode",
    "registry_value",
    "hash_by_length",
    "cve_form",
    "as_number_form",
    "email_form",
    "service_as_text",
    "fuzzy_hash_as_text",
    "path_in_filename",
)
"""The names of all rules, in the order in which the documentation lists them."""

_NETWORK = frozenset({"IP Address", "IPv6 Address", "CIDR Block", "FQDN", "URL", "URL Path", "Email Address"})
_ENDS = (
    " \t\n\r\0\x0b\x0c\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
"""Blanks of every kind, and characters without width."""
_DEFANGED = re.compile(r"\[\.\]|\(\.\)|\{\.\}|\[dot\]|\(dot\)|\{dot\}", re.IGNORECASE)
_HALF = re.compile(r"(?<=\w)(?:\[\.|\.\])(?=\w)")
_AT = re.compile(r"\[@\]|\(@\)|\[at\]|\(at\)", re.IGNORECASE)
_COLON = re.compile(r"\[(:(?://)?)\]")
_SCHEME = re.compile(r"(?:h(?:xx|tx|XX|\*\*|\[tt\])p|meow)(s?)(?=:|\[:)", re.IGNORECASE)
_CVE = re.compile(r"cve[\s_:-]{0,2}([0-9]{4})[\s_-]([0-9]{4,12})", re.IGNORECASE)
_AS = re.compile(r"(?:ASN?)?[\s:#]{0,2}([0-9]{1,10})(?:[\s,(-].{0,200})?", re.IGNORECASE | re.DOTALL)
_HEX = re.compile(r"[0-9A-Fa-f]+")
_LENGTHS = {length: name for name, length in HASH_LENGTHS.items()}


class Reading(NamedTuple):
    """How a value is to be understood."""

    filed: MispType
    value: str
    """As MISP will store it."""
    rules: tuple[str, ...]


def read(label: str, filed: MispType, value: str, off: frozenset[str] = frozenset()) -> Reading:
    """Understand a value under its label.

    Args:
        label: the ThreatQ type.
        filed: what indicators of that type become.
        value: as ThreatQ holds it.
        off: names of rules that are switched off.

    Raises:
        Unstorable: MISP would refuse it, and no rule can help.
    """
    rules: list[str] = []
    text = value
    if text and (text[0] in _ENDS or text[-1] in _ENDS):
        text = text.strip(_ENDS) if "blanks" not in off else text
        if text != value:
            rules.append("blanks")
    if label in _NETWORK:
        text = _refang(label, text, off, rules)
    early = _EARLY.get(label)
    if early is not None:
        moved = early(text, off)
        if moved is not None:
            rule, kind, text = moved
            rules.append(rule)
            filed = _file(filed, kind)
    try:
        return Reading(filed, stored(filed.type, text), tuple(rules))
    except Unstorable:
        late = _LATE.get(label)
        moved = late(text, off) if late is not None and text else None
        if moved is None:
            raise
    rule, kind, text = moved
    rules.append(rule)
    filed = _file(filed, kind)
    return Reading(filed, stored(filed.type, text), tuple(rules))


_Moved = tuple[str, str, str] | None
"""The rule, the MISP type (empty for the same), and the value."""

_CATEGORIES = {
    "ip-dst": "Network activity",
    "ip-dst|port": "Network activity",
    "hostname|port": "Network activity",
    "domain": "Network activity",
    "url": "Network activity",
    "email-src": "Payload delivery",
    "regkey|value": "Persistence mechanism",
}


def _file(filed: MispType, kind: str) -> MispType:
    """The filing under another MISP type; texts lose their to_ids, since they match nothing."""
    if not kind:
        return filed
    if kind == "text":
        return MispType("text", filed.category, to_ids=False)
    return MispType(kind, _CATEGORIES.get(kind, filed.category), filed.to_ids)


def _refang(label: str, text: str, off: frozenset[str], rules: list[str]) -> str:
    before = text
    if "refang" not in off:
        if "[" in text or "(" in text or "{" in text:
            text = _COLON.sub(r"\1", _DEFANGED.sub(".", text))
            if label in {"Email Address", "FQDN"}:
                text = _AT.sub("@", text)
        if label == "URL" and _SCHEME.match(text):
            text = _SCHEME.sub(lambda found: "https" if found[1] else "http", text, count=1)
        if text != before:
            rules.append("refang")
    if "half_refang" not in off and ("[." in text or ".]" in text) and label != "URL Path":
        halved = _HALF.sub(".", text)
        if halved != text:
            rules.append("half_refang")
            text = halved
    return text


def _early_filename(text: str, off: frozenset[str]) -> _Moved:
    if "path_in_filename" not in off and ("\\" in text or "/" in text):
        return "path_in_filename", "", text
    return None


def _early_registry(text: str, off: frozenset[str]) -> _Moved:
    if "registry_value" not in off and text.count("|") == 1 and text[0] != "|" and text[-1] != "|":
        return "registry_value", "regkey|value", text
    return None


def _early_cidr_under_ip(text: str, off: frozenset[str]) -> _Moved:
    if "cidr_under_ip" in off or "/" not in text:
        return None
    try:
        return "cidr_under_ip", "", stored("ip-dst", text)
    except Unstorable:
        return None


def _late_ip(text: str, off: frozenset[str]) -> _Moved:
    address, _, port = text.rpartition(":")
    if "ip_port" not in off and is_ip(address.strip("[]")) and ("." in address or text[0] == "["):
        try:
            return "ip_port", "ip-dst|port", stored("ip-dst|port", f"{address.strip('[]')}|{port}")
        except Unstorable:
            return None
    return _late_host(text, off) or _host_under_ip(text, off)


def _host_under_ip(text: str, off: frozenset[str]) -> _Moved:
    host = lower(text).strip(".")
    last = host.rpartition(".")[2]
    if "host_under_ip" not in off and is_host(host) and not last.isdigit():
        return "host_under_ip", "domain", host
    return None


def _early_host(text: str, off: frozenset[str]) -> _Moved:
    """MISP takes 1.2.3.4 for a domain; nobody means that."""
    if "ip_under_host" not in off and text[-1:].isdigit() and is_ip(text):
        return "ip_under_host", "ip-dst", text
    return None


def _late_host(text: str, off: frozenset[str]) -> _Moved:
    """What stands where a host name should."""
    if "wildcard_host" not in off and text.startswith("*.") and is_host(text[2:]):
        return "wildcard_host", "domain", text[2:]
    if "email_under_host" not in off and text.count("@") == 1 and "/" not in text:
        try:
            return "email_under_host", "email-src", stored("email-src", text)
        except Unstorable:
            return None
    host, _, port = text.partition(":")
    if "host_port" not in off and port.isdecimal() and is_host(host):
        kind = "ip-dst|port" if is_ip(host) else "hostname|port"
        return "host_port", kind, f"{host}|{port}"
    start = text.partition("://")[2] or text
    host = start.partition("/")[0].partition("?")[0].rpartition("@")[2].partition(":")[0]
    if "url_under_host" not in off and start != host and (is_host(host) or is_ip(host)) and "\n" not in text:
        return "url_under_host", "url", text
    return None


def _late_hash(text: str, off: frozenset[str]) -> _Moved:
    kind = _LENGTHS.get(len(text))
    if "hash_by_length" not in off and kind is not None and _HEX.fullmatch(text):
        return "hash_by_length", kind, text
    return None


def _late_cve(text: str, off: frozenset[str]) -> _Moved:
    found = _CVE.fullmatch(text[:40])
    if "cve_form" not in off and found and len(text) <= 40:
        return "cve_form", "", f"CVE-{found[1]}-{found[2]}"
    return None


def _late_as(text: str, off: frozenset[str]) -> _Moved:
    found = _AS.fullmatch(text[:240])
    return ("as_number_form", "", found[1]) if "as_number_form" not in off and found else None


def _late_email(text: str, off: frozenset[str]) -> _Moved:
    inner = text[text.find("<") + 1 : text.find(">")] if "<" in text and text.find(">") > text.find("<") else text
    inner = inner.removeprefix("mailto:").strip()
    return ("email_form", "", inner) if "email_form" not in off and inner != text else None


def _late_service(text: str, off: frozenset[str]) -> _Moved:
    return ("service_as_text", "text", text) if "service_as_text" not in off else None


def _late_fuzzy(text: str, off: frozenset[str]) -> _Moved:
    return ("fuzzy_hash_as_text", "text", text) if "fuzzy_hash_as_text" not in off else None


def _late_unicode_host(text: str, off: frozenset[str]) -> _Moved:
    moved = _late_host(text, off)
    if moved is not None or text.isascii() or "punycode" in off:
        return moved
    encoded = punycode(lower(text).strip("."))
    return ("punycode", "domain", encoded) if encoded and is_host(encoded) else None


_EARLY = {
    "FQDN": _early_host,
    "Filename": _early_filename,
    "Registry Key": _early_registry,
    "IP Address": _early_cidr_under_ip,
    "IPv6 Address": _early_cidr_under_ip,
}
_LATE = {
    "IP Address": _late_ip,
    "IPv6 Address": _late_ip,
    "CIDR Block": _late_ip,
    "FQDN": _late_unicode_host,
    "MD5": _late_hash,
    "SHA-1": _late_hash,
    "SHA-256": _late_hash,
    "SHA-384": _late_hash,
    "SHA-512": _late_hash,
    "CVE": _late_cve,
    "ASN": _late_as,
    "Email Address": _late_email,
    "Service Name": _late_service,
    "Fuzzy Hash": _late_fuzzy,
}
