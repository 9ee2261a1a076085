"""The tags that an export sends, and whether MISP knows them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from tqmisp.check.finding import Notes
from tqmisp.check.network import Seen
from tqmisp.config import Settings
from tqmisp.tlp import STRICTNESS
from tqmisp.transport.words import one_line

Get = Callable[[str], Awaitable[Seen]]

_SCREENS = ("private_addresses", "short_values", "warninglists")


def tags_sent(settings: Settings) -> Iterator[str]:
    """Every tag that is known before the first indicator; free tags and clusters follow from what comes."""
    policy = settings.mapping
    yield from settings.events.tags
    for own in policy.types.values():
        yield from own.tags
    if policy.tlp:
        yield from (f"tlp:{name.lower()}" for name in STRICTNESS if name != "CLEAR")
        yield policy.tlp_clear
    if policy.score == "threat-level":
        yield from (f'misp:threat-level="{risk}-risk"' for risk in ("low", "medium", "high"))
    if any(getattr(policy, name) == "tag" for name in _SCREENS):
        yield policy.screen_tag


async def check_tags(notes: Notes, settings: Settings, get: Get, *, may_make: bool, role: str) -> None:
    """Look for taxonomies that should be enabled, and for tags that would be left out."""
    wanted = list(dict.fromkeys(tags_sent(settings)))
    await _check_taxonomies(notes, wanted, await get("/taxonomies/index"))
    if may_make:
        notes.ok("tags", "It may make the tags that MISP lacks.")
        return
    known = {one.casefold() for one in _names((await get("/tags/index")).json)}
    missing = [name for name in wanted if name.casefold() not in known]
    lacks = f" Of those known before, it lacks: {', '.join(map(one_line, missing))}." if missing else ""
    notes.warn(
        "tags",
        f"The role {one_line(role)} may not make tags: MISP leaves out those that it lacks without a word.{lacks}",
        "Give the user of [misp] key a role with the tag editor permission, such as Sync user; or have an "
        "administrator make the tags.",
    )


async def _check_taxonomies(notes: Notes, wanted: list[str], seen: Seen) -> None:
    enabled = {str(one.get("namespace")): bool(one.get("enabled")) for one in _taxonomies(seen.json)}
    if not enabled:
        notes.ok("taxonomies", "The key may not see the taxonomies, so that nothing can be said of them.")
        return
    needed = dict.fromkeys(name.partition(":")[0] for name in wanted if ":" in name)
    off = [name for name in needed if name in enabled and not enabled[name]]
    if off:
        names = ", ".join(map(one_line, off))
        notes.warn(
            "taxonomies",
            f"We send tags of taxonomies that are not enabled: {names}. MISP takes them for free tags, without "
            "colour and meaning.",
            f"Enable {names} under Event Actions > List Taxonomies, with all their tags.",
        )
    else:
        notes.ok("taxonomies", "Every taxonomy of the tags that we send is enabled.")


def _taxonomies(answer: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401  it is JSON
    for row in answer if isinstance(answer, list) else []:
        if isinstance(row, dict) and isinstance(row.get("Taxonomy"), dict):
            yield row["Taxonomy"]


def _names(answer: Any) -> Iterator[str]:  # noqa: ANN401  it is JSON
    rows = answer.get("Tag") if isinstance(answer, dict) else None
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and isinstance(row.get("name"), str):
            yield row["name"]
