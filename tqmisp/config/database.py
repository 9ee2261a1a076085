"""The URL of a database, which may hold a password: before the host, or among its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

_SECRETS = ("password", "sslpassword")
_HIDDEN = (*_SECRETS, "passfile")
"""Parameters of libpq."""


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    parts = _parts(url)
    if parts is None or (parts.password and url.count("@") > 1):  # a password with an @ of its own ends anywhere
        return f"{url.partition('://')[0]}://…"
    return parts._replace(password=None).difference_update_query(_HIDDEN).render_as_string()


def passwords(url: str) -> Iterator[str]:
    """Those among the parameters, as they are meant and as a URL writes them."""
    parts = _parts(url)
    if parts is not None:
        for name in _SECRETS:
            for password in parts.normalized_query.get(name, ()):
                yield password
                yield quote(password, safe="")


def _parts(url: str) -> URL | None:
    """None where it is no URL, such as a folder."""
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        return None
