from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from tqmisp.misp.policy import MappingPolicy
from tqmisp.misp.reject import CODES
from tqmisp.misp.rules import PLANS, RULES
from tqmisp.misp.screens import REASONS
from tqmisp.misp.types import TYPES

DOCS = Path(__file__).parents[2] / "docs"


def rows(page: str) -> list[list[str]]:
    """The cells of each table row of a page."""
    lines = (DOCS / page).read_text().splitlines()
    cells = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in lines if line.startswith("|")]
    return [[cell.strip().replace("\\|", "|") for cell in row] for row in cells]


def names(page: str) -> list[str]:
    """What stands as code in the first column of the tables."""
    return [name for row in rows(page) for name in re.findall("`([^`]+)`", row[0])]


def test_every_code_is_explained_once() -> None:
    """Who meets a code finds what it means and what to do."""
    explained = names("reject-codes.md")
    assert len(explained) == len(set(explained))
    assert {*CODES, *REASONS} <= set(explained)


def test_every_rule_is_listed_as_it_is() -> None:
    """The documentation has each rule with the words that the code has."""
    listed = {row[0].strip("`"): row[-1] for row in rows("mapping.md")}
    assert {name: listed.get(name) for name in RULES} == RULES


def test_every_rule_is_listed_with_its_types() -> None:
    """In the order of the types that ThreatQ ships; a rule that all have is said to be for every type."""
    listed = {row[0].strip("`"): row[1] for row in rows("mapping.md") if row[0].strip("`") in RULES}
    for name in RULES:
        types = [kind for kind, plan in PLANS.items() if name in {rule.name for rule in sum(plan, ())}]
        assert listed[name] == ("every type" if len(types) == len(PLANS) else ", ".join(types))


def test_every_type_is_listed_as_it_is_filed() -> None:
    """The table in the documentation is the table in the code, neither more nor less."""
    table = [row for row in rows("mapping.md") if len(row) == 4 and row[3] in {"yes", "no"}]
    assert {row[0]: row[1:] for row in table} == {
        name: [f"`{kind}`", category, "yes" if to_ids else "no"] for name, (kind, category, to_ids) in TYPES.items()
    }


def test_every_setting_is_listed_with_its_default() -> None:
    """As TOML writes it; none where there is nothing by default."""
    said = {"warninglist_names": "the harmless ones"}  # which are many
    listed = {row[0].strip("`"): row[1] for row in rows("mapping.md")} | {"shortest": "`4`"}
    for each in fields(MappingPolicy):
        default = getattr(MappingPolicy(), each.name)
        value = json.dumps(list(default) if isinstance(default, tuple) else default)
        shown = f"`{value}`" if default or isinstance(default, bool) else "none"
        if each.name not in {"types", "to_ids_score", "screen_tag"}:
            assert listed[each.name] == said.get(each.name, shown), each.name


def test_every_setting_is_described() -> None:
    """No key of the section that an operator would have to find in the code."""
    text = (DOCS / "mapping.md").read_text()
    assert [each.name for each in fields(MappingPolicy) if f"`{each.name}`" not in text and each.name != "types"] == []
    assert "[mapping.types." in text
