"""UUIDs that follow from what a thing is, so that every run and every installation finds the same ones.

What goes into them is a promise: change it, and everything is exported once more.

* namespace = UUIDv5(URL namespace, ``tqmisp:`` + the text of ``[events] namespace``, or the address of ThreatQ)
* event = UUIDv5(namespace, ``event:<name>:<date>:<part>``)
* attribute = UUIDv5(namespace, ``attribute:<type>:<value as MISP stores it>``)
"""

from __future__ import annotations

import struct
import unicodedata
import uuid
from binascii import hexlify
from functools import lru_cache
from hashlib import blake2b, sha1
from urllib.parse import urlsplit


def namespace(threatq_url: str, name: str | None = None) -> bytes:
    """The 16 bytes from which all UUIDs of one export derive."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"tqmisp:{name or address(threatq_url)}").bytes


def address(url: str) -> str:
    """An address in one spelling: scheme and host in lower case, no default port, no slash at the end."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    port = "" if parts.port in {None, {"https": 443, "http": 80}.get(parts.scheme)} else f":{parts.port}"
    return f"{parts.scheme}://{(parts.hostname or '').lower()}{port}{parts.path.rstrip('/')}"


def event_uuid(space: bytes, name: str, date: str, part: int) -> str:
    """The UUID of a part, 1 being the first, of the events of a day."""
    title = f"event:{name}:{date}:{part}"
    return as_text(_v5(sha1(space + title.encode(), usedforsecurity=False).digest()))


def identify(space: bytes, misp_type: str, category: str, value: str) -> tuple[bytes, int]:
    """The UUID of an attribute, and a number that is equal for values which MISP's uniqueness takes for one.

    MISP compares by ``utf8mb3_unicode_ci``: without case, accents, blanks at the end and characters that have no weight
    (recordings 187 and 189). Two values that get the same number in error only go to different events.

    Args:
        space: the namespace.
        misp_type: of MISP.
        category: likewise; the UUID does not depend on it.
        value: as MISP stores it.

    Returns:
        16 bytes, and 64 bits, signed.
    """
    prefix, number = _kind(space, misp_type, category)
    digest = sha1(prefix + value.encode(), usedforsecurity=False).digest()
    uuid = _v5(digest)
    folded = _folded(value)
    if folded != value:  # most values are as they would be folded, and need no digest of their own
        digest = sha1(prefix + folded.encode(), usedforsecurity=False).digest()
    return uuid, _LAST_64_BITS(digest, 12)[0] ^ number


@lru_cache(maxsize=1024)
def _kind(space: bytes, misp_type: str, category: str) -> tuple[bytes, int]:
    """What comes before a value, and what tells its category from others."""
    number = int.from_bytes(blake2b(category.encode(), digest_size=8).digest(), signed=True)
    return space + f"attribute:{misp_type}:".encode(), number


def as_text(raw: bytes) -> str:
    """The 36 characters of a UUID of 16 bytes."""
    return b"-".join(_GROUPS(hexlify(raw))).decode()


_GROUPS = struct.Struct("8s4s4s4s12s").unpack


def _folded(value: str) -> str:
    folded = value.lower()
    if not (folded.isascii() and folded.isprintable()):
        decomposed = unicodedata.normalize("NFKD", value).casefold().translate(_LETTERS)
        folded = "".join(c for c in unicodedata.normalize("NFKD", decomposed) if _has_weight(c))
    return folded.rstrip()


_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe", "\u0131": "i"})
"""Letters that the collation knows as others, though Unicode does not decompose them."""


def _has_weight(character: str) -> bool:
    return character in "\t\n\x0b\x0c\r\x85" or unicodedata.category(character) not in {"Mn", "Me", "Cc", "Cf"}


_VERSION_5 = 0x5000_8000_0000_0000_0000
_RANDOM = (1 << 128) - 1 & ~0xF000_C000_0000_0000_0000
"""The bits of a UUID that are neither its version nor its variant."""


_LAST_64_BITS = struct.Struct(">q").unpack_from
"""Of a digest, of which a UUID keeps the first 128 bits."""


def _v5(digest: bytes) -> bytes:
    """``uuid.uuid5(...).bytes``, in a fraction of its time."""
    return (int.from_bytes(digest[:16]) & _RANDOM | _VERSION_5).to_bytes(16)
