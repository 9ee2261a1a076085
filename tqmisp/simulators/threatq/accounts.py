"""Logging in: ``POST /api/token`` in every form that published clients use."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tqmisp.simulators.threatq import codec, errors
from tqmisp.simulators.threatq.options import ThreatQSimulatorOptions

FORM_TYPES = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


class Accounts:
    """Who may come in, and the tokens that were given out.

    Attributes:
        clock: gives seconds; replace it to let tokens grow old.
    """

    def __init__(self, options: ThreatQSimulatorOptions) -> None:
        self.clock: Callable[[], float] = time.monotonic
        self._options = options
        self._good_until: dict[str, float] = {}
        self._refresh: dict[str, str] = {}

    def knows(self, authorization: str) -> bool:
        """Whether a header holds a token that is good; ``bearer`` in lower case is not taken, as on a live server."""
        scheme, _, token = authorization.partition(" ")
        return scheme == "Bearer" and self._good_until.get(token, 0.0) > self.clock()

    def withdraw(self) -> None:
        """Forget every token, as a server does that was set up anew."""
        self._good_until.clear()
        self._refresh.clear()

    async def token(self, request: web.Request) -> web.Response:
        """Give a token, or answer 400."""
        asked = await _parameters(request)
        grant = asked.get("grant_type")
        if grant == "refresh_token":
            first = self._refresh.pop(str(asked.get("refresh_token")), None)
            return self._issue(first) if first is not None else errors.refused(400, errors.WRONG_LOGIN)
        options = self._options
        wanted = {
            "password": {"client_id": options.client_id, "email": options.email, "password": options.password},
            "client_credentials": {"client_id": options.client_id, "client_secret": options.client_secret},
        }.get(str(grant))
        if wanted is None:
            return errors.refused(400, errors.NO_GRANT)
        if any(asked.get(name) != value for name, value in wanted.items()):
            return errors.refused(400, errors.WRONG_LOGIN)
        return self._issue(str(grant))

    def _issue(self, grant: str) -> web.Response:
        token, refresh = secrets.token_urlsafe(30), secrets.token_urlsafe(30)
        now, seconds = self.clock(), self._options.token_seconds
        self._good_until = {each: until for each, until in self._good_until.items() if until > now}
        self._good_until[token] = now + seconds
        self._refresh[refresh] = grant
        return errors.answer(
            {
                "access_token": token,
                "token_type": "bearer" if grant == "password" else "Bearer",
                "expires_in": int(seconds) if seconds == int(seconds) else seconds,
                "refresh_token": refresh,
            }
        )


async def _parameters(request: web.Request) -> dict[str, Any]:
    """The parts of a token request, from the query, the body as JSON or as a form, and HTTP Basic."""
    asked: dict[str, Any] = dict(request.query)
    if request.content_type in FORM_TYPES:
        asked |= {name: str(value) for name, value in (await request.post()).items()}
    else:
        asked |= _members(await request.read())
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        client, _, secret = _decoded(encoded).partition(":")
        asked |= {"client_id": client, "client_secret": secret}
    return asked


def _members(body: bytes) -> dict[str, Any]:
    """What a body names; clients that send everything elsewhere put anything there."""
    try:
        given = codec.loads(body)
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}


def _decoded(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        return ""
