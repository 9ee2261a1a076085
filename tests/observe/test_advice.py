from __future__ import annotations

import io

import pytest
from rich.console import Console

from tqmisp.observe import advice
from tqmisp.observe.advice import advise
from tqmisp.observe.progress import View
from tqmisp.pipeline.adaptive import Knee
from tqmisp.pipeline.progress import Progress, Waiting

KNEE = Knee(3, 1000, 1150.4)


@pytest.mark.parametrize(
    ("waiting", "busy", "limit", "hint"),
    [
        # MISP takes what there is more slowly than it comes
        (Waiting(sink=80, source=5), 0.2, "MISP is the limit at 1,150 attributes a second with 3 requests in flight.",
         "Correlation costs about half: see docs/operations.md."),
        # pages do not come fast enough
        (Waiting(sink=5, source=78), 0.2, "ThreatQ is the limit: 78% of the time went to waiting for its pages.",
         "More [threatq] producers help if it has processors to spare."),
        # repetitions wait; three requests at a time spent 150 seconds on it
        (Waiting(sink=90, backoff=150), 0.2, "Errors are the limit: 50% of the time went to pauses after them.",
         "The log says what they were, docs/errors.md what to do about them."),
        # whatever is waited for, it is our own processor that is busy
        (Waiting(sink=80), 0.97, "This machine is the limit: the run kept 97% of a processor busy.",
         "Neither server can make it faster; a faster processor can."),
        (Waiting(journal=60, sink=10), 0.4, "This machine is the limit: 60% of the time went to journal.",
         "A faster disk helps the journal."),
        (Waiting(mapping=60, sink=10), 0.4, "This machine is the limit: 60% of the time went to mapping.",
         "A faster processor helps."),
        # no more than a fifth of the time went to anything
        (Waiting(20, 20, 20, 20, 20), 0.4, "", ""),
    ],
    ids=["misp", "threatq", "errors", "processor", "journal", "mapping", "nothing"],
)  # fmt: skip
def test_what_takes_the_time_is_named(waiting: Waiting, busy: float, limit: str, hint: str) -> None:
    """One sentence for what limits the run, one for what helps."""
    found = advise(Progress(waiting=waiting, knee=KNEE), seconds=100, busy=busy)
    assert (found.limit, found.hint) == (limit, hint)
    assert found.text == f"{limit} {hint}".strip()


def test_shares_are_parts_of_the_time() -> None:
    """Pauses are those of all requests in flight together; nothing is more than all of the time."""
    waiting = Waiting(source=10, mapping=20, journal=30, sink=140, backoff=90)
    found = advise(Progress(waiting=waiting, knee=KNEE), seconds=100, busy=0.1)
    assert found.shares == {"threatq": 0.1, "mapping": 0.2, "journal": 0.3, "misp": 1.0, "backoff": 0.3}


def test_what_is_switched_off_is_not_recommended() -> None:
    """Without correlation, it is the saving that takes the time."""
    progress = Progress(waiting=Waiting(sink=80), sent=60_000)
    found = advise(progress, seconds=100, busy=0.1, correlates=False)
    assert found.limit == "MISP is the limit at 600 attributes a second with 1 requests in flight."
    assert found.hint.startswith("Each attribute is saved by itself")


def test_nothing_is_said_too_early() -> None:
    """The first moments of a run say little."""
    assert advise(Progress(waiting=Waiting(sink=1)), seconds=1, busy=1).text == ""
    assert advise(Progress(), seconds=0, busy=0).shares == dict.fromkeys(
        ("threatq", "mapping", "journal", "misp", "backoff"), 0.0
    )


def test_it_is_shown_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the line and in the picture, which still fits into 80 columns."""
    monkeypatch.setattr(advice, "SOON", 0)
    progress = Progress(waiting=Waiting(sink=1e9), knee=KNEE)
    progress.started_processor += 1e9  # no time of a processor
    view = View(progress)
    assert view.line().endswith(". MISP is the limit at 1,150 attributes a second with 3 requests in flight.")
    out = io.StringIO()
    Console(file=out, width=80).print(view.picture())
    last = out.getvalue().splitlines()[-1]
    assert last.strip() == "MISP is the limit at 1,150 attributes a second with 3 requests in flight."
