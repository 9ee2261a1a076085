"""A request as a handler sees it, and the answer that it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from tqmisp.simulators.misp.accounts import User
from tqmisp.simulators.misp.model import Event
from tqmisp.simulators.misp.options import MispSimulatorOptions
from tqmisp.simulators.misp.refusals import Refused
from tqmisp.simulators.misp.store import MispStore
from tqmisp.simulators.misp.visibility import sees

JSON = "application/json; charset=UTF-8"
TEXT = "text/plain; charset=UTF-8"
HTML = "text/html; charset=UTF-8"


@dataclass(slots=True)
class Call:
    """One request, signed in, allowed and decoded.

    Attributes:
        args: what follows the action in the path.
        named: the ``/name:value`` parts of the path.
        data: the decoded body; None for an empty one and for one that is not JSON by its ``Content-Type``.
        base_url: what ``MISP.baseurl`` is set to: where the client found us.
        rows_to_live: attributes after which the worker dies, unless they are one transaction; None: it lives.
        dies_untagged: whether one more thing is saved before it dies, but not its tags; where attributes are one
            transaction, these are all, and as many as it lives for have their tags.
    """

    store: MispStore
    options: MispSimulatorOptions
    user: User
    method: str
    args: list[str]
    named: dict[str, str]
    data: Any
    base_url: str
    rows_to_live: int | None = None
    dies_untagged: bool = False

    @property
    def metadata(self) -> bool:
        """Whether the answer should leave out attributes."""
        return self.named.get("metadata", "0") not in {"0", ""}

    @property
    def posted(self) -> bool:
        """Whether the method is one that changes something."""
        return self.method in {"POST", "PUT"}

    def fields(self, wrapper: str) -> dict[str, Any]:
        """The body as an object, without the wrapper around it."""
        data = self.data
        if isinstance(data, dict) and isinstance(data.get(wrapper), (dict, list)):
            data = data[wrapper]
        if isinstance(data, list):
            return {str(number): item for number, item in enumerate(data)}
        return data if isinstance(data, dict) else {}

    def visible_event(self) -> Event:
        """The event that the path names.

        Raises:
            Refused: there is none, or the user does not see it.
        """
        event = self.store.event(self.args[0]) if self.args else None
        if event is None or not sees(self.store, self.user, event):
            raise Refused(404, "Invalid event")
        return event


@dataclass(slots=True)
class Answer:
    """What goes back to the client."""

    body: bytes = b""
    status: int = 200
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


def answer(content: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """An answer in JSON."""
    return Answer(orjson.dumps(content), status, JSON, headers or {})


def saved(message: str, url: str, *, id: str | None = None) -> Answer:  # noqa: A002 - MISP's word
    """The answer of the routes that say what they did (recording 67)."""
    content: dict[str, object] = {"saved": True, "success": True, "name": message, "message": message, "url": url}
    if id is not None:
        content["id"] = id
    return answer(content)
