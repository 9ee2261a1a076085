"""The standard streams: who starts a program may have closed them, and who reads them may leave."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO


def stand_in() -> None:
    """Put a stream from or to nowhere in the place of each that was closed, for which Python has None.

    It takes the number of the closed one, too; else the next file would get it, and what C libraries write there.
    """
    nowhere = Path(os.devnull)
    if sys.stdin is None:
        sys.stdin = nowhere.open(encoding="utf-8")
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, nowhere.open("w", encoding="utf-8", errors="backslashreplace"))


def silence(stream: TextIO) -> None:
    """Let go nowhere what is still written to a pipe that nobody reads any more, as after ``| head``."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
