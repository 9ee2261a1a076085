"""ThreatQ: the way to it, the login, and what the selection would give."""

from __future__ import annotations

import ssl
from dataclasses import replace

from tqmisp.check.finding import Finding, Notes
from tqmisp.check.network import Seen, reach
from tqmisp.errors import ConfigError, ThreatQError
from tqmisp.threatq.auth import LoginRefused
from tqmisp.threatq.client import ThreatQClient, TokenRefused, base_url
from tqmisp.threatq.options import Selection, ThreatQOptions
from tqmisp.threatq.source import ThreatQSource
from tqmisp.transport.words import one_line

_TYPES = "/api/indicator/types"


async def check_threatq(options: ThreatQOptions, selection: Selection, trusted: ssl.SSLContext) -> list[Finding]:
    """Look at everything that reading needs; what follows from a failure is not looked at."""
    notes = Notes("threatq")
    seen = await reach(notes, options, base_url(options.url), _TYPES, trusted)
    if seen is None or not _is_threatq(notes, seen):
        return notes.found
    async with ThreatQClient.connect(replace(options, attempts=1, producers=1)) as client:
        if not await _log_in(notes, client):
            return notes.found
        return notes.found + await _select(client, selection)


def _is_threatq(notes: Notes, seen: Seen) -> bool:
    """Whether the answer to a request without a token is one that ThreatQ gives."""
    if seen.status >= 500 or seen.status == 429:
        notes.fail(
            "answer",
            f"It answers {seen.status} ({seen.words}): it is in maintenance, or in trouble.",
            "Wait for the server in [threatq] url, or look into its logs.",
        )
        return False
    if seen.status in {200, 400, 401, 403} and isinstance(seen.json, dict):
        notes.ok("answer", "It answers as a ThreatQ does.")
        return True
    if seen.status in {401, 403}:  # what ThreatQ says of itself to those without a token is not known of all versions
        notes.warn(
            "answer",
            f"It answers {seen.status} with {seen.words}; whether it is a ThreatQ, the login shows.",
            "Where the login fails, set [threatq] url to the address of a ThreatQ, without /api, and keep proxies with "
            "logins of their own away.",
        )
        return True
    notes.fail(
        "answer",
        f"It answers {seen.status} with {seen.words}, which no ThreatQ does.",
        "Set [threatq] url to the address of a ThreatQ, without /api; keep proxies with pages of their own away.",
    )
    return False


async def _log_in(notes: Notes, client: ThreatQClient) -> bool:
    options = client.options
    private = options.client_secret is not None
    try:
        answer = await client.get(_TYPES)
    except LoginRefused as error:
        notes.fail(
            "login",
            f"ThreatQ refuses the login: {one_line(error.words) or 'without a word'}.",
            "Check [threatq] client_id and client_secret of the private client."
            if private
            else "Check [threatq] email and password, and client_id: the 'API password' in an administrator's profile.",
        )
        return False
    except TokenRefused as error:
        notes.ok("login", "ThreatQ gives a token.")
        notes.fail(
            "token",
            f"ThreatQ does not accept the token that it gave: {one_line(str(error))}",
            "Check that no proxy between takes the header Authorization away, and that the account of "
            "[threatq] email or client_id is enabled.",
        )
        return False
    except ThreatQError as error:
        notes.fail(
            "login",
            one_line(str(error)),
            "The account of [threatq] email or client_id needs at least the role Read Only.",
        )
        return False
    notes.ok("login", f"The {'private client' if private else 'user'} can log in.")
    notes.ok("token", "ThreatQ accepts the token that it gave.")
    if answer.data:
        notes.ok("names", "The names of types and statuses can be seen.")
    else:
        notes.warn(
            "names",
            "The account may not see the names of types and statuses: a slip in [selection] goes unnoticed, and "
            "rows with ids alone have no type.",
            "Give the account of [threatq] email or client_id the right to see indicator types and statuses.",
        )
    return True


async def _select(client: ThreatQClient, selection: Selection) -> list[Finding]:
    notes, local = Notes("threatq"), Notes("local")
    source = ThreatQSource(client, selection)
    try:
        await source.shards()
    except ConfigError as error:
        local.fail("selection", one_line(str(error)), "Mend the name in [selection], or leave it out.")
        return local.found
    except ThreatQError as error:
        notes.fail(
            "read",
            one_line(str(error)),
            "The account of [threatq] email or client_id needs at least the role Read Only.",
        )
        return notes.found
    local.ok("selection", "Every name in it is known to ThreatQ, as far as it tells.")
    if source.server_selects:
        notes.ok("read", "Indicators can be read by query.")
    else:
        notes.warn(
            "read",
            "This ThreatQ has no query route: everything is read, and selected here.",
            "Update ThreatQ; until then, runs take longer, and [selection] collection cannot be used.",
        )
    left = ", ".join(f"{count:,} {one_line(name)}" for name, count in source.not_selected.items())
    others = f"; it leaves out {left}" if left else ""
    if source.total == 0:
        notes.warn(
            "selection_count",
            f"The selection has no indicator{others}.",
            "Check [selection] statuses, score_threshold, types and the others for what you meant.",
        )
    else:
        counted = "as many indicators as there are" if source.total is None else f"{source.total:,} indicators"
        notes.ok("selection_count", f"The selection has {counted}{others}.")
    return local.found + notes.found
