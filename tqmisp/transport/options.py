"""What an operator can set about the way to a server."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerOptions:
    """How to get to a server, and how long to wait for it."""

    verify_tls: bool = True
    """False takes any certificate, also that of somebody in between."""
    ca_file: str | None = None
    """A file with the certificates to trust, in PEM form."""
    client_cert_file: str | None = None
    """A file with the certificate that we show to the server, in PEM form, with those between it and its authority."""
    client_key_file: str | None = None
    """A file with its key, in PEM form and without a passphrase; not needed where the key is in the same file."""
    proxy: str | None = field(default=None, repr=False)  # it may hold a password
    """The address of an HTTP proxy."""
    connect_timeout: float = 15.0
    """Seconds."""
    read_timeout: float = 300.0
    """Seconds without a byte; the first may come only when the server has done all that was asked."""
    attempts: int = 6
    """How often one request is tried at least before the run ends."""
    patience: float = 900.0
    """Seconds, from the first attempt, that a server which is down or in maintenance is waited for; then the run ends,
    to be gone on with."""
    backoff: float = 0.5
    """Seconds before the first repetition; doubled each time, with jitter."""
    backoff_max: float = 60.0
    """Seconds between two attempts at most."""
