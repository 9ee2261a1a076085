from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import urlopen

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed; nox -s browser installs it")

from tests.browser.chromium import DESK, PHONE, browser, chromium
from tests.observe.documents import HOSTILE, document
from tqmisp.observe.report import render

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium on the path; apt install chromium")

BROKEN = """
() => [...document.querySelectorAll("section, table, td, th, h1, h2, p, svg")]
  .filter((each) => each.offsetParent && !each.closest(".scroll") && !each.closest("bdi"))
  .filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
  .map((each) => each.outerHTML.slice(0, 200))
"""
"""Elements that reach beyond the right edge; those that scroll by themselves may."""
VISIBLE = "() => [...document.querySelectorAll('#refused tbody tr')].filter((row) => row.offsetParent).length"


@pytest.fixture(autouse=True)
def _the_loop_is_free() -> None:
    """Playwright has a loop of its own, on which tests wait: they may block it."""


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    """One browser for all tests."""
    with browser(viewport=DESK) as started:
        yield started


@pytest.fixture
def show(context: Any, tmp_path: Path) -> Iterator[Any]:
    """Open a page, and hear whatever it does beyond showing itself."""
    tab = context.new_page()
    heard: list[str] = []
    tab.on("request", lambda request: heard.append(f"request {request.url}"))
    tab.on("console", lambda message: heard.append(f"console {message.text}"))
    tab.on("pageerror", lambda error: heard.append(f"error {error}"))
    tab.on("dialog", lambda dialog: heard.append(f"dialog {dialog.message}"))
    tab.on("popup", lambda popup: heard.append(f"popup {popup.url}"))

    def opened(text: str, *, size: dict[str, int] = DESK, scheme: str = "light", media: str = "screen") -> Any:
        path = tmp_path / "page.html"
        path.write_text(text, encoding="utf-8")
        tab.set_viewport_size(size)
        tab.emulate_media(color_scheme=scheme, media=media)
        heard.clear()
        tab.goto(path.as_uri())
        assert heard.pop(0) == f"request {path.as_uri()}"
        return tab, heard

    yield opened
    tab.close()


class Listener(ThreadingHTTPServer):
    """Somebody who would like to hear from the page."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Listener

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Serve as long as a test runs; it can be reached."""
    with Listener() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        with urlopen(f"{server.url}/hello") as answer:  # noqa: S310  the address is ours
            assert answer.status == 204
        assert server.asked.pop() == "/hello"
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("size", "scheme", "media"),
    [(DESK, "light", "screen"), (DESK, "dark", "screen"), (PHONE, "light", "screen"), (PHONE, "light", "print")],
    ids=["light", "dark", "phone", "print"],
)
def test_hostile_words_neither_run_nor_break_the_page(size: dict[str, int], scheme: str, media: str, show: Any) -> None:
    """No script, no request, no dialog, no message; nothing reaches beyond the edge; each row is there."""
    tab, heard = show(render(document(HOSTILE)), size=size, scheme=scheme, media=media)
    for selector in ("[onload]", "[onerror]", "[onfocus]", "[onmouseover]", "img", "iframe", "b"):
        assert tab.locator(selector).count() == 0, selector
    assert tab.evaluate("window.ran") is None
    assert tab.locator("script").count() == 1
    assert heard == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.evaluate(BROKEN) == []
    assert tab.evaluate(VISIBLE) == 2 * len(HOSTILE) ** 2


def test_what_would_get_through_would_not_run(show: Any, listener: Listener) -> None:
    """The policy of the page stops scripts, handlers, styles from elsewhere and pictures that report home."""
    injected = (
        f"<script>window.ran = 1</script><img src='{listener.url}/x.png' onerror='window.ran = 1'>"
        f"<svg onload='window.ran = 1'></svg><link rel='stylesheet' href='{listener.url}/x.css'>"
        f"<iframe srcdoc='<script>parent.ran = 1</script>'></iframe><base href='{listener.url}'>"
    )
    tab, heard = show(render(document()).replace("</main>", injected + "</main>"))
    assert tab.evaluate("window.ran") is None
    assert tab.evaluate("document.baseURI").startswith("file:")
    assert len([what for what in heard if "Content Security Policy" in what]) >= 5
    assert listener.asked == []
    assert tab.locator("#found").text_content() == "16 shown", "our own script runs all the same"


def test_refused_indicators_can_be_searched(show: Any) -> None:
    """By words, by kind and by code, together; the number of what is left is said."""
    tab, _ = show(render(document()))
    assert tab.evaluate(VISIBLE) == 16
    tab.fill("#words", "MAIL.example details")
    assert tab.evaluate(VISIBLE) == 8
    tab.select_option("#kind", "quarantined")
    tab.select_option("#code", "code_2")
    assert tab.evaluate(VISIBLE) == 1
    assert tab.locator("#found").text_content() == "1 shown"
    tab.fill("#words", "<script>")
    assert tab.evaluate(VISIBLE) == 0
    tab.fill("#words", "")
    tab.press("#words", "Enter")
    assert tab.evaluate(VISIBLE) == 2
    assert tab.url.endswith("page.html")


def test_a_page_is_light_dark_or_printed(show: Any) -> None:
    """Colours follow the reader's wish; on paper they are light, and there is nothing to press."""
    colour = "() => getComputedStyle(document.querySelector('section:nth-of-type(2)')).backgroundColor"
    text = render(document())
    light = show(text)[0].evaluate(colour)
    dark = show(text, scheme="dark")[0].evaluate(colour)
    tab, _ = show(text, scheme="dark", media="print")
    assert light == "rgb(255, 255, 255)" != dark
    assert tab.evaluate(colour) == light
    assert not tab.locator(".controls").is_visible()


def test_a_page_needs_no_script(context: Any, tmp_path: Path) -> None:
    """Where scripts are switched off, all rows are there, and no search that would not work."""
    path = tmp_path / "page.html"
    path.write_text(render(document()), encoding="utf-8")
    tab = context.new_page()
    context.new_cdp_session(tab).send("Emulation.setScriptExecutionDisabled", {"value": True})
    tab.goto(path.as_uri())
    assert not tab.locator(".controls").is_visible()
    assert tab.locator("#refused tbody tr:visible").count() == 16
    tab.close()
