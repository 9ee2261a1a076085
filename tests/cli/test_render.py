from __future__ import annotations

import io
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console, RenderableType

from tests.cli.conftest import receipt
from tqmisp.cli import render
from tqmisp.observe.receipt import EventLine

HOSTILE = "\x1b[31m\x1b]0;x\x07\u202etxt.exe\r\n[bold red]x[/] [link=https://a.example]y[/link] \u05d0"


def _printed(result: RenderableType, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, markup=False, emoji=False).print(result)
    return out.getvalue()


def test_a_receipt() -> None:
    """Everything that the run did, on 80 columns, for a person."""
    assert "\n".join(line.rstrip() for line in _printed(render.receipt(receipt())).splitlines()) == (
        """\
Run 17b529fc-79d4-48d6-9d24-322e3d7e67f0
began 2026-11-24T10:22:12+00:00, took 12.0 s, 5,000 indicators/s

Target misp                                   indicators
read                                              60,000
  created                                         58,000
  updated                                             12
  unchanged                                          100
  merged                                           1,620
  retired                                              5
  rejected                                            63
    invalid_domain                                    40
    invalid_ip                                        23
  filtered                                           100
    tlp_too_strict                                   100
  quarantined                                        100
    server_refused                                   100
mended on the way                                    953
    refang                                           953
Balanced: 60,000 of 60,000 indicators accounted for.

Event  Title and UUID                        Attributes  Published
 5230  ThreatQ Export 2026-11-24                 25,000  yes
       8cf61352-9dfc-5bd8-8e2d-3487ad6019e3
    ?  ThreatQ Export 2026-11-24 (2)                  0  no
       f2de209f-b4c6-5aaf-bdbe-64d0523f82f7

77 requests to MISP, 51 of them to write; 2 retries.
Time went to: ThreatQ 0.5 s, mapping 1.7 s, MISP 10.1 s, back-off 0.0 s."""
    )


def test_a_receipt_that_does_not_balance() -> None:
    """It says so where one looks, and what is off."""
    result = receipt()
    result.targets[0].balanced = False
    result.targets[0].read += 1
    result.targets[0].imbalance = ["60001 indicators were read, 60000 are accounted for."]
    shown = _printed(render.receipt(result))
    assert "NOT BALANCED: 60,000 of 60,001 indicators accounted for." in shown
    assert "  60001 indicators were read, 60000 are accounted for." in shown
    assert "Balanced:" not in shown


def test_a_receipt_of_a_stopped_run() -> None:
    """It says by what, and that nothing is lost."""
    result = replace(receipt(), stopped_by="SIGTERM")
    assert "Stopped early by SIGTERM; the next run goes on from here." in _printed(render.receipt(result))


def test_an_empty_receipt() -> None:
    """A run that read nothing, or got no further than its start, can be shown."""
    result = replace(receipt(), seconds=0.0, targets=[])
    assert "took 0.0 s\n" in _printed(render.receipt(result))


def _is_harmless(shown: str) -> bool:
    return not any(char in shown for char in "\x1b\x07\r\u202e") and "[bold red]x[/]" in shown


def test_hostile_words_in_a_receipt() -> None:
    """Names, titles and codes cannot colour, link, forge a line or turn the direction of text."""
    result = receipt()
    target = result.targets[0]
    target.name = HOSTILE
    target.rejected = {HOSTILE: 63}
    target.balanced, target.imbalance = False, [HOSTILE]
    target.events = [EventLine(HOSTILE, 1, HOSTILE * 3, HOSTILE, 1, published=False)]
    result.run_id = HOSTILE
    shown = _printed(render.receipt(result))
    assert _is_harmless(shown)
    assert all(cell_len(line) <= 80 for line in shown.splitlines())


def test_hostile_words_in_a_status() -> None:
    """The same for what the journal knows, values of 64 kB included."""
    document = {
        "state": HOSTILE,
        "runs": [
            {
                "run_id": HOSTILE,
                "target": HOSTILE,
                "started_at": "2026-11-24T10:22:12+00:00",
                "seconds": None,
                "outcome": "died",
                "balanced": None,
                "read": None,
                "created": None,
                "updated": None,
                "refused": None,
            }
        ],
        "targets": [
            {
                "name": HOSTILE,
                "url": HOSTILE,
                "lock": {"host": HOSTILE, "process": 1, "since": "2026-11-24"},
                "open_slices": 2,
                "oldest_open_slices": [{"event": HOSTILE, "attributes": 5, "promised_at": "2026-11-24T10:22:12+00:00"}],
                "events": [{"uuid": "u", "info": HOSTILE, "date": "2026-11-24", "attributes": 5}],
                "refused": [
                    {
                        "kind": "rejected",
                        "code": "invalid_domain",
                        "count": 1,
                        "samples": [{"id": 7, "type": HOSTILE, "value": HOSTILE + "x" * 65_536, "reason": HOSTILE}],
                    }
                ],
            }
        ],
    }
    shown = _printed(render.status(document), width=120)
    assert _is_harmless(shown)
    assert len(shown) < 4_000
    assert "Slices promised and not confirmed: 2" in shown
