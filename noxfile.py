"""Every check of the project, and the only way in which they run: ``nox``, or ``nox -s tests-3.12`` for one of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "types", "imports", "tests", "docs", "site", "browser", "package"]

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())
GROUPS = PROJECT["dependency-groups"]
PYTHONS = [
    classifier.rpartition(" ")[2]
    for classifier in PROJECT["project"]["classifiers"]
    if classifier.startswith("Programming Language :: Python :: 3.")
]


def _find_pythons() -> None:
    """Put the interpreters that pyenv has installed on the path, where nox looks for them."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [str(version / "bin") for version in sorted(versions.glob("3.*")) if (version / "bin" / "python").exists()]
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), *found])


_find_pythons()


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; on every Python from the oldest to the newest that is installed, the long ones on the oldest."""
    session.install("-q", "-e", ".", *GROUPS["tests"], *GROUPS["bench"])
    oldest = session.python == PYTHONS[0]
    chosen = [] if oldest else ["-m", "not long"]
    session.run("pytest", "-n", "auto", "--dist", "loadfile", *chosen, *session.posargs)
    if oldest and not session.posargs:  # alone, it tells how much of the recorded contract the simulator keeps
        session.run("pytest", "tests/contract")


@nox.session
def lint(session: nox.Session) -> None:
    """Look for mistakes, and for lines that are not formatted."""
    session.install("-q", *GROUPS["lint"])
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package, its tests, benchmarks and this file, strictly."""
    session.install("-q", "-e", ".", *GROUPS["tests"], *GROUPS["lint"], "nox")
    session.run("mypy", "-p", "tqmisp", "-p", "tests", "-p", "benchmarks")
    session.run("mypy", "noxfile.py")
    session.run("mypy", "docs/build_site.py")


@nox.session
def imports(session: nox.Session) -> None:
    """Check that imports go one way."""
    session.install("-q", "-e", ".", *GROUPS["lint"])
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Run the examples of the documentation, and follow its links."""
    session.install("-q", "-e", ".", *GROUPS["tests"])
    session.run("pytest", "tests/test_docs.py", *session.posargs)


@nox.session
def site(session: nox.Session) -> None:
    """Build the site of the documentation, strictly, and look through its links: ``nox -s site -- folder``."""
    session.install("-q", *GROUPS["site"])
    session.run("python", "docs/build_site.py", *(session.posargs or ["build/site"]))


@nox.session
def browser(session: nox.Session) -> None:
    """Look at the report in a headless Chromium, where there is one."""
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        session.skip("There is no Chromium on the path: apt install chromium.")
    session.install("-q", "-e", ".", *GROUPS["tests"], *GROUPS["browser"])
    session.run("pytest", "tests/browser", *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest versions of our dependencies that we say will do."""
    session.install("-q", "uv")
    lowest_versions = session.create_tmp() + "/lowest.txt"
    session.run(
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--resolution=lowest-direct",
        f"--python-version={PYTHONS[0]}",
        "pyproject.toml",
        "-o",
        lowest_versions,
    )
    session.install("-q", "-r", lowest_versions, *GROUPS["tests"], *GROUPS["bench"])
    session.install("-q", "--no-deps", "-e", ".")
    session.run("pytest", *session.posargs)


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel, install it as a user would, export something with it, and take it away again."""
    session.install("-q", "build")
    folder = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "build", "--wheel", "--outdir", str(folder), silent=True)
    wheel = max(folder.glob("tqmisp-*.whl"), key=lambda path: path.stat().st_mtime)
    session.install("-q", "--force-reinstall", str(wheel))
    script = Path("tests/installed.py").resolve()
    session.cd(folder)  # so that the package is the installed one
    session.run("tqmisp", "--version")
    session.run("tq-misp-export", "--help", silent=True)
    session.run("tqmisp", "run", "--sandbox", "--indicators", "2000", "--no-progress")
    work = folder / "integrations"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    session.run("python", str(script), str(work))
    session.run("pip", "uninstall", "-q", "-y", "tqmisp")
    places = (Path(session.virtualenv.location) / place for place in ("bin", "lib", "share"))
    left = {path.name for place in places for path in place.rglob("*tqmisp*") if path.is_file()}
    if left or not (work / "config" / "state" / "journal.sqlite").exists():
        session.error(f"Uninstalling leaves the configuration and the journal, and nothing else; found {left}.")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure: ``nox -s bench -- --scenarios instant --sizes 100000 --output folder --check``."""
    session.install("-q", "-e", ".", *GROUPS["bench"])
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Try every fault on every route: ``nox -s faults -- --output docs/fault-matrix.md``, or ``-- --mix 10``."""
    session.install("-q", "-e", ".")
    session.run("python", "-m", "benchmarks.faults", *session.posargs)


def _as_installed(session: nox.Session) -> Path:
    """Install the package with all its extras, alone, and give the folder of that environment."""
    place = Path(session.create_tmp()).resolve() / "installed"
    session.run("python", "-m", "venv", "--clear", str(place))
    extras = ",".join(PROJECT["project"]["optional-dependencies"])
    session.run(str(place / "bin" / "pip"), "install", "-q", f".[{extras}]", external=True)
    session.run(str(place / "bin" / "pip"), "uninstall", "-q", "-y", "setuptools", "pip", external=True)
    return place


@nox.session
def sbom(session: nox.Session) -> None:
    """Write what an installation consists of, as CycloneDX: ``nox -s sbom -- file.json``. Asks no service."""
    session.install("-q", *GROUPS["audit"])
    path = session.posargs[0] if session.posargs else "build/sbom.cdx.json"
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    python = str(_as_installed(session) / "bin" / "python")
    options = ("--pyproject", "pyproject.toml", "--output-reproducible", "--validate", "--output-file", path)
    session.run("cyclonedx-py", "environment", *options, python)
    session.log(f"The parts are in {path}.")


@nox.session
def audit(session: nox.Session) -> None:
    """Ask PyPI for known weaknesses of what an installation consists of; fails where it cannot ask."""
    session.install("-q", *GROUPS["audit"])
    (folder,) = _as_installed(session).glob("lib/python*/site-packages")
    options = ("--path", str(folder), "--format", "json", "--progress-spinner", "off")
    said = session.run("pip-audit", *options, silent=True, success_codes=[0, 1], stderr=subprocess.DEVNULL) or ""
    found = said[said.find("{") :]
    parts = json.loads(found)["dependencies"] if found.startswith("{") else []
    asked = [part for part in parts if "vulns" in part]
    unasked = [part["name"] for part in parts if "vulns" not in part and part["name"] != PROJECT["project"]["name"]]
    for part in asked:
        for weakness in part["vulns"]:
            mended = ", ".join(weakness["fix_versions"]) or "no version"
            session.warn(f"{part['name']} {part['version']}: {weakness['id']}, mended in {mended}")
    if not asked:
        session.error("Nothing could be asked: PyPI's service for known weaknesses does not answer from here.")
    if unasked:
        session.error(f"Nothing is known about {', '.join(unasked)}: the service does not know them, or not now.")
    if any(part["vulns"] for part in asked):
        session.error("There are known weaknesses.")
    session.log(f"No weakness is known of {len(asked)} parts.")


@nox.session
def crash(session: nox.Session) -> None:
    """Kill exporter and servers at random: ``nox -s crash -- --seeds 1 2 3``; then 200 random histories."""
    session.install("-q", "-e", ".", *GROUPS["tests"])
    session.run("python", "-m", "benchmarks.crash", *session.posargs)
    session.run("pytest", "tests/test_lifecycle.py", "--timeout", "3600", env={"TQMISP_SEQUENCES": "200"})
