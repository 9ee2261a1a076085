"""Names of adversaries and malware families as MISP's galaxies write them.

The clusters come from the package PyMISPGalaxies, which carries them as files. They are read from there without
importing it: its objects take a second and much memory, and all that is needed are names. Where the package is not
installed nothing is found, and free tags take the place of clusters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import msgspec

ADVERSARIES = ("threat-actor", "mitre-intrusion-set", "microsoft-activity-group")
"""Galaxies in which adversaries are looked up; the first that knows a name decides."""
MALWARE = (
    "malpedia",
    "tool",
    "ransomware",
    "rat",
    "botnet",
    "banker",
    "stealer",
    "exploit-kit",
    "backdoor",
    "android",
    "cryptominers",
    "tds",
    "mitre-malware",
    "mitre-tool",
)
"""The same for malware families."""

LEAST_CHARACTERS = 3
"""Shorter names and synonyms are anybody's."""

_KINDS = (
    "unknown unnamed unidentified unspecified none null na other various multiple generic malware trojan ransomware "
    "virus worm backdoor botnet loader downloader dropper stealer spyware adware rootkit exploit miner locker crypter "
    "android windows linux"
)
_ANYBODYS = frozenset(_KINDS.split())
"""Words that say what kind something is, or that nobody knows; there are clusters that are called so."""


class _Meta(msgspec.Struct):
    synonyms: list[str] = []


class _Cluster(msgspec.Struct):
    value: str
    meta: _Meta = msgspec.field(default_factory=_Meta)


class _Galaxy(msgspec.Struct):
    """What is read of a file; the rest of it is passed over."""

    type: str
    values: list[_Cluster]


_GALAXY = msgspec.json.Decoder(_Galaxy)

Lookup = Callable[[str], str | None]
"""From a name to the tag of its cluster."""


def lookup(galaxies: tuple[str, ...], own: Mapping[str, str]) -> Lookup:
    """Make a look-up of names, blind to case, to everything but letters and digits, and to "Group" at the end.

    Args:
        galaxies: names of galaxies, the one that counts most first.
        own: tags by name that count more than any galaxy.

    The name of a cluster counts more than a synonym; a synonym that two clusters of a galaxy share says nothing. A
    name without letters and digits is nobody's.
    """
    known = _table(galaxies) | {key: tag for name, tag in own.items() if (key := _key(name))}
    return lambda name: known.get(_key(name))


@cache
def _table(galaxies: tuple[str, ...]) -> dict[str, str]:
    names: dict[str, str] = {}
    synonyms: dict[str, str] = {}
    for galaxy in galaxies:
        clusters = list(_clusters(galaxy))
        shared = Counter(key for _, _, others in clusters for key in others)
        for tag, key, others in clusters:
            if _is_ones_own(key):
                names.setdefault(key, tag)
            for other in filter(_is_ones_own, others):
                if shared[other] == 1:
                    synonyms.setdefault(other, tag)
    return synonyms | names


def _clusters(galaxy: str) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Each cluster as tag, key of its name, keys of its synonyms."""
    package = find_spec("pymispgalaxies")
    if package is None or not package.submodule_search_locations:
        return
    folder = Path(package.submodule_search_locations[0]) / "data" / "misp-galaxy" / "clusters"
    path = folder / f"{galaxy}.json"
    if not path.exists():  # the package has been released without its data, and may lose a galaxy
        return
    read = _GALAXY.decode(path.read_bytes())
    for cluster in read.values:
        name = cluster.value
        if '"' in name:
            continue
        yield f'misp-galaxy:{read.type}="{name}"', _key(name), frozenset(map(_key, cluster.meta.synonyms))


def _is_ones_own(key: str) -> bool:
    return len(key) >= LEAST_CHARACTERS and key not in _ANYBODYS


def _key(name: str) -> str:
    key = "".join(filter(str.isalnum, name.casefold()))
    return key.removesuffix("group") or key
