"""MISP's rules for values: what it will store, or why it would refuse.

Measured on MISP 2.5.1 (recordings 118 to 190) and read in its source (``AttributeValidationTool.php``,
``ComplexTypeTool.php``, ``MispAttribute.php``). Pure; every function takes time in proportion to the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tqmisp.misp import hosts
from tqmisp.misp.hosts import address_like, lower, one_line
from tqmisp.misp.reject import Unstorable
from tqmisp.misp.types import known_types

MAX_BYTES = 65_535
"""The columns ``value1`` and ``value2`` are MySQL ``text``."""

HASH_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}
"""The checksums that ThreatQ has types for, with their hexadecimal characters."""

_OTHER_HASHES = {
    **dict.fromkeys(("imphash", "ja3-fingerprint-md5", "hassh-md5", "hasshserver-md5", "dom-hash"), 32),
    **dict.fromkeys(("pehash", "git-commit-id"), 40),
    **dict.fromkeys(("sha224", "sha512/224", "sha3-224"), 56),
    **dict.fromkeys(("authentihash", "sha512/256", "sha3-256"), 64),
    "jarm-fingerprint": 62,
    "sha3-384": 96,
    "sha3-512": 128,
}
_FILE_HASHES = {
    name: length
    for name, length in (HASH_LENGTHS | _OTHER_HASHES).items()
    if name.startswith("sha") or name in {"md5", "imphash", "authentihash", "pehash"}
}

_BLANKS = " \t\n\r\0\x0b"
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL_ONLY = re.compile(r"[\x00-\x1f\x7f]+")
_HEX = re.compile(r"[0-9a-f]+")
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}")
_CWE = re.compile(r"CWE-[0-9]+")
_SSDEEP = re.compile(r"[0-9]+:[0-9a-zA-Z/+]*:[0-9a-zA-Z/+]*")
_DIGITS = re.compile(r"[0-9]+")
_ALPHANUMERIC = re.compile(r"[a-zA-Z0-9]+")


def stored(misp_type: str, value: str) -> str:
    """The value as MISP will store it; storing the result again changes nothing.

    Args:
        misp_type: a MISP type. Those that ThreatQ's types become, and the common ones beside them, are known in full;
            of the others only that a value must not be empty, too long or of control characters.
        value: whatever ThreatQ holds.

    Raises:
        Unstorable: MISP would refuse it.
    """
    value = value.strip(_BLANKS)
    if not value:
        raise Unstorable("empty_value")
    if not value.isascii():
        if _SURROGATE.search(value):
            raise Unstorable("invalid_unicode")
        value = _ASTRAL.sub("?", value)  # its columns hold three bytes a character
    rule = _RULES.get(misp_type)
    if rule is not None:
        value = rule(value)
    elif misp_type not in known_types():
        raise Unstorable("unknown_type")
    elif "|" in misp_type:
        value = _pair(value)
    if (value[0] < " " or value[0] == "\x7f") and _CONTROL_ONLY.fullmatch(value):
        raise Unstorable("control_characters")
    if len(value) * 3 > MAX_BYTES and len(value.encode()) > MAX_BYTES:
        raise Unstorable("too_long")
    return value


def _matching(pattern: re.Pattern[str], code: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise Unstorable(code)
        return value

    return check


def _hash(length: int) -> Callable[[str], str]:
    def check(value: str) -> str:
        value = lower(value)
        if len(value) != length:
            raise Unstorable("invalid_hash_length")
        if not _HEX.fullmatch(value):
            raise Unstorable("invalid_hash")
        return value

    return check


def _fingerprint(length: int) -> Callable[[str], str]:
    """A checksum that may be written with colons."""
    check = _hash(length)
    return lambda value: check(value.replace(":", ""))


def _file_hash(length: int) -> Callable[[str], str]:
    """``filename|checksum``."""
    check = _hash(length)

    def check_pair(value: str) -> str:
        name, bar, checksum = _pair(value).partition("|")
        if not name:
            raise Unstorable("invalid_pair")
        return f"{one_line(name)}{bar}{check(checksum)}"

    return check_pair


def _identifier(pattern: re.Pattern[str], code: str) -> Callable[[str], str]:
    """CVE and CWE numbers: upper case, and MISP mends this very dash."""
    check = _matching(pattern, code)
    return lambda value: check(value.replace("–", "-").upper())  # noqa: RUF001


def _as_number(value: str) -> str:
    number = value[2:] if value[:2].upper() == "AS" else value
    high, dot, low = number.partition(".")
    if dot and _DIGITS.fullmatch(high) and _DIGITS.fullmatch(low) and len(high) < 6 and len(low) < 6:
        number = str(int(high) * 65536 + int(low))
    if not _DIGITS.fullmatch(number) or len(number) > 10 or int(number) >= 2**32:
        raise Unstorable("invalid_as_number")
    return number


def _mac(value: str) -> str:
    digits = re.sub(r"[.: -]", "", lower(value))
    if len(digits) != 12 or not _HEX.fullmatch(digits):
        raise Unstorable("invalid_mac")
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def _service(value: str) -> str:
    if len(value.encode()) > 256 or "/" in value or "\\" in value:
        raise Unstorable("invalid_service_name")
    return value


def _port(value: str) -> str:
    if not _DIGITS.fullmatch(value) or len(value) > 5 or not 1 <= int(value) <= hosts.MAX_PORT:
        raise Unstorable("invalid_port")
    return value


def _pair(value: str) -> str:
    first, bar, second = value.partition("|")
    if not bar or "|" in second:
        raise Unstorable("invalid_pair")
    if _CONTROL_ONLY.fullmatch(first) or _CONTROL_ONLY.fullmatch(second):
        raise Unstorable("control_characters")
    return value


_ONE_LINE = (
    "campaign-id campaign-name chrome-extension-id dkim dkim-signature email-dst-display-name email-message-id "
    "email-mime-boundary email-reply-to email-src-display-name email-subject email-thread-index email-x-mailer "
    "favicon-mmh3 filename github-organisation github-repository github-username malware-type "
    "mobile-application-id pdb regkey target-external target-location target-machine target-org target-user "
    "threat-actor twitter-id uri user-agent whois-creation-date whois-registrant-name whois-registrant-org "
    "whois-registrar windows-scheduled-task"
)

_RULES: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(_ONE_LINE.split(), one_line),
    **{name: _hash(length) for name, length in (HASH_LENGTHS | _OTHER_HASHES).items()},
    **{f"filename|{name}": _file_hash(length) for name, length in _FILE_HASHES.items()},
    **{f"x509-fingerprint-{name}": _fingerprint(HASH_LENGTHS[name]) for name in ("md5", "sha1", "sha256")},
    **dict.fromkeys(("ip-src", "ip-dst"), hosts.ip),
    **dict.fromkeys(("ip-src|port", "ip-dst|port"), hosts.ip_port),
    **dict.fromkeys(("email", "email-src", "email-dst"), hosts.email),
    **dict.fromkeys(("target-email", "whois-registrant-email"), lambda value: address_like(lower(value))),
    **dict.fromkeys(("eppn", "dns-soa-email", "jabber-id"), address_like),
    **dict.fromkeys(("btc", "dash", "xmr"), _matching(_ALPHANUMERIC, "invalid_format")),
    **dict.fromkeys(("windows-service-name", "windows-service-displayname"), _service),
    "domain": hosts.domain,
    "domain|ip": hosts.domain_ip,
    "hostname": hosts.hostname,
    "hostname|port": hosts.hostname_port,
    "url": hosts.url,
    "port": _port,
    "vulnerability": _identifier(_CVE, "invalid_cve"),
    "weakness": _identifier(_CWE, "invalid_format"),
    "AS": _as_number,
    "mac-address": _mac,
    "ssdeep": _matching(_SSDEEP, "invalid_ssdeep"),
    "regkey|value": lambda value: _pair(one_line(value)),
}
