from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from tqmisp.misp.policy import MappingPolicy
from tqmisp.misp.reject import CODES
from tqmisp.misp.rules import RULES
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


def test_every_type_is_listed_as_it_is_filed() -> None:
    """The table in the documentation is the table in the code."""
    listed = {row[0]: row[1:] for row in rows("mapping.md")}
    for name, (kind, category, to_ids) in TYPES.items():
        assert listed[name] == [f"`{kind}`", category, "yes" if to_ids else "no"]


def test_every_setting_is_described() -> None:
    """No key of the section that an operator would have to find in the code."""
    text = (DOCS / "mapping.md").read_text()
    assert [each.name for each in fields(MappingPolicy) if f"`{each.name}`" not in text and each.name != "types"] == []
    assert "[mapping.types." in text
