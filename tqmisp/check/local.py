"""This machine: the configuration file, the state folder, and who is at work."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import anyio

from tqmisp.check.finding import Finding, Notes
from tqmisp.config import Settings
from tqmisp.errors import ConfigError
from tqmisp.journal.store import Journal

LITTLE_SPACE, NO_SPACE = 1 << 30, 64 << 20
"""Bytes; ten million indicators take the first."""
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")


async def check_local(settings: Settings, env: Mapping[str, str]) -> list[Finding]:
    """Look at everything on this machine that a run needs; nothing is made."""
    notes = Notes("local")
    await anyio.to_thread.run_sync(_check_config, notes, settings)
    _check_environment(notes, settings, env)
    place = settings.state.place
    usable = not isinstance(place, Path) or await anyio.to_thread.run_sync(_check_folder, notes, place)
    if usable:
        await _check_journal(notes, settings, place)
    return notes.found


def _check_config(notes: Notes, settings: Settings) -> None:
    file = settings.file
    if file is None:
        notes.ok("config_file", "There is none; everything comes from the environment or the command line.")
        return
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        notes.warn("config_file", f"{file} can no longer be read: {error}.", f"Look at {file}.")
        return
    plain = any(secret in text for secret in settings.secrets())
    fix = f"Run: chmod 600 {file}"
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        notes.warn("config_file", f"Others can write to {file}, and send the export where they like.", fix)
    elif plain and mode & (stat.S_IRGRP | stat.S_IROTH):
        notes.warn("config_file", f"{file} holds a secret, and others can read it.", fix)
    else:
        kept = "holds a secret, and nobody else can read it" if plain else "holds no secret itself"
        notes.ok("config_file", f"{file} {kept}.")


def _check_environment(notes: Notes, settings: Settings, env: Mapping[str, str]) -> None:
    found = next((name for name in _PROXIES if env.get(name)), None)
    without = [name for name in ("threatq", "misp") if getattr(settings, name).proxy is None]
    if found is None or not without:
        return
    keys = " and ".join(f"[{name}] proxy" for name in without)
    notes.warn(
        "proxy_environment",
        f"{found} is set, but the variable is not looked at: the way to the servers is direct.",
        f"Set {keys} if the way leads over that proxy.",
    )


def _check_folder(notes: Notes, folder: Path) -> bool:
    """Whether the state can be kept there; the folder is not made."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    fix = f"Make {folder} a folder that this user can write to, or name another in [state] path."
    if not there.is_dir():
        notes.fail("state_folder", f"{there} is no folder.", fix)
        return False
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        notes.fail("state_folder", f"Nothing can be written to {there}: {error.strerror}.", fix)
        return False
    journal = folder / "journal.sqlite"
    if journal.exists() and stat.S_IMODE(journal.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        notes.warn("state_folder", f"Others can read {journal}, which holds indicators.", f"Run: chmod 600 {journal}")
    elif there == folder:
        notes.ok("state_folder", f"{folder} can be written to.")
    else:
        notes.ok("state_folder", f"{folder} does not exist yet and can be made.")
    check_space(notes, folder, shutil.disk_usage(there).free)
    return True


def check_space(notes: Notes, folder: Path, free: int) -> None:
    """Whether the journal has room to grow."""
    megabytes = f"{free / 2**20:,.0f} MiB are free in {folder}"
    fix = f"Make room there, or name a folder elsewhere in [state] path; at least {LITTLE_SPACE >> 20:,} MiB are good."
    if free < NO_SPACE:
        notes.fail("free_space", f"Only {megabytes}: the journal cannot grow.", fix)
    elif free < LITTLE_SPACE:
        notes.warn("free_space", f"Only {megabytes}; the journal takes about 140 bytes an indicator.", fix)
    else:
        notes.ok("free_space", f"{megabytes}.")


async def _check_journal(notes: Notes, settings: Settings, place: Path | str) -> None:
    """Whether the journal can be opened, and whether another run holds it."""
    if isinstance(place, Path) and not await anyio.Path(place / "journal.sqlite").exists():
        notes.ok("lock", "No run has been here yet.")
        return
    owner = None
    try:
        async with Journal.open(place) as journal:
            for number, name, _ in await journal.targets():
                if name == settings.misp.name:
                    owner = await journal.holder(number)
    except ConfigError as error:
        notes.fail("journal", str(error), "Restore the journal from a copy, or name another place in [state] path.")
        return
    notes.ok("journal", "The journal can be read.")
    if owner is None:
        notes.ok("lock", "No other run is at work.")
        return
    host, process, since = owner.rsplit(":", 2)
    began = datetime.fromtimestamp(float(since), UTC).isoformat(timespec="seconds")
    here = "this host" if host == os.uname().nodename else host
    notes.warn(
        "lock",
        f"Another run is at work: process {process} on {here}, since {began}.",
        "Wait until it ends; a run that is started now ends with exit code 7. Two exports at once need "
        "different [state] path or [misp] name.",
    )
