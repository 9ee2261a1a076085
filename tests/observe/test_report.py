from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.observe.documents import HOSTILE, document
from tqmisp.observe import logs
from tqmisp.observe.report import MOST_ROWS, VALUE_CHARACTERS, address, link, render

VOID = {"meta", "input", "rect", "line", "polygon", "polyline"}
ALLOWED = VOID | set(
    re.findall(
        r"\w+",
        "html head title style body header h1 h2 h3 p main section table thead tbody tr th td span div ul li svg "
        "strong code form label select option output bdi a script",
    )
)
ATTRIBUTES = set(
    re.findall(
        r"[\w-]+",
        "lang charset http-equiv content name class scope viewbox preserveaspectratio aria-hidden aria-label role x x1 "
        "x2 y y1 y2 width height points href rel id hidden type autocomplete spellcheck value data-kind data-code "
        "data-name",
    )
)


class Page(HTMLParser):
    """What a browser would see: the elements, their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"script", "style"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def sound(text: str) -> Page:
    """A page of ours and of nobody else: known elements, properly nested, with known attributes, and no way out."""
    page = Page(text)
    assert page.open == []
    assert {tag for tag, _ in page.elements} <= ALLOWED
    for tag, attributes in page.elements:
        assert set(attributes) <= ATTRIBUTES, tag
        assert not (attributes.get("href") or "https://").startswith("javascript"), tag
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\ud800-\udfff]", text)
    text.encode()
    return page


def test_a_page_shows_the_run() -> None:
    """The balance, each fate with its number and share, the codes, the types, the events with links, the samples."""
    page = sound(render(document()))
    assert "Balanced, done" in page.text
    assert "read 60,000 created 59,874 99.7 % updated 12 0.02 % unchanged 13" in page.text
    assert "Balanced: 60,000 of 60,000 indicators accounted for." in page.text
    assert "code_3 13 28 %" in page.text
    assert "Type 29 30,000 29" in page.text
    assert "11 others 66,000 55" in page.text  # as wide as it is: the sum of the smallest
    assert "Left as people made it in MISP What Share Indicators Share comment 2" in page.text
    assert "MISP 10.1 82 %" in page.text
    assert "1 open slices" in page.text
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert links == ["https://misp.example/misp/events/view/5230"]
    assert "16 of 92 indicators that are refused at present" in page.text
    assert "see mail.example for details It is none." in page.text


def test_a_page_loads_nothing() -> None:
    """Its policy forbids everything but its styles and its script, which is named by its digest."""
    text = render(document())
    page = sound(text)
    [script] = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a]
    assert policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not {"src", "srcset", "style", "action"} & {name for _, attributes in page.elements for name in attributes}
    assert "url(" not in text
    assert "@import" not in text


def test_hostile_words_stay_words() -> None:
    """In whatever place they stand, the page has the same elements as without them."""
    text = render(document(HOSTILE))
    assert len(text) < 2_000_000
    page = sound(text)
    assert "<script>window.ran = 1</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert r"\x00\x1b[2J\x0d\x0a\x09\ud800\ufeff\u2028" in page.text
    assert r"\u202egnp.exe" in page.text
    assert "(65,536 characters)" in page.text


@settings(max_examples=30)
@given(st.lists(st.text(alphabet=st.characters() | st.sampled_from("<>&\"'\x00\u202e")), min_size=1, max_size=12))
def test_any_words_stay_words(words: list[str]) -> None:
    """The same for whatever text there is."""
    sound(render(document(words)))


def test_a_page_stays_small() -> None:
    """Values are cut and rows are counted: what is not shown is said."""
    data = document()
    [target] = data["targets"]
    sample = {"id": 1, "type": "URL", "value": "<" * 65_536, "reason": "'" * 65_536}
    target["refused"] = [{"kind": "rejected", "code": "x", "count": 10_000_000, "samples": [sample] * 3_000}]
    text = render(data)
    assert f"{MOST_ROWS:,} of 10,000,000 indicators" in sound(text).text
    assert len(text) < MOST_ROWS * VALUE_CHARACTERS * 20
    assert "tqmisp report --rejects FILE.csv" in text


def _empty(**changes: Any) -> dict[str, Any]:
    return document() | {"run": None, "receipt": None, "runs": [], "targets": []} | changes


def _states() -> Iterator[tuple[dict[str, Any], str]]:
    run = document()["run"]
    yield _empty(), "No run has been recorded here."
    yield _empty(run=run | {"outcome": "running", "balanced": None, "seconds": None}), "it is still at work"
    yield _empty(run=run | {"outcome": "failed", "balanced": None}), "its log says why"
    uneven = document()
    uneven["run"]["balanced"] = uneven["receipt"]["targets"][0]["balanced"] = False
    uneven["receipt"]["targets"][0] |= {"read": 60_001, "imbalance": ["One is off."]}
    yield uneven, "Not balanced: 60,000 of 60,001 indicators accounted for. One is off."
    held = document()
    held["receipt"]["targets"][0]["held_back"] = "Half of all is to be retired."
    yield held, "accounted for. Half of all is to be retired."
    stopped = document()
    stopped["receipt"] |= {"stopped_by": "SIGTERM", "timeline": stopped["receipt"]["timeline"][:1], "types": {}}
    yield stopped, "stopped by SIGTERM"
    old = document()
    del old["receipt"]["timeline"], old["receipt"]["types"], old["receipt"]["targets"][0]["rescued"]
    yield old, "Balanced, done"


@pytest.mark.parametrize(("data", "told"), list(_states()))
def test_every_state_of_a_run(data: dict[str, Any], told: str) -> None:
    """No run, one at work, one that failed, one that does not balance, one that was stopped, an older one."""
    assert told in sound(render(data)).text


def test_secrets_are_masked() -> None:
    """A text that repeats one shows it as little as a log does."""
    logs.register(["hush-hush"])
    try:
        assert "hush-hush" not in render(document(["MISP said hush-hush", "hush-hush"]))
    finally:
        logs.register(())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://misp.example/", "https://misp.example"),
        ("http://misp.example:8080/misp/", "http://misp.example:8080/misp"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://user:password@misp.example", "https://misp.example"),  # a password is not shown
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("misp.example", ""),
        ("https://misp.example:port", ""),
        ("https://[", ""),
    ],
)
def test_addresses(url: str, shown: str) -> None:
    """Only an address of the web becomes a link, without user and password."""
    assert address(url) == shown
    assert link(url, 7) == (f"{shown}/events/view/7" if shown else "")
    assert link(url, None) == ""
