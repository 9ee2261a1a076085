from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tqmisp

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def site() -> ModuleType:
    """The program that builds the site."""
    spec = importlib.util.spec_from_file_location("site_of_the_documentation", DOCS / "build_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _names(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for part in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _names(part)


def test_every_page_is_in_the_navigation_and_in_the_index(site: ModuleType) -> None:
    """Once; a page that nobody finds answers no question."""
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    named = list(_names(tomllib.loads((DOCS / "site.toml").read_text())["project"]["nav"]))
    assert sorted(named) == sorted(pages | set(site.BESIDE))
    index = (DOCS / "index.md").read_text()
    assert [page for page in pages if page != "index.md" and f"({page})" not in index] == []


def test_every_public_name_is_described() -> None:
    """The reference has what can be imported, and nothing else is promised."""
    lines = [line.split() for line in (DOCS / "api.md").read_text().splitlines()]
    shown = {words[-1].rpartition(".")[2] for words in lines if words and words[0] in {":::", "heading:"}}
    assert shown - {"load", "errors"} == set(tqmisp.__all__) - {"TqmispError"}


def test_pages_as_the_builder_wants_them(site: ModuleType) -> None:
    """Lists and tables behind an empty line, but not what only looks like one in a block of code."""
    page = "words\n- one\n  more of it\n- two\n\nwords\n1. one\n2. two\n| a |\n| - |\n```python run\nwords\n- 1\n```"
    assert "\n".join(site.as_python_markdown(page.splitlines())) == (
        "words\n\n- one\n  more of it\n- two\n\nwords\n\n1. one\n2. two\n\n| a |\n| - |\n```python\nwords\n- 1\n```"
    )


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ('<a href="b.html#here">b</a> <a href="#top" id="top">top</a> <a href="https://misp.example">m</a>', []),
        ('<a href="c.html">c</a>', ["a.html links to c.html, which is not there"]),
        ('<a href="b.html#there">b</a>', ["a.html links to b.html#there, which has no such place"]),
        ('<script src="https://cdn.example/x.js"></script>', ["a.html loads https://cdn.example/x.js"]),
        ('<img src="//cdn.example/x.png">', ["a.html loads //cdn.example/x.png"]),
        ('<img src="x.png">', ["a.html links to x.png, which is not there"]),
        ('<link rel="canonical" href="https://here.example"><img src="data:,x">', []),
    ],
)
def test_what_is_found_in_a_site(site: ModuleType, tmp_path: Path, page: str, found: list[str]) -> None:
    """Links that lead nowhere, and whatever would be asked of other servers."""
    (tmp_path / "a.html").write_text(page)
    (tmp_path / "b.html").write_text('<h2 id="here">b</h2>')
    assert list(site.faults(tmp_path)) == found
    (tmp_path / "style.css").write_text("a { background: url('https://fonts.example/x') }")
    assert list(site.faults(tmp_path)) == [*found, "style.css loads https://fonts.example/x"]
