"""MISP: the way to it, and what the key, its user and the server allow. Nothing is written."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from tqmisp.check.finding import Finding, Notes
from tqmisp.check.misp_server import check_server
from tqmisp.check.misp_tags import check_tags
from tqmisp.check.network import EXPIRY_DAYS, Peer, Seen, reach
from tqmisp.config import Settings
from tqmisp.pipeline.adaptive import Knee
from tqmisp.transport.reply import NoReply
from tqmisp.transport.words import one_line

_VERSION = "/servers/getVersion"
OLDEST = (2, 5, 1)
"""The version whose behaviour was recorded."""
SIZES = (50, 8, 2, 1)
"""Bodies that are tried, in MiB, until one is taken; the first is what the manual of the connector of 2018 asks for."""
PLACEHOLDER = "ORGNAME"
"""The organisation with which a MISP begins."""
_SEARCHES = 100
"""In 15 minutes; a run looks up each 2,000 indicators."""


async def check_misp(settings: Settings, trusted: ssl.SSLContext) -> list[Finding]:
    """Look at everything that delivering needs; what follows from a failure is not looked at."""
    notes, options = Notes("misp"), settings.misp
    url = options.url.rstrip("/")
    seen = await reach(notes, options, url, _VERSION, trusted)
    if seen is None or not _is_misp(notes, seen):
        return notes.found
    async with Peer.connect("misp", options, url, trusted) as peer:
        asker = _Asker(peer, options.key.get_secret_value())
        try:
            about = await asker.get(_VERSION)
            me = await asker.get("/users/view/me")
            if not (_signed_in(notes, about) and _signed_in(notes, me)):
                return notes.found
            await _look_around(notes, settings, asker, about, me)
        except NoReply as error:
            notes.fail(error.area, error.reason, error.fix)
    return notes.found


class _Asker:
    """Requests with the key."""

    def __init__(self, peer: Peer, key: str) -> None:
        self._peer = peer
        self._headers = {"Authorization": key}

    async def get(self, path: str) -> Seen:
        return await self._peer.ask("GET", path, headers=self._headers)

    async def write(self, padding: int = 0) -> Seen:
        """A request to add nothing to an event that does not exist: MISP answers 404 (recording 49).

        It goes where attributes go, and needs the same rights.
        """
        path = f"/attributes/add/{uuid4()}"
        return await self._peer.ask("POST", path, headers=self._headers, body=b"[]", padding=padding)


def _is_misp(notes: Notes, seen: Seen) -> bool:
    """Whether the answer to a request without a key is one that MISP gives."""
    if seen.status >= 500 or seen.status == 429:
        notes.fail(
            "answer",
            f"It answers {seen.status} ({seen.words}): MISP, its PHP or its database is in trouble.",
            "Wait for the server in [misp] url, or look into the logs of MISP and of its web server.",
        )
        return False
    said = seen.json
    if isinstance(said, dict) and {"name", "message", "url"} <= said.keys() and seen.status == 403:
        notes.ok("answer", "It answers as a MISP does.")
        return True
    notes.fail(
        "answer",
        f"It answers {seen.status} with {seen.words}, which no MISP does.",
        "Set [misp] url to the address of a MISP, with its path if it has one.",
    )
    return False


def _signed_in(notes: Notes, seen: Seen) -> bool:
    if seen.status == 200 and isinstance(seen.json, dict):
        return True
    if urlsplit(seen.headers.get("location", "")).path.rstrip("/").endswith("/users/login"):
        notes.fail(
            "maintenance",
            "MISP is in maintenance: only its site administrators may work with it now.",
            "Wait, or have an administrator set MISP.live to true under Administration > Server Settings.",
        )
        return False
    said = seen.words
    if "disabled" in said:
        fix = "Have the user enabled under Administration > List Users, or use another [misp] key."
    elif "IP address" in said:
        fix = "Add this machine to the allowed IPs of the key under Administration > List Auth Keys ([misp] key)."
    else:
        fix = (
            "Make a new key under Administration > List Auth Keys, which also shows whether the old one has expired, "
            "and set it as [misp] key."
        )
    notes.fail("key", f"MISP refuses the key ({seen.status}): {said}", fix)
    return False


async def _look_around(notes: Notes, settings: Settings, asker: _Asker, about: Seen, me: Seen) -> None:
    try:
        role: dict[str, Any] = me.json["Role"]
        organisation: dict[str, Any] = me.json["Organisation"]
        version = str(about.json["version"])
        role_name = str(role["name"])
    except (TypeError, KeyError):
        notes.fail(
            "answer",
            "It does not tell its version or who we are, as a MISP does.",
            "Set [misp] url to the address of a MISP, with its path if it has one.",
        )
        return
    notes.ok("key", "MISP takes the key.")
    _check_version(notes, version)
    _check_expiry(notes, me.headers.get("x-auth-key-expiration"))
    _check_organisation(notes, str(organisation.get("name")), organisation.get("local", True))
    await _check_rights(notes, settings, asker, role, role_name)
    _check_searches(notes, role)
    if settings.events.distribution == 4:
        await _check_sharing_group(notes, settings.events.sharing_group_id, await asker.get("/sharing_groups/index"))
    await check_tags(notes, settings, asker.get, may_make=bool(role.get("perm_tag_editor")), role=role_name)
    await _check_size(notes, settings, asker)
    await check_server(notes, asker.get, role)


def _check_version(notes: Notes, version: str) -> None:
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    tested = ".".join(map(str, OLDEST))
    if numbers >= OLDEST:
        notes.ok("version", f"It is version {one_line(version)}; {tested} and later are known to work.")
    else:
        notes.warn(
            "version",
            f"It is version {one_line(version)}, older than {tested}, the oldest that was tested.",
            f"Update MISP to {tested} or later; until then, try a small [selection] first.",
        )


def _check_expiry(notes: Notes, until: str | None) -> None:
    if until is None:
        notes.ok("key_expiry", "The key does not expire.")
        return
    try:
        end = datetime.fromisoformat(until)
    except ValueError:
        return
    left = ((end if end.tzinfo else end.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds() / 86_400
    if left < EXPIRY_DAYS:
        notes.warn(
            "key_expiry",
            f"The key expires in {left:.0f} days, on {one_line(until)}.",
            "Make a new key under Administration > List Auth Keys before that day, and set it as [misp] key.",
        )
    else:
        notes.ok("key_expiry", f"The key is good until {one_line(until)}.")


def _check_organisation(notes: Notes, name: str, local: object) -> None:
    if name == PLACEHOLDER or not local:
        kind = "the placeholder of a new MISP" if name == PLACEHOLDER else "of another server"
        notes.warn(
            "organisation",
            f"The events would belong to {one_line(name)}, {kind}.",
            "Have the user of [misp] key moved to an organisation of its own under Administration > List Users.",
        )
    else:
        notes.ok("organisation", f"The events will belong to {one_line(name)}.")


async def _check_rights(notes: Notes, settings: Settings, asker: _Asker, role: dict[str, Any], role_name: str) -> None:
    name = one_line(role_name)
    advice = "Give the user of [misp] key a role such as Sync user under Administration > List Users"
    tried = await asker.write()
    if not (role.get("perm_add") and role.get("perm_modify")):
        notes.fail("write", f"The role {name} may not add and modify events.", f"{advice}.")
    elif tried.status == 403:
        notes.fail(
            "write",
            f"The role {name} may write, but this key may not: it is read-only.",
            "Make a key without 'Read only' under Administration > List Auth Keys, and set it as [misp] key.",
        )
    elif tried.status != 404:
        notes.fail(
            "write",
            f"A request to write is answered {tried.status}: {tried.words}",
            "Look whether a proxy or a firewall before [misp] url holds up POST requests, and into the logs of MISP.",
        )
    else:
        notes.ok("write", f"The role {name} may add and modify events.")
    if role.get("perm_publish"):
        notes.ok("publish", "It may publish.")
    elif settings.events.publish:
        notes.fail(
            "publish",
            f"[events] publish is true, but the role {name} may not publish.",
            f"{advice}, or set [events] publish = false.",
        )
    else:
        notes.ok("publish", "It may not publish, and is not asked to.")
    if role.get("perm_site_admin"):
        notes.warn(
            "sync",
            f"The role {name} may do everything on this MISP, which an export does not need.",
            "Use a [misp] key of a user with the role Sync user.",
        )
    else:
        may = "may" if role.get("perm_sync") else "may not"
        notes.ok("sync", f"It {may} synchronise, which an export does not need.")


def _check_searches(notes: Notes, role: dict[str, Any]) -> None:
    """What was written is read back, which some roles may do only now and then."""
    if not role.get("enforce_rate_limit"):
        return
    limit = str(role.get("rate_limit_count") or "0")
    most = int(limit) if limit.isdigit() else 0
    fix = "Raise or lift the rate limit of the role of [misp] key under Administration > List Roles."
    if most == 0:
        notes.fail("searches", "The role may not search, so that nothing can be read back.", fix)
    elif most < _SEARCHES:
        notes.warn("searches", f"The role may search {most} times in 15 minutes; runs wait when it is used up.", fix)
    else:
        notes.ok("searches", f"The role may search {most:,} times in 15 minutes.")


async def _check_sharing_group(notes: Notes, wanted: int | None, seen: Seen) -> None:
    rows = seen.json.get("response") if isinstance(seen.json, dict) else None
    groups = {
        str(row["SharingGroup"].get("id")): one_line(str(row["SharingGroup"].get("name")))
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and isinstance(row.get("SharingGroup"), dict)
    }
    if str(wanted) in groups:
        notes.ok("sharing_group", f"The sharing group {wanted} is {groups[str(wanted)]}.")
        return
    there = ", ".join(f"{number} ({name})" for number, name in groups.items()) or "none"
    notes.fail(
        "sharing_group",
        f"Our organisation is in no sharing group {wanted}; those that it may use: {there}.",
        "Set [events] sharing_group_id to one of them, have our organisation added to it, or choose another "
        "[events] distribution than 4.",
    )


async def _check_size(notes: Notes, settings: Settings, asker: _Asker) -> None:
    """Find the largest body that gets through to MISP, with white space that MISP does not keep."""
    need = settings.pipeline.slice_bytes / 2**20
    said = ""
    for size in SIZES:
        try:
            seen = await asker.write(padding=size * 2**20)
        except NoReply as error:
            said = error.reason
            continue
        if seen.status in {403, 404} and isinstance(seen.json, dict):
            break
        said = f"{seen.status} {seen.words}"
    else:
        size = 0
    if size >= need:
        notes.ok("body_size", f"Requests of {size} MiB get through; we send up to {need:.3g}.")
        return
    fits = max(1, int((settings.misp.chunk_size or Knee().chunk) * max(size, 0.5) / need))
    notes.warn(
        "body_size",
        f"Requests of {f'{size} MiB' if size else 'less than 1 MiB'} at most get through, and we send up to "
        f"{need:.3g}: chunks are cut until they fit, at the cost of requests. The answer to more: {said}",
        "Set client_max_body_size 50m in nginx, or LimitRequestBody 52428800 in Apache, before MISP; "
        f"or lower [misp] chunk_size to {fits}.",
    )
