"""What MISP makes of a value before it looks whether it is valid.

Measured: recordings 152 to 186. Read: ``AttributeValidationTool::modifyBeforeValidation`` and
``ComplexTypeTool::refangValue`` of MISP 2.5.1. Written from these, apart from :mod:`tqmisp.misp.values`, so that the
two can be held against each other.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import idna

from tqmisp.simulators.misp.php import BLANKS, lower, moment, natural, upper

Normalise = Callable[[str], str]

ASTRAL = re.compile("[\U00010000-\U0010ffff]")
"""Characters of four bytes in UTF-8, which the database has no room for."""
DOMAIN = re.compile(r"[A-Za-z0-9.\-_]+\.[A-Za-z0-9\-]{2,}")

_SCHEME = re.compile(r"hxxp|hxtp|htxp|meow|h\[tt\]p", re.IGNORECASE)
_DOT = re.compile(r"\[\.\]|\[dot\]|\(dot\)")
_AT = re.compile(r"\[@\]|\[at\]")
_LABEL_BYTES = 63
# the four characters that UTS 46 maps otherwise in the transitional way, which is PHP's default
_DEVIATIONS = str.maketrans({"ß": "ss", "\u03c2": "\u03c3", "\u200c": "", "\u200d": ""})
_PORT_SEPARATORS = ("|", ".", " port ", "p", "#")


def _links(value: str) -> str:
    if _SCHEME.match(value):
        value = _SCHEME.sub("http", value, count=1)
    if "[" in value or "(" in value:
        value = _DOT.sub(".", value).replace("[hxxp://]", "http://").replace("[:]", ":")
    return value


def _dots(value: str) -> str:
    return _DOT.sub(".", value) if "[" in value or "(" in value else value


def _mails(value: str) -> str:
    return _AT.sub("@", _DOT.sub(".", value)) if "[" in value or "(" in value else value


REFANG: dict[str, Normalise] = {
    "url": _links,
    "link": _links,
    **dict.fromkeys(("ip-dst", "ip-src", "domain|ip", "domain", "hostname"), _dots),
    **dict.fromkeys(("email", "email-src", "email-dst"), _mails),
}
"""What undoes defanging, by type; other types are left alone."""


def ip(value: str) -> str:
    """Shortest form of an IPv6 address; a block of one address becomes the address (recordings 172 to 177).

    MISP overlooks a colon, a dot and a slash that come first.
    """
    if value.find("/") > 0:
        address, _, size = value.partition("/")
        address = _short(address)
        if (size == "32" and value.find(".") > 0) or (size == "128" and value.find(":") > 0):
            return address
        return f"{address}/{size}"
    return _short(value)


def _short(address: str) -> str:
    if address.find(":") <= 0:
        return address
    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address))
    except (OSError, ValueError):
        return address


def domain(value: str) -> str:
    """Lower case, no dots around, punycode where it is not ASCII (recordings 157, 163, 169 and 170)."""
    value = lower(value).strip(".")
    return value if DOMAIN.fullmatch(value) else _punycode(value)


def _punycode(value: str) -> str:
    """``idn_to_ascii()`` with ICU's defaults; the value itself where ICU would report an error."""
    try:
        mapped = idna.uts46_remap(value.translate(_DEVIATIONS), std3_rules=False)
        labels = [_ascii(label) for label in mapped.split(".")]
    except (idna.IDNAError, UnicodeError):
        return value
    return value if None in labels else ".".join(label for label in labels if label)


def _ascii(label: str) -> str | None:
    """A label in ASCII; None where it is empty, has hyphens in the wrong places or gets too long."""
    if label.startswith("-") or label.endswith("-") or (label[2:4] == "--" and not label.startswith("xn--")):
        return None
    encoded = label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"
    return encoded if 0 < len(encoded) <= _LABEL_BYTES else None


def _domain_ip(value: str) -> str:
    name, bar, address = lower(value).partition("|")
    return f"{domain(name)}|{ip(address)}" if bar else name


def _filename_hash(value: str) -> str:
    name, bar, checksum = value.partition("|")
    return f"{name}{bar}{lower(checksum)}"


def _ip_port(value: str) -> str:
    """``ip|port`` from all the ways to write it (recording 178)."""
    if value.count(":") >= 2:
        address, port = _ipv6_port(value)
    elif ":" in value[1:]:
        address, port = value.split(":")[:2]
    elif "|" in value[1:]:
        address, port = value.split("|")[:2]
    else:
        return value
    return f"{ip(address)}|{port}"


def _ipv6_port(value: str) -> tuple[str, str]:
    if "|" not in value[1:] and value.startswith("[") and "]" in value:
        address, _, rest = value[1:].partition("]")
        return address, rest.partition(":")[2]
    for separator in _PORT_SEPARATORS:
        if separator in value[1:]:
            address, port = value.split(separator)[:2]
            return address, port
    address, _, port = value.rpartition(":")
    return address, port


def _mac(value: str) -> str:
    digits = re.sub(r"[.:\- ]", "", lower(value))
    return ":".join(digits[start : start + 2] for start in range(0, len(digits), 2))


def _as_number(value: str) -> str:
    if upper(value[:2]) == "AS":
        value = value[2:]
    first, _, second = value.partition(".")
    high, low = natural(first), natural(second)
    return value if high is None or low is None else str(high * 65_536 + low)  # asdot notation


def _phone(value: str) -> str:
    if value.startswith("00"):
        value = f"+{value[2:]}"
    return re.sub(r"[^+0-9]+", "", value.replace("(0)", ""))


def _boolean(value: str) -> str:
    value = lower(value).strip(BLANKS)
    return "0" if value in {"false", "", "0"} else "1"


def _datetime(value: str) -> str:
    found = moment(value)
    return value if found is None else found.strftime("%Y-%m-%dT%H:%M:%S.%f%z")


def _port_of_host(value: str) -> str:
    return lower(value).replace(":", "|")


HASHES = [
    "md5",
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha512/224",
    "sha512/256",
    "sha3-224",
    "sha3-256",
    "sha3-384",
    "sha3-512",
    "ja3-fingerprint-md5",
    "jarm-fingerprint",
    "hassh-md5",
    "hasshserver-md5",
    "pehash",
    "authentihash",
    "vhash",
    "imphash",
    "telfhash",
    "tlsh",
    "cdhash",
    "dom-hash",
]
FILE_HASHES = [
    "md5",
    "sha1",
    "imphash",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha512/224",
    "sha512/256",
    "sha3-224",
    "sha3-256",
    "sha3-384",
    "sha3-512",
    "authentihash",
    "vhash",
    "pehash",
    "tlsh",
]
_LOWERED = [
    "hostname",
    "anonymised",
    "email",
    "email-src",
    "email-dst",
    "target-email",
    "whois-registrant-email",
    "onion-address",
]

NORMALISE: dict[str, Normalise] = {
    **dict.fromkeys((*HASHES, *_LOWERED), lower),
    **dict.fromkeys((f"filename|{name}" for name in FILE_HASHES), _filename_hash),
    **dict.fromkeys(("ip-src", "ip-dst"), ip),
    **dict.fromkeys(("ip-src|port", "ip-dst|port"), _ip_port),
    "domain": domain,
    "domain|ip": _domain_ip,
    "hostname|port": _port_of_host,
    **dict.fromkeys(("http-method", "hex"), upper),
    **dict.fromkeys(("vulnerability", "weakness"), lambda value: upper(value.replace("–", "-"))),  # noqa: RUF001
    **dict.fromkeys(("cc-number", "bin"), lambda value: re.sub(r"[^0-9]+", "", value)),
    **dict.fromkeys(("iban", "bic"), lambda value: re.sub(r"[^0-9A-Z]+", "", upper(value))),
    **dict.fromkeys(("prtn", "whois-registrant-phone", "phone-number"), _phone),
    **dict.fromkeys(
        ("x509-fingerprint-md5", "x509-fingerprint-sha1", "x509-fingerprint-sha256"),
        lambda value: lower(value.replace(":", "")),
    ),
    **dict.fromkeys(("mac-address", "mac-eui-64"), _mac),
    "AS": _as_number,
    "boolean": _boolean,
    "datetime": _datetime,
}
"""What is done to the trimmed and refanged value, by type; other types keep it."""
