"""Whether it is an attribute that makes MISP throw, or MISP that throws at everything."""

from __future__ import annotations

from tqmisp.errors import MispFault, MispUnavailable
from tqmisp.misp import event as bodies
from tqmisp.misp.client import MispClient
from tqmisp.model import EventRef
from tqmisp.pipeline.retry import RetryPolicy


class Suspicion:
    """Asked before an attribute is taken for the one that is to blame."""

    def __init__(self, client: MispClient, retry: RetryPolicy) -> None:
        self._client = client
        self._retry = retry

    async def holds(self, ref: EventRef) -> bool:
        """Whether MISP takes a change without any attribute; where it does not at once, it is waited for.

        Returns:
            False where MISP failed at that, too, and has come back since: whatever it threw at is to be sent again.

        Raises:
            MispUnavailable: it fails at every change; nothing is wrong with what was sent.
        """
        tries = 0

        async def change_nothing() -> None:
            nonlocal tries
            tries += 1
            try:
                await self._client.write(f"/events/edit/{ref.uuid}/metadata:1", bodies.chunk([]))
            except MispFault as error:
                raise MispUnavailable(f"MISP reads and cannot write: {error}") from error

        await self._retry.call(change_nothing)
        return tries == 1
