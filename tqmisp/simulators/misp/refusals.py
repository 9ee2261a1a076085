"""The ways in which MISP does not do what it was asked; see the table in section 2 of the facts."""

from __future__ import annotations

from typing import Any

NO_PERMISSION = "You do not have permission to use this functionality."
NOT_YOURS = "You do not have permission to do that."
AUTHENTICATION_FAILED = (
    "Authentication failed. Please make sure you pass the API key of an API enabled user along in the Authorization "
    "header."
)
DISABLED = "Authentication failed. Your user account has been disabled."
WRONG_ADDRESS = "It is not possible to use this Auth key from your IP address"
BAD_JSON = (
    "Invalid JSON input. Make sure that the JSON input is a correctly formatted JSON string. This request has been "
    "blocked to avoid an unfiltered request."
)
INTERNAL = "An Internal Error Has Occurred."
EXISTS = "Event already exists, if you would like to edit it, use the url in the location header."
BLOCKED = "Event blocked by event blocklist."
BAD_SHARING_GROUP = "Invalid Sharing Group or not authorised."
SIMILAR = "A similar attribute already exists for this event."
UUID_TAKEN = "The UUID provided is not unique"
BAD_UUID = "Please provide a valid RFC 4122 UUID"


class Refused(Exception):
    """An exception of CakePHP: ``{"name", "message", "url"}``.

    Attributes:
        status: of HTTP.
        headers: that the answer carries besides.
        url: what the answer names instead of the path that was asked for.
    """

    def __init__(
        self, status: int, message: str, *, headers: dict[str, str] | None = None, url: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
        self.url = url


class SaveFailed(Exception):
    """A 403 of MISP's own: ``{"saved": false, "name", "message", "url", "errors"}``.

    Attributes:
        what: as in "Could not <what>".
        url: the route, with the id where MISP puts one.
        errors: a text, texts by field, or these by ``attribute_<index>``.
        id: of the event, where MISP names it.
    """

    def __init__(self, what: str, url: str, errors: Any, *, id: int | None = None) -> None:  # noqa: A002, ANN401 - JSON
        super().__init__(what)
        self.message = f"Could not {what}"
        self.url = url
        self.errors = errors
        self.id = id


class ServerFault(Exception):
    """PHP or the database threw: 500 "An Internal Error Has Occurred."."""


class WorkerDied(Exception):
    """The PHP worker is gone in the middle of a request: nginx answers 502."""
