from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.threatq.conftest import Serve
from tqmisp.errors import ConfigError
from tqmisp.model import Indicator
from tqmisp.simulators.threatq import Library, ThreatQSimulatorOptions, from_corpus, generate
from tqmisp.threatq import source as source_module
from tqmisp.threatq.client import ThreatQClient
from tqmisp.threatq.options import Selection
from tqmisp.threatq.source import ThreatQSource

CORPUS = Path(__file__).parents[1] / "data" / "threatq-small.ndjson.gz"


async def read(
    client: ThreatQClient, selection: Selection | None = None
) -> tuple[list[Indicator], Counter[str], ThreatQSource]:
    """Everything that a source gives, and the codes of what it leaves out."""
    source = ThreatQSource(client, selection or Selection())
    indicators: list[Indicator] = []
    codes: Counter[str] = Counter()
    async for page in source.pages():
        indicators += page.items
        codes.update(refusal.code for refusal in page.refusals)
    return indicators, codes, source


def rows_where(library: Library, test: Callable[[dict[str, object]], bool]) -> list[int]:
    """The ids of the rows of a library that a test lets through."""
    return [library.ids[place] for place in range(len(library)) if test(library.row(place))]


def status(row: dict[str, object]) -> object:
    """The name of a row's status."""
    given = row["status"]
    return given["name"] if isinstance(given, dict) else given


async def test_the_default_selection_reads_what_is_active(serve: Serve) -> None:
    """Every Active row of the real corpus comes once, with its context, and nothing else."""
    library = from_corpus(CORPUS)
    indicators, codes, source = await read(await serve(library))
    assert [each.id for each in indicators] == rows_where(library, lambda row: status(row) == "Active")
    assert not codes
    assert source.total == len(indicators)
    assert source.missing == 0
    assert source.not_selected == {"Expired": 494, "Indirect": 103, "Review": 179, "Whitelisted": 191}
    assert source.total + sum(source.not_selected.values()) == len(library) == 12_000
    assert source.watermark == max(each.touched_at for each in indicators if each.touched_at)
    assert any(each.sources and each.sources[0].tlp == "CLEAR" for each in indicators)
    assert any(each.malware for each in indicators)
    assert any(each.adversaries for each in indicators)
    assert all(each.tags for each in indicators)


@pytest.mark.parametrize(
    ("selection", "test"),
    [
        (Selection(statuses=("Expired", "Review")), lambda row: status(row) in {"Expired", "Review"}),
        (Selection(statuses=(), score_threshold=7.5), lambda row: row["score"] >= 7.5),
        (Selection(types=("FQDN", "url")), lambda row: row["type"]["name"] in {"FQDN", "URL"}),
        (Selection(exclude_types=("FQDN",)), lambda row: row["type"]["name"] != "FQDN"),
        (Selection(tags=("kimsuky", "redline")), lambda row: {"kimsuky", "redline"} & set(row["tags"])),
        (Selection(sources=("maltrail",)), lambda row: any(each["name"] == "Maltrail" for each in row["sources"])),
        (
            Selection(since="2025-01-01", until="2025-06-01"),
            lambda row: "2025-01-01" <= row["touched_at"] < "2025-06-01",
        ),
        (Selection(collection="MISP - high confidence"), lambda row: row["score"] >= 7),
        (Selection(collection="Addresses, as text"), lambda row: row["type"]["name"] == "IP Address"),
    ],
)
async def test_a_selection_is_kept(
    serve: Serve, selection: Selection, test: Callable[[dict[str, object]], bool]
) -> None:
    """Each part of a selection gives exactly the rows that it names."""
    library = from_corpus(CORPUS)
    indicators, _, _ = await read(await serve(library), selection)
    active = not selection.statuses or selection.statuses != ("Active",)
    wanted = rows_where(library, lambda row: bool(test(row)) and (active or status(row) == "Active"))
    assert wanted
    assert [each.id for each in indicators] == wanted


async def test_a_collection_that_is_not_there_is_named(serve: Serve) -> None:
    """The error lists the collections that the account sees."""
    client = await serve(generate(10))
    with pytest.raises(ConfigError, match="MISP - high confidence"):
        await ThreatQSource(client, Selection(collection="no such")).shards()


@pytest.mark.parametrize(
    "options",
    [
        ThreatQSimulatorOptions(cursors=False),
        ThreatQSimulatorOptions(answer_of_2026=False),
        ThreatQSimulatorOptions(field_lists=False, answer_of_2026=False),
        ThreatQSimulatorOptions(query_route=False),
        ThreatQSimulatorOptions(max_limit=37),
        ThreatQSimulatorOptions(token_seconds=0.05),
    ],
    ids=["no cursor", "old answer", "no fields", "no query route", "small pages", "short tokens"],
)
async def test_older_and_stranger_servers_give_the_same(serve: Serve, options: ThreatQSimulatorOptions) -> None:
    """Whatever a server lacks, the same indicators come out."""
    library = generate(1500, seed=3)
    expected, _, _ = await read(await serve(library))
    indicators, codes, source = await read(await serve(library, options))
    assert [each.id for each in indicators] == [each.id for each in expected]
    assert [each.score for each in indicators] == [each.score for each in expected]
    assert [each.sources and each.sources[0].name for each in indicators] == [
        each.sources and each.sources[0].name for each in expected
    ]
    assert source.missing == 0
    assert set(codes) <= {"status_not_selected", "missing_value"}


async def test_many_rows_are_divided_among_producers(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows together hold every row, also where the dates crowd, and are about equally large."""
    monkeypatch.setattr(source_module, "SMALL", 100)
    library = generate(4000, seed=1)
    for identity in library.ids[500:3000]:
        library.change(identity, {"touched_at": f"2024-05-05 05:05:{identity % 40:02d}"}, touch=False)
    client = await serve(library, producers=4)
    source = ThreatQSource(client, Selection(statuses=()))
    shards = await source.shards()
    assert len(shards) > 4
    seen: Counter[int] = Counter()
    sizes = []
    for shard in shards:
        size = 0
        async for page in shard.pages():
            size += len(page.items) + len(page.refusals)
            seen.update(each.id for each in page.items)
            seen.update(each.key for each in page.refusals)
        sizes.append(size)
    assert set(seen) == set(library.ids)
    assert sum(sizes) < 1.2 * 4000
    assert max(sizes) < 4000 / 4


async def test_rows_without_a_date_are_not_lost(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a window of dates cannot hold all rows, all are read in one part."""
    monkeypatch.setattr(source_module, "SMALL", 100)
    library = generate(1000, seed=1)
    library.change(library.ids[500], {"touched_at": None}, touch=False)
    indicators, codes, _ = await read(await serve(library), Selection(statuses=()))
    assert len(indicators) + codes.total() == 1000
    assert library.ids[500] in {each.id for each in indicators}


async def test_rows_that_leave_while_reading_by_offset_cost_no_others(serve: Serve) -> None:
    """When the total shrinks, the offset goes back: rows come twice rather than not at all."""
    library = generate(1000, seed=2)
    client = await serve(library, ThreatQSimulatorOptions(cursors=False), page_size=100)
    source = ThreatQSource(client, Selection(statuses=()))
    [shard] = await source.shards()
    seen: set[int] = set()
    pages = 0
    async for page in shard.pages():
        seen |= {each.id for each in page.items} | {each.key for each in page.refusals}
        pages += 1
        if pages == 3:
            for identity in list(library.ids)[:50]:
                library.delete(identity)
    assert seen == set(library.ids)


async def test_nothing_selected_is_no_error(serve: Serve) -> None:
    """An empty result is an empty run, without a watermark."""
    indicators, _, source = await read(await serve(generate(0)))
    assert indicators == []
    assert (source.total, source.watermark) == (0, None)


async def test_a_server_that_ignores_the_filters_leaks_nothing(serve: Serve) -> None:
    """What is not selected is refused here, too, and counted with its reason."""
    library = generate(500, seed=4)
    selection = Selection(score_threshold=5)
    client = await serve(library, ThreatQSimulatorOptions(query_route=False))
    indicators, codes, _ = await read(client, selection)
    assert {each.status for each in indicators} == {"Active"}
    assert min(each.score for each in indicators) >= 5
    assert codes["status_not_selected"] > 0
    assert codes["score_below_threshold"] > 0
    assert len(indicators) + codes.total() == 500
