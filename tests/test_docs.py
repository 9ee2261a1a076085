from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tqmisp.simulators.sandbox import SandboxOptions, launch

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]
EXAMPLES = [
    pytest.param(found[1], id=f"{page.stem}-{number}")
    for page in PAGES
    for number, found in enumerate(
        re.finditer(r"^```python run\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE), 1
    )
]


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    """A folder with a configuration that fits running servers."""
    async with launch(SandboxOptions(indicators=300)) as endpoints:
        (tmp_path / "tqmisp.toml").write_text(Path(endpoints.config).read_text())
        yield tmp_path


def test_there_are_examples() -> None:
    """The pages are found, so that the test below cannot pass for want of them."""
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("code", EXAMPLES)
async def test_examples_run_as_they_stand(code: str, folder: Path) -> None:
    """Each example that is marked ends without an error, a warning or silence."""
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", code]
    done = await anyio.run_process(command, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of the project leads to one that is there."""
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_no_example_puts_a_secret_on_a_command_line() -> None:
    """Everybody on the machine can read the arguments of a process: options and examples have references there."""
    helps = [path.read_text() for path in sorted((ROOT / "tests" / "cli" / "help").glob("*.txt"))]
    written = "\n".join([*helps, *(page.read_text() for page in PAGES)])
    secrets = re.findall(r"--(?:password|client-secret|misp-key)[ =]+(\S+)", written)
    assert len(secrets) >= 4
    assert all(re.match(r"(env|file|keyring):|REFERENCE$", value) for value in secrets), secrets
    assert not re.search(r"--state[ =]+\S*://[^/\s]*:[^/\s]*@", written)
