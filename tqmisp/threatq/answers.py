"""What the answers of ThreatQ say, each in one line for a person. Pure."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import orjson

LONGEST = 300
"""Characters that are shown of a server's words."""
LEAST_SECRET = 4
"""Shorter secrets are not looked for in texts: they would be found inside of words."""
_LOGIN_PAGES = ("login", "signin", "sign-in", "sso", "saml", "oauth", "auth")


def loads(content: bytes) -> Any:  # noqa: ANN401  it is JSON
    """Decode JSON, also with half characters in its texts, which the fast decoder refuses.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content)


def words_of(content: bytes) -> str:
    """The texts of an error body, whatever its kind; empty where there are none."""
    try:
        body = loads(content)
    except (ValueError, RecursionError):
        return ""
    return "; ".join(_texts(body))


def refusal_in(body: object) -> str | None:
    """The texts of an error that came with a status of success; None where it is none."""
    if not isinstance(body, dict):
        return None
    data = body.get("data")
    hidden = isinstance(data, list) and data and isinstance(data[0], dict) and "id" not in data[0] and data[0]
    if body.get("errors") or (isinstance(data, dict) and data.get("errors")) or (hidden and hidden.get("error")):
        return "; ".join(_texts(body)) or "without a word"
    return None


def _texts(body: object) -> list[str]:
    """Errors come as a list, by field below ``data``, in the first row, or as ``name`` and ``message``."""
    if not isinstance(body, dict):
        return []
    data = body.get("data")
    inner = data.get("errors") if isinstance(data, dict) else None
    if inner is None and isinstance(data, list) and data and isinstance(data[0], dict):
        inner = data[0].get("error")
    for found in (body.get("errors"), inner, body.get("message"), body.get("name")):
        if found:
            return _flat(found)
    return []


def _flat(found: object) -> list[str]:
    if isinstance(found, dict):
        return [f"{name}: {' '.join(_flat(texts))}" for name, texts in found.items()]
    if isinstance(found, list):
        return [text for each in found for text in _flat(each)]
    return [found if isinstance(found, str) else str(found)]


def one_line(said: str, secrets: Iterable[str] = ()) -> str:
    """A server's words as one line that a terminal can take, of bounded length, without our secrets in it."""
    for secret in secrets:
        if len(secret) >= LEAST_SECRET:
            for written in {secret, quote(secret), quote(secret, safe="")}:
                said = said.replace(written, "***")
    line = "".join(c if c.isprintable() else " " for c in said[: LONGEST + 1])
    return line if len(line) <= LONGEST else line[:LONGEST] + "…"


def explain_redirect(url: str, location: str) -> str:
    """Why a redirect came, as far as it can be seen, and what to do; without the query, which may hold tokens."""
    try:
        here, there = urlsplit(url), urlsplit(urljoin(url + "/", location))
        shown, port = _place(there), there.port
    except ValueError:
        return "sends us on to something that is no address. Is [threatq] url the address of a ThreatQ?"
    if here.hostname == there.hostname and (here.scheme, there.scheme) == ("http", "https"):
        host = here.hostname or ""
        return f"wants https. Set [threatq] url to https://{host}{f':{port}' if port not in {None, 443} else ''}."
    if any(part in _LOGIN_PAGES for part in there.path.lower().split("/")):
        return (
            f"sends us on to {shown}, a login page. Does a single sign-on stand before the API, or is [threatq] url "
            "the address of something else?"
        )
    return f"sends us on to {shown}. Set [threatq] url to the address ThreatQ really has."


def _place(there: SplitResult) -> str:
    return one_line(f"{there.scheme}://{there.netloc.rpartition('@')[2]}{there.path}")


def seconds_since_1970(date: str) -> float | None:
    """The moment of an HTTP date; None where it is none."""
    try:
        parts = email.utils.parsedate_tz(date)
        return None if parts is None else float(email.utils.mktime_tz(parts))
    except (ValueError, OverflowError, TypeError):
        return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that Retry-After asks for, given as a number or as a date; None where it does not."""
    asked = headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked[:9])
    date = seconds_since_1970(asked)
    return None if date is None else max(0.0, date - time.time())
