"""Publishing, as the last step: every write to an event unpublishes it."""

from __future__ import annotations

from collections.abc import Iterable

from tqmisp.errors import MispError, MispFault, MispRefused
from tqmisp.log import get_logger
from tqmisp.misp.client import MispClient
from tqmisp.pipeline.retry import RetryPolicy

log = get_logger(__name__)


async def publish(client: MispClient, uuids: Iterable[str], retry: RetryPolicy) -> dict[str, MispError]:
    """Publish events, and return those that MISP did not publish, with the reason.

    With background jobs, MISP answers before an event is published (recording 427).
    """
    refused: dict[str, MispError] = {}
    for uuid in uuids:
        path = f"/events/publish/{uuid}"
        try:
            await retry.call(lambda path=path: client.write(path, b"{}"))  # type: ignore[misc]
        except (MispRefused, MispFault) as error:
            log.warning("event not published", uuid=uuid, error=str(error))
            refused[uuid] = error
    return refused
