"""What an operator can set about reading from ThreatQ."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import SecretStr  # masks itself in every repr and traceback


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatQOptions:
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
    verify_tls: bool = True
    """False takes any certificate, also that of somebody in between."""
    ca_file: str | None = None
    """A file with the certificates to trust, in PEM form."""
    proxy: str | None = field(default=None, repr=False)
    """The address of an HTTP proxy."""
    connect_timeout: float = 15.0
    """Seconds."""
    read_timeout: float = 300.0
    """Seconds without a byte."""
    producers: int = 2
    """Pages that are asked for at the same time."""
    page_size: int = 1000
    """Rows a page; 1,000 is the largest that is known to work on this route."""
    attempts: int = 6
    """How often one request is tried at least before the run ends."""
    patience: float = 900.0
    """Seconds that a ThreatQ which is down is waited for; then the run ends, to be gone on with."""
    backoff: float = 0.5
    """Seconds before the first repetition; doubled each time, with jitter."""
    backoff_max: float = 60.0
    """Seconds between two attempts at most."""


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
