"""Why MISP does not hold what it was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from tqmisp.errors import MispFault, MispRefused, MispTooLarge
from tqmisp.misp import event as bodies
from tqmisp.misp.arrival import unfinished
from tqmisp.misp.client import Answer, MispClient
from tqmisp.misp.identity import as_text
from tqmisp.misp.reading import Held, MispReader
from tqmisp.misp.suspicion import Suspicion
from tqmisp.model import EventRef, Planned
from tqmisp.pipeline.protocols import Outcome, Refusal
from tqmisp.pipeline.retry import RetryPolicy

ROWS_A_REQUEST = 200
NOT_UNIQUE = "The UUID provided is not unique"
NOT_OURS = "You do not have permission to do that."
SIMILAR = "A similar attribute already exists for this event."
DELETED = "The attribute was deleted in MISP and stays deleted."
TAKEN = "MISP holds the UUID in an event that our key cannot see."


class Verdicts:
    """Finds the reason for each attribute that is not where it should be.

    ``/events/edit`` drops what it does not like without a word; ``/attributes/add`` names each refusal (recording
    108). An attribute that is found in another event of ours is brought up to date there.
    """

    def __init__(self, client: MispClient, reader: MispReader, retry: RetryPolicy, suspicion: Suspicion) -> None:
        self._client = client
        self._reader = reader
        self._retry = retry
        self._suspicion = suspicion

    async def ask(self, ref: EventRef, absent: Sequence[Planned], outcome: Outcome[EventRef, Planned]) -> None:
        """Give each absent item its place in the outcome."""
        held = await self._reader.attributes([item.uuid for item in absent])
        unknown = []
        for item in absent:
            here = held.get(item.uuid)
            if here is None:
                unknown.append(item)
            else:
                await self._known(ref, item, here, outcome)
        for start in range(0, len(unknown), ROWS_A_REQUEST):
            await self._add(ref, unknown[start : start + ROWS_A_REQUEST], outcome)

    async def _known(self, ref: EventRef, item: Planned, held: Held, outcome: Outcome[EventRef, Planned]) -> None:
        """An attribute that MISP has, but not as it was sent."""
        if held.deleted:
            outcome.refused.append((item, refusal(item, "filtered", "deleted_in_misp", DELETED)))
            return
        if held.timestamp < item.timestamp:
            await self.bring_up_to_date(item, EventRef(0, held.event_uuid, held.event_info, ""), outcome, ref)
        elif held.event_uuid == ref.uuid:
            outcome.stored.append(item)
        else:
            outcome.elsewhere.append((item, EventRef(0, held.event_uuid, held.event_info, "")))

    async def bring_up_to_date(
        self, item: Planned, home: EventRef, outcome: Outcome[EventRef, Planned], ref: EventRef | None = None
    ) -> None:
        """Update one attribute in the event where it lives, whichever was meant for it."""
        said = await self._edit(item, home)
        if said is not None:
            outcome.refused.append((item, refusal(item, "quarantined", "refused_by_misp", said)))
        elif ref is not None and home.uuid == ref.uuid:
            outcome.stored.append(item)
        else:
            outcome.elsewhere.append((item, home))

    async def _edit(self, item: Planned, home: EventRef) -> str | None:
        """Update one attribute where it lives; return the server's words when it refuses."""
        path = f"/attributes/edit/{as_text(item.uuid)}"
        try:
            await self._retry.call(lambda: self._client.write(path, item.body))
        except MispRefused as error:
            if "not newer" in str(error):
                return await self._finish(home, [item])  # an earlier attempt arrived after all
            if error.errors is None and error.status not in {404, 405} and NOT_OURS not in str(error):
                raise  # it says nothing about the attribute: the key has expired, a proxy is in between
            return _words(error.errors) or str(error)
        except MispFault as error:
            return str(error) if await self._suspicion.holds(home) else await self._edit(item, home)
        return None

    async def _finish(self, home: EventRef, items: Sequence[Planned]) -> str | None:
        """Put on what attributes lack of their tags, as the attempts that saved them may not have come to these."""
        held = await self._reader.whole([item.uuid for item in items])
        said = None
        for item in items:
            rest = unfinished(home, item, held.get(item.uuid))
            if rest is not None and rest is not item:
                said = await self._edit(rest, home) or said
        return said

    async def _add(self, ref: EventRef, items: Sequence[Planned], outcome: Outcome[EventRef, Planned]) -> None:
        """Send attributes on the route that names each refusal."""
        try:
            errors = await self._retry.call(lambda: self._post(ref, items))
        except (MispFault, MispTooLarge) as error:
            if len(items) == 1:
                if isinstance(error, MispTooLarge) or await self._suspicion.holds(ref):
                    outcome.refused.append((items[0], refusal(items[0], "quarantined", "server_error", str(error))))
                else:
                    await self._add(ref, items, outcome)
                return
            middle = len(items) // 2
            await self._add(ref, items[:middle], outcome)
            await self._add(ref, items[middle:], outcome)
            return
        held = await self._reader.attributes([item.uuid for item in items])
        saved_before = []
        for index, item in enumerate(items):
            here = held.get(item.uuid)
            said = _words(errors.get(f"attribute_{index}"))
            if here is not None and not here.deleted and here.event_uuid == ref.uuid:
                if NOT_UNIQUE in said:
                    saved_before.append(item)
                outcome.stored.append(item)
            elif NOT_UNIQUE in said:
                deleted = here is not None and here.deleted
                why = ("filtered", "deleted_in_misp", DELETED) if deleted else ("quarantined", "uuid_taken", TAKEN)
                outcome.refused.append((item, refusal(item, *why)))
            elif SIMILAR in said:
                outcome.refused.append((item, refusal(item, "quarantined", "similar_value", said)))
            else:
                said = said or "MISP neither stored it nor said why."
                outcome.refused.append((item, refusal(item, "quarantined", "refused_by_misp", said)))
        if saved_before:  # by an earlier attempt
            await self._finish(ref, saved_before)

    async def _post(self, ref: EventRef, items: Sequence[Planned]) -> dict[str, Any]:
        """The errors of the answer, by ``attribute_<index>``; 403 means that every one was refused."""
        try:
            answer: Answer = await self._client.write(f"/attributes/add/{ref.uuid}", bodies.rows(items))
        except MispRefused as error:
            if error.status != 403 or not isinstance(error.errors, dict):
                raise
            if len(items) == 1 and "attribute_0" not in error.errors:
                return {"attribute_0": error.errors}
            return error.errors
        errors = answer.data.get("errors") if isinstance(answer.data, dict) else None
        return errors if isinstance(errors, dict) else {}


def refusal(item: Planned, kind: str, code: str, reason: str) -> Refusal:
    """The refusal of an attribute, with type and value as they were sent."""
    sent = orjson.loads(item.body)
    return Refusal(item.key, kind, code, reason, str(sent.get("type", "")), str(sent.get("value", "")))


def _words(errors: object) -> str:
    """The texts of an ``errors`` member, whatever its form."""
    if errors is None:
        return ""
    if isinstance(errors, dict):
        return " ".join(f"{field}: {_words(texts)}" for field, texts in errors.items())
    if isinstance(errors, list):
        return " ".join(_words(text) for text in errors)
    return "".join(c if c.isprintable() else " " for c in str(errors)[:500])
