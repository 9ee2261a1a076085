"""Comment, tags and dates of an attribute. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from tqmisp.misp.policy import MappingPolicy
from tqmisp.model import Indicator

TAG_CHARACTERS = 255
"""MISP cuts or leaves out longer names (recordings 390 to 392)."""

STRICTNESS = ("RED", "AMBER+STRICT", "AMBER", "GREEN", "CLEAR")
"""Names of the traffic light protocol, the strictest first."""

_TLP_TAG = re.compile(r"tlp[:\s_-]{1,2}(red|amber\+strict|amber|green|clear|white)", re.IGNORECASE)
_MARKUP = re.compile(r"<[^<>]{0,1000}>")
_BLANKS = re.compile(r"\s+")
_FORBIDDEN = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


def plain(text: str) -> str:
    """A text that MISP's columns and any screen can take: one line, no markup, no character of four bytes."""
    if "<" in text:
        text = _MARKUP.sub(" ", text)
    if "&" in text:
        text = html.unescape(text)
    if not text.isascii():
        text = _ASTRAL.sub("\ufffd", text)
    return _BLANKS.sub(" ", _FORBIDDEN.sub(" ", text)).strip()


def cut(text: str, limit: int) -> str:
    """A text of at most so many bytes, ending in an ellipsis where something is left out."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    return raw[: max(0, limit - 3)].decode(errors="ignore") + "…"


def comment(indicator: Indicator, policy: MappingPolicy, threatq_url: str) -> str:
    """What a person should read beside the value."""
    parts = []
    if policy.description and indicator.description and (text := plain(indicator.description)):
        parts.append(text)
    if policy.attributes:
        parts += [f"{plain(name)}: {plain(value)}" for name, value in indicator.attributes if name in policy.attributes]
    if policy.sources and indicator.sources:
        parts.append(f"Source: {plain(', '.join(source.name for source in indicator.sources))}")
    if policy.score == "comment":
        parts.append(f"ThreatQ score: {indicator.score:g}")
    if policy.link:
        parts.append(f"{threatq_url}/indicators/{indicator.id}/details")
    return cut("; ".join(parts), policy.comment_bytes)


def tlp(tags: Iterable[str], given: Iterable[str | None]) -> str | None:
    """The strictest TLP that a tag or a source names; the laxest would leak."""
    found = {name for name in given if name in STRICTNESS}
    for tag in tags:
        if match := _TLP_TAG.fullmatch(tag.strip()):
            name = match[1].upper()
            found.add("CLEAR" if name == "WHITE" else name)
    return min(found, key=STRICTNESS.index) if found else None


def tags(indicator: Indicator, policy: MappingPolicy) -> list[str]:
    """The names of the tags of an attribute, without the score and without those of its type."""
    names: list[str] = []
    if policy.tlp:
        strictest = tlp(indicator.tags, (source.tlp for source in indicator.sources)) or policy.default_tlp
        if strictest:
            names.append(policy.tlp_clear if strictest == "CLEAR" else f"tlp:{strictest.lower()}")
    if policy.adversaries:
        names += [_machine_tag("adversary", name) for name in indicator.adversaries]
    if policy.malware:
        names += [_machine_tag("malware", name) for name in indicator.malware]
    if policy.tags:
        names += [name for name in map(plain, indicator.tags) if not (policy.tlp and _TLP_TAG.fullmatch(name))]
    unique = {name.casefold(): name for name in reversed(names) if name and len(name) <= TAG_CHARACTERS}
    return list(reversed(unique.values()))


def _machine_tag(predicate: str, value: str) -> str:
    return f'threatq:{predicate}="{plain(value).replace(chr(34), chr(39))}"'


def seen(indicator: Indicator) -> tuple[str | None, str | None]:
    """first_seen and last_seen in ISO 8601 with zone; the last is left out where it is not after the first."""
    first = _moment(indicator.published_at or indicator.created_at)
    last = _moment(indicator.expires_at)
    if first and last and last < first:
        last = None
    return first, last


_DATE = re.compile(r"(\d{4}-[01]\d-[0-3]\d)[ T]([0-2]\d:[0-5]\d:[0-5]\d)(\.\d{1,6})?")


def _moment(text: str | None) -> str | None:
    if text is None or (found := _DATE.match(text)) is None or text.startswith("0000"):
        return None
    return f"{found[1]}T{found[2]}{(found[3] or '.').ljust(7, '0')}+00:00"
