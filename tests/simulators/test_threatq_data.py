from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.simulators.threatq import CORPUS, rows_of
from tqmisp.simulators.threatq import from_corpus, generate
from tqmisp.simulators.threatq.catalog import DATES, TYPES, status_of, type_of
from tqmisp.simulators.threatq.columns import as_milliseconds
from tqmisp.simulators.threatq.generate import GeneratedRows
from tqmisp.simulators.threatq.library import Library

SAMPLE = Path(__file__).parents[2] / "benchmarks" / "data" / "threatq-sample.ndjson.gz"
MANY = 60_000
"""Enough that everything rare occurs."""


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Many generated rows."""
    return rows_of(generate(MANY, seed=9))


def folded(value: str) -> str:
    """What two planned duplicates have in common."""
    return value.casefold().replace("[dot]", ".")


def test_a_row_depends_on_the_seed_and_its_index_alone() -> None:
    """A larger library begins with a smaller one; another seed gives other rows."""
    small, large, other = generate(333, seed=7), generate(5000, seed=7), generate(333, seed=8)
    assert rows_of(small) == rows_of(large)[:333]
    assert not {row["hash"] for row in rows_of(small) if "hash" in row} & {
        row["hash"] for row in rows_of(other) if "hash" in row
    }


@pytest.mark.parametrize("library", [generate(3000, seed=9), from_corpus(CORPUS)], ids=["generated", "corpus"])
def test_filters_see_what_the_rows_say(library: Library) -> None:
    """The columns hold the type, status, score and dates of the very rows that are given out."""
    for place in range(len(library)):
        row, columns = library.row(place), library.columns
        assert row["id"] == library.ids[place]
        assert type_of(row) == columns.kind[place]
        assert status_of(row) == columns.status[place]
        assert row.get("score") == columns.score[place]
        assert {name: as_milliseconds(row.get(name)) for name in DATES} == {
            name: column[place] for name, column in columns.dates.items()
        }
        assert orjson.loads(library.raw(place)) == row


def test_generated_values_are_unique_but_for_planned_twins(rows: list[dict[str, Any]]) -> None:
    """No value comes twice; a few in a thousand differ only in letter case, or in being made harmless."""
    values = [row["value"] for row in rows if "value" in row]
    assert len(set(values)) == len(values)
    twins = len(values) - len(set(map(folded, values)))
    assert 0.0005 < twins / len(values) < 0.005


def test_generated_indicators_are_spread_as_real_ones_are(rows: list[dict[str, Any]]) -> None:
    """All types occur, with others that somebody added; about 92 % are Active; scores and dates are spread."""
    types = Counter(row["type"]["name"] for row in rows)
    assert set(TYPES) < set(types)
    assert types["FQDN"] > types["IP Address"] > types["MD5"] > types["ASN"] > 0
    active = sum(row["status"]["name"] == "Active" for row in rows)
    assert 0.91 < active / MANY < 0.935
    assert {row.get("score") for row in rows} == {*range(11), None}
    dates = sorted(row["touched_at"] for row in rows)
    assert dates[0] < "2024-02-01"
    assert dates[-1] > "2025-12-01"
    assert all(row["created_at"] <= row["updated_at"] <= row["touched_at"] for row in rows)
    assert {row["expires_at"] > row["created_at"] for row in rows if "expires_at" in row} == {True}


def test_generated_indicators_have_the_mess_of_real_feeds(rows: list[dict[str, Any]]) -> None:
    """What a connector trips over is all there."""
    values = [(row["type"]["name"], row["value"]) for row in rows if "value" in row]
    found = {
        "defanged": any("[.]" in value for _, value in values),
        "blank at an end": any(value != value.strip() for _, value in values),
        "tab": any(value.startswith("\t") for _, value in values),
        "port at an address": any(kind == "IP Address" and ":" in value for kind, value in values),
        "address that is none": any(kind == "IP Address" and value.endswith(".300") for kind, value in values),
        "upper-case hash": any(kind == "SHA-256" and value == value.upper() for kind, value in values),
        "short hash": any(kind == "SHA-256" and len(value) == 61 for kind, value in values),
        "URL without a scheme": any(kind == "URL" and "://" not in value for kind, value in values),
        "long": any(len(value) > 3000 for _, value in values),
        "not ASCII": any("ü" in value for _, value in values),
        "emoji": any("\U0001f600" in value for _, value in values),
        "control character": any("\x07" in value for _, value in values),
        "no value": any("value" not in row for row in rows),
        "no sources": any(row["sources"] is None for row in rows),
        "no tags": any("tags" not in row for row in rows),
        "no description": any("description" in row and row["description"] is None for row in rows),
        "no score": any("score" not in row for row in rows),
        "empty attribute": any(each["value"] is None for row in rows for each in row["attributes"] or []),
        "TLP by its id alone": any(
            "tlp_id" in each and "tlp_name" not in each for row in rows for each in row["sources"] or []
        ),
    }
    assert [name for name, there in found.items() if not there] == []


def test_a_million_is_ready_before_any_row_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are made when they are asked for; only the columns are made at the start."""
    made: list[int] = []
    monkeypatch.setattr(GeneratedRows, "get", lambda _, place: made.append(place))
    assert len(generate(1_000_000)) == 1_000_000
    assert made == []


def test_a_corpus_may_be_unsorted_and_unpacked(tmp_path: Path) -> None:
    """Lines are put into the order of their ids; blank lines do not matter."""
    path = tmp_path / "rows.ndjson"
    path.write_bytes(b'{"id": 9, "value": "b"}\n\n{"id": 3, "value": "a"}')
    assert rows_of(from_corpus(path)) == [{"id": 3, "value": "a"}, {"id": 9, "value": "b"}]


def test_a_corpus_may_come_in_several_packed_members(tmp_path: Path) -> None:
    """As the shared corpus does."""
    path = tmp_path / "rows.ndjson.gz"
    path.write_bytes(gzip.compress(b'{"id": 3}\n') + gzip.compress(b'{"id": 9}\n'))
    assert list(from_corpus(path).ids) == [3, 9]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"id": 1}\n{"value": "x"}', "line 2 is no indicator"),
        (b"[1]", "line 1 is no indicator"),
        (b'{"id": 1}\n{"id": 1}', "two lines have the id 1"),
        (b"<html>", "Expecting value"),
    ],
)
def test_what_is_no_corpus_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """The error says what is wrong, and where."""
    path = tmp_path / "rows.ndjson"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        from_corpus(path)


def test_the_sample_is_what_its_readme_says() -> None:
    """What the first command of the README exports: every type that the sources have, and enough for three events."""
    rows = rows_of(from_corpus(SAMPLE))
    assert f"{len(rows):,} real indicators" in (SAMPLE.parent / "README.md").read_text()
    assert 50_000 < sum(row["status"]["name"] == "Active" for row in rows) <= 75_000
    assert len({row["type"]["name"] for row in rows}) == 21
