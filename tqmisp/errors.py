"""Every error that tqmisp raises, grouped by what the caller should do next.

::

    TqmispError                   exit code 1
    ├── ConfigError               2   mend the configuration
    ├── ThreatQError              3
    │   ├── ThreatQUnavailable        try again later (Transient)
    │   └── ThreatQRefused            mend the login, the address or the selection
    ├── MispError                 4
    │   ├── MispUnavailable           try again later (Transient)
    │   │   └── MispUnclear           the same, but look first: it may have been done
    │   ├── MispFault                 the server threw: try again, then cut the request in half (Transient)
    │   ├── MispTooLarge              send less at once
    │   └── MispRefused               mend the key, its role, the address or the request
    │       └── EventBlocked          somebody deleted this event: leave it alone
    ├── LockHeld                  7   another run is at work
    └── Interrupted               130 stopped before the end

Texts name the method and the path of a request, never a key, a token or a password.
"""

from __future__ import annotations


class TqmispError(Exception):
    """Something went wrong in tqmisp."""

    exit_code = 1


class Transient(TqmispError):
    """The same request may succeed later.

    Attributes:
        is_away: whether it is the server that cannot answer now, whatever is asked of it.
        retry_after: seconds that the server asked us to wait, or None where it did not say.
    """

    is_away = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConfigError(TqmispError):
    """The configuration cannot be used; the text names the place, the key and what was expected."""

    exit_code = 2


class ThreatQError(TqmispError):
    """ThreatQ could not be read."""

    exit_code = 3


class ThreatQUnavailable(ThreatQError, Transient):
    """ThreatQ did not answer, or answered that it cannot do so now."""


class ThreatQRefused(ThreatQError):
    """ThreatQ answered and will give the same answer again until something is mended."""


class MispError(TqmispError):
    """MISP could not be written to or read."""

    exit_code = 4


class MispUnavailable(MispError, Transient):
    """MISP did not take the request: nothing was done."""


class MispUnclear(MispUnavailable):
    """The answer was lost after the request had been sent: it may have been carried out, or still run.

    Attributes:
        may_still_run: whether MISP is likely to be at work on it still, as behind a 504.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, may_still_run: bool = False) -> None:
        super().__init__(message, retry_after=retry_after)
        self.may_still_run = may_still_run


class MispFault(MispError, Transient):
    """MISP answered 500: a value in the request, or its database, made it throw."""

    is_away = False


class MispTooLarge(MispError):
    """The request was larger than the server takes."""


class MispRefused(MispError):
    """MISP answered and will give the same answer again until something is mended.

    Attributes:
        status: the HTTP status.
        errors: the ``errors`` member of the answer, as the server sent it, or None.
    """

    def __init__(self, message: str, *, status: int = 0, errors: object = None) -> None:
        super().__init__(message)
        self.status = status
        self.errors = errors


class EventBlocked(MispRefused):
    """The UUID of the event is on MISP's blocklist, since somebody deleted the event."""


class LockHeld(TqmispError):
    """Another run works with the same journal and target."""

    exit_code = 7


class Interrupted(TqmispError):
    """The run was stopped before its end; what was delivered is recorded, the rest follows with the next run."""

    exit_code = 130
