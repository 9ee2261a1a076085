"""MISP's rules for what lives in a network: addresses, host names, e-mail addresses, URLs.

As :mod:`tqmisp.misp.values`, of which this is a part: measured (recordings 118, 136 to 142, 155 to 178) and read
(``AttributeValidationTool.php``, ``ComplexTypeTool.php``). Every function takes a trimmed value and gives it as MISP
will store it, or raises :class:`tqmisp.misp.reject.Unstorable`.

In four places the result is a better spelling than MISP would make of the raw value, and one that MISP then keeps:
nested defanging is undone to the end, ``::0001`` becomes ``::1``, ``/024`` becomes ``/24``, and a domain with ``ß``
keeps it (UTS 46 without its transitional mapping), since ``fass.de`` belongs to somebody else than ``faß.de``.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import idna

from tqmisp.misp.reject import Unstorable

MAX_HOST = 255
"""Characters of a host name beyond ASCII that ICU encodes."""
MAX_LABEL = 63
MAX_NESTING = 4
"""How often defanging within defanging is undone; a bound, so that a hostile value costs little."""
MAX_PORT = 65_535

_DOMAIN = re.compile(r"[A-Za-z0-9._-]+\.[A-Za-z0-9-]{2,}")
_DIGITS = re.compile(r"[0-9]+")
_SCHEME = re.compile(r"(?:hxxp|hxtp|htxp|meow|h\[tt\]p)", re.IGNORECASE)
_DOT = re.compile(r"\[\.\]|\[dot\]|\(dot\)")
_AT = re.compile(r"\[@\]|\[at\]")
_JOINERS = str.maketrans("", "", "\u200c\u200d")
_LOWER = str.maketrans({chr(upper): chr(upper + 32) for upper in range(ord("A"), ord("Z") + 1)})


def lower(value: str) -> str:
    """ASCII letters in lower case, the others as they are: PHP 8 lowers no more."""
    return value.lower() if value.isascii() else value.translate(_LOWER)


def one_line(value: str) -> str:
    """Any text without a newline (recording 136)."""
    if "\n" in value:
        raise Unstorable("newline_in_value")
    return value


def is_host(value: str) -> bool:
    """Whether MISP takes a text for a domain or host name."""
    return _DOMAIN.fullmatch(value) is not None


def is_ip(value: str) -> bool:
    """Whether MISP takes a text for an IPv4 or IPv6 address without a prefix length."""
    return _packed(value) is not None


def punycode(host: str) -> str | None:
    """A host name in ASCII, as UTS 46 maps it; None where there is none."""
    if len(host) > MAX_HOST:
        return None
    try:
        labels = [_label(label) for label in idna.uts46_remap(host, std3_rules=False, transitional=False).split(".")]
    except (idna.IDNAError, UnicodeError):
        return None
    if any(not label or len(label) > MAX_LABEL or label[0] == "-" or label[-1] == "-" for label in labels):
        return None
    return ".".join(labels)


def _label(label: str) -> str:
    bare = label.translate(_JOINERS)  # invisible, and meant only between letters of a few scripts
    return bare if bare.isascii() else "xn--" + label.encode("punycode").decode("ascii")


def ip(value: str) -> str:
    """An address or a network; host bits stay, a network of one address becomes the address."""
    value = _dots(value)
    address, slash, prefix = value.partition("/")
    if not slash:
        if value.count(":") == 1 and is_ip(value.partition(":")[0]):
            raise Unstorable("ip_with_port")
        return _address(value)
    address = _address(address)
    longest = 128 if ":" in address else 32
    prefix = prefix.lstrip("0") or prefix[-1:]
    if not _DIGITS.fullmatch(prefix) or len(prefix) > 3 or int(prefix) > longest:
        raise Unstorable("invalid_cidr")
    if prefix == str(longest):
        return address
    if prefix == "32" and "." in address:
        address = _undotted(address)
    return f"{address}/{prefix}"


def _undotted(address: str) -> str:
    """An IPv6 address that ends as an IPv4 one, without dots: MISP drops /32 behind a dot, and with it the network."""
    packed = socket.inet_pton(socket.AF_INET6, address)
    head = address.rpartition(":")[0]
    return f"{head}:{int.from_bytes(packed[12:14]):x}:{int.from_bytes(packed[14:]):x}"


def _packed(address: str) -> tuple[socket.AddressFamily, bytes] | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return family, socket.inet_pton(family, address)
    except (OSError, ValueError):  # ValueError: a NUL inside, or a lone surrogate
        return None


def _address(value: str) -> str:
    found = _packed(value)
    if found is None:
        raise Unstorable("invalid_ip")
    family, packed = found
    return socket.inet_ntop(family, packed) if family == socket.AF_INET6 else value


def ip_port(value: str) -> str:
    """``address|port``, also from ``address:port``, ``[address]:port``, ``address#port`` and the like."""
    address, bar, port = value.partition("|")
    if not bar:
        address, port = _address_and_port(value)
    return f"{_address(address)}|{_port(port)}"


def _address_and_port(value: str) -> tuple[str, str]:
    address, _, port = value.rpartition(":")
    if ":" not in address or not address.strip("[]"):
        return address, port
    if address[0] == "[" and address[-1] == "]":
        return address[1:-1], port
    for separator in (".", " port ", "p", "#"):
        if separator in value:
            address, _, port = value.partition(separator)
            return address, port
    return address, port


def _port(port: str) -> str:
    if not _DIGITS.fullmatch(port) or len(port) > 5 or not 1 <= int(port) <= MAX_PORT:
        raise Unstorable("invalid_port")
    return port


def domain(value: str) -> str:
    """Lower case, no dots at the ends, punycode."""
    value = lower(_dots(value)).strip(".")
    if not value.isascii():
        value = punycode(value) or value
    return _host(value)


def hostname(value: str) -> str:
    """Lower case; MISP does not encode a name beyond ASCII here (recording 171)."""
    return _host(lower(_dots(value)))


def _host(value: str) -> str:
    if not is_host(value):
        raise Unstorable("newline_in_value" if "\n" in value else "invalid_domain")
    return value


def domain_ip(value: str) -> str:
    """``domain|address``."""
    name, bar, address = lower(_dots(value)).partition("|")
    if not bar:
        raise Unstorable("invalid_pair")
    return f"{domain(name)}|{_address(address)}"


def hostname_port(value: str) -> str:
    """``host|port``, also from ``host:port``."""
    host, separator, port = lower(value).replace(":", "|").partition("|")
    if not separator:
        raise Unstorable("invalid_port")
    return f"{_host(host)}|{_port(port)}"


def email(value: str) -> str:
    """Lower case; anything with an @, no blank before it and a dot after it."""
    if "[" in value or "(" in value:
        value = _stable(value, lambda text: _AT.sub("@", _DOT.sub(".", text)))
    return address_like(lower(value))


def address_like(value: str) -> str:
    """What MISP asks of every type that looks like an e-mail address."""
    at = value.find("@", 1)
    if at < 0 or "\n" in value or "." not in value[at:] or any(c in " \t\r\f\v" for c in value[1:at]):
        raise Unstorable("invalid_email")
    return value


def url(value: str) -> str:
    """One line; defanging is undone, letter case and scheme stay (recordings 141, 158, 159, 165)."""
    one_line(value)
    if _SCHEME.match(value):
        value = _SCHEME.sub("http", value, count=1)
    if "[" in value or "(" in value:
        value = _stable(value, _refanged)
    return value


def _refanged(value: str) -> str:
    return _DOT.sub(".", value).replace("[hxxp://]", "http://").replace("[:]", ":")


def _dots(value: str) -> str:
    return _stable(value, lambda text: _DOT.sub(".", text)) if "[" in value or "(" in value else value


def _stable(value: str, step: Callable[[str], str]) -> str:
    """Refang until nothing changes: MISP does it once each time that a value is saved."""
    for _ in range(MAX_NESTING):
        changed = step(value)
        if changed == value:
            return value
        value = changed
    raise Unstorable("nested_defanging")
