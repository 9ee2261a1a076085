"""Which checksums MISP takes, and its words where it does not. Read: ``AttributeValidationTool::validate``."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from tqmisp.simulators.misp.normalise import FILE_HASHES

Check = Callable[[str], str | None]
"""Gives MISP's words for a value that it refuses, None for one that it takes."""

DOUBLE_CHECK = 'Please double check the value or select type "other".'
_PEHASH = (
    "format (expected: {}40 hexadecimal characters). Keep in mind that MISP currently only supports SHA1 for PEhashes, "
    "if you would like to get the support extended to other hash types, make sure to create a github ticket about it "
    "at https://github.com/MISP/MISP!"
)
HASH_LENGTHS = {
    "authentihash": 64,
    "md5": 32,
    "imphash": 32,
    "sha1": 40,
    "git-commit-id": 40,
    "x509-fingerprint-md5": 32,
    "x509-fingerprint-sha1": 40,
    "x509-fingerprint-sha256": 64,
    "ja3-fingerprint-md5": 32,
    "jarm-fingerprint": 62,
    "hassh-md5": 32,
    "hasshserver-md5": 32,
    "sha224": 56,
    "sha256": 64,
    "sha384": 96,
    "sha512": 128,
    "sha512/224": 56,
    "sha512/256": 64,
    "sha3-224": 56,
    "sha3-256": 64,
    "sha3-384": 96,
    "sha3-512": 128,
    "dom-hash": 32,
}
"""Hexadecimal characters of each kind of checksum."""

_SSDEEP = re.compile(r"[0-9]+:[0-9a-zA-Z/+]*:[0-9a-zA-Z/+]*")
HEX = re.compile(r"[0-9a-fA-F]+")


def pattern(expression: str, words: str) -> Check:
    """A check against the whole value."""
    matches = re.compile(expression).fullmatch
    return lambda value: None if matches(value) else words


def _checksum(length: int) -> Check:
    return pattern(
        f"[0-9a-fA-F]{{{length}}}",
        f"Checksum has an invalid length or format (expected: {length} hexadecimal characters). {DOUBLE_CHECK}",
    )


def _file_checksum(length: int) -> Check:
    return pattern(
        rf"[^\n]+\|[0-9a-f]{{{length}}}",
        f"Checksum has an invalid length or format (expected: filename|{length} hexadecimal characters). "
        f"{DOUBLE_CHECK}",
    )


def _is_tlsh(value: str) -> bool:
    value = value.removeprefix("t")
    return len(value) > 35 and bool(HEX.fullmatch(value))


def _tlsh(value: str) -> str | None:
    return (
        None
        if _is_tlsh(value)
        else (
            "Checksum has an invalid length or format (expected: at least 35 hexadecimal characters, optionally "
            f"starting with t1 instead of hexadecimal characters). {DOUBLE_CHECK}"
        )
    )


def _file_tlsh(value: str) -> str | None:
    name, _, checksum = value.partition("|")
    if "\n" in name:
        return "Filename must not contain new line character."
    return (
        None
        if _is_tlsh(checksum)
        else (
            "TLSH hash has an invalid length or format (expected: filename|at least 35 hexadecimal characters, "
            f"optionally starting with t1 instead of hexadecimal characters). {DOUBLE_CHECK}"
        )
    )


def _file_ssdeep(value: str) -> str | None:
    name, _, checksum = value.partition("|")
    if "\n" in name:
        return "Filename must not contain new line character."
    return None if _SSDEEP.fullmatch(checksum) else "Invalid ssdeep hash (expected: blocksize:hash:hash)."


def _telfhash(value: str) -> str | None:
    return (
        None
        if len(value) in {70, 72}
        else (f"Checksum has an invalid length or format (expected: 70 or 72 hexadecimal characters). {DOUBLE_CHECK}")
    )


def _ssh(value: str) -> str | None:
    words = "SSH fingerprint must be in MD5 or SHA256 format."
    if value.startswith("SHA256:"):
        encoded = value.removeprefix("SHA256:")
        try:
            decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            return words
        return None if len(decoded) == 32 else words
    digits = value.removeprefix("MD5:").replace(":", "")
    return None if len(digits) == 32 and HEX.fullmatch(digits) else words


CHECKSUMS: dict[str, Check] = {
    **{name: _checksum(length) for name, length in HASH_LENGTHS.items()},
    **{f"filename|{name}": _file_checksum(HASH_LENGTHS[name]) for name in FILE_HASHES if name in HASH_LENGTHS},
    "tlsh": _tlsh,
    "filename|tlsh": _file_tlsh,
    "telfhash": _telfhash,
    "pehash": pattern("[0-9a-fA-F]{40}", "The input doesn't match the expected sha1 " + _PEHASH.format("")),
    "filename|pehash": pattern(
        r"[^\n]+\|[0-9a-f]{40}", "The input doesn't match the expected filename|sha1 " + _PEHASH.format("filename|")
    ),
    "ssdeep": pattern(_SSDEEP.pattern, "Invalid SSDeep hash. The format has to be blocksize:hash:hash"),
    "filename|ssdeep": _file_ssdeep,
    "impfuzzy": pattern(r"[0-9]+:[^:]*:[^:]*", "Invalid impfuzzy format. The format has to be imports:hash:hash"),
    "cdhash": pattern(
        "[0-9a-f]{40,}", "The input doesn't match the expected format (expected: 40 or more hexadecimal characters)"
    ),
    "ssh-fingerprint": _ssh,
}
"""By type."""
