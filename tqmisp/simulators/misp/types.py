"""Which attribute types there are, and what becomes of a value of each.

Types, categories and defaults come from the ``describeTypes.json`` that PyMISP carries, read when first needed. It is
that of the PyMISP installed, so it may know a few types more than the recorded 2.5.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import orjson

from tqmisp.simulators.misp.checksums import Check
from tqmisp.simulators.misp.normalise import ASTRAL, NORMALISE, REFANG, Normalise
from tqmisp.simulators.misp.php import BLANKS, text
from tqmisp.simulators.misp.validity import check_of

EMPTY = "Value cannot be empty."
_ONLY_CONTROLS = "Value provided consists purely of control characters and is therefore considered to be empty."
_NOT_COMPOSITE = "Composite type found but the value not in the composite (value1|value2) format."
TOO_LONG = (
    "The entered string is too long and would get truncated. Please consider adding the data as an attachment instead"
)
LARGEST_TEXT = 65_535
"""Bytes in a column of the type ``text``."""

UNCORRELATED = frozenset(
    [
        "comment",
        "http-method",
        "aba-rtn",
        "gender",
        "counter",
        "integer",
        "float",
        "port",
        "nationality",
        "cortex",
        "boolean",
        "anonymised",
    ]
)
"""Types that MISP never correlates."""
FIRST_PART_ONLY = frozenset({"ip-src|port", "ip-dst|port", "hostname|port"})
"""Composite types of which only the first part is correlated."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")
# One pattern a type that catches values which are already in the form that MISP stores: most of what a client sends.
_READY = {
    "md5": re.compile("[0-9a-f]{32}"),
    "sha1": re.compile("[0-9a-f]{40}"),
    "sha256": re.compile("[0-9a-f]{64}"),
    "sha512": re.compile("[0-9a-f]{128}"),
    **dict.fromkeys(
        ("ip-src", "ip-dst"),
        re.compile(
            r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}"
        ),
    ),
    **dict.fromkeys(("domain", "hostname"), re.compile(r"[a-z0-9_\-][a-z0-9_.\-]*\.[a-z0-9\-]{2,}")),
    "url": re.compile(r"https?://[a-zA-Z0-9._~:/?#@!$&'*+,;=%\-]+"),
    "filename": re.compile(r"[a-zA-Z0-9._~+$@%\-]+"),
}


@dataclass(frozen=True, slots=True)
class TypeRule:
    """One attribute type."""

    name: str
    category: str
    """The default."""
    to_ids: bool
    """The default."""
    categories: frozenset[str]
    composite: bool
    refang: Normalise | None
    normalise: Normalise | None
    check: Check
    ready: re.Pattern[str] | None

    def value_of(self, sent: object) -> tuple[str, str | None]:
        """The value as it would be stored, and MISP's words where it refuses it.

        Whether the value is too long is asked last, after uniqueness: see :func:`too_long`.
        """
        if self.ready is not None and type(sent) is str and self.ready.fullmatch(sent):
            return sent, None
        value = text(sent).strip(BLANKS)
        if self.refang is not None:
            value = self.refang(value)
        if not value.isascii():
            value = ASTRAL.sub("?", value)
        if self.normalise is not None:
            value = self.normalise(value)
        return value, self._objection(value)

    def _objection(self, value: str) -> str | None:
        if not value.strip(BLANKS):
            return EMPTY
        if _CONTROLS.fullmatch(value):
            return _ONLY_CONTROLS
        if self.composite:
            if value.count("|") != 1:
                return _NOT_COMPOSITE
            if any(_CONTROLS.fullmatch(part) for part in value.split("|")):
                return _ONLY_CONTROLS
        return self.check(value)


def too_long(value: str) -> bool:
    """Whether the database would have to cut it."""
    return len(value) > LARGEST_TEXT // 4 and len(value.encode("utf-8", "surrogatepass")) > LARGEST_TEXT


@cache
def described() -> bytes:
    """The answer of ``attributes/describeTypes``."""
    package = find_spec("pymisp")
    if package is None or not package.submodule_search_locations:
        msg = "PyMISP is not installed; the simulated MISP takes its attribute types from there: pip install pymisp"
        raise ModuleNotFoundError(msg)
    return (Path(package.submodule_search_locations[0]) / "data" / "describeTypes.json").read_bytes()


@cache
def type_rules() -> dict[str, TypeRule]:
    """All types by name."""
    result = orjson.loads(described())["result"]
    mappings: dict[str, list[str]] = result["category_type_mappings"]
    rules = {}
    for name, defaults in result["sane_defaults"].items():
        rules[name] = TypeRule(
            name=name,
            category=defaults["default_category"],
            to_ids=bool(defaults["to_ids"]),
            categories=frozenset(category for category, types in mappings.items() if name in types),
            composite="|" in name or name == "malware-sample",
            refang=REFANG.get(name),
            normalise=NORMALISE.get(name),
            check=check_of(name),
            ready=_READY.get(name),
        )
    return rules


@cache
def categories() -> dict[str, str]:
    """All categories; a map so that equal strings become the same object."""
    return {name: name for name in orjson.loads(described())["result"]["categories"]}
