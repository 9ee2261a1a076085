"""Indicators from a file: a row a line, as ThreatQ's full answer holds it."""

from __future__ import annotations

import gc
import gzip
import operator
from array import array
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from tqmisp.simulators.threatq import codec
from tqmisp.simulators.threatq.catalog import Row
from tqmisp.simulators.threatq.columns import Columns
from tqmisp.simulators.threatq.library import Library


class CorpusRows:
    """Rows kept as the bytes of their lines."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines

    def get(self, place: int) -> Row:
        """Decode one line."""
        row: Row = codec.loads(self._lines[place])
        return row

    def raw(self, place: int) -> bytes:
        """One line."""
        return self._lines[place]


def from_corpus(path: Path) -> Library:
    """The indicators of an NDJSON file, packed by gzip or not, in any order.

    Raises:
        OSError: the file cannot be read, or is not packed as its name says.
        EOFError: it ends in the middle of what is packed.
        ValueError: a line is no indicator, or an id comes twice; the text says which.
    """
    was_collecting = gc.isenabled()
    gc.disable()  # every row is dropped at once; there are no circles to look for
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            ids, kept, columns = _take(lines)
        if any(map(operator.ge, ids, ids[1:])):
            order = sorted(range(len(ids)), key=ids.__getitem__)
            ids, kept, columns = _take(kept[place] for place in order)
    finally:
        if was_collecting:
            gc.enable()
    twice = next((identity for identity, following in pairwise(ids) if identity == following), None)
    if twice is not None:
        raise ValueError(f"two lines have the id {twice}")
    return Library(CorpusRows(kept), ids, columns)


def _take(lines: Iterable[bytes]) -> tuple[array[int], list[bytes], Columns]:
    ids, kept, columns = array("q"), list[bytes](), Columns()
    for number, line in enumerate(lines, 1):
        raw = line.strip()
        if not raw:
            continue
        row = codec.loads(raw)
        if not isinstance(row, dict) or type(row.get("id")) is not int:
            raise ValueError(f"line {number} is no indicator with an id")
        columns.append(row)
        ids.append(row["id"])
        kept.append(raw)
    return ids, kept, columns
