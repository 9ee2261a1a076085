"""Which MISP type, category and to_ids a ThreatQ indicator type becomes.

The 34 types that ThreatQ ships. The vendor's own table is not public: each pair follows the meaning of the type and is
valid in MISP's describeTypes, which a test checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import orjson


class MispType(NamedTuple):
    """How an attribute is filed in MISP."""

    type: str
    category: str
    to_ids: bool


TYPES: dict[str, MispType] = {
    "ASN": MispType("AS", "Network activity", False),
    "Binary String": MispType("pattern-in-file", "Artifacts dropped", False),
    "CIDR Block": MispType("ip-dst", "Network activity", True),
    "CVE": MispType("vulnerability", "External analysis", False),
    "Email Address": MispType("email-src", "Payload delivery", True),
    "Email Attachment": MispType("email-attachment", "Payload delivery", True),
    "Email Subject": MispType("email-subject", "Payload delivery", False),
    "File Mapping": MispType("text", "Artifacts dropped", False),
    "File Path": MispType("filename", "Artifacts dropped", True),
    "Filename": MispType("filename", "Payload delivery", True),
    "FQDN": MispType("domain", "Network activity", True),
    "Fuzzy Hash": MispType("ssdeep", "Payload delivery", True),
    "GOST Hash": MispType("other", "Payload delivery", False),
    "Hash ION": MispType("other", "Payload delivery", False),
    "IP Address": MispType("ip-dst", "Network activity", True),
    "IPv6 Address": MispType("ip-dst", "Network activity", True),
    "MAC Address": MispType("mac-address", "Network activity", False),
    "MD5": MispType("md5", "Payload delivery", True),
    "Mutex": MispType("mutex", "Artifacts dropped", True),
    "Password": MispType("text", "Other", False),
    "Registry Key": MispType("regkey", "Persistence mechanism", True),
    "Service Name": MispType("windows-service-name", "Artifacts dropped", False),
    "SHA-1": MispType("sha1", "Payload delivery", True),
    "SHA-256": MispType("sha256", "Payload delivery", True),
    "SHA-384": MispType("sha384", "Payload delivery", True),
    "SHA-512": MispType("sha512", "Payload delivery", True),
    "String": MispType("text", "Other", False),
    "x509 Serial": MispType("text", "Network activity", False),
    "x509 Subject": MispType("text", "Network activity", False),
    "URL": MispType("url", "Network activity", True),
    "URL Path": MispType("uri", "Network activity", True),
    "User-agent": MispType("user-agent", "Network activity", False),
    "Username": MispType("text", "Other", False),
    "X-Mailer": MispType("email-x-mailer", "Payload delivery", False),
}

FALLBACK = MispType("text", "Other", to_ids=False)
"""For types that an instance has added itself."""


class KnownType(NamedTuple):
    """What MISP says about a type of its own."""

    categories: frozenset[str]
    """Those in which it may stand."""
    usual: MispType
    """Category and to_ids that MISP gives it when asked for nothing else."""


@cache
def known_types() -> Mapping[str, KnownType]:
    """The types of MISP by name: PyMISP's describeTypes, read when first asked for.

    The file is read without importing PyMISP, which would take longer than a small export.
    """
    package = find_spec("pymisp")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("PyMISP is not installed; MISP's types are known from there: pip install pymisp")
    text = (Path(package.submodule_search_locations[0]) / "data" / "describeTypes.json").read_bytes()
    result = orjson.loads(text)["result"]
    categories: dict[str, set[str]] = {}
    for category, names in result["category_type_mappings"].items():
        for name in names:
            categories.setdefault(name, set()).add(category)
    return {
        name: KnownType(
            frozenset(categories[name]), MispType(name, usual["default_category"], to_ids=bool(usual["to_ids"]))
        )
        for name, usual in result["sane_defaults"].items()
    }
