"""Pictures of a report for the documentation: ``python -m tests.browser.screenshots PAGE.html FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.browser.chromium import DESK, PHONE, browser

LONGEST = 2_400
"""Pixels of a page that are shown."""


def main(page: Path, folder: Path) -> None:
    """Take one picture of each kind."""
    with browser(viewport=DESK) as context:
        tab: Any = context.new_page()
        for name, media, scheme, size in (
            ("light", "screen", "light", DESK),
            ("dark", "screen", "dark", DESK),
            ("phone", "screen", "light", PHONE),
            ("print", "print", "light", {"width": 794, "height": 1123}),  # A4 at 96 pixels an inch
        ):
            tab.set_viewport_size(size)
            tab.emulate_media(media=media, color_scheme=scheme)
            tab.goto(page.resolve().as_uri())
            height = min(LONGEST, tab.evaluate("document.documentElement.scrollHeight"))
            clip = {"x": 0, "y": 0, "width": size["width"], "height": height}
            tab.screenshot(path=folder / f"report-{name}.png", clip=clip, full_page=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
