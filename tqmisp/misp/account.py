"""Whose key we use, and what it may do."""

from __future__ import annotations

from typing import Any, NamedTuple

from tqmisp.errors import MispRefused
from tqmisp.misp.client import MispClient
from tqmisp.pipeline.retry import RetryPolicy


class Account(NamedTuple):
    """The user behind the key."""

    version: str
    """Of MISP."""
    role: str
    organisation: str
    org_id: str
    may_publish: bool
    may_make_tags: bool
    """Without this, MISP leaves out unknown tags without a word (recording 279)."""
    key_expires: str | None


async def sign_in(client: MispClient, retry: RetryPolicy) -> Account:
    """Find out whether the key works and suffices; nothing is written.

    Raises:
        MispRefused: it does not, or this is no MISP.
    """
    about = await retry.call(lambda: client.get("/servers/getVersion"))
    me = await retry.call(lambda: client.get("/users/view/me"))
    try:
        role: dict[str, Any] = me.data["Role"]
        account = Account(
            version=str(about.data["version"]),
            role=str(role["name"]),
            organisation=str(me.data["Organisation"]["name"]),
            org_id=str(me.data["User"]["org_id"]),
            may_publish=bool(role["perm_publish"]),
            may_make_tags=bool(role["perm_tag_editor"]),
            key_expires=me.headers.get("x-auth-key-expiration"),
        )
        may_write = bool(role["perm_add"])
    except (TypeError, KeyError) as error:
        raise MispRefused(
            f"{client.url} does not answer as a MISP does ({error!r:.80}). Is [misp] url the address of a MISP?"
        ) from error
    if not may_write:
        raise MispRefused(
            f"The key belongs to a user with the role {account.role!r}, which may not add events. "
            "Give the user a role such as Sync user, or use another key.",
            status=403,
        )
    return account


async def known_tags(client: MispClient, retry: RetryPolicy) -> frozenset[str]:
    """The names of all tags that MISP has, for a key that may not make any."""
    answer = await retry.call(lambda: client.get("/tags/index"))
    rows = answer.data.get("Tag") if isinstance(answer.data, dict) else None
    named = [row.get("name") for row in (rows if isinstance(rows, list) else []) if isinstance(row, dict)]
    return frozenset(name for name in named if isinstance(name, str))
