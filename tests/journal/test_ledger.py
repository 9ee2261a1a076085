from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from sqlalchemy import Connection, select

from tqmisp.journal import Journal, Ledger
from tqmisp.journal.audit import Audit
from tqmisp.journal.database import Database
from tqmisp.journal.holders import NEW_ROWS
from tqmisp.journal.retirement import Retirement
from tqmisp.journal.rows import Rows
from tqmisp.journal.schema import State
from tqmisp.journal.schema import events as events_table
from tqmisp.journal.schema import ledger as ledger_table
from tqmisp.journal.settle import Look, Settlement
from tqmisp.model import EventRef, Planned, Sight
from tqmisp.pipeline.protocols import Mapped, Outcome, Page, Refusal, Slice


class Attribute(NamedTuple):
    """As much of an attribute as the ledger looks at."""

    key: int
    uuid: bytes
    fingerprint: bytes = b"first..."
    fold: int = 0
    payload: bytes = b'{"value":"x"}'
    marks: bytes = b"marks"
    rescued: tuple[str, ...] = ()
    stamp: int = 0


def attribute(key: int, value: int | None = None, *, version: str = "first...", fold: int | None = None) -> Attribute:
    """The attribute of indicator ``key``; equal values make equal UUIDs."""
    number = key if value is None else value
    return Attribute(key, number.to_bytes(16), version.encode(), number if fold is None else fold)


class Clock:
    """A time that the test moves."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Runs:
    """Opens the ledger of one run after the other on one journal."""

    def __init__(self, journal: Journal, capacity: int = 10) -> None:
        self.journal = journal
        self.capacity = capacity
        self.clock = Clock()

    async def start(self, date: str = "2026-11-24") -> Ledger:
        target = await self.journal.target("misp", "https://misp.test")
        run = await self.journal.start_run("run", target)
        ledger = Ledger(
            self.journal,
            target=target,
            run=run,
            date=date,
            capacity=self.capacity,
            make_event=lambda part: (f"{date}/{part}", f"Export {date} ({part})"),
            now=self.clock,
        )
        await ledger.load()
        return ledger

    def settlement(self, ledger: Ledger, look: Look) -> Settlement:
        return Settlement(self.journal, 1, ledger.refs, look, now=self.clock)


async def admit(
    ledger: Ledger, *attributes: Attribute, refusals: Sequence[Refusal] = ()
) -> list[Slice[EventRef, Planned]]:
    """Admit a page and return what must be delivered, a slice an event."""
    page = Page(items=[*attributes, *refusals], size=1)
    groups = await (await ledger.look_up(page, Mapped(attributes, refusals)))()
    return [Slice(ref, list(items), 1) for ref, items in groups]


async def deliver(ledger: Ledger, *attributes: Attribute) -> list[Slice[EventRef, Planned]]:
    """Admit a page and deliver all of it."""
    parts = await admit(ledger, *attributes)
    for part in parts:
        await ledger.promise(part)
        await ledger.confirm(part, Outcome(stored=list(part.items)))
    return parts


def changes(parts: Sequence[Slice[EventRef, Planned]]) -> dict[int, str]:
    """What is to be done with which indicator."""
    return {item.key: item.change for part in parts for item in part.items}


async def no_look(_ref: EventRef, _promised: Mapping[bytes, bytes]) -> dict[bytes, Sight]:
    """A MISP that holds nothing."""
    return {}


@pytest.fixture(params=[NEW_ROWS, 1], ids=["entries apart", "entries moved"])
async def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> object:
    """A journal in a folder of its own, whose entries by UUID are in the small table or in the large one."""
    monkeypatch.setattr("tqmisp.journal.holders.NEW_ROWS", request.param)
    async with Journal.open(tmp_path) as journal:
        yield Runs(journal)


async def test_what_is_delivered_is_not_delivered_again(runs: Runs) -> None:
    """A second run over the same indicators plans nothing and counts them as unchanged."""
    first = await runs.start()
    assert changes(await deliver(first, attribute(1), attribute(2))) == {1: "create", 2: "create"}
    assert (first.tally.read, first.tally.created) == (2, 2)
    second = await runs.start("2026-11-25")
    assert await deliver(second, attribute(1), attribute(2)) == []
    assert (second.tally.read, second.tally.unchanged, second.tally.created) == (2, 2, 0)


async def test_a_change_goes_to_the_event_where_the_attribute_lives(runs: Runs) -> None:
    """On a later day an update is bound for the old event, with a timestamp that MISP takes for newer."""
    [created] = await deliver(await runs.start(), attribute(1))
    later = await runs.start("2026-11-25")
    [updated] = await deliver(later, attribute(1, version="second.."), attribute(1, version="second.."))
    assert updated.destination == created.destination
    assert changes([updated]) == {1: "update"}
    assert updated.items[0].timestamp > created.items[0].timestamp
    assert updated.items[0].body.endswith(b',"timestamp":"%d"}' % updated.items[0].timestamp)
    assert (later.tally.updated, later.tally.created) == (1, 0)
    assert await deliver(await runs.start("2026-11-26"), attribute(1, version="second..")) == []


async def test_two_indicators_of_one_attribute_are_merged(runs: Runs) -> None:
    """The second is counted as merged, on one page, on the next page and on the next run."""
    ledger = await runs.start()
    assert changes(await deliver(ledger, attribute(1, 7), attribute(2, 7))) == {1: "create"}
    assert await deliver(ledger, attribute(3, 7)) == []
    await ledger.flush()
    assert (ledger.tally.created, ledger.tally.merged) == (1, 2)
    again = await runs.start()
    assert await deliver(again, attribute(3, 7), attribute(2, 7), attribute(1, 7)) == []
    assert (again.tally.unchanged, again.tally.merged) == (1, 2)


async def test_a_row_that_comes_twice_is_counted_and_not_sent_twice(runs: Runs) -> None:
    """Windows of the source may overlap by a row."""
    ledger = await runs.start()
    assert changes(await admit(ledger, attribute(1))) == {1: "create"}
    assert await admit(ledger, attribute(1)) == []
    assert (ledger.tally.read, ledger.tally.unchanged) == (2, 1)


async def test_events_are_filled_and_topped_up(runs: Runs) -> None:
    """An event takes as many as it may, later runs of the day fill the last one, the next day begins anew."""
    first = await runs.start()
    parts = await deliver(first, *(attribute(key) for key in range(25)))
    assert [(part.destination.info, len(part.items)) for part in parts] == [
        ("Export 2026-11-24 (1)", 10),
        ("Export 2026-11-24 (2)", 10),
        ("Export 2026-11-24 (3)", 5),
    ]
    parts = await deliver(await runs.start(), *(attribute(key) for key in range(100, 107)))
    assert [(part.destination.uuid, len(part.items)) for part in parts] == [("2026-11-24/3", 5), ("2026-11-24/4", 2)]
    parts = await deliver(await runs.start("2026-11-25"), attribute(200))
    assert [part.destination.uuid for part in parts] == ["2026-11-25/1"]


async def test_twins_go_to_different_events(runs: Runs) -> None:
    """Values that MISP takes for one are told apart by their event, also on a later run."""
    parts = await deliver(await runs.start(), attribute(1, fold=5), attribute(2, fold=5), attribute(3, fold=6))
    assert [[item.key for item in part.items] for part in parts] == [[1, 3], [2]]
    parts = await deliver(await runs.start(), attribute(4, fold=5))
    assert [part.destination.uuid for part in parts] == ["2026-11-24/3"]


async def test_refusals_are_kept_with_their_reasons(runs: Runs) -> None:
    """Rejects and quarantine are counted and listed; what is delivered later leaves the list."""
    ledger = await runs.start()
    bad = Refusal(5, "rejected", "empty_value", "The value is empty.", "FQDN", "\ud800 \x1b[31m")
    out = Refusal(6, "filtered", "private_address", "An internal address.")
    [part] = await admit(ledger, attribute(1), attribute(2), refusals=[bad, out])
    await ledger.promise(part)
    refusal = Refusal(2, "quarantined", "refused_by_misp", "IP address has an invalid format.", "ip-dst", "1")
    await ledger.confirm(part, Outcome(stored=[part.items[0]], refused=[(part.items[1], refusal)]))
    await ledger.flush()
    assert ledger.tally.rejected == {"empty_value": 1}
    assert ledger.tally.filtered == {"private_address": 1}
    assert ledger.tally.quarantined == {"refused_by_misp": 1}
    assert await runs.journal.refusal_counts(1) == {
        ("rejected", "empty_value"): 1,
        ("quarantined", "refused_by_misp"): 1,
    }
    [kept] = await runs.journal.refusals(1, code="empty_value")
    assert (kept.indicator_id, kept.label, kept.value) == (5, "FQDN", "\ud800 \x1b[31m")

    again = await runs.start()
    assert await deliver(again, attribute(2)) == []
    assert again.tally.quarantined == {"refused_by_misp": 1}
    assert changes(await deliver(again, attribute(2, version="mended.."))) == {2: "retry"}
    assert changes(await deliver(again, attribute(5))) == {5: "create"}
    assert again.tally.created == 2
    assert await runs.journal.refusal_counts(1) == {}


async def test_a_run_that_dies_after_its_promise_is_settled_by_looking(runs: Runs) -> None:
    """What MISP has is confirmed, what it lacks is sent again with the same event and timestamp."""
    dead = await runs.start()
    [part] = await admit(dead, *(attribute(key) for key in (1, 2, 3)))
    await dead.promise(part)
    runs.clock.now += 1000

    async def look(ref: EventRef, uuids: Mapping[bytes, bytes]) -> Mapping[bytes, Sight]:
        assert ref.uuid == "2026-11-24/1"
        assert sorted(uuids) == [attribute(key).uuid for key in (1, 2, 3)]
        return {attribute(1).uuid: Sight(part.items[0].timestamp)}

    heir = await runs.start()
    assert await runs.settlement(heir, look).settle() == 2
    [again] = await deliver(heir, *(attribute(key) for key in (1, 2, 3)))
    assert changes([again]) == {2: "retry", 3: "retry"}
    assert again.destination == part.destination
    assert {item.timestamp for item in again.items} == {item.timestamp for item in part.items}
    assert (heir.tally.unchanged, heir.tally.created) == (1, 2)
    await runs.settlement(heir, look).finish()
    assert await runs.journal.open_slices(1) == 0


async def test_a_merged_indicator_stays_merged_when_its_owner_is_sent_again(runs: Runs) -> None:
    """After a crash the owner of an attribute is delivered again, and who shares it is counted as before."""
    dead = await runs.start()
    [part] = await admit(dead, attribute(1, 7), attribute(2, 7), attribute(3, 7))
    await dead.promise(part)

    async def look(_ref: EventRef, _uuids: Mapping[bytes, bytes]) -> Mapping[bytes, Sight]:
        return {}

    heir = await runs.start()
    assert await runs.settlement(heir, look).settle() == 1
    assert changes(await deliver(heir, attribute(1, 7), attribute(2, 7), attribute(3, 7))) == {1: "retry"}
    await heir.flush()
    assert (heir.tally.created, heir.tally.merged) == (1, 2)


async def test_an_update_that_was_promised_and_not_made_is_made_later(runs: Runs) -> None:
    """A run that dies before an update leaves no attribute that is taken for up to date."""
    [created] = await deliver(await runs.start(), attribute(1))
    dead = await runs.start()
    [part] = await admit(dead, attribute(1, version="second.."))
    await dead.promise(part)

    async def look(_ref: EventRef, uuids: Mapping[bytes, bytes]) -> Mapping[bytes, Sight]:
        return dict.fromkeys(uuids, Sight(created.items[0].timestamp))

    heir = await runs.start()
    assert await runs.settlement(heir, look).settle() == 0
    assert changes(await deliver(heir, attribute(1, version="second.."))) == {1: "update"}


async def test_what_arrived_without_its_tags_is_delivered_again(runs: Runs) -> None:
    """As an update that takes nothing of what lacks for taken away: the marks of what is there come first."""
    dead = await runs.start()
    [part] = await admit(dead, attribute(1), attribute(2))
    await dead.promise(part)
    times = dict(zip((1, 2), (item.timestamp for item in part.items), strict=True))

    async def look(_ref: EventRef, promised: Mapping[bytes, bytes]) -> Mapping[bytes, Sight]:
        assert set(promised.values()) <= {item.marks for item in part.items}
        seen = {attribute(1).uuid: Sight(times[1]), attribute(2).uuid: Sight(times[2], b"untagged")}
        return {uuid: sight for uuid, sight in seen.items() if uuid in promised}

    heir = await runs.start()
    runs.clock.now += 60
    assert await runs.settlement(heir, look).settle() == 0
    assert await runs.settlement(heir, look).left() == [2]
    [again] = await deliver(heir, attribute(1), attribute(2))
    assert changes([again]) == {2: "update"}
    [item] = again.items
    assert item.base == b"untagged" + part.items[1].marks
    assert item.timestamp > times[2]


async def test_promises_whose_indicators_have_gone_are_let_go(runs: Runs) -> None:
    """After a complete run nothing stays promised that nobody can deliver."""
    dead = await runs.start()
    [part] = await admit(dead, attribute(1), attribute(2))
    await dead.promise(part)

    async def look(_ref: EventRef, _uuids: Mapping[bytes, bytes]) -> Mapping[bytes, Sight]:
        return {}

    heir = await runs.start()
    await runs.settlement(heir, look).settle()
    await deliver(heir, attribute(1))
    await runs.settlement(heir, look).finish()
    query = select(ledger_table.c.indicator_id)
    assert await runs.journal.database.do(lambda connection: connection.scalars(query).all()) == [1]
    assert await runs.journal.open_slices(1) == 0


@pytest.mark.parametrize("asked", [True, False])
async def test_an_attribute_passes_on_where_its_owner_goes_before_it_was_delivered(runs: Runs, *, asked: bool) -> None:
    """Whoever shares it is asked for, though nothing else would have the one looked at again: its page is done with."""
    dead = await runs.start()
    [part] = await admit(dead, attribute(1, 7), attribute(2, 7), attribute(3, 7))
    await dead.promise(part)
    ledger = await runs.start()
    settlement = runs.settlement(ledger, no_look)
    assert await settlement.settle() == 1
    assert await settlement.left() == [1]
    if asked:
        await admit(ledger, refusals=[Refusal(1, "filtered", "status_not_selected", "")])
        await ledger.flush()
    else:
        await settlement.finish()
    assert await settlement.left() == [2]
    await admit(ledger, refusals=[Refusal(2, "filtered", "status_not_selected", "")])
    await ledger.flush()
    assert await settlement.left() == [3]
    assert changes(await deliver(ledger, attribute(3, 7))) == {3: "create"}
    await settlement.finish()
    assert await settlement.left() == []
    later = await runs.start()
    assert await deliver(later, attribute(3, 7), attribute(4, 7)) == []
    assert (later.tally.unchanged, later.tally.merged) == (1, 1)


async def test_who_shares_an_attribute_that_misp_refuses_is_refused_as_well(runs: Runs) -> None:
    """With the same reason, until the attribute is taken after all."""
    ledger = await runs.start()
    [part] = await admit(ledger, attribute(1, 7), attribute(2, 7))
    await ledger.promise(part)
    refusal = Refusal(1, "quarantined", "refused_by_misp", "No.", "domain", "x")
    await ledger.confirm(part, Outcome(refused=[(part.items[0], refusal)]))
    await ledger.flush()
    assert (ledger.tally.read, ledger.tally.merged, ledger.tally.quarantined) == (2, 0, {"refused_by_misp": 2})
    assert [each.indicator_id for each in await runs.journal.refusals(1)] == [1, 2]
    later = await runs.start()
    assert changes(await deliver(later, attribute(1, 7, version="second.."), attribute(2, 7))) == {1: "retry"}
    await later.flush()
    assert (later.tally.merged, later.tally.quarantined) == (1, {})
    assert await runs.journal.refusals(1) == []


async def test_many_attributes_may_lose_their_owners_at_once(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one statement takes."""
    monkeypatch.setattr("tqmisp.journal.rows.RECALLED_AT_ONCE", 2)
    ledger = await runs.start()
    parts = await admit(ledger, *(attribute(key, key % 5) for key in range(10)))
    await ledger.promise(parts[0])
    await ledger.flush()
    uuids = [attribute(key).uuid for key in range(5)]
    await runs.journal.database.do(lambda connection: Rows(1).recall(connection, uuids))
    assert await runs.settlement(ledger, no_look).left() == [5, 6, 7, 8, 9]


async def test_who_shares_an_attribute_is_asked_for_once(runs: Runs) -> None:
    """Where another one has taken the attribute meanwhile, nothing is left to be done."""
    ledger = await runs.start()
    [part] = await admit(ledger, attribute(1, 7), attribute(2, 7))
    await ledger.promise(part)
    await ledger.confirm(part, Outcome(stored=list(part.items)))
    await ledger.flush()
    uuid = attribute(1, 7).uuid
    await runs.journal.database.do(lambda connection: Rows(1).recall(connection, [uuid]))
    settlement = runs.settlement(ledger, no_look)
    assert await settlement.left() == [2]
    assert await deliver(ledger, attribute(2, 7)) == []
    await ledger.flush()
    assert await settlement.left() == []


async def test_two_slices_that_find_the_same_event_make_one_of_it(runs: Runs) -> None:
    """An event of ours that the journal does not know is found twice at once."""
    runs.capacity = 1
    ledger = await runs.start()
    parts = await admit(ledger, attribute(1), attribute(2))
    assert len(parts) == 2
    old = EventRef(0, "an older event", "Export 2025-01-01", "")
    for part in parts:
        await ledger.promise(part)
    async with anyio.create_task_group() as tasks:
        for part in parts:
            tasks.start_soon(ledger.confirm, part, Outcome(elsewhere=[(part.items[0], old)]))
    assert [ref.uuid for ref in ledger.refs.values()].count(old.uuid) == 1


async def test_an_event_that_is_found_takes_no_number_of_another(runs: Runs) -> None:
    """The next event of the day has its number already when an older one is found, and keeps it."""
    runs.capacity = 1
    ledger = await runs.start()
    first, second = await admit(ledger, attribute(1), attribute(2))
    await ledger.promise(first)
    await ledger.confirm(first, Outcome(elsewhere=[(first.items[0], EventRef(0, "an older event", "Export", ""))]))
    await ledger.promise(second)
    await ledger.confirm(second, Outcome(stored=list(second.items)))
    later = await runs.start("2026-11-25")
    assert {ref.uuid for ref in later.refs.values()} == {"an older event", "2026-11-24/1", "2026-11-24/2"}


async def test_runs_on_two_targets_number_their_events_apart(runs: Runs) -> None:
    """Both begin before either has written."""
    ledgers = []
    for name in ("one", "other"):
        target = await runs.journal.target(name, "https://misp.test")
        run = await runs.journal.start_run("run", target)
        ledger = Ledger(
            runs.journal,
            target=target,
            run=run,
            date="2026-11-24",
            capacity=1,
            make_event=lambda part, name=name: (f"{name}/{part}", name),  # type: ignore[misc]
        )
        await ledger.load()
        ledgers.append(ledger)
    for ledger in ledgers:
        assert len(await deliver(ledger, attribute(1), attribute(2))) == 2


@pytest.mark.parametrize("aborted", [False, True])
async def test_an_event_in_the_place_of_another_is_written_by_whoever_comes_first(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, *, aborted: bool
) -> None:
    """What moves there waits for the database, and so does what is promised to it, which may be cancelled."""
    ledger = await runs.start()
    [moving] = await admit(ledger, attribute(1), attribute(2))
    await ledger.promise(moving)
    other = ledger.instead(moving.destination)
    assert other is not None
    [new] = await admit(ledger, attribute(3))
    assert new.destination == other
    database, held, go = runs.journal.database, anyio.Event(), anyio.Event()
    work = database.do

    async def slowly(job: Callable[[Connection], Any]) -> Any:
        held.set()
        await go.wait()
        return await work(job)

    monkeypatch.setattr(database, "do", slowly)
    scope = anyio.CancelScope()

    async def promise() -> None:
        with scope:
            await ledger.promise(new)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.flush)
        await held.wait()
        tasks.start_soon(ledger.confirm, moving, Outcome(elsewhere=[(item, other) for item in moving.items]))
        tasks.start_soon(promise)
        await anyio.wait_all_tasks_blocked()
        if aborted:
            scope.cancel()
        go.set()
    later = await runs.start()
    [again] = await admit(later, attribute(1, version="second.."))
    assert again.destination == other
    counted = select(events_table.c.attributes).where(events_table.c.id == other.number)
    assert await database.do(lambda connection: connection.scalar(counted)) == (2 if aborted else 3)


async def test_an_attribute_that_lives_elsewhere_is_adopted(runs: Runs) -> None:
    """What the sink finds in an event that the journal did not know is updated there from then on."""
    ledger = await runs.start()
    [part] = await admit(ledger, attribute(1))
    await ledger.promise(part)
    old = EventRef(0, "an older event", "Export 2025-01-01", "")
    await ledger.confirm(part, Outcome(elsewhere=[(part.items[0], old)]))
    assert ledger.tally.created == 1
    [update] = await deliver(await runs.start(), attribute(1, version="second.."))
    assert update.destination.uuid == "an older event"


async def test_a_promise_during_a_look_up_is_not_missed(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is promised while a page is looked up is neither in the answer nor pending any more, and yet known."""
    ledger = await runs.start()
    [part] = await admit(ledger, attribute(1, 7), attribute(3, 8))
    do = Database.do

    async def look_up_then_promise(database: Database, work: Callable[[Connection], Any]) -> Any:
        monkeypatch.undo()
        answer = await do(database, work)
        await ledger.promise(part)
        return answer

    monkeypatch.setattr(Database, "do", look_up_then_promise)
    assert await admit(ledger, attribute(2, 7), attribute(3, 8)) == []
    assert (ledger.tally.merged, ledger.tally.unchanged) == (1, 1)


async def test_what_is_confirmed_after_a_page_was_looked_up_is_not_missed(runs: Runs) -> None:
    """What was read of it is too old: it still counts as on its way, and a later page sees what became of it."""
    ledger = await runs.start()
    one, same, sharer, lower = attribute(5), attribute(5), attribute(7, 5), attribute(2, 5)
    [part] = await admit(ledger, one)
    await ledger.promise(part)
    admission = await ledger.look_up(Page([same, sharer, lower], 1), Mapped([same, sharer, lower]))
    refusal = Refusal(5, "quarantined", "refused_by_misp", "No.")
    await ledger.confirm(part, Outcome(refused=[(part.items[0], refusal)]))
    assert list(await admission()) == []
    assert (ledger.tally.unchanged, ledger.tally.merged) == (1, 2)
    assert ledger.tally.quarantined == {"refused_by_misp": 1}
    assert await admit(ledger) == []
    assert (ledger.tally.merged, ledger.tally.quarantined) == (1, {"refused_by_misp": 2})


async def test_what_was_merged_after_a_page_was_looked_up_gets_one_row(runs: Runs) -> None:
    """A row that was written in between is neither made twice nor forgotten."""
    ledger = await runs.start()
    await deliver(ledger, attribute(1))
    sharer = attribute(9, 1)
    first = await ledger.look_up(Page([sharer], 1), Mapped([sharer]))
    second = await ledger.look_up(Page([sharer], 1), Mapped([sharer]))
    assert list(await first()) == []
    await ledger.flush()
    assert list(await second()) == []
    await ledger.flush()
    assert ledger.tally.merged == 2
    query = select(ledger_table.c.indicator_id, ledger_table.c.state).order_by(ledger_table.c.indicator_id)
    rows = await runs.journal.database.do(lambda connection: list(connection.execute(query)))
    assert [tuple(row) for row in rows] == [(1, State.LIVE), (9, State.MERGED)]


async def test_a_merged_indicator_whose_owner_was_never_delivered_is_delivered(runs: Runs) -> None:
    """A crash may leave the note that two share an attribute, and nothing of the attribute itself."""
    dead = await runs.start()
    await admit(dead, attribute(1, 7), attribute(2, 7))
    await dead.flush()
    heir = await runs.start()
    assert changes(await deliver(heir, attribute(1, 7), attribute(2, 7))) == {1: "create"}
    assert (heir.tally.created, heir.tally.merged) == (1, 1)

    dead = await runs.start()
    await admit(dead, attribute(3, 9), attribute(4, 9))
    await dead.flush()
    heir = await runs.start()
    assert changes(await deliver(heir, attribute(4, 9))) == {4: "create"}
    assert await deliver(await runs.start(), attribute(4, 9)) == []


async def test_a_part_that_a_dead_run_did_not_promise_is_made_later(runs: Runs) -> None:
    """The events of a day are numbered without a gap, also after a crash between two of them."""
    dead = await runs.start()
    parts = await admit(dead, attribute(1, fold=5), attribute(2, fold=5), attribute(3, fold=5))
    await dead.promise(parts[0])
    await dead.promise(parts[2])
    heir = await runs.start()
    assert [part.destination.uuid for part in await deliver(heir, attribute(2, fold=5))] == ["2026-11-24/2"]


async def test_an_attribute_has_one_owner_whoever_comes_back_first(runs: Runs) -> None:
    """Two indicators that share a withdrawn attribute are selected again: one revives it, the lowest id has it."""
    await deliver(await runs.start(), attribute(1, 7))
    ledger = await runs.start()
    retire: dict[str, object] = {"state": int(State.RETIRED)}
    await runs.journal.database.do(lambda connection: Rows(1).change(connection, [(1, (7).to_bytes(16), retire)]))
    parts = await admit(ledger, attribute(2, 7))
    assert changes(parts) == {2: "revive"}
    assert await admit(ledger, attribute(1, 7)) == []
    for part in parts:
        await ledger.promise(part)
        await ledger.confirm(part, Outcome(stored=list(part.items)))
    assert changes(await deliver(ledger)) == {1: "takeover"}
    await ledger.flush()
    query = select(ledger_table.c.indicator_id, ledger_table.c.state).order_by(ledger_table.c.indicator_id)
    rows = await runs.journal.database.do(lambda connection: connection.execute(query).all())
    assert [tuple(row) for row in rows] == [(1, State.LIVE), (2, State.MERGED)]
    assert (ledger.tally.updated, ledger.tally.merged, ledger.tally.created) == (1, 1, 0)


async def test_a_page_is_not_done_with_before_its_indicators_own_what_they_shall(runs: Runs) -> None:
    """One that is to take over an attribute keeps its page open until MISP has what it lends."""
    ledger, settled = await runs.start(), dict[int, str]()
    ledger.follow({}, lambda _, positions: settled.update(positions))

    async def read(position: str, *items: Attribute) -> list[Slice[EventRef, Planned]]:
        groups = await (await ledger.look_up(Page(items, 1, (), (0, position)), Mapped(items)))()
        return [Slice(ref, list(planned), 1) for ref, planned in groups]

    async def bring(parts: Sequence[Slice[EventRef, Planned]]) -> None:
        for part in parts:
            await ledger.promise(part)
            await ledger.confirm(part, Outcome(stored=list(part.items)))
        await ledger.flush()

    first = await read("a", attribute(2, 7))
    assert await read("b", attribute(1, 7)) == []
    await bring(first)
    assert settled == {0: "a"}, "indicator 1 has not taken the attribute over yet"
    takeover = await read("c", attribute(3))
    assert changes(takeover) == {1: "takeover", 3: "create"}
    await ledger.flush()
    assert settled == {0: "a"}
    await bring(takeover)
    assert settled == {0: "c"}


async def test_rows_are_recognised_by_their_stamps(runs: Runs) -> None:
    """What was delivered and has the same stamp needs no look; what is new, changed or refused does."""
    first = await runs.start()
    assert first.is_new
    assert await first.recognise([(1, 11)]) == set()
    made = [attribute(key)._replace(stamp=10 + key) for key in range(1, 6)]
    await deliver(first, *made[:3], attribute(6, 3)._replace(stamp=16))
    [refused] = await admit(first, made[3], made[4])
    await first.promise(refused)
    refusal = Refusal(4, "quarantined", "invalid_value", "It is not valid.")
    await first.confirm(refused, Outcome(stored=[refused.items[1]], refused=[(refused.items[0], refusal)]))
    await first.flush()

    second = await runs.start()
    rows = [(1, 11), (2, 99), (3, 13), (4, 14), (5, 15), (6, 16), (7, 17)]
    assert await second.recognise(rows) == {1, 3, 5}
    await (await second.look_up(Page([], 1, recognised=[1, 3, 5]), Mapped([])))()
    assert (second.tally.read, second.tally.unchanged) == (3, 3)

    # the row has changed, what is made of it has not: next time it is recognised
    assert await deliver(second, made[1]._replace(stamp=99)) == []
    await second.flush()
    assert await (await runs.start()).recognise(rows) == {1, 2, 3, 5}


async def test_what_is_stale_leaves_or_is_withdrawn_is_not_recognised(runs: Runs) -> None:
    """Whatever has to be looked at goes the long way."""
    made = [attribute(key)._replace(stamp=10 + key) for key in range(1, 4)]
    rows = [(each.key, each.stamp) for each in made]
    first = await runs.start()
    await deliver(first, *made)
    assert await Audit(runs.journal, 1).deliver_again([], [made[0].uuid]) == 1
    second = await runs.start()
    assert await second.recognise(rows) == {2, 3}
    await admit(second, refusals=[Refusal(2, "filtered", "status_not_selected", "It is not selected.")])
    await second.flush()
    third = await runs.start()
    assert await third.recognise(rows) == {3}
    assert await third.note_deleted([made[2].uuid]) == 1
    assert await third.recognise(rows) == set()
    assert changes(await admit(third, *made)) == {1: "update"}


async def test_a_first_reading_that_breaks_off_goes_on_with_what_it_has_met(runs: Runs) -> None:
    """Nothing can have left a ledger that one reading has filled; those that go on with it know what it met."""
    first = await runs.start()
    await first.see(begin=True, with_ledger=False)
    assert first.is_of_this_reading
    await deliver(first, attribute(1), attribute(2))

    second = await runs.start()
    await second.see(begin=False, with_ledger=True)
    assert not second.is_of_this_reading
    await deliver(second, attribute(3))
    await second.flush()
    retirement = Retirement(runs.journal, 1, 2, second)
    await retirement.find_absent()
    assert await retirement.listed() == (0, 0)

    third = await runs.start()
    await third.see(begin=True, with_ledger=False)
    await (await third.look_up(Page([], 1, recognised=[3]), Mapped([])))()
    await third.flush()
    retirement = Retirement(runs.journal, 1, 3, third)
    await retirement.find_absent()
    assert await retirement.listed() == (2, 3)


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
async def test_attributes_are_counted_whole_in_parts(runs: Runs, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """An indicator with two attributes at the edge of a part is counted once for each, and for its event."""
    monkeypatch.setattr("tqmisp.journal.rows.COUNTED_ROWS", rows)
    runs.capacity = 3
    ledger = await runs.start()
    made = [attribute(key, value) for key, value in [(1, 1), (2, 2), (2, 3), (3, 4), (5, 5), (5, 6), (5, 7)]]
    refs = [part.destination for part in await deliver(ledger, *made)]
    assert list((await ledger.counts(refs)).values()) == [3, 3, 1]
    assert await ledger.counts(refs[1:2]) == {refs[1].number: 3}
