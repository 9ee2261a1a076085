"""Which MISP type, category and to_ids a ThreatQ indicator type becomes.

The 34 types that ThreatQ ships. The vendor's own table is not public: each pair follows the meaning of the type and is
valid in MISP's describeTypes, which a test checks.
"""

from __future__ import annotations

from typing import NamedTuple


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
