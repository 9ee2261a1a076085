"""Whether MISP counts in each event what a run takes for delivered."""

from __future__ import annotations

from collections.abc import Sequence

from tqmisp.journal.ledger import Ledger
from tqmisp.log import get_logger
from tqmisp.misp.reading import MispReader
from tqmisp.model import EventRef
from tqmisp.observe.receipt import EventLine, TargetReceipt

log = get_logger(__name__)


async def weigh(refs: Sequence[EventRef], ledger: Ledger, reader: MispReader, line: TargetReceipt) -> None:
    """Look once more at events, and compare what the ledger and what MISP count in them.

    What people have deleted meanwhile is noted in the ledger, and stays out.

    Args:
        refs: the events.
        ledger: what was delivered, as far as it knows.
        reader: asks MISP.
        line: gets a line for each event that is there, and what does not fit.

    Raises:
        MispError: MISP could not be asked.
    """
    expected = await ledger.counts(refs)
    for ref in refs:
        await _weigh(ref, expected[ref.number], ledger, reader, line)


async def _weigh(ref: EventRef, expected: int, ledger: Ledger, reader: MispReader, line: TargetReceipt) -> None:
    event = (await reader.events([ref.uuid])).get(ref.uuid)
    if event is None and not expected:
        return  # it was never made: what was bound for it was found elsewhere, or refused
    if event is None:
        ledger.tally.kept["deleted"] += await ledger.note_event_deleted(ref)
        log.warning("an event of ours is not in MISP any more; what was in it stays out", uuid=ref.uuid, info=ref.info)
        return
    held = event.attributes
    if expected > held:
        held = await reader.count(ref.uuid)  # MISP does not count along with every way to edit
    if expected > held:
        async for found in reader.of_event(ref.uuid, deleted=True):
            ledger.tally.kept["deleted"] += await ledger.note_deleted([each.uuid for each in found])
        expected = (await ledger.counts([ref]))[ref.number]
    line.events.append(EventLine(ref.uuid, event.id or None, ref.info, ref.date, held, published=event.published))
    if expected > held:
        line.imbalance.append(
            f"{ref.info}: {expected} attributes were confirmed, MISP counts {held}; tqmisp verify shows which."
        )
