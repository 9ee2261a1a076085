"""The rules of rescue: what feeds write, and what is meant by it. Pure; each takes time in proportion to the value."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from tqmisp.misp.hosts import is_host, is_ip, lower, punycode
from tqmisp.misp.reject import Unstorable
from tqmisp.misp.values import stored


class Move(NamedTuple):
    """Where a value belongs."""

    value: str
    label: str = ""
    """The ThreatQ type under which it should stand; empty for the one that it has."""
    type: str = ""
    """The MISP type, where no ThreatQ type says it: ``ip-dst|port``, ``hostname|port``, ``regkey|value``, ``text``."""


class Rule(NamedTuple):
    """A way to mend a value."""

    name: str
    does: str
    """One sentence, for the documentation and for whoever asks."""
    apply: Callable[[str], Move | None]
    """Gives None where the rule has nothing to say."""


_ENDS = (
    " \t\n\r\0\x0b\x0c\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
"""Blanks of every kind, and characters without width."""
_DOT_LIKE_MISP = re.compile(r"\[\.\]|\[dot\]|\(dot\)", re.IGNORECASE)
_DOT = re.compile(r"\[\.\]|\(\.\)|\{\.\}|\[dot\]|\(dot\)|\{dot\}", re.IGNORECASE)
_HALF = re.compile(r"(?<=\w)(?:\[\.|\.\])(?=\w)")
_AT = re.compile(r"\[@\]|\(@\)|\[at\]|\(at\)", re.IGNORECASE)
_COLON = re.compile(r"\[(:(?://)?)\]")
_HXXP = re.compile(r"(?:h(?:xx|tx|xt|\*\*|\[tt\])p|meow)(s?)(?:[^\w/]{0,4}(//)(?!\])\s*|(?=:|\[:))", re.IGNORECASE)
"""A defanged scheme with whatever stands for ``://``, or before a colon: ``hxxp://``, ``hxxp;//``, ``hxxp[://]``."""
_HXXP_HOST = re.compile(r"(?:hxxp|hxtp|htxp|meow)[^/?:#]*", re.IGNORECASE)
_CVE = re.compile(r"cve[\s_:-]{0,2}([0-9]{4})[\s_-]([0-9]{4,12})", re.IGNORECASE)
_AS = re.compile(
    r"(ASN?)?[\s:#]{0,2}([0-9]{1,10})(?:(?(1)[\s,(-]|\s?\()(?!\W*[0-9]|.*\bASN?\W{0,2}[0-9]).{0,200})?",
    re.IGNORECASE | re.DOTALL,
)
"""A number and whose it is: no range, no list; and a number that is not said to be one of an AS may be any."""
_BLANK = re.compile(r"\s")
_LIST = re.compile(r"[,;]")
_AS_NETWORK = re.compile(r"/[0-9][^a-zA-Z?]*")
"""What follows an address in a network or in what should be one: a number too large, a netmask."""
_HEX = re.compile(r"[0-9A-Fa-f]+")
HASH_LABELS = {32: "MD5", 40: "SHA-1", 64: "SHA-256", 96: "SHA-384", 128: "SHA-512"}
"""ThreatQ's types for checksums, by hexadecimal characters."""


def _changed(before: str, after: str) -> Move | None:
    return Move(after) if after != before else None


def _storable(misp_type: str, value: str) -> bool:
    try:
        stored(misp_type, value)
    except Unstorable:
        return False
    return True


def _blanks(text: str) -> Move | None:
    if text and (text[0] in _ENDS or text[-1] in _ENDS):
        return _changed(text, text.strip(_ENDS))
    return None


def _refang(text: str) -> Move | None:
    if "[" not in text and "(" not in text and "{" not in text:
        return None
    return _changed(text, _COLON.sub(r"\1", _DOT.sub(".", text)))


def _refang_email(text: str) -> Move | None:
    return _changed(text, _AT.sub("@", _DOT.sub(".", text))) if "[" in text or "(" in text or "{" in text else None


def _refang_path(text: str) -> Move | None:
    return _changed(text, _DOT_LIKE_MISP.sub(".", text)) if "[" in text or "(" in text else None


def _refang_url(text: str) -> Move | None:
    after = text
    if found := _HXXP.match(text):
        after = f"http{'s' if found[1] else ''}{'://' if found[2] else ''}{text[found.end() :]}"
    if "[" in after or "(" in after:
        after = _COLON.sub(r"\1", _DOT_LIKE_MISP.sub(".", after))
    return _changed(text, after)


def _half_refang(text: str) -> Move | None:
    return _changed(text, _HALF.sub(".", text)) if "[." in text or ".]" in text else None


def _scheme_like_host(text: str) -> Move | None:
    found = _HXXP_HOST.match(text)
    host = found[0].rpartition("@")[2].strip(".") if found else ""
    return Move(f"http://{text}") if host and is_host(punycode(host) or host) else None


def _ip_port(text: str) -> Move | None:
    address, _, port = text.rpartition(":")
    if text[:1] == "[" and address[-1:] == "]":
        address = address[1:-1]
    elif ":" in address:
        return None
    return Move(f"{address}|{port}", type="ip|port") if _storable("ip-dst|port", f"{address}|{port}") else None


def _cidr_under_ip(text: str) -> Move | None:
    return Move(text, "CIDR Block") if "/" in text and _storable("ip-dst", text) else None


def _host_under_ip(text: str) -> Move | None:
    host = lower(text).strip(".")
    return Move(host, "FQDN") if _is_name(host) else None


def _ip_under_host(text: str) -> Move | None:
    return Move(text, "IP Address") if is_ip(text) else None


def _wildcard_host(text: str) -> Move | None:
    return Move(text[2:], "FQDN") if text.startswith("*.") and _is_name(text[2:]) else None


def _email_under_host(text: str) -> Move | None:
    return (
        Move(text, "Email Address") if text.count("@") == 1 and "/" not in text and _storable("email", text) else None
    )


def _host_port(text: str) -> Move | None:
    host, _, port = text.partition(":")
    if is_ip(host):
        return _ip_port(text)
    pair = f"{host}|{port}"
    return Move(pair, type="hostname|port") if _is_name(host) and _storable("hostname|port", pair) else None


def _url_under_host(text: str) -> Move | None:
    start = text.partition("://")[2]
    bare = start or text
    authority = bare.partition("/")[0].partition("?")[0]
    host, colon, port = authority.rpartition("@")[2].partition(":")
    if host == text or _BLANK.search(text) or not (_is_name(host) or is_ip(host)):
        return None
    if not start and (
        _LIST.search(text)
        or (colon and not _storable("port", port))
        or (not colon and is_ip(host) and _AS_NETWORK.fullmatch(bare, len(authority)))
    ):
        return None
    return Move(text, "URL")


def _is_name(host: str) -> bool:
    """Whether a text is a host name beyond doubt: MISP takes ``192.0.2.1-20`` and ``192.0.2.999`` for one as well."""
    return is_host(host) and host.rpartition(".")[2][0].isalpha()


def _punycode(text: str) -> Move | None:
    encoded = None if text.isascii() else punycode(lower(text).strip("."))
    return Move(encoded) if encoded and is_host(encoded) else None


def _registry_value(text: str) -> Move | None:
    return Move(text, type="regkey|value") if text.count("|") == 1 and text[0] != "|" and text[-1] != "|" else None


def _hash_by_length(text: str) -> Move | None:
    label = HASH_LABELS.get(len(text))
    return Move(text, label) if label is not None and _HEX.fullmatch(text) else None


def _cve_form(text: str) -> Move | None:
    found = _CVE.fullmatch(text[:40])
    return Move(f"CVE-{found[1]}-{found[2]}") if found and len(text) <= 40 else None


def _as_number_form(text: str) -> Move | None:
    found = _AS.fullmatch(text[:240])
    return Move(found[2]) if found else None


def _email_form(text: str) -> Move | None:
    before, opened, rest = text.partition("<")
    inner = rest.partition(">")[0] if opened and ">" in rest else before
    return _changed(text, inner.strip().removeprefix("mailto:"))


def _path_in_filename(text: str) -> Move | None:
    return Move(text, "File Path") if "\\" in text or "/" in text else None


def _as_text(text: str) -> Move | None:
    return Move(text, type="text") if text else None


BLANKS = Rule("blanks", "Takes blanks of every kind, and invisible characters, off the ends.", _blanks)
_REFANG = "Undoes defanging: hxxp, [.], (dot), [:], [at]."
_HALF_REFANG = Rule("half_refang", "Undoes defanging of which one bracket was lost: com[.ar.", _half_refang)
_IP_PORT = Rule("ip_port", "Files 192.0.2.1:80 as an address with a port.", _ip_port)
_HOST_RULES = (
    Rule("wildcard_host", "Files *.evil.example as evil.example.", _wildcard_host),
    Rule("email_under_host", "Files an e-mail address that stands as a host as an Email Address.", _email_under_host),
    Rule("host_port", "Files evil.example:8080 as a host with a port.", _host_port),
    Rule("url_under_host", "Files a URL that stands as a host or an address as a URL.", _url_under_host),
)
_IP_RULES = (
    _IP_PORT,
    *_HOST_RULES,
    Rule("host_under_ip", "Files a host name that stands as an address as an FQDN.", _host_under_ip),
)
_HASH = (Rule("hash_by_length", "Files a checksum under the kind that its length says.", _hash_by_length),)


class Plan(NamedTuple):
    """The rules for one ThreatQ type."""

    clean: tuple[Rule, ...] = (BLANKS,)
    """Applied to every value, one after the other."""
    early: tuple[Rule, ...] = ()
    """The first that has something to say decides, before MISP's own rules are asked."""
    late: tuple[Rule, ...] = ()
    """The same, where MISP would refuse the value."""


_CIDR = Rule("cidr_under_ip", "Files 192.0.2.0/24 that stands as an address or a host as a CIDR Block.", _cidr_under_ip)
_IP = Plan((BLANKS, Rule("refang", _REFANG, _refang), _HALF_REFANG), (_CIDR,), _IP_RULES)
PLANS: dict[str, Plan] = {
    "IP Address": _IP,
    "IPv6 Address": _IP,
    "CIDR Block": Plan(_IP.clean, (), _IP_RULES),
    "FQDN": Plan(
        (BLANKS, Rule("refang", _REFANG, _refang_email), _HALF_REFANG),
        (Rule("ip_under_host", "Files an address that stands as a host as an IP Address.", _ip_under_host),),
        (_CIDR, *_HOST_RULES, Rule("punycode", "Encodes a host name beyond ASCII.", _punycode)),
    ),
    "URL": Plan(
        (BLANKS, Rule("refang", _REFANG, _refang_url), _HALF_REFANG),
        (
            Rule(
                "scheme_like_host",
                "Puts http:// before a host such as meow.example, which MISP would turn into http.example.",
                _scheme_like_host,
            ),
        ),
    ),
    "URL Path": Plan((BLANKS, Rule("refang", _REFANG, _refang_path))),
    "Email Address": Plan(
        (BLANKS, Rule("refang", _REFANG, _refang_email), _HALF_REFANG),
        (),
        (Rule("email_form", "Takes the address out of Name <address> and mailto:address.", _email_form),),
    ),
    "Registry Key": Plan(
        early=(Rule("registry_value", "Files key|value as a registry key with a value.", _registry_value),)
    ),
    "Filename": Plan(
        early=(Rule("path_in_filename", "Files a path that stands as a Filename as a File Path.", _path_in_filename),)
    ),
    **dict.fromkeys(("MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512"), Plan(late=_HASH)),
    "CVE": Plan(late=(Rule("cve_form", "Writes cve_2024 12345 as CVE-2024-12345.", _cve_form),)),
    "ASN": Plan(late=(Rule("as_number_form", "Takes the number out of AS 64496 (Example Net).", _as_number_form),)),
    "Service Name": Plan(
        late=(Rule("service_as_text", "Files as text what MISP does not take for a service name.", _as_text),)
    ),
    "Fuzzy Hash": Plan(
        late=(Rule("fuzzy_hash_as_text", "Files as text what MISP does not take for an ssdeep hash.", _as_text),)
    ),
}
"""By ThreatQ type; a type that is not here has the rule ``blanks`` alone."""

RULES: dict[str, str] = {
    rule.name: rule.does for plan in PLANS.values() for rule in (*plan.clean, *plan.early, *plan.late)
}
"""All rules by name, with what each does."""
