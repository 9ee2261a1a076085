"""The bodies with which ThreatQ refuses, and the answers that hold them.

Which body comes with which status is confirmed by published clients; the words of 401, 404 and 405 are not.
"""

from __future__ import annotations

from aiohttp import web

from tqmisp.simulators.threatq import codec

NO_TOKEN = "The resource owner or authorization server denied the request."  # noqa: S105  no password
NO_GRANT = "The authorization grant type is not supported by the authorization server."
WRONG_LOGIN = "The user credentials were incorrect."


def answer(content: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=codec.dumps(content), status=status, content_type="application/json")


def refused(status: int, *texts: str | list[str]) -> web.Response:
    """Errors as a list, of which each is a text or again a list of texts."""
    return answer({"errors": list(texts)}, status)


def invalid(field: str, *texts: str) -> web.Response:
    """What is wrong with a field of the request: status 400."""
    return answer({"data": {"errors": {field: list(texts)}}}, 400)
