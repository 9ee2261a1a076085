"""One test for each fault on this machine, and what holds for all checks."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.check.conftest import ACCOUNT, Rig, is_finding
from tqmisp.check import Finding, check, exit_code
from tqmisp.check.catalogue import CATALOGUE, table
from tqmisp.check.finding import Notes
from tqmisp.check.local import LITTLE_SPACE, NO_SPACE, check_space
from tqmisp.config import load
from tqmisp.journal.store import Journal
from tqmisp.simulators.misp import DEFAULT_KEY, MispStore

PAGE = Path(__file__).parents[2] / "docs" / "check.md"


async def test_everything_is_well(rig: Rig) -> None:
    """Nothing to mend; each finding has its line in the catalogue, and says no secret."""
    found = await rig.find()
    assert {each.level for each in found} == {"ok"}
    assert all(each.fix is None for each in found)
    assert {f"{each.area}.{each.name}" for each in found} <= set(CATALOGUE)
    assert exit_code(found) == 0
    assert not any(secret in repr(found) for secret in (DEFAULT_KEY, ACCOUNT.password))


def contents(store: MispStore) -> object:
    """All that a MISP keeps."""
    return (
        [(event.uuid, event.timestamp, len(event.attributes)) for event in store.events()],
        store.stored_count(),
        [tag.name for tag in store.tags.values()],
        list(store.organisations),
        list(store.sharing_groups),
        set(store.blocked),
        store.next_event,
        store.next_attribute,
    )


@pytest.mark.parametrize("role", ["Sync user", "admin", "Read Only"])
async def test_nothing_is_left_behind(rig: Rig, role: str) -> None:
    """Neither in MISP nor on this machine, with bodies of 50 MiB."""
    rig.user(role)
    rig.misp = replace(rig.misp, body_limit=50 * 2**20)
    settings = await rig.settings()
    before = contents(rig.store), sorted(rig.folder.rglob("*"))
    found = await check(settings, env={})
    assert (contents(rig.store), sorted(rig.folder.rglob("*"))) == before
    assert "Requests of 50 MiB get through" in "".join(each.reason for each in found)
    assert rig.store.requests["POST /attributes/add"] == 2
    assert sum(rig.store.requests.values()) <= 12


async def test_a_state_folder_that_cannot_be_written_to(rig: Rig) -> None:
    """Its parent is a file; being root does not help."""
    (rig.folder / "file").write_text("")
    rig.values["state.path"] = "file/state"
    (found,) = await rig.trouble()
    assert is_finding(found, "local.state_folder", "failure", "[state] path")


async def test_a_state_folder_on_a_medium_that_takes_nothing(rig: Rig) -> None:
    """The attempt tells, not the mode."""
    rig.values["state.path"] = "/proc/tqmisp"
    (found,) = await rig.trouble()
    assert is_finding(found, "local.state_folder", "failure", "[state] path")


@pytest.mark.parametrize(("free", "level"), [(NO_SPACE - 1, "failure"), (LITTLE_SPACE - 1, "warning")])
def test_little_space(free: int, level: str) -> None:
    """The journal grows with the number of indicators."""
    notes = Notes("local")
    check_space(notes, Path("/somewhere"), free)
    (found,) = notes.found
    assert is_finding(found, "local.free_space", level, "[state] path")


@pytest.mark.parametrize("mode", [0o644, 0o640])
async def test_a_configuration_that_others_can_read(rig: Rig, mode: int) -> None:
    """It holds secrets as they are."""
    settings = await rig.settings()
    assert settings.file is not None
    settings.file.chmod(mode)
    (found,) = [each for each in await check(settings, env={}) if each.level != "ok"]
    assert is_finding(found, "local.config_file", "warning", f"chmod 600 {settings.file}")


async def test_a_configuration_without_secrets_may_be_read(rig: Rig) -> None:
    """References are no secrets; being written to by others is bad all the same."""
    rig.values |= {"threatq.password": None, "misp.key": None}
    env = {"TQMISP_THREATQ__PASSWORD": ACCOUNT.password, "TQMISP_MISP__KEY": DEFAULT_KEY}
    with pytest.raises(Exception, match="missing"):
        await rig.settings()
    file = rig.folder / "tqmisp.toml"
    for mode, count in ((0o644, 0), (0o666, 1)):
        file.chmod(mode)
        bad = [each for each in await check(load(file, env=env), env={}) if each.level != "ok"]
        assert len(bad) == count
    assert is_finding(bad[0], "local.config_file", "warning", "chmod 600")


async def test_another_run_at_work(rig: Rig) -> None:
    """Who it is, and that it is to be waited for."""
    settings = await rig.settings()
    async with Journal.open(settings.state.place) as journal:
        target = await journal.target("misp", settings.misp.url)
        async with journal.lease(target):
            (found,) = [each for each in await check(settings, env={}) if each.level != "ok"]
    assert is_finding(found, "local.lock", "warning", "exit code 7")
    assert f"process {os.getpid()} on this host" in found.reason
    assert [each for each in await check(settings, env={}) if each.level != "ok"] == []


async def test_a_journal_that_others_can_read(rig: Rig) -> None:
    """It holds indicators."""
    settings = await rig.settings()
    async with Journal.open(settings.state.place):
        pass
    journal = rig.folder / "state" / "journal.sqlite"
    journal.chmod(0o644)
    (found,) = [each for each in await check(settings, env={}) if each.level != "ok"]
    assert is_finding(found, "local.state_folder", "warning", f"chmod 600 {journal}")


async def test_a_journal_that_is_none(rig: Rig) -> None:
    """Something else lies under its name."""
    settings = await rig.settings()
    folder = rig.folder / "state"
    folder.mkdir()
    (folder / "journal.sqlite").write_text("this is no database, but it is long enough to be taken for one" * 20)
    (folder / "journal.sqlite").chmod(0o600)
    (found,) = [each for each in await check(settings, env={}) if each.level != "ok"]
    assert is_finding(found, "local.journal", "failure", "[state] path")


@pytest.mark.parametrize(
    ("areas", "code"), [((), 0), (("misp",), 4), (("threatq", "misp"), 3), (("local", "threatq"), 2)]
)
def test_the_exit_code(areas: tuple[str, ...], code: int) -> None:
    """That of the side which fails; a warning fails nothing."""
    findings = [Finding(area, "x", "failure", "It is.", "Mend it.") for area in areas]  # type: ignore[arg-type]
    assert exit_code([Finding("local", "y", "warning", "It is.", "Mend it."), *findings]) == code


def test_the_catalogue_stands_in_the_documentation() -> None:
    """Word by word."""
    assert table() in PAGE.read_text()
