"""What others say, as one line for a person. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult, quote, urljoin, urlsplit

LONGEST = 300
"""Characters that are shown of a server's words."""
LEAST_SECRET = 4
"""Shorter secrets are not looked for in texts: they would be found inside of words."""
_LOGIN_PAGES = ("login", "signin", "sign-in", "sso", "saml", "oauth", "auth")


def one_line(said: str, secrets: Iterable[str] = ()) -> str:
    """Foreign words as one line that a terminal can take, of bounded length, without our secrets in it."""
    for secret in secrets:
        if len(secret) >= LEAST_SECRET:
            for written in {secret, quote(secret), quote(secret, safe="")}:
                said = said.replace(written, "***")
    line = "".join(c if c.isprintable() else " " for c in said[: LONGEST + 1])
    return line if len(line) <= LONGEST else line[:LONGEST] + "…"


def explain_redirect(name: str, section: str, url: str, location: str) -> str:
    """Why a redirect came, as far as it can be seen, and what to do; without the query, which may hold tokens."""
    try:
        here, there = urlsplit(url), urlsplit(urljoin(url + "/", location))
        shown, port = _place(there), there.port
    except ValueError:
        return f"sends us on to something that is no address. Is [{section}] url the address of a {name}?"
    if here.hostname == there.hostname and (here.scheme, there.scheme) == ("http", "https"):
        host = here.hostname or ""
        return f"wants https. Set [{section}] url to https://{host}{f':{port}' if port not in {None, 443} else ''}."
    if any(part in _LOGIN_PAGES for part in there.path.lower().split("/")):
        return (
            f"sends us on to {shown}, a login page. Does a single sign-on stand before the API, or is [{section}] url "
            "the address of something else?"
        )
    return f"sends us on to {shown}. Set [{section}] url to the address {name} really has."


def _place(there: SplitResult) -> str:
    return one_line(f"{there.scheme}://{there.netloc.rpartition('@')[2]}{there.path}")
