"""Which values MISP takes for which type, and its words where it does not.

Measured: recordings 118 to 142, 171, 174, 180. Read: ``AttributeValidationTool::validate`` of MISP 2.5.1. PHP's ``$``
lets a newline at the end pass; values are trimmed before, so that makes no difference here.
"""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit

import orjson

from tqmisp.simulators.misp.checksums import CHECKSUMS, DOUBLE_CHECK, HEX, Check, pattern
from tqmisp.simulators.misp.normalise import DOMAIN
from tqmisp.simulators.misp.php import moment, natural

NOT_THE_FORMAT = 'Value not in the right type/format. Please double check the value or select type "other".'
_BAD_IP = "IP address has an invalid format."
_BAD_PORT = "Port numbers have to be integers between 1 and 65535."
_LARGEST_AS = 4_294_967_295
_SERVICE_NAME = 256
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_BLANK = re.compile(r"[ \t\n\r\f\v]")


def is_ip(value: str) -> bool:
    """Whether it is one IPv4 or IPv6 address; no leading zeros, no port (recordings 139 and 174)."""
    return bool(_IPV4.fullmatch(value)) or _is_ipv6(value)


def _is_ipv6(value: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, value)
    except (OSError, ValueError):
        return False
    return True


def _ip(value: str) -> str | None:
    if "/" not in value:
        return None if is_ip(value) else _BAD_IP
    address, _, size = value.partition("/")
    bits = natural(size)
    if bits is None:
        return "Invalid CIDR notation value found."
    if _IPV4.fullmatch(address):
        return None if bits <= 32 else _too_wide(4, 32)
    if _is_ipv6(address):
        return None if bits <= 128 else _too_wide(6, 128)
    return _BAD_IP


def _too_wide(version: int, bits: int) -> str:
    return f"Invalid CIDR notation value found, for IPv{version} must be lower or equal {bits}."


def _port(value: str) -> str | None:
    return None if 1 <= (natural(value) or 0) <= 65_535 else _BAD_PORT


def _as_number(value: str) -> str | None:
    number = natural(value)
    good = number is not None and number <= _LARGEST_AS
    return None if good else "AS number have to be integer between 1 and 4294967295"


def _mail(value: str) -> str | None:
    """Anything, then without a blank to an @, and a dot after it in the same line."""
    at = value.find("@", 1)
    rest = value[at + 1 :]
    good = at > 0 and value[0] != "\n" and not _BLANK.search(value, 1, at) and "." in rest and "\n" not in rest
    return None if good else f"Email address has an invalid format. {DOUBLE_CHECK}"


def _ip_port(value: str) -> str | None:
    address, _, port = value.partition("|")
    return _port(port) if is_ip(address) else _BAD_IP


def _host_port(value: str) -> str | None:
    host, _, port = value.partition("|")
    return _port(port) if DOMAIN.fullmatch(host) else "Hostname has an invalid format."


def _domain_ip(value: str) -> str | None:
    name, _, address = value.partition("|")
    if not DOMAIN.fullmatch(name):
        return "Domain has an invalid format."
    return None if is_ip(address) else _BAD_IP


def _service(value: str) -> str | None:
    if len(value.encode("utf-8", "replace")) > _SERVICE_NAME or "/" in value or "\\" in value:
        return (
            "Invalid format. Only values shorter than 256 characters that don't include any forward or backward "
            "slashes are allowed."
        )
    return None


def _link(value: str) -> str | None:
    try:
        parts = urlsplit(value)
    except ValueError:
        return NOT_THE_FORMAT
    good = (
        parts.scheme and (parts.netloc or parts.path) and value.isascii() and value.isprintable() and " " not in value
    )
    return None if good else NOT_THE_FORMAT


def _cortex(value: str) -> str | None:
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return NOT_THE_FORMAT
    return None


def _one_line(value: str) -> str | None:
    return "Value must not contain new line character." if "\n" in value else None


def _anything(_: str) -> str | None:
    return None


_FREE = [
    "mutex",
    "process-state",
    "snort",
    "bro",
    "zeek",
    "community-id",
    "anonymised",
    "pattern-in-file",
    "pattern-in-traffic",
    "pattern-in-memory",
    "filename-pattern",
    "pgp-public-key",
    "pgp-private-key",
    "yara",
    "stix2-pattern",
    "sigma",
    "gene",
    "kusto-query",
    "mime-type",
    "identity-card-number",
    "cookie",
    "attachment",
    "malware-sample",
    "comment",
    "text",
    "other",
    "cpe",
    "email-attachment",
    "email-body",
    "email-header",
    "first-name",
    "middle-name",
    "last-name",
    "full-name",
]
_MAIL = (
    "email",
    "email-src",
    "eppn",
    "email-dst",
    "target-email",
    "whois-registrant-email",
    "dns-soa-email",
    "jabber-id",
)
_NUMBERS = ("bin", "cc-number", "bank-account-nr", "aba-rtn", "prtn", "phone-number", "whois-registrant-phone", "float")

CHECKS: dict[str, Check] = {
    **dict.fromkeys(_FREE, _anything),
    **CHECKSUMS,
    "http-method": pattern(
        r"[\s\S]*(?:OPTIONS|GET|HEAD|POST|PUT|DELETE|TRACE|CONNECT|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK|REPORT|CHECKOUT|"
        r"CHECKIN|MKWORKSPACE|UPDATE|LABEL|MERGE|BASELINE-CONTROL|MKACTIVITY|ORDERPATCH|ACL|PATCH|SEARCH|VERSION-CONTROL)"
        r"[\s\S]*",
        "Unknown HTTP method.",
    ),
    **dict.fromkeys(("ip-src", "ip-dst"), _ip),
    "port": _port,
    **dict.fromkeys(("ip-dst|port", "ip-src|port"), _ip_port),
    "onion-address": pattern(r"(?:[a-z2-7]{16}|[a-z2-7]{56})\.onion", "Onion address has an invalid format."),
    "mac-address": pattern(r"(?:[a-fA-F0-9]{2}:?){6}", NOT_THE_FORMAT),
    "mac-eui-64": pattern(r"(?:[a-fA-F0-9]{2}:?){8}", NOT_THE_FORMAT),
    "domain": pattern(DOMAIN.pattern, f"Domain has an invalid format. {DOUBLE_CHECK}"),
    "hostname": pattern(DOMAIN.pattern, f"Hostname has an invalid format. {DOUBLE_CHECK}"),
    "hostname|port": _host_port,
    "domain|ip": _domain_ip,
    **dict.fromkeys(_MAIL, _mail),
    "vulnerability": pattern("CVE-[0-9]{4}-[0-9]{4,}", "Invalid format. Expected: CVE-xxxx-xxxx..."),
    "weakness": pattern("CWE-[0-9]+", "Invalid format. Expected: CWE-x..."),
    **dict.fromkeys(("windows-service-name", "windows-service-displayname"), _service),
    "link": _link,
    "hex": pattern(HEX.pattern, NOT_THE_FORMAT),
    "datetime": lambda value: None if moment(value) else "Datetime has to be in the ISO 8601 format.",
    **dict.fromkeys(
        ("size-in-bytes", "counter"), pattern("[0-9]+", "The value has to be a whole number greater or equal 0.")
    ),
    "integer": lambda _: "The value has to be an integer value.",  # MISP asks is_int() of a string
    **dict.fromkeys(("iban", "bic", "btc", "dash", "xmr"), pattern("[a-zA-Z0-9]+", NOT_THE_FORMAT)),
    **dict.fromkeys(("vhash", "filename|vhash"), pattern(r"[^\n]+", NOT_THE_FORMAT)),
    **dict.fromkeys(_NUMBERS, pattern(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", NOT_THE_FORMAT)),
    "cortex": _cortex,
    "AS": _as_number,
    "boolean": _anything,
}
"""By type; a type that is not here takes any value of one line."""


def check_of(type_name: str) -> Check:
    """The check of a type."""
    return CHECKS.get(type_name, _one_line)
