"""MISP's warninglists: values that are well known and harmless, from the package PyMISPWarningLists.

The package's own search asks every list in turn and takes a millisecond a value. Here the entries of the chosen lists
are put into one table for each way of matching, so that a value costs a few look-ups.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from tqmisp.errors import ConfigError

HARMLESS = (
    "automated-malware-analysis",
    "captive-portals",
    "cisco_top1000",
    "common-contact-emails",
    "common-ioc-false-positive",
    "eicar.com",
    "empty-hashes",
    "ipv6-linklocal",
    "moz-top500",
    "mozilla-CA",
    "mozilla-IntermediateCA",
    "multicast",
    "public-dns-v6",
    "rfc1918",
    "rfc3849",
    "rfc5735",
    "rfc6598",
    "rfc6761",
    "second-level-tlds",
    "security-provider-blogpost",
    "tlds",
    "umbrella-blockpage-hostname",
    "umbrella-blockpage-v4",
    "whats-my-ip",
)
"""Lists of which a hit is a false positive; those of clouds, VPNs, shorteners and the like only give context."""

LONGEST = 2_000
"""Characters of a value that is looked at in more than one piece."""

_REGEX = re.compile(r"/(.*)/([a-z]*)", re.DOTALL)


def warninglist_test(names: tuple[str, ...]) -> Callable[[str, str], bool]:
    """A test of MISP type and value against lists.

    Args:
        names: folders of the package's lists; empty for :data:`HARMLESS`.

    Raises:
        ConfigError: the package is not installed, or has no such list.
    """
    package = find_spec("pymispwarninglists")
    if package is None or not package.submodule_search_locations:
        raise ConfigError("mapping.warninglists needs a package: pip install 'tqmisp[warninglists]'.")
    folder = Path(package.submodule_search_locations[0]) / "data" / "misp-warninglists" / "lists"
    table = _Table()
    for name in names or HARMLESS:
        path = folder / name / "list.json"
        if "/" in name or not path.is_file():
            known = ", ".join(sorted(each.name for each in folder.iterdir()))
            raise ConfigError(f"mapping.warninglist_names names {name!r}; expected some of {known}.")
        table.add(orjson.loads(path.read_bytes()))
    return table.finds


def host_of(url: str) -> str:
    """The host in a URL, with or without scheme."""
    rest = (url.partition("://")[2] or url).partition("/")[0].partition("?")[0].partition("#")[0].rpartition("@")[2]
    return rest[1:].partition("]")[0] if rest.startswith("[") else rest.partition(":")[0].lower()


class _Table:
    """The entries of many lists, by how they match; each with the MISP types that its list is for."""

    def __init__(self) -> None:
        self.texts: dict[str, set[str]] = {}
        self.hosts: dict[str, set[str]] = {}
        self.networks: dict[tuple[int, int, int], set[str]] = {}
        self.sizes: set[tuple[int, int]] = set()
        self.parts: list[tuple[str, frozenset[str]]] = []
        self.patterns: list[tuple[re.Pattern[str], frozenset[str]]] = []

    def add(self, document: dict[str, Any]) -> None:
        kinds = frozenset(document.get("matching_attributes") or ())
        entries: list[str] = [str(each) for each in document["list"]]
        match document["type"]:
            case "string":
                for entry in entries:
                    self.texts.setdefault(entry.lower(), set()).update(kinds)
            case "hostname":
                for entry in entries:
                    self.hosts.setdefault(entry.lower().strip("."), set()).update(kinds)
            case "cidr":
                for entry in entries:
                    self._add_network(entry, kinds)
            case "substring":
                self.parts += [(entry.lower(), kinds) for entry in entries]
            case "regex":
                self.patterns += [(pattern, kinds) for entry in entries if (pattern := _compiled(entry)) is not None]

    def _add_network(self, entry: str, kinds: frozenset[str]) -> None:
        try:
            network = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return  # a few lists hold remarks
        self.sizes.add((network.version, network.prefixlen))
        shift = network.max_prefixlen - network.prefixlen
        key = network.version, network.prefixlen, int(network.network_address) >> shift
        self.networks.setdefault(key, set()).update(kinds)

    def finds(self, kind: str, value: str) -> bool:
        """Whether a list for this MISP type has the value, or a part of it where it has two."""
        value = value.lower()
        if "|" not in kind:
            return self._finds(kind, value)
        kinds = kind, *kind.split("|")
        return any(self._finds(each, part) for part in value.split("|", 1) for each in kinds)

    def _finds(self, kind: str, value: str) -> bool:
        if kind in self.texts.get(value, ()):
            return True
        if len(value) > LONGEST:
            return False
        host = host_of(value) if kind == "url" else value
        return (
            any(kind in self.hosts.get(name, ()) for name in _with_parents(host))
            or (kind.startswith("ip-") and self._in_network(kind, value))
            or any(part in value for part, kinds in self.parts if kind in kinds)
            or any(pattern.search(value) for pattern, kinds in self.patterns if kind in kinds)
        )

    def _in_network(self, kind: str, value: str) -> bool:
        try:
            network = ipaddress.ip_network(value, strict=False)
        except ValueError:
            return False
        number, longest = int(network.network_address), network.max_prefixlen
        return any(
            kind in self.networks.get((version, size, number >> (longest - size)), ())
            for version, size in self.sizes
            if version == network.version and size <= network.prefixlen
        )


def _with_parents(host: str) -> Iterator[str]:
    """``a.b.c``, then ``b.c``, then ``c``."""
    while host:
        yield host
        host = host.partition(".")[2]


def _compiled(entry: str) -> re.Pattern[str] | None:
    found = _REGEX.fullmatch(entry)
    try:
        return re.compile(found[1] if found else entry, re.IGNORECASE if found and "i" in found[2] else 0)
    except re.error:
        return None  # written for PHP
