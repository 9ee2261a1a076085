"""Tags on events and attributes, as the writing routes take them.

Read in MISP 2.5.1: ``Tag::captureTag``, ``AttributeTag::handleAttributeTag``, ``EventTag::handleEventTag``.
"""

from __future__ import annotations

import hashlib
from typing import Any

from tqmisp.simulators.misp.accounts import User
from tqmisp.simulators.misp.model import Tag, TagLink
from tqmisp.simulators.misp.php import empty, text
from tqmisp.simulators.misp.refusals import ServerFault
from tqmisp.simulators.misp.store import MispStore, Table

_LONGEST = 255


def tag_list(sent: object) -> list[dict[str, Any]]:
    """The tags of an event or attribute: a list of objects, or one object.

    Raises:
        ServerFault: strings instead of objects (recording 418).
    """
    if empty(sent):
        return []
    tags = [sent] if isinstance(sent, dict) and "name" in sent else sent
    tags = list(tags.values()) if isinstance(tags, dict) else tags
    if not isinstance(tags, list) or not all(isinstance(tag, dict) and "name" in tag for tag in tags):
        raise ServerFault
    return tags


def colour_of(name: str) -> str:
    """The colour that MISP gives a tag for which none was sent."""
    return f"#{hashlib.md5(name.encode('utf-8', 'replace'), usedforsecurity=False).hexdigest()[:6]}"


def capture(store: MispStore, user: User, sent: dict[str, Any]) -> Tag | None:
    """The tag of that name in any case, made if the role may; None: left out without a word (recordings 278, 279)."""
    name = text(sent["name"])
    known = store.tag_named(name)
    if known is not None or not user.may("perm_tag_editor"):
        return known
    return make(store, name, None if empty(sent.get("colour")) else text(sent["colour"]))


def make(store: MispStore, name: str, colour: str | None = None) -> Tag | None:
    """A new tag; None where MISP refuses its name: empty, or known once it is cut (recordings 390 and 391)."""
    cut = name.encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "ignore")
    if not cut.strip() or store.tag_named(cut) is not None:
        return None
    return store.add_tag(cut, colour or colour_of(name))


def linked(links: list[TagLink], tag: Tag) -> TagLink | None:
    """How a tag hangs on something already."""
    return next((link for link in links if link.tag is tag), None)


def attach(
    store: MispStore, table: Table, links: list[TagLink], tag: Tag, sent: dict[str, Any], *, local: bool = False
) -> bool:
    """Hang a tag on something; False where it hangs there already."""
    if linked(links, tag) is not None:
        return False
    relationship = None if empty(sent.get("relationship_type")) else text(sent["relationship_type"])
    links.append(TagLink(store.next_link(table), tag, local, relationship))
    return True


def edit(store: MispStore, user: User, table: Table, links: list[TagLink], sent: object) -> bool:
    """Add the tags that were sent, take off those marked as deleted (recordings 295, 296); whether that did anything.

    A role without ``perm_tagger`` changes nothing.
    """
    changed = False
    for entry in tag_list(sent) if user.may("perm_tagger") else ():
        tag = capture(store, user, entry)
        if tag is None:
            continue
        if empty(entry.get("deleted")):
            changed |= attach(store, table, links, tag, entry, local=not empty(entry.get("local")))
        elif (link := linked(links, tag)) is not None:
            links.remove(link)
            changed = True
    return changed
