"""Why a value cannot become an attribute; ``docs/reject-codes.md`` says what to do about each code."""

from __future__ import annotations

CODES = {
    "control_characters": "The value, or a part of it, consists of control characters only.",
    "empty_value": "The value is empty.",
    "invalid_as_number": "An AS number is a whole number below 4294967296.",
    "invalid_cidr": "The prefix length of a network must be a number up to 32, or 128 for IPv6.",
    "invalid_cve": "A CVE is written CVE-2024-12345.",
    "invalid_domain": "This is not a domain name that MISP takes.",
    "invalid_email": "This is not an e-mail address that MISP takes.",
    "invalid_format": "The value does not have the form that MISP asks of its type.",
    "invalid_hash": "The checksum has characters that are not hexadecimal.",
    "invalid_hash_length": "The checksum does not have the length of its kind.",
    "invalid_ip": "This is not an IP address that MISP takes.",
    "invalid_mac": "A MAC address has 12 hexadecimal characters.",
    "invalid_pair": "The value must have two parts with one | between them.",
    "invalid_port": "The port must be a number from 1 to 65535.",
    "invalid_service_name": "A service name has at most 256 bytes and no slashes.",
    "invalid_ssdeep": "An ssdeep hash is written blocksize:hash:hash.",
    "invalid_unicode": "The value holds half a character (a lone surrogate).",
    "ip_with_port": "The address carries a port.",
    "nested_defanging": "The value is defanged within what is defanged.",
    "newline_in_value": "The value has more than one line.",
    "too_long": "The value is longer than 65,535 bytes.",
    "unknown_type": "The MISP type is not one that MISP knows.",
}
"""Each code, a promise to whoever counts them, and a sentence for it."""


class Unstorable(Exception):
    """MISP would refuse a value.

    Attributes:
        code: a key of :data:`CODES`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(CODES[code])
        self.code = code
