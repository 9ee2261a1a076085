"""Saving attributes: one by one on the routes that add, all or nothing on the one that edits an event.

Read in MISP 2.5.1: ``MispAttribute::captureAttribute``, ``editAttribute``, ``editAttributeBulk``, ``afterSave``.
"""

from __future__ import annotations

from typing import Any

from tqmisp.simulators.misp import tags
from tqmisp.simulators.misp.accounts import User
from tqmisp.simulators.misp.attributes import (
    Errors,
    Row,
    check_columns,
    examine,
    take_off_foreign_group,
    timestamp,
)
from tqmisp.simulators.misp.indexes import forget_correlations
from tqmisp.simulators.misp.model import Attribute, Event, Tag
from tqmisp.simulators.misp.php import empty, text
from tqmisp.simulators.misp.refusals import ServerFault, WorkerDied
from tqmisp.simulators.misp.store import MispStore
from tqmisp.simulators.misp.visibility import may_use
from tqmisp.simulators.misp.warnings import warnings_of

Tagged = list[tuple[Tag, dict[str, Any]]]
"""Tags of the server, each with what was sent of it."""

ON_A_WARNINGLIST = "Attribute could not be saved as it trips over a warninglist and enforceWarninglist is enforced."


def capture(
    store: MispStore,
    user: User,
    event: Event,
    row: Row,
    *,
    unique: bool = True,
    update_known: bool = False,
    tagged: Tagged | None = None,
) -> Attribute | Errors | str:
    """Save one attribute, in a transaction of its own.

    Args:
        store: the state.
        user: who sends it.
        event: where it is to live.
        row: what was sent.
        unique: whether a value that the event has already is refused; ``events/add`` does not ask (recording 195).
        tagged: its tags, where they are known already.
        update_known: change the attribute with that value instead, as ``breakOnDuplicate:0`` does (recording 112).

    Returns:
        The saved attribute, or MISP's texts.

    Raises:
        ServerFault: the database refuses it.
    """
    row = take_off_foreign_group(store, user, row)
    if update_known and (known := _change_known(store, event, row)) is not None:
        return known
    image = examine(store, event, row, unique=unique and not update_known, capture=True)
    if isinstance(image, dict):
        return image
    if not empty(row.get("enforceWarninglist")) and warnings_of(store, image):
        return ON_A_WARNINGLIST
    check_columns(image)
    store.add_attribute(image)
    _count(event, image, created=True)
    if tagged is None:
        entries = tags.tag_list(row.get("Tag"))
        tagged = [(tag, entry) for entry in entries if (tag := tags.capture(store, user, entry)) is not None]
    if tagged:
        image.tags = []
        for tag, entry in tagged:
            tags.attach(store, "attribute", image.tags, tag, entry)
    return image


def _change_known(store: MispStore, event: Event, row: Row) -> Attribute | None:
    """Give the attribute that has the value of a row everything else of it, too; None: there is none."""
    anonymous = {name: value for name, value in row.items() if name != "uuid"}
    image = examine(store, event, anonymous, unique=False, capture=True)
    known = store.values.twin(image) if isinstance(image, Attribute) else None
    if known is None or not isinstance(image, Attribute):
        return None
    check_columns(image)
    store.change_attribute(known, image)
    return known


def _count(event: Event, attribute: Attribute, *, created: bool) -> None:
    """``attribute_count`` as MISP counts: down with every save of a deleted one, up with every new one."""
    if attribute.deleted:
        event.attribute_count = max(event.attribute_count, 1) - 1
    if created:
        event.attribute_count += 1


def edit(
    store: MispStore,
    user: User,
    event: Event,
    rows: list[Row],
    *,
    fast: bool = False,
    tags_to_live: int | None = None,
) -> bool:
    """Add and change attributes of an event in one transaction, and put on their tags afterwards.

    What MISP has something against is left out without a word; a row that is not newer than what is stored is skipped.

    Args:
        store: the state.
        user: who sends them.
        event: their event.
        rows: what was sent.
        fast: ``fast_update``: no look at uniqueness, correlations are dropped, ``attribute_count`` is one too high.
        tags_to_live: attributes that get their tags before the worker dies; None: it lives.

    Returns:
        Whether MISP takes the event for changed.

    Raises:
        ServerFault: the database refuses one of them; then none is saved.
        WorkerDied: between the transaction and the tags, which are no part of it (``editAttributePostProcessing``).
    """
    changed = False
    images: list[tuple[Attribute | None, Attribute, Row]] = []
    for row in rows:
        stored = _stored(store, row)
        if stored is not None:
            if stored.event is not event:
                changed = True  # MISP logs a duplicate UUID and takes the event for changed all the same
                continue
            sent = row.get("timestamp")
            if sent is not None and timestamp(sent) <= stored.timestamp:
                continue
        changed = True
        if "distribution" in row and not _may_distribute(store, user, row, stored):
            continue
        image = examine(store, event, row, stored=stored, unique=not fast)
        if isinstance(image, Attribute):
            images.append((stored, image, row))
    _check_all(store, images)
    saved = [_save(store, event, stored, image, deletes="deleted" in row) for stored, image, row in images]
    for attribute, (_, _, row) in zip(saved[:tags_to_live], images, strict=False):
        _edit_tags(store, user, attribute, row)
    if tags_to_live is not None:
        raise WorkerDied
    if fast:
        forget_correlations(event, {other.id: other for other in store.events()})
        event.attribute_count = sum(not attribute.deleted for attribute in event.attributes) + 1
    return changed


def _edit_tags(store: MispStore, user: User, attribute: Attribute, row: Row) -> None:
    links = list(attribute.tags or ())
    if "Tag" in row and tags.edit(store, user, "attribute", links, row["Tag"]):
        attribute.tags = links or None
        store.touch_attribute(attribute)


def _may_distribute(store: MispStore, user: User, row: Row, stored: Attribute | None) -> bool:
    """Whether a row is not for a sharing group that is not the user's."""
    if text(row["distribution"]) != "4":
        return True
    return may_use(store, user, row.get("sharing_group_id", stored.sharing_group_id if stored is not None else 0))


def _stored(store: MispStore, row: Row) -> Attribute | None:
    if not isinstance(row, dict):
        raise ServerFault  # PHP: an attribute must be an array
    uuid = row.get("uuid")
    return store.attribute_uuid(uuid.lower()) if isinstance(uuid, str) else None


def _check_all(store: MispStore, images: list[tuple[Attribute | None, Attribute, Row]]) -> None:
    """What the database would refuse on the way, before anything is changed.

    Raises:
        ServerFault: it would. The ids that the rows before it had been given are lost, as in InnoDB.
    """
    new: set[str] = set()
    try:
        for stored, image, _ in images:
            check_columns(image)
            if stored is None:
                _check_key(image, new)
    except ServerFault:
        store.next_attribute += len(new)
        raise


def _check_key(image: Attribute, new: set[str]) -> None:
    """The column ``uuid`` has a unique key."""
    if image.uuid in new:
        raise ServerFault
    new.add(image.uuid)


def _save(store: MispStore, event: Event, stored: Attribute | None, image: Attribute, *, deletes: bool) -> Attribute:
    if stored is None:
        store.add_attribute(image)
        _count(event, image, created=True)
        return image
    store.change_attribute(stored, image)
    if deletes:  # coming back does not count up again (recordings 243 to 245)
        _count(event, image, created=False)
    return stored
