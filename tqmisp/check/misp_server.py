"""How a MISP is set up, as far as the key may see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from tqmisp.check.finding import Notes
from tqmisp.check.network import Seen
from tqmisp.transport.words import one_line

PHP = {
    "max_execution_time": (300, "300"),
    "memory_limit": (512, "512M"),
    "upload_max_filesize": (50, "50M"),
    "post_max_size": (50, "50M"),
}
"""What the manual of the connector of 2018 asks for: seconds and megabytes, and how php.ini writes them."""
_UNITS = {"k": 1 / 1024, "m": 1, "g": 1024}
_DIAGNOSTICS = "/servers/serverSettings/diagnostics.json"
_WHERE = "under Administration > Server Settings & Maintenance"
_COSTLY = {
    "MISP.log_new_audit": "writes a further row to the database for each attribute",
    "MISP.log_paranoid_include_post_body": "keeps the body of every request, megabytes each, in the database",
}


async def check_server(notes: Notes, get: Callable[[str], Awaitable[Seen]], role: dict[str, Any]) -> None:
    """Look at PHP's limits and at the settings that make writing slower.

    Only a site administrator sees the settings of the server; what a role changes for its users, everybody sees.
    """
    before = len(notes.found)
    for name in ("max_execution_time", "memory_limit"):
        if role.get(name):
            _check_limit(notes, name, role[name], "The role of the key sets", "under Administration > List Roles")
    if not role.get("perm_site_admin"):
        if len(notes.found) == before:
            wanted = ", ".join(f"{name} {written}" for name, (_, written) in PHP.items())
            notes.ok("php", f"Only a site administrator sees PHP's limits; they should be at least: {wanted}.")
        return
    report = (await get(_DIAGNOSTICS)).json
    if not isinstance(report, dict):
        notes.ok("php", "MISP does not show its diagnostics.")
        return
    limits = report.get("phpSettings")
    for name, row in limits.items() if isinstance(limits, dict) else ():
        if name in PHP and isinstance(row, dict) and not role.get(name):
            _check_limit(notes, name, row.get("value"), "PHP has", "in php.ini, and restart php-fpm or Apache")
    if len(notes.found) == before:
        notes.ok("php", "PHP's limits are as large as they should be.")
    _check_settings(notes, dict(_settings(report)))


def _check_limit(notes: Notes, name: str, value: object, who: str, where: str) -> None:
    least, written = PHP[name]
    amount = _amount(value)
    if amount is None or amount <= 0 or amount >= least:  # 0 and -1 are no limit
        return
    notes.warn(
        "php",
        f"{who} {name} = {one_line(str(value))}, which is little: large requests may end half-way.",
        f"Set {name} = {written} {where}; or lower [misp] chunk_size.",
    )


def _amount(value: object) -> float | None:
    """Seconds or megabytes, from a number or from what php.ini says."""
    text = str(value).strip().lower().removesuffix("b")
    unit = _UNITS.get(text[-1:], 0)
    try:
        return float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        return None


def _check_settings(notes: Notes, settings: dict[str, Any]) -> None:
    if settings.get("MISP.completely_disable_correlation"):
        notes.warn(
            "correlation",
            "The server correlates nothing: analysts see no connection between our events and others.",
            f"If that is not meant, set MISP.completely_disable_correlation to false {_WHERE}.",
        )
    else:
        notes.ok(
            "correlation",
            "The server correlates; [events] disable_correlation = true about doubles the rate of writing.",
        )
    costly = {name: what for name, what in _COSTLY.items() if settings.get(name)}
    for name, what in costly.items():
        notes.warn("logging", f"{name} {what}.", f"Set {name} to false {_WHERE}, if it is not needed.")
    if not costly:
        notes.ok("logging", "No setting makes logging dearer than usual.")


def _settings(report: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    rows = report.get("finalSettings")
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and isinstance(row.get("setting"), str):
            yield row["setting"], row.get("value")
