"""What has been promised to MISP and what has been confirmed."""

from tqmisp.journal.ledger import Ledger
from tqmisp.journal.store import EventRecord, Journal, RefusalRecord, RunRecord
from tqmisp.journal.tally import Tally

__all__ = ["EventRecord", "Journal", "Ledger", "RefusalRecord", "RunRecord", "Tally"]
