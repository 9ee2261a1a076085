from __future__ import annotations

from typing import Any

import pytest

from tests.simulators.threatq import CORPUS, OLD_ANSWER, QUERY, ids_of, rows_of, serving
from tqmisp.simulators.threatq import Library, ThreatQSimulatorOptions, from_corpus, generate

CONFIDENT = "3f2a9c0d1e4b5a69788796a5b4c3d2e1"
OUR_FIELDS = ["id", "value", "type", "status", "score", "tags", "sources", "attributes"]


def corpus() -> Library:
    """The small corpus."""
    return from_corpus(CORPUS)


async def test_the_old_answer_is_the_row_as_it_is() -> None:
    """``*,sources,attributes,...`` gives every field, type and status as objects."""
    held = corpus()
    async with serving(held) as asker:
        page = await asker.query(None, OLD_ANSWER, limit=50)
        assert page["data"] == rows_of(held)[:50]


@pytest.mark.parametrize("fields", [None, ["*"]])
async def test_the_default_answer_of_2026_has_no_context(fields: object) -> None:
    """Without a list of fields, or with ``*`` alone, sources and attributes are left out, and nothing else is."""
    held = corpus()
    async with serving(held) as asker:
        [shown] = (await asker.query(None, fields, limit=1))["data"]
    assert shown == {name: value for name, value in held.row(0).items() if name not in {"sources", "attributes"}}
    async with serving(held, ThreatQSimulatorOptions(answer_of_2026=False)) as asker:
        assert (await asker.query(None, fields, limit=1))["data"] == [held.row(0)]


async def test_a_list_of_fields_gives_plain_names() -> None:
    """Type and status are texts, the score is a number, tags are texts; what is not named is not there."""
    held = corpus()
    async with serving(held) as asker:
        [shown] = (await asker.query(None, OUR_FIELDS, limit=1))["data"]
    row = held.row(0)
    assert shown == {name: row[name] for name in OUR_FIELDS} | {
        "type": row["type"]["name"],
        "status": row["status"]["name"],
    }


async def test_older_servers_take_no_notice_of_fields_or_marks_or_refuse_them() -> None:
    """What an older server does can be chosen, each by itself."""
    held = generate(5)
    async with serving(held, ThreatQSimulatorOptions(fields_ignored=True, answer_of_2026=False)) as asker:
        assert (await asker.query(None, ["id"]))["data"] == rows_of(held)
    async with serving(held, ThreatQSimulatorOptions(field_lists=False)) as asker:
        assert (await asker.send("POST", QUERY, {"fields": ["id"]})).status == 400
    async with serving(held, ThreatQSimulatorOptions(cursors=False)) as asker:
        page = await asker.query(None, ["id"], limit=2, cursorMark="*", offset=2)
        assert "nextCursorMark" not in page
        assert ids_of(page["data"]) == list(held.ids)[2:4]
    async with serving(held, ThreatQSimulatorOptions(query_route=False)) as asker:
        assert await asker.send("POST", QUERY, {}) == (404, {"errors": ["Not Found"]})


async def test_the_database_view_has_relations_only_where_asked() -> None:
    """Without ``with`` come plain fields and ids; with it the score is an object and sources have a pivot."""
    held = corpus()
    row = held.row(0)
    async with serving(held) as asker:
        bare = (await asker.get(f"/api/indicators/{row['id']}"))["data"]
        full = (
            await asker.get(
                f"/api/indicators/{row['id']}/details",
                **{"with": "type,status,score,sources,attributes,adversaries,tags,comments,watchlist"},
            )
        )["data"]
    assert not {"type", "status", "score", "sources", "attributes", "tags", "published_at"} & set(bare)
    assert (bare["value"], bare["type_id"], bare["expired_at"]) == (row["value"], row["type_id"], row.get("expired_at"))
    assert full["score"]["generated_score"] == f"{row['score']:.2f}"
    assert full["score"]["manual_score"] is None
    assert full["type"]["name"] == row["type"]["name"]
    assert full["status"]["name"] == row["status"]["name"]
    assert [source["name"] for source in full["sources"]] == [source["name"] for source in row["sources"]]
    assert full["sources"][0]["pivot"]["indicator_id"] == row["id"]
    assert [(each["name"], each["value"]) for each in full["attributes"]] == [
        (each["name"], each["value"]) for each in row["attributes"]
    ]
    assert [tag["name"] for tag in full["tags"]] == row["tags"]
    assert full["comments"] == []
    assert "watchlist" not in full


async def test_the_listing_pages_sorts_and_filters() -> None:
    """``GET /api/indicators`` gives everything without a limit; values take ``%``, commas part alternatives."""
    held = corpus()
    async with serving(held) as asker:
        everything = await asker.get("/api/indicators")
        assert (everything["total"], len(everything["data"])) == (len(held), len(held))
        page = await asker.get("/api/indicators", limit=3, offset=4, sort="-id")
        assert ids_of(page["data"]) == list(held.ids)[::-1][4:7]
        wanted = rows_of(held, lambda row: ".ru" in row["value"].lower())
        assert ids_of((await asker.get("/api/indicators", value="%.ru%"))["data"]) == ids_of(wanted)
        asked = f"{held.ids[3]},{held.ids[9]}"
        assert ids_of((await asker.get("/api/indicators", id=asked))["data"]) == [held.ids[3], held.ids[9]]
        wanted = rows_of(held, lambda row: row["type_id"] == 4)
        assert ids_of((await asker.get("/api/indicators", type_id=4))["data"]) == ids_of(wanted)


async def test_saved_searches_come_in_both_forms_and_can_be_run() -> None:
    """One holds its query as an object, one as text; the hash route runs both, with fields as a comma list."""
    held = corpus()
    async with serving(held) as asker:
        listed = (await asker.get("/api/search/query"))["data"]
        assert {type(search["json"]) for search in listed} == {dict, str}
        confident = await asker.get(f"{QUERY}/hash/{CONFIDENT}", limit=9, sort="id", cursorMark="*", fields="id,type")
        wanted = rows_of(held, lambda row: row["status"]["name"] == "Active" and row["score"] >= 7)
        assert confident["total"] == len(wanted)
        assert confident["data"] == [{"id": row["id"], "type": row["type"]["name"]} for row in wanted[:9]]
        assert confident["nextCursorMark"]
        wanted = rows_of(held, lambda row: row["type"]["name"] == "IP Address")
        assert (await asker.get(f"{QUERY}/hash/16"))["total"] == len(wanted)
        assert (await asker.send("GET", f"{QUERY}/hash/none")).status == 404


async def test_a_search_can_be_made() -> None:
    """With a name it is listed, without one it is not; both can be run by their hash."""
    async with serving(corpus()) as asker:
        for name in ("Mine", None):
            score = 3 if name else 4
            held = {"ui_query": {}, "api_query": {"criteria": {}, "filters": {"score": score}}}
            made = await asker.send("POST", "/api/search/query", {"name": name, "json": held})
            assert made.status == 201
            found = await asker.get(f"{QUERY}/hash/{made.body['data']['hash']}", fields="id,score", limit=5)
            assert {row["score"] for row in found["data"]} == {score}
        names = [search["name"] for search in (await asker.get("/api/search/query"))["data"]]
        assert "Mine" in names
        assert None not in names
        assert (await asker.send("POST", "/api/search/query", {"name": "x"})).status == 400


async def test_the_older_search_finds_by_type_and_value() -> None:
    """Inner lists are joined by "and", the outer one by "or"; rows carry type and status with their ids."""
    held = corpus()
    address = {"field": "indicator_type", "operator": "is", "value": 15}
    body = {"indicators": [[address, {"field": "indicator_value", "operator": "like", "value": "203."}]]}
    async with serving(held) as asker:
        found = (await asker.send("POST", "/api/search/advanced", body, limit=5)).body
        wanted = rows_of(held, lambda row: row["type_id"] == 15 and "203." in row["value"])
        assert found["total"] == len(wanted) > 0
        assert found["data"][0] == {
            "id": wanted[0]["id"],
            "value": wanted[0]["value"],
            "type": {"id": 15, "name": "IP Address"},
            "status": {"id": wanted[0]["status"]["id"], "name": wanted[0]["status"]["name"]},
        }
        wrong: dict[str, Any] = {"indicators": [[{"field": "colour", "operator": "is", "value": 1}]]}
        assert (await asker.send("POST", "/api/search/advanced", wrong)).status == 400
        assert (await asker.send("POST", "/api/search/advanced", {})).status == 400
