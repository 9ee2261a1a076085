from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.misp.conftest import NOW, planned
from tqmisp.misp import marks
from tqmisp.misp.merge import Merged, merge, withdrawal
from tqmisp.misp.reading import Whole
from tqmisp.model import Change, Planned

FIRST = "2024-01-01T00:00:00.000000+00:00"
LATER = "2024-06-01T00:00:00.000000+00:00"
BASE = planned("x.example", comment="ours", Tag=[{"name": "tlp:amber"}])
UUID = orjson.loads(BASE.body)["uuid"]


def mark(**fields: Any) -> bytes:
    """Marks of the usual attribute, with other fields."""
    usual: dict[str, Any] = {
        "to_ids": True,
        "deleted": False,
        "category": "Network activity",
        "comment": "ours",
        "first_seen": None,
        "last_seen": None,
        "tags": ("tlp:amber",),
    }
    return marks.of(**(usual | fields)).packed()


def held(**fields: Any) -> Whole:
    """The usual attribute as MISP holds it, with other fields."""
    whole = Whole(
        BASE.uuid,
        NOW,
        False,
        "e",
        "E",
        "domain",
        "x.example",
        True,
        "Network activity",
        "ours",
        None,
        None,
        ("tlp:amber",),
    )
    return whole._replace(**fields)


def wanted(base: bytes | None = None, **fields: Any) -> Planned:
    """What ThreatQ says now."""
    return planned(
        "x.example",
        timestamp=NOW + 60,
        change=Change.UPDATE,
        base=mark() if base is None else base,
        **({"comment": "ours", "Tag": [{"name": "tlp:amber"}]} | fields),
    )


def sent(merged: Merged | None) -> Mapping[str, Any]:
    """The fields that are sent, without those that say which attribute is meant and when."""
    assert merged is not None
    body = orjson.loads(merged.item.body)
    assert body["uuid"] == UUID
    return {name: value for name, value in body.items() if name not in {"uuid", "timestamp"}}


def test_only_what_has_changed_is_sent() -> None:
    """Of the whole attribute, the fields that MISP has already stay out."""
    merged = merge(wanted(comment="new"), held())
    assert sent(merged) == {"comment": "new"}
    assert merged is not None
    assert merged.kept == ()
    assert merged.item.marks == mark(comment="new")


def test_what_people_have_changed_stays() -> None:
    """A comment of theirs, and a to_ids that they switched off, are neither sent nor forgotten."""
    merged = merge(wanted(comment="new", first_seen=FIRST), held(comment="theirs", to_ids=False))
    assert sent(merged) == {"first_seen": FIRST}
    assert merged is not None
    assert set(merged.kept) == {"comment", "to_ids"}
    again = merge(
        wanted(merged.item.marks, comment="newer", first_seen=FIRST),
        held(comment="theirs", to_ids=False, first_seen=FIRST),
    )
    assert again is not None
    assert (again.changes, set(again.kept)) == (False, {"comment", "to_ids"})


def test_an_update_that_was_promised_and_never_confirmed_is_ours() -> None:
    """After a crash MISP may hold either of two things that we have sent."""
    bases = mark() + mark(comment="second")
    for there in ("ours", "second"):
        assert sent(merge(wanted(bases, comment="third"), held(comment=there))) == {"comment": "third"}
    assert sent(merge(wanted(bases, comment="third"), held(comment="theirs"))) == {}


def test_tags_of_people_stay_and_ours_come_and_go() -> None:
    """New ones are put, ours that are not wanted any more are taken away, and what people took away stays away."""
    tags = [{"name": "TLP:amber"}, {"name": "new"}]
    assert sent(merge(wanted(Tag=tags), held(tags=("tlp:amber", "theirs")))) == {"Tag": [{"name": "new"}]}
    assert sent(merge(wanted(Tag=[]), held(tags=("tlp:amber", "theirs")))) == {
        "Tag": [{"name": "tlp:amber", "deleted": True}]
    }
    merged = merge(wanted(), held(tags=()))
    assert merged is not None
    assert (merged.changes, merged.kept) == (False, ("tags",))


def test_tags_of_an_update_that_never_arrived_are_put_by_the_next_one() -> None:
    """That they are not there does not mean that people took them away, as it does of those that had arrived before."""
    bases = mark(tags=("a",)) + mark(tags=("a", "b"))
    tags = [{"name": "a"}, {"name": "b"}]
    assert sent(merge(wanted(bases, Tag=tags), held(tags=("a",)))) == {"Tag": [{"name": "b"}]}
    assert sent(merge(wanted(bases, Tag=[]), held(tags=("a", "b", "theirs")))) == {
        "Tag": [{"name": "a", "deleted": True}, {"name": "b", "deleted": True}]
    }
    merged = merge(wanted(bases, Tag=tags), held(tags=("b",)))
    assert merged is not None
    assert (merged.changes, merged.kept) == (False, ("tags",))
    off = replace(wanted(bases), change=Change.RETIRE, body=withdrawal(UUID, NOW, delete=False))
    withdrawn = merge(off, held(tags=("a",)))
    assert withdrawn is not None
    assert sent(merge(wanted(withdrawn.item.marks, Tag=tags), held(tags=("a",), to_ids=False))) == {
        "to_ids": True,
        "Tag": [{"name": "b"}],
    }


def test_a_date_that_threatq_has_no_more_is_cleared() -> None:
    """An empty text does that; a missing field would leave it."""
    base = mark(first_seen=FIRST, last_seen=LATER)
    there = held(first_seen=FIRST, last_seen=LATER)
    assert sent(merge(wanted(base, first_seen=LATER), there)) == {"first_seen": LATER, "last_seen": ""}


def test_dates_that_would_contradict_those_of_people_are_not_sent() -> None:
    """MISP would refuse the whole attribute."""
    merged = merge(wanted(first_seen=LATER, comment="new"), held(last_seen=FIRST))
    assert sent(merged) == {"comment": "new"}
    assert merged is not None
    assert "first_seen" in merged.kept


def test_deleted_by_people_is_not_ours_to_change() -> None:
    """Unless it was us who deleted it."""
    assert merge(wanted(), held(deleted=True)) is None
    merged = merge(wanted(mark(to_ids=False, deleted=True)), held(deleted=True, to_ids=False))
    assert sent(merged) == {"to_ids": True, "deleted": 0}


def test_withdrawing() -> None:
    """to_ids goes off, or the attribute goes, unless people have worked on it."""
    off = replace(wanted(), change=Change.RETIRE, body=withdrawal(UUID, NOW, delete=False))
    gone = replace(off, body=withdrawal(UUID, NOW, delete=True))
    assert sent(merge(off, held(tags=("tlp:amber", "theirs")))) == {"to_ids": False}
    assert sent(merge(gone, held())) == {"to_ids": False, "deleted": 1}
    merged = merge(gone, held(comment="theirs"))
    assert sent(merged) == {"to_ids": False}
    assert merged is not None
    assert "deleted" in merged.kept
    assert merge(gone, held(deleted=True)) is None


def test_what_people_silenced_stays_silent_when_it_comes_back() -> None:
    """They switched to_ids off before it was withdrawn: to withdraw it changes nothing, and to revive it neither."""
    off = replace(wanted(), change=Change.RETIRE, body=withdrawal(UUID, NOW, delete=False))
    retired = merge(off, held(to_ids=False))
    assert retired is not None
    assert not retired.changes
    assert sent(merge(wanted(retired.item.marks), held(to_ids=False))) == {}


def test_the_timestamp_is_newer_than_what_misp_holds() -> None:
    """Also where MISP's clock is ahead of ours."""
    merged = merge(wanted(comment="new"), held(timestamp=NOW + 5000))
    assert merged is not None
    assert merged.item.timestamp == NOW + 5001
    assert orjson.loads(merged.item.body)["timestamp"] == str(NOW + 5001)


def test_without_anything_known_every_field_is_ours() -> None:
    """As where nobody knows what was sent before."""
    assert sent(merge(wanted(b"", comment="new"), held(comment="whatever", to_ids=False))) == {
        "comment": "new",
        "to_ids": True,
    }


TEXTS = st.sampled_from(["", "a", "b", "c"])
FIELDS = st.fixed_dictionaries(
    {
        "to_ids": st.booleans(),
        "comment": TEXTS,
        "tags": st.frozensets(st.sampled_from("xyz")).map(lambda t: tuple(sorted(t))),
    }
)


@given(FIELDS, FIELDS, FIELDS)
def test_every_field_is_as_people_made_it_or_as_threatq_says(
    base: dict[str, Any], there: dict[str, Any], now: dict[str, Any]
) -> None:
    """For whatever was sent, is held and is wanted; and once more changes nothing."""
    given_tags = [{"name": name} for name in now["tags"]]
    item = wanted(mark(**base), to_ids=now["to_ids"], comment=now["comment"], Tag=given_tags)
    merged = merge(item, held(**there))
    assert merged is not None
    result = dict(there)
    body = sent(merged)
    result |= {name: value for name, value in body.items() if name in {"to_ids", "comment"}}
    tags = set(there["tags"])
    for tag in body.get("Tag", ()):
        (tags.discard if tag.get("deleted") else tags.add)(tag["name"])
    for name in ("to_ids", "comment"):
        assert result[name] == (now[name] if there[name] == base[name] else there[name])
    ours, theirs = set(base["tags"]), set(there["tags"])
    assert tags == (theirs - ours) | (theirs & ours & set(now["tags"])) | (set(now["tags"]) - ours)
    again = merge(replace(item, base=merged.item.marks), held(**(result | {"tags": tuple(sorted(tags))})))
    assert again is not None
    assert not again.changes
