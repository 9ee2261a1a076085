"""Tables for spreadsheets, in which no cell is a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

from tqmisp.observe.terminal import escape

_FORMULA = re.compile("(^|;)(?=[\\s\"'\u2068]*[=+\\-@\uff1d\uff0b\uff0d\uff20|])")
"""Where a cell begins that a spreadsheet would calculate.

A reader that separates by semicolons begins a cell at each of them, whatever the quotation marks around it.
"""


def neutral(text: str) -> str:
    """Text that a spreadsheet shows as it is: an apostrophe stands before what would be a formula.

    What acts on a terminal is spelled out here, too: no tab and no line break can begin a cell.
    """
    return _FORMULA.sub(r"\1'", escape(text))


def csv_line(cells: Iterable[object]) -> str:
    """One line of a CSV file, every cell in quotation marks; numbers are taken as they are."""
    out = io.StringIO()
    shown = [cell if isinstance(cell, int) else neutral(str(cell)) for cell in cells]
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(shown)
    return out.getvalue()
