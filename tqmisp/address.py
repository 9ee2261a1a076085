"""Whether a journal and the MISP that the settings name belong together."""

from __future__ import annotations

from tqmisp.errors import ConfigError
from tqmisp.journal.store import Journal
from tqmisp.log import get_logger
from tqmisp.misp import identity
from tqmisp.misp.reading import MispReader

log = get_logger(__name__)

EVENTS = 20
"""So many of the newest events are looked for: of one that MISP has, it is the same MISP."""


async def belongs(journal: Journal, target: int, url: str, reader: MispReader) -> None:
    """See to it that what the journal knows is known of the MISP at an address.

    A MISP that has moved is recognised by the events of ours that it has, and its new address is kept. Another one has
    none: to go on would leave out what the journal takes for delivered, and take it for deleted by people.

    Args:
        journal: what was delivered.
        target: the number of the target.
        url: the address of the MISP, as it is set.
        reader: asks the MISP there.

    Raises:
        ConfigError: it is another MISP.
        MispError: it could not be asked.
    """
    name, known = next((name, known) for number, name, known in await journal.targets() if number == target)
    if identity.address(known) == identity.address(url):
        return
    events = await journal.delivered_events(target, EVENTS)
    if events and not await reader.events(events):
        raise ConfigError(
            f"[misp] url: the journal knows {name!r} as {known}, and the MISP at {url} has none of the events that "
            "were made there. Give this MISP another [misp] name, or another [state] path, so that it has a state of "
            "its own."
        )
    log.info("the MISP has moved" if events else "the MISP has another address", before=known, now=url)
    await journal.move(target, url)
