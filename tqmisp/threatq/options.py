"""What an operator can set about reading from ThreatQ."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr  # masks itself in every repr and traceback

from tqmisp.transport.options import PeerOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatQOptions(PeerOptions):
    """How to reach ThreatQ and log in.

    With ``email`` and ``password`` the login is the password grant, with ``client_secret`` the client-credentials
    grant; ``client_id`` is needed for both.
    """

    url: str
    """``https://threatq.example``; a bare host is taken as https."""
    client_id: str
    """Of the instance, or of a private OAuth client."""
    email: str | None = None
    """Of the user, for the password grant."""
    password: SecretStr | None = None
    """Of the user, for the password grant."""
    client_secret: SecretStr | None = None
    """Of a private OAuth client, for the client-credentials grant."""
    producers: int = 4
    """Pages that are asked for at the same time."""
    page_size: int | None = None
    """Rows a page; without it, 1,000, up to 2,000 where that saves time, and fewer where an answer takes long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which indicators to export; an empty tuple means no restriction."""

    statuses: tuple[str, ...] = ("Active",)
    """Names of statuses, one of which an indicator must have."""
    score_threshold: float = 0.0
    """The least score, 0..10."""
    types: tuple[str, ...] = ()
    """Names of types, such as FQDN."""
    exclude_types: tuple[str, ...] = ()
    """Names of types to leave out."""
    tags: tuple[str, ...] = ()
    """Tags, one of which an indicator must have."""
    sources: tuple[str, ...] = ()
    """Names of sources, one of which must have reported an indicator."""
    collection: str | None = None
    """The name of a data collection (saved search) that the rest of the selection narrows further."""
    since: str | None = None
    """Only what was touched at or after this moment: ``YYYY-MM-DD`` or ``YYYY-MM-DD HH:MM:SS``, UTC."""
    until: str | None = None
    """Only what was touched before this moment, in the same form."""
