"""Adding and changing attributes in the simulated MISP, where the recordings leave a question open."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulators.misp import EVENT, OTHER_EVENT, Asker, domain, serving, uuid_of
from tqmisp.simulators.misp import key_of

EDIT = f"/events/edit/{EVENT}/metadata:1"


async def edit(misp: Asker, *rows: dict[str, Any], **fields: Any) -> Any:
    """Edit the event."""
    return (await misp.post(EDIT, {"Event": {"Attribute": list(rows), **fields}}))["Event"]


async def test_an_edit_can_be_sent_again() -> None:
    """The same rows with the same time change nothing; a newer time is taken, an older one is not."""
    row = domain("a.example", uuid_of(1), timestamp="1700000000", comment="one")
    async with serving() as misp:
        await misp.event()
        for _ in range(2):
            assert (await edit(misp, row))["attribute_count"] == "1"
        await edit(misp, {**row, "comment": "older", "timestamp": "1600000000"})
        assert misp.store.attributes(EVENT)[0].comment == "one"
        await edit(misp, {**row, "comment": "newer", "timestamp": "1700000001"})
        assert misp.store.attributes(EVENT)[0].comment == "newer"
        assert misp.store.attributes(EVENT)[0].timestamp == 1_700_000_001


async def test_an_edit_with_one_uuid_twice_is_rolled_back() -> None:
    """Two new rows with one UUID break the database's unique key: 500, and nothing of the request is kept."""
    async with serving() as misp:
        await misp.event()
        rows = [domain("a.example", uuid_of(1)), domain("b.example", uuid_of(1))]
        assert (await misp.send("POST", EDIT, {"Event": {"Attribute": rows}})).status == 500
        assert misp.values() == []
        await edit(misp, rows[0])
        assert misp.store.attributes(EVENT)[0].id == 2  # InnoDB gave the 1 away, and does not take it back


async def test_values_that_differ_in_case_meet_on_edit_but_not_on_add() -> None:
    """One event holds such twins only if events/add brought them (recordings 187 and 195)."""
    rows = [{"type": "url", "value": f"http://a.example/{path}"} for path in ("Path", "path")]
    async with serving() as misp:
        await misp.event(rows=rows)
        assert misp.values() == ["http://a.example/Path", "http://a.example/path"]
        await misp.event(OTHER_EVENT, rows[:1])
        await misp.post(f"/events/edit/{OTHER_EVENT}", {"Event": {"Attribute": rows[1:]}})
        assert misp.values(OTHER_EVENT) == ["http://a.example/Path"]


async def test_composite_values_are_compared_by_both_parts() -> None:
    """The same name with another checksum is another attribute; the same pair is not."""
    rows = [{"type": "filename|md5", "value": f"A.exe|{digit * 32}"} for digit in "ab"]
    async with serving() as misp:
        await misp.event()
        await edit(misp, *rows)
        await edit(misp, {"type": "filename|md5", "value": f"a.EXE|{'A' * 32}"})
        assert misp.values() == [f"A.exe|{'a' * 32}", f"A.exe|{'b' * 32}"]


async def test_a_value_may_come_back_after_it_was_changed_away() -> None:
    """The index follows a change of value: the old one is free, the new one is taken."""
    async with serving() as misp:
        await misp.event(rows=[domain("a.example", uuid_of(1))])
        await edit(misp, {"uuid": uuid_of(1), "value": "b.example"})
        await edit(misp, domain("a.example"), domain("b.example"))
        assert sorted(misp.values()) == ["a.example", "b.example"]


async def test_writing_unpublishes() -> None:
    """Each way of changing an attribute takes the published flag off its event."""
    async with serving() as misp:
        await misp.event(rows=[domain(f"{number}.example", uuid_of(number)) for number in range(3)])
        ways: list[tuple[str, Any]] = [
            ("/attributes/add/1", domain("new.example")),
            (f"/attributes/edit/{uuid_of(0)}", {"to_ids": False}),
            (f"/attributes/delete/{uuid_of(1)}", None),
            ("/attributes/deleteSelected/1", {"id": [3]}),
            ("/tags/attachTagToObject", {"uuid": uuid_of(0), "tag": "tlp:red"}),
            ("/tags/removeTagFromObject", {"uuid": uuid_of(0), "tag": "TLP:RED"}),
            (EDIT, {"Event": {}}),
        ]
        for path, body in ways:
            await misp.post("/events/publish/1")
            assert misp.store.events()[0].published
            await misp.post(path, body)
            assert not misp.store.events()[0].published, path


async def test_correlations_follow_the_attributes() -> None:
    """Events are related while they share a value that correlates."""
    async with serving() as misp:
        await misp.event(rows=[domain("shared.example", uuid_of(1)), {"type": "comment", "value": "same"}])
        await misp.event(OTHER_EVENT, [domain("SHARED.example"), {"type": "comment", "value": "same"}])

        async def related() -> list[str]:
            seen = await misp.send("GET", f"/events/view/{OTHER_EVENT}")
            return [entry["Event"]["uuid"] for entry in seen.body["Event"]["RelatedEvent"]]

        assert await related() == [EVENT]
        await misp.post(f"/attributes/delete/{uuid_of(1)}")
        assert await related() == []
        await edit(misp, {"uuid": uuid_of(1), "deleted": 0})
        assert await related() == [EVENT]
        await edit(misp, {"uuid": uuid_of(1), "disable_correlation": True})
        assert await related() == []


async def test_deleting_an_event_frees_its_attributes_but_not_its_uuid() -> None:
    """The attributes' UUIDs and values may be used again; the event's UUID is blocked."""
    async with serving() as misp:
        await misp.event(rows=[domain("a.example", uuid_of(1))])
        assert (await misp.send("DELETE", f"/events/delete/{EVENT}")).status == 200
        assert (await misp.send("POST", "/events/add", {"Event": {"uuid": EVENT, "info": "x"}})).status == 403
        await misp.event(OTHER_EVENT, [domain("a.example", uuid_of(1))])
        assert misp.values(OTHER_EVENT) == ["a.example"]


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("User", EDIT, 200),  # same organisation
        ("User", f"/events/edit/{OTHER_EVENT}", 403),
        ("Sync user", f"/events/edit/{OTHER_EVENT}", 403),
        ("admin", EDIT, 200),
        ("Read Only", EDIT, 403),
        ("User", "/events/publish/1", 403),
        ("Publisher", "/events/publish/1", 200),
        ("Publisher", "/events/publish/2", 405),
    ],
)
async def test_who_may_do_what(role: str, path: str, status: int) -> None:
    """Rights come from the role, and from the organisation that made the event."""
    async with serving() as misp:
        await misp.event()
        event = {"Event": {"uuid": OTHER_EVENT, "info": "of the host organisation", "distribution": 1}}
        await misp.send("POST", "/events/add", event, Authorization=key_of("admin"))
        reply = await misp.send("POST", path, {"Event": {"info": "mine"}}, Authorization=key_of(role))
        assert reply.status == status
