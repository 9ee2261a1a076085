"""What the recorded server had been through besides the recorded requests, and which recordings are left out.

The database was emptied five times; each part is played against a new simulator, in the order in which it was
recorded, so that even the ids are the same.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from tests.contract.recordings import Recording, recordings
from tqmisp.simulators.misp import events
from tqmisp.simulators.misp.accounts import HOST, OURS, ROLES, User, key_of
from tqmisp.simulators.misp.model import SharingGroup, Warninglist
from tqmisp.simulators.misp.options import MispSimulatorOptions
from tqmisp.simulators.misp.store import MispStore

PARTS: dict[str, tuple[int, ...]] = {
    "events and attributes": tuple(range(1, 204)),
    "search, tags, keys": tuple(range(221, 319)),
    "limits and failures": tuple(range(331, 358)),
    "feeds": tuple(range(361, 379)),
    "poison and edits": tuple(range(381, 407)),
    "odd bodies, background jobs, sharing": (*range(414, 431), *range(411, 414)),
}

# ---- who asked

_HOST = replace(HOST, created="2026-11-24 03:02:39")
_OURS = replace(OURS, created="2026-11-24 03:03:04")
_SYNC = ROLES["Sync user"]
_LIMITED = replace(_SYNC, rate_limit=3)
SYNC = User(2, "sync@threatq.test", _SYNC, _OURS, key_of("Sync user"))
USERS = (
    User(1, "admin@admin.test", ROLES["admin"], _HOST, key_of("admin")),
    SYNC,
    User(3, "user@threatq.test", ROLES["User"], _OURS, key_of("User")),
    User(4, "orgadmin@threatq.test", ROLES["Org Admin"], _OURS, key_of("Org Admin")),
    User(5, "readonly@threatq.test", ROLES["Read Only"], _OURS, key_of("Read Only")),
    User(6, "off@threatq.test", _SYNC, _OURS, key_of("disabled"), disabled=True),
)
_KEYS_OF_SYNC = (
    replace(SYNC, role=_LIMITED, key=key_of("limited")),
    replace(SYNC, key=key_of("reads"), read_only=True),
    replace(SYNC, key=key_of("elsewhere"), allowed_ips=("192.0.2.7",)),
    replace(SYNC, key=key_of("expires"), expiration="2026-12-31T00:00:00+00:00"),
    replace(SYNC, key=key_of("expired"), expiration="2026-01-01T00:00:00+00:00"),
)
OPTIONS = MispSimulatorOptions(users=(*USERS, *_KEYS_OF_SYNC))


def _for(key: str, *numbers: int) -> dict[int, str]:
    return dict.fromkeys(numbers, key)


AUTHORIZATION = {
    **_for(key_of("admin"), 5, 7, 48, 52, 318),
    **_for(key_of("User"), 36, 40, 71, 279),
    **_for(key_of("Org Admin"), 280, 286, 293),
    **_for(key_of("Read Only"), 2, 37, 38, 233),
    **_for(key_of("limited"), 304, 305, 306, 307, 308),
    **_for(key_of("reads"), 309, 310),
    **_for(key_of("elsewhere"), 311),
    **_for(key_of("expires"), 312),
    **_for(key_of("expired"), 313),
    **_for(key_of("disabled"), 314),
    **_for("x" * 40, 9),
    **_for("no-key", 10),
    **_for(f"Bearer {SYNC.key}", 11),
}
"""What was sent instead of the sync user's key."""

# ---- what cannot be played

_NO_FEEDS = "the simulator pulls no feeds"
_NO_GUESSES = "the simulator guesses no types from free text"
_ONE_MACHINE = "a report of that machine; the simulator answers the version and phpSettings only, tested apart"
_PHP_LIMIT = "a limit of php.ini, which the simulator does not have"
_KILLED = "a process of that machine was killed or stopped"
_RACE = "the outcome of a race on that machine"
LEFT_OUT: dict[int, str] = {
    **dict.fromkeys((5, 7), _ONE_MACHINE),
    **dict.fromkeys((336, 337, 339, 340, 341), _PHP_LIMIT),
    345: "a timeout of nginx",
    **dict.fromkeys((346, 347, 348, 349, 350, 351), _KILLED),
    352: "a client that hung up during 20 seconds of work",
    **dict.fromkeys((354, 355, 356), _RACE),
    **dict.fromkeys((361, *range(363, 377), 378), _NO_FEEDS),
    **dict.fromkeys((424, 430), _NO_GUESSES),
    317: "a client that follows redirects until it gives up; 315 and 316 show the redirect",
}

# ---- what is not compared

_OF_THE_USER = frozenset({"date_created", "last_pw_change", "last_api_access", "created", "modified", "password"})
_OF_THE_MOMENT = _OF_THE_USER | {"date_modified"}
FREE: dict[int, frozenset[str]] = {
    3: frozenset({"length"}),  # the describeTypes of the PyMISP installed knows more types than 2.5.1
    4: _OF_THE_MOMENT,
    14: _OF_THE_MOMENT,
}

# ---- bodies that a recording cannot show


def _rows(recorded: Any, number: int, mark: str) -> list[dict[str, Any]]:
    """Attributes for a body of which only the size was recorded: those that the answer shows, and made-up ones."""
    shown = [row for row in recorded if isinstance(row, dict)]
    fields = ("type", "category", "value", "to_ids", "comment", "uuid")
    rows = [{name: row[name] for name in fields} for row in shown]
    for index in range(len(rows), number):
        uuid = f"{int(mark):08x}-0000-4000-8000-{index:012x}"
        rows.append({"type": "domain", "value": f"n{index}.part{mark}.example", "uuid": uuid})
    return rows


def _big_event(number: int, rows: int) -> dict[str, Any]:
    """The event of one of the recordings 332 to 344, with its attributes."""
    answer = recordings()[332 if number == 1 else 335].answer if number <= 2 else {"Event": {"Attribute": []}}
    return {
        "info": f"fail {number}",
        "uuid": f"77777777-aaaa-4bbb-8ccc-{number:012}",
        "distribution": 0,
        "analysis": 2,
        "threat_level_id": 4,
        "Attribute": _rows(answer["Event"]["Attribute"], rows, str(number)),
    }


def _old(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "Attribute": [{**row, "timestamp": "1"} for row in event["Attribute"]]}


BODIES: dict[int, Callable[[], bytes]] = {
    20: lambda: gzip.compress(
        json.dumps(
            {
                "Event": {
                    "info": "gz",
                    "distribution": 0,
                    "analysis": 2,
                    "threat_level_id": 4,
                    "uuid": "11111111-aaaa-4bbb-8ccc-0000000000aa",
                }
            }
        ).encode()
    ),
    151: lambda: str(recordings()[151].body).replace("�", "\udcff").encode("utf-8", "surrogateescape"),
    331: lambda: b" " * 53_477_376,
    332: lambda: _json({"Event": _big_event(1, 10_000)}),
    333: lambda: _json(_big_event(1, 10_000)["Attribute"]),
    334: lambda: _json({"Event": _big_event(1, 10_000)}),
    335: lambda: _json({"Event": _big_event(2, 10_000)}),
    338: lambda: _json({"Event": _big_event(5, 10_000)}),
    342: lambda: _json({"Event": _big_event(6, 5_000)}),
    343: lambda: _json({"Event": _old(_big_event(6, 5_000))}),
    344: lambda: _json(_big_event(6, 5_000)["Attribute"]),
}


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()


def body_of(recording: Recording) -> bytes | None:
    """The bytes to send."""
    if recording.number in BODIES:
        return BODIES[recording.number]()
    body = recording.sent()
    return body.encode() if isinstance(body, str) else None if body is None else _json(body)


# ---- what happened between the recordings


def _event(store: MispStore, uuid: str, info: str = "rig", rows: Iterable[dict[str, Any]] = (), **fields: Any) -> None:
    fields = {"uuid": uuid, "info": info, "distribution": 0, "analysis": 2, "Attribute": list(rows), **fields}
    events.add(store, SYNC, fields, base_url="", default_distribution=1)


def _domain(uuid: str, value: str, **fields: Any) -> dict[str, Any]:
    return {"uuid": uuid, "type": "domain", "category": "Network activity", "value": value, **fields}


def _three_events(store: MispStore) -> None:
    for last in (1, 2, 3):
        _event(store, f"55555555-aaaa-4bbb-8ccc-{last:012}")


def _two_events_to_search(store: MispStore) -> None:
    rows = [_domain(f"22222222-cccc-4bbb-8ccc-{last:012}", f"s{last}.search.com") for last in range(1, 8)]
    _event(store, "66666666-aaaa-4bbb-8ccc-000000000001", "search tests", rows)
    rows = [
        _domain("22222222-cccc-4bbb-8ccc-000000000020", "s1.search.com"),
        _domain("22222222-cccc-4bbb-8ccc-000000000021", "8.8.8.8", type="ip-dst"),
    ]
    _event(store, "66666666-aaaa-4bbb-8ccc-000000000002", "search tests 2", rows)


def _public_resolvers(store: MispStore) -> None:
    name = "List of known IPv4 public DNS resolvers"
    store.warninglists.append(Warninglist(3, name, ("8.8.8.8/32", "8.8.4.4/32")))


def _taxonomies(store: MispStore) -> None:
    """The texts of the enabled taxonomies, as far as the recordings show them."""
    for tag in recordings()[291].answer["Tag"][:2]:
        taxonomy = {name: value for name, value in tag["Taxonomy"].items() if name != "expanded"}
        store.tags[int(tag["id"])].taxonomy = {
            "Taxonomy": taxonomy,
            "TaxonomyPredicate": {"expanded": tag["Taxonomy"]["expanded"]},
        }
    for entry in (*recordings()[289].answer, *recordings()[290].answer):
        store.tags[int(entry["Tag"]["id"])].taxonomy = {name: value for name, value in entry.items() if name != "Tag"}


def _maintenance(store: MispStore) -> None:
    store.maintenance = True


def _half_saved(store: MispStore) -> None:
    """What the recordings 336 to 341 left behind, as far as the next ones meet it."""
    store.next_event = 6
    event = _big_event(6, 5_000)
    _event(store, event["uuid"], event["info"], event["Attribute"][:2_311])


def _next_event(number: int) -> Callable[[MispStore], None]:
    def skip(store: MispStore) -> None:
        store.next_event = number

    return skip


def _next_attribute(number: int) -> Callable[[MispStore], None]:
    def skip(store: MispStore) -> None:
        store.next_attribute = number

    return skip


def _empty_event(last: int) -> Callable[[MispStore], None]:
    return lambda store: _event(store, f"99999999-aaaa-4bbb-8ccc-{last:012}")


def _four_clean(store: MispStore) -> None:
    rows = [
        _domain(f"22222222-dddd-4bbb-8ccc-{1000 + last:012}", f"clean{last}.com", comment="orig") for last in range(4)
    ]
    _event(store, "99999999-aaaa-4bbb-8ccc-000000000050", rows=rows)


def _delete_the_last(store: MispStore) -> None:
    attribute = store.attribute("22222222-dddd-4bbb-8ccc-000000001003")
    assert attribute is not None
    store.change_attribute(attribute, replace(attribute, deleted=True))
    attribute.event.attribute_count -= 1


def _two_that_correlate(store: MispStore) -> None:
    for last in (60, 61):
        rows = [_domain(f"22222222-dddd-4bbb-8ccc-{1100 + last + n:012}", f"shared{n}.com") for n in (100, 200)]
        _event(store, f"99999999-aaaa-4bbb-8ccc-{last:012}", rows=rows)


def _sharing_group(store: MispStore) -> None:
    store.sharing_groups[1] = SharingGroup(
        id=1,
        uuid="c96adc54-d859-4e04-96bb-db7dd54a8567",
        name="tq sg",
        org_id=1,
        org_ids=(2,),
        description="d",
        releasability="tq",
        created="2026-11-24 04:06:37",
    )


BEFORE: dict[int, Callable[[MispStore], None]] = {
    101: _three_events,
    221: _two_events_to_search,
    267: _public_resolvers,
    289: _taxonomies,
    315: _maintenance,
    338: _next_event(5),
    342: _half_saved,
    357: _next_event(17),
    **{
        number: _empty_event(last)
        for number, last in ((382, 11), (383, 12), (385, 14), (386, 15), (388, 17), (389, 18))
    },
    391: _empty_event(20),
    392: _empty_event(21),
    395: _four_clean,
    402: _delete_the_last,
    406: _two_that_correlate,
    412: _sharing_group,
    425: _next_attribute(10),
    413: _next_attribute(17),
}
"""By the number of the recording that follows."""

BACKGROUND_JOBS = frozenset({427, 428, 429})
"""Recorded with background jobs on."""
