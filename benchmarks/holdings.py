"""What MISP and a ledger hold, read from the folders of both when nobody is at work on them."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tqmisp.journal.schema import State
from tqmisp.simulators.misp import MispStore
from tqmisp.simulators.misp.model import Attribute

Fields = tuple[object, ...]
"""Everything of an attribute that an export writes, but for its timestamp."""


@dataclass
class Holdings:
    """What is there after a stage.

    Attributes:
        content: by UUID, the fields of each attribute.
        homes: by UUID, the event of each attribute.
        problems: what must not be, whatever was exported, a sentence each.
    """

    content: dict[str, Fields]
    homes: dict[str, str]
    problems: list[str]


def read(misp: Path, journal: Path, capacity: int) -> Holdings:
    """Read what is there, and hold the two against each other.

    Args:
        misp: the folder of the simulated MISP.
        journal: the file of the journal.
        capacity: attributes an event at most.
    """
    store = MispStore(misp)
    attributes = list(store.every_attribute())
    store.close()
    problems = [*_twins(attributes), *_too_full(attributes, capacity)]
    with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        problems += _unfinished(connection)
        problems += _against_ledger({each.uuid: each for each in attributes}, connection)
    return Holdings(
        {each.uuid: fields_of(each) for each in attributes},
        {each.uuid: each.event.uuid for each in attributes},
        problems,
    )


def fields_of(attribute: Attribute) -> Fields:
    """What an export writes of an attribute."""
    return (
        attribute.type,
        attribute.category,
        attribute.value,
        attribute.to_ids,
        attribute.comment,
        tuple(sorted(link.tag.name for link in attribute.tags or ())),
        attribute.first_seen,
        attribute.last_seen,
        attribute.deleted,
    )


def differences(here: Holdings, there: Holdings) -> list[str]:
    """What of MISP's content is not the same."""
    names = here.content.keys() | there.content.keys()
    return [
        f"{name}: {here.content.get(name, 'nothing')} in place of {there.content.get(name, 'nothing')}"
        for name in sorted(names)
        if here.content.get(name) != there.content.get(name)
    ]


def under_way(journal: Path) -> tuple[bool, bool]:
    """Whether a run that was killed has left promises without a confirmation, and whether it was withdrawing."""
    if not journal.exists():
        return False, False
    with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            return False, False
        any_of = ("slices WHERE closed_at IS NULL", "sweeps", "leaving")
        promised, reading, leaving = (
            connection.execute(f"SELECT 1 FROM {each} LIMIT 1").fetchone() is not None  # noqa: S608  ours
            for each in any_of
        )
        return promised, leaving and not reading


def _twins(attributes: list[Attribute]) -> Iterator[str]:
    for uuid, times in Counter(each.uuid for each in attributes).items():
        if times > 1:
            yield f"MISP holds the attribute {uuid} {times} times."
    for (kind, value), times in Counter((each.type, each.value) for each in attributes).items():
        if times > 1:
            yield f"MISP holds the {kind} {value!r} {times} times."


def _too_full(attributes: list[Attribute], capacity: int) -> Iterator[str]:
    for event, held in Counter(each.event.info for each in attributes).items():
        if held > capacity:
            yield f"{event} holds {held} attributes, more than {capacity}."


def _unfinished(connection: sqlite3.Connection) -> Iterator[str]:
    """What a run that has come to its end must not leave."""
    for table, where in (
        ("slices", "closed_at IS NULL"),
        ("ledger", f"state = {State.PLANNED:d}"),
        ("leaving", "1"),
        ("sweeps", "1"),
        ("runs", "outcome = 'running'"),
    ):
        [left] = connection.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()  # noqa: S608
        if left:
            yield f"{left} rows of {table} are left ({where})."


def _against_ledger(attributes: dict[str, Attribute], connection: sqlite3.Connection) -> Iterator[str]:
    """Each attribute has one indicator that it belongs to, and is where and as the ledger says."""
    query = "SELECT ledger.uuid, ledger.state, events.uuid FROM ledger LEFT JOIN events ON events.id = ledger.event_id"
    owners: dict[str, list[tuple[State, str]]] = defaultdict(list)
    shared: set[str] = set()
    for raw, state, event in connection.execute(query):
        uuid = str(UUID(bytes=raw))
        if state == State.MERGED:
            shared.add(uuid)
        else:
            owners[uuid].append((State(state), event))
    for uuid in shared - owners.keys():
        yield f"The ledger has indicators that share {uuid}, and none whose attribute it is."
    for uuid, owning in owners.items():
        if len(owning) > 1:
            yield f"In the ledger {uuid} belongs to {len(owning)} indicators."
    homes = {uuid: owning[0] for uuid, owning in owners.items() if owning[0][0] in {State.LIVE, State.RETIRED}}
    for uuid, (state, event) in homes.items():
        yield from _against_row(uuid, state, event, attributes.get(uuid))
    for uuid, attribute in attributes.items():
        if uuid not in homes and not attribute.deleted:
            yield f"MISP holds {uuid}, and the ledger does not say so."


def _against_row(uuid: str, state: State, event: str, attribute: Attribute | None) -> Iterator[str]:
    if attribute is None or (attribute.deleted and state == State.LIVE):
        yield f"The ledger says that {uuid} is {state.name}, and MISP does not hold it."
    elif attribute.event.uuid != event:
        yield f"The ledger says that {uuid} is in {event}, and MISP holds it in {attribute.event.uuid}."
    elif state == State.RETIRED and attribute.to_ids and not attribute.deleted:
        yield f"The ledger says that {uuid} is withdrawn, and MISP detects by it."
