"""Build the site of the documentation: ``python docs/build_site.py FOLDER``; ``nox -s site`` does so.

The pages read well where they lie. For the site, copies are made in which links lead to other pages only, and in which
the docstrings of the package are Markdown. What comes out is looked through: every link leads somewhere, and nothing
is loaded from elsewhere.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
"""Pages that lie beside the documentation, and belong to the site, too."""
_LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\(([^()\s]+)\)")
_BLOCKS = re.compile(r"[-*] "), re.compile(r"\d+\. "), re.compile(r"\|")
"""How a line of a list or of a table begins."""
_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([^`]+)`")


def stage(folder: Path) -> None:
    """Copy everything that the site is made of."""
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("site.toml", "*.py", "__pycache__"))
    for name in BESIDE:
        shutil.copy(ROOT / name, folder / "docs" / name)
    for page in (folder / "docs").rglob("*.md"):
        text = _LINK.sub(partial(_within, beside=page.name in BESIDE), page.read_text())
        page.write_text("\n".join(as_python_markdown(text.splitlines())))
    shutil.copy(ROOT / "docs" / "site.toml", folder / "zensical.toml")
    for module in (ROOT / "tqmisp").rglob("*.py"):
        copy = folder / "src" / module.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(_ROLE.sub(r"`\1`", module.read_text()))


def as_python_markdown(lines: Iterable[str]) -> Iterator[str]:
    """Give the lines as the builder's Markdown wants them, which is stricter than that of most readers.

    Lists and tables stand behind an empty line, and a block of code has no further words behind its language.
    """
    before, fenced = "", False
    for line in lines:
        if line.startswith("```"):
            fenced = not fenced
        begins = next((mark for mark in _BLOCKS if mark.match(line)), None)
        if begins and not fenced and before and not begins.match(before) and not before.startswith("  "):
            yield ""
        before = line
        yield line.removesuffix(" run") if line == "```python run" else line


def _within(link: re.Match[str], *, beside: bool) -> str:
    """A link as the site has it; only the words where it leads to what the site does not hold."""
    words, target = link.groups()
    if "://" in target or target.startswith("#"):
        return link[0]
    if beside:
        target = target.removeprefix("docs/") if target.startswith("docs/") else f"../{target}"
    if target.startswith("../") and target.removeprefix("../").partition("#")[0] in BESIDE:
        target = target.removeprefix("../")
    return words if target.startswith("../") else f"[{words}]({target})"


class Page(HTMLParser):
    """What a page refers to, and what can be referred to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element refers to."""
        given = {name: value or "" for name, value in attrs}
        self.names |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag != "a" and given.get("rel") != "canonical":
            self.loads += [given[name] for name in ("src", "href", "data") if given.get(name)]


def faults(site: Path) -> Iterator[str]:
    """Yield a line for each link that leads nowhere, and for each thing that would be loaded from elsewhere."""
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        for target in page.links + page.loads:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.loads and parts.scheme != "data":
                    yield f"{name} loads {target}"
                continue
            file = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            if parts.path.startswith("/"):
                file = site / parts.path[1:]  # the page for what is not found may stand anywhere
            if not file.is_file() and file != site:
                yield f"{name} links to {target}, which is not there"
            elif parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].names:
                yield f"{name} links to {target}, which has no such place"
    for style in site.rglob("*.css"):
        yield from (
            f"{style.name} loads {url}" for url in re.findall(r"url\(['\"]?(https?:[^'\")]*)", style.read_text())
        )


def main(folder: Path) -> int:
    """Build into ``folder``/site; give the exit code."""
    shutil.rmtree(folder, ignore_errors=True)
    stage(folder)
    subprocess.run(["zensical", "build", "--strict", "--clean"], cwd=folder, check=True)  # noqa: S607  of this environment
    found = list(faults(folder.resolve() / "site"))
    sys.stderr.write("".join(f"{line}\n" for line in found))
    sys.stdout.write(f"{folder / 'site' / 'index.html'}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
