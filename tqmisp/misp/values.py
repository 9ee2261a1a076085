"""MISP's rules for values: what it will store, or why it would refuse.

Measured on MISP 2.5.1 (``facts`` section 4, recordings 118 to 190) and read in its source
(``app/Lib/Tools/AttributeValidationTool.php``, ``ComplexTypeTool.php``). Pure; the regular expressions are linear.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import idna

MAX_BYTES = 65_535
"""The columns ``value1`` and ``value2`` are MySQL ``text``."""
MAX_HOST = 2_000
"""Characters of a host name that we try to encode; no real one has more than 253."""

MAX_NESTING = 4

HASH_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}

_BLANKS = " \t\n\r\0\x0b"
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL_ONLY = re.compile(r"[\x00-\x1f\x7f]+")
_HEX = re.compile(r"[0-9a-f]+")
_DOMAIN = re.compile(r"[A-Za-z0-9._-]+\.[A-Za-z0-9-]{2,}")
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}")
_SSDEEP = re.compile(r"[0-9]+:[0-9a-zA-Z/+]*:[0-9a-zA-Z/+]*")
_MAC = re.compile(r"(?:[a-f0-9]{2}:){5}[a-f0-9]{2}")
_DIGITS = re.compile(r"[0-9]+")
_SCHEME = re.compile(r"(?:hxxp|hxtp|htxp|meow|h\[tt\]p)", re.IGNORECASE)
_DOT = re.compile(r"\[\.\]|\[dot\]|\(dot\)")
_AT = re.compile(r"\[@\]|\[at\]")

_LOWER = str.maketrans({chr(upper): chr(upper + 32) for upper in range(ord("A"), ord("Z") + 1)})
"""PHP lowers ASCII letters only."""


class Unstorable(Exception):
    """MISP would refuse a value.

    Attributes:
        code: a stable word, listed in docs/reject-codes.md.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def stored(misp_type: str, value: str) -> str:
    """The value as MISP will store it; storing the result again changes nothing.

    Args:
        misp_type: a type of :data:`tqmisp.misp.types.TYPES`, or any other type of MISP that has no rules of its own.
        value: whatever ThreatQ holds.

    Raises:
        Unstorable: MISP would refuse it.
    """
    value = value.strip(_BLANKS)
    if not value:
        raise Unstorable("empty_value", "The value is empty.")
    if not value.isascii():
        if _SURROGATE.search(value):
            raise Unstorable("invalid_unicode", "The value holds half a character (a lone surrogate).")
        value = _ASTRAL.sub("?", value)  # its columns hold three bytes a character
    rule = _RULES.get(misp_type)
    if rule is not None:
        value = rule(value)
    if _CONTROL_ONLY.fullmatch(value):
        raise Unstorable("control_characters", "The value consists of control characters only.")
    if len(value) * 3 > MAX_BYTES and len(value.encode()) > MAX_BYTES:
        raise Unstorable("too_long", f"The value is longer than {MAX_BYTES} bytes.")
    return value


def is_host(value: str) -> bool:
    """Whether MISP takes a text for a domain or host name."""
    return _DOMAIN.fullmatch(value) is not None


def is_ip(value: str) -> bool:
    """Whether MISP takes a text for an IPv4 or IPv6 address without a prefix length."""
    return _packed(value) is not None


def lower(value: str) -> str:
    """ASCII letters in lower case, the others as they are."""
    return value.lower() if value.isascii() else value.translate(_LOWER)


def punycode(host: str) -> str | None:
    """A host name in ASCII, as the IDNA mapping of UTS 46 gives it; None where it gives none."""
    if len(host) > MAX_HOST:
        return None
    try:
        mapped = idna.uts46_remap(host, std3_rules=False, transitional=True)
        labels = [
            label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
            for label in mapped.split(".")
        ]
    except (idna.IDNAError, UnicodeError):
        return None
    return ".".join(labels)


def _packed(address: str) -> tuple[socket.AddressFamily, bytes] | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return family, socket.inet_pton(family, address)
    except (OSError, ValueError):  # ValueError: a NUL inside
        return None


def _address(value: str) -> str:
    found = _packed(value)
    if found is None:
        raise Unstorable("invalid_ip", "This is not an IP address that MISP takes.")
    family, packed = found
    return socket.inet_ntop(family, packed) if family == socket.AF_INET6 else value


def _ip(value: str) -> str:
    value = _dots(value)
    if "/" not in value:
        if value.count(":") == 1 and is_ip(value.partition(":")[0]):
            raise Unstorable("ip_with_port", "The address carries a port.")
        return _address(value)
    address, _, prefix = value.partition("/")
    address = _address(address)
    longest = 128 if ":" in address else 32
    if not _DIGITS.fullmatch(prefix) or len(prefix) > 3 or int(prefix) > longest:
        raise Unstorable("invalid_cidr", f"The prefix length must be a number up to {longest}.")
    return address if prefix == str(longest) else f"{address}/{prefix}"


def _ip_port(value: str) -> str:
    address, separator, port = value.partition("|")
    if not separator:
        address, separator, port = value.rpartition(":")
    return f"{_address(address.strip('[]'))}|{_port(port)}"


def _port(port: str) -> str:
    if not _DIGITS.fullmatch(port) or len(port) > 5 or not 1 <= int(port) <= MAX_BYTES:
        raise Unstorable("invalid_port", "The port must be a number from 1 to 65535.")
    return port


def _domain(value: str) -> str:
    value = _dots(value)
    value = lower(value).strip(".")
    if not is_host(value):
        encoded = punycode(value)
        value = encoded if encoded is not None and not value.isascii() else value
    return _host(value)


def _hostname(value: str) -> str:
    value = _dots(value)
    return _host(lower(value))


def _host(value: str) -> str:
    if not is_host(value):
        if "\n" in value:
            raise Unstorable("newline_in_value", "The value has more than one line.")
        raise Unstorable("invalid_domain", "This is not a domain name that MISP takes.")
    return value


def _hostname_port(value: str) -> str:
    host, separator, port = lower(value).replace(":", "|").partition("|")
    if not separator:
        raise Unstorable("invalid_port", "The port is missing.")
    return f"{_host(host)}|{_port(port)}"


def _email(value: str) -> str:
    value = lower(_stable(_dots(value), lambda text: _AT.sub("@", text)) if "[" in value else value)
    at = value.find("@", 1)
    if at < 0 or "\n" in value or "." not in value[at:] or any(c in " \t\r\f\v" for c in value[1:at]):
        raise Unstorable("invalid_email", "This is not an e-mail address that MISP takes.")
    return value


def _url(value: str) -> str:
    if "\n" in value:
        raise Unstorable("newline_in_value", "The value has more than one line.")
    if _SCHEME.match(value):
        value = _SCHEME.sub("http", value, count=1)
    if "[" in value or "(" in value:
        value = _stable(value, lambda text: _DOT.sub(".", text).replace("[hxxp://]", "http://").replace("[:]", ":"))
    return value


def _dots(value: str) -> str:
    return _stable(value, lambda text: _DOT.sub(".", text)) if "[" in value or "(" in value else value


def _stable(value: str, step: Callable[[str], str]) -> str:
    """Refang until nothing changes: MISP does it once each time that a value is saved."""
    for _ in range(MAX_NESTING):
        changed = step(value)
        if changed == value:
            return value
        value = changed
    raise Unstorable("nested_defanging", "The value is defanged within what is defanged.")


def _one_line(value: str) -> str:
    if "\n" in value:
        raise Unstorable("newline_in_value", "The value has more than one line.")
    return value


def _hash(misp_type: str, length: int) -> Callable[[str], str]:
    def check(value: str) -> str:
        value = lower(value)
        if len(value) != length:
            raise Unstorable("invalid_hash_length", f"A {misp_type} has {length} hexadecimal characters.")
        if not _HEX.fullmatch(value):
            raise Unstorable("invalid_hash", f"A {misp_type} has {length} hexadecimal characters and nothing else.")
        return value

    return check


def _cve(value: str) -> str:
    value = value.replace("–", "-").upper()  # noqa: RUF001  MISP replaces this very dash
    if not _CVE.fullmatch(value):
        raise Unstorable("invalid_cve", "A CVE is written CVE-2024-12345.")
    return value


def _as_number(value: str) -> str:
    number = value[2:] if value[:2].upper() == "AS" else value
    high, dot, low = number.partition(".")
    if dot and _DIGITS.fullmatch(high) and _DIGITS.fullmatch(low) and len(high) < 6 and len(low) < 6:
        number = str(int(high) * 65536 + int(low))
    if not _DIGITS.fullmatch(number) or len(number) > 10 or int(number) >= 2**32:
        raise Unstorable("invalid_as_number", "An AS number is a whole number below 4294967296.")
    return number


def _mac(value: str) -> str:
    digits = re.sub(r"[.: -]", "", lower(value))
    value = ":".join(digits[i : i + 2] for i in range(0, len(digits), 2)) if len(digits) == 12 else ""
    if not _MAC.fullmatch(value):
        raise Unstorable("invalid_mac", "A MAC address has 12 hexadecimal characters.")
    return value


def _service(value: str) -> str:
    if len(value.encode()) > 256 or "/" in value or "\\" in value:
        raise Unstorable("invalid_service_name", "A service name has at most 256 bytes and no slashes.")
    return value


def _ssdeep(value: str) -> str:
    if not _SSDEEP.fullmatch(value):
        raise Unstorable("invalid_ssdeep", "An ssdeep hash is written blocksize:hash:hash.")
    return value


def _pair(value: str) -> str:
    first, bar, second = _one_line(value).partition("|")
    if not bar or "|" in second:
        raise Unstorable("invalid_pair", "The value must have two parts with one | between them.")
    if _CONTROL_ONLY.fullmatch(first) or _CONTROL_ONLY.fullmatch(second):
        raise Unstorable("control_characters", "A part of the value consists of control characters only.")
    return value


_RULES: dict[str, Callable[[str], str]] = {
    **{name: _hash(name, length) for name, length in HASH_LENGTHS.items()},
    **dict.fromkeys(("ip-src", "ip-dst"), _ip),
    **dict.fromkeys(("ip-src|port", "ip-dst|port"), _ip_port),
    **dict.fromkeys(("email", "email-src", "email-dst"), _email),
    **dict.fromkeys(
        ("uri", "user-agent", "regkey", "filename", "email-subject", "email-x-mailer", "target-user"), _one_line
    ),
    "domain": _domain,
    "hostname": _hostname,
    "hostname|port": _hostname_port,
    "url": _url,
    "vulnerability": _cve,
    "AS": _as_number,
    "mac-address": _mac,
    "windows-service-name": _service,
    "windows-service-displayname": _service,
    "ssdeep": _ssdeep,
    "regkey|value": _pair,
}
