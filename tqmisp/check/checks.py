"""All checks together."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

import anyio

from tqmisp.check.finding import Area, Finding, Notes
from tqmisp.check.local import check_local
from tqmisp.check.misp import check_misp
from tqmisp.check.threatq import check_threatq
from tqmisp.config import Settings
from tqmisp.config.settings import MASK
from tqmisp.transport.options import PeerOptions
from tqmisp.transport.trust import FileUnusable, trust
from tqmisp.transport.words import LEAST_SECRET

AREAS: tuple[Area, ...] = ("local", "threatq", "misp")


async def check(
    settings: Settings, *, areas: Collection[Area] = AREAS, env: Mapping[str, str] | None = None
) -> list[Finding]:
    """Look at this machine, at ThreatQ and at MISP as an export would meet them.

    Nothing is written to either server. It does not raise for what it finds; what cannot be looked at because of a
    failure before it has no finding.

    Args:
        settings: of the export.
        areas: where to look.
        env: environment variables; by default those of the process.
    """
    parts: dict[Area, Callable[[], Awaitable[list[Finding]]]] = {
        "local": partial(check_local, settings, os.environ if env is None else env),
        "threatq": partial(_trusting, "threatq", settings.threatq, partial(_threatq, settings)),
        "misp": partial(_trusting, "misp", settings.misp, partial(check_misp, settings)),
    }
    found: dict[Area, list[Finding]] = {}

    async def look(area: Area) -> None:
        found[area] = await parts[area]()

    async with anyio.create_task_group() as tasks:
        for area in areas:
            tasks.start_soon(look, area, name=f"check {area}")
    secrets = [secret for secret in settings.secrets() if len(secret) >= LEAST_SECRET]
    return [_masked(finding, secrets) for area in AREAS for finding in found.get(area, ())]


async def _threatq(settings: Settings, context: ssl.SSLContext) -> list[Finding]:
    return await check_threatq(settings.threatq, settings.selection, context)


async def _trusting(
    area: Area, options: PeerOptions, look: Callable[[ssl.SSLContext], Awaitable[list[Finding]]]
) -> list[Finding]:
    """Read which certificates to take, and go on with them."""
    try:
        context = await anyio.to_thread.run_sync(trust, area, options)
    except FileUnusable as error:
        notes = Notes("local")
        fix = f"Name a file in PEM form, without a passphrase, in [{area}] {error.key}, or leave it out."
        notes.fail(error.key, f"In [{area}] {error.key}, {error.reason}", fix)
        return notes.found
    return await look(context)


def _masked(finding: Finding, secrets: list[str]) -> Finding:
    """Without a secret that a server may have repeated."""
    reason, fix = finding.reason, finding.fix
    for secret in secrets:
        reason = reason.replace(secret, MASK)
        fix = fix.replace(secret, MASK) if fix else fix
    return replace(finding, reason=reason, fix=fix)
