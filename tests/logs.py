"""Listening to what the package logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from structlog.testing import LogCapture
from structlog.typing import EventDict

from tqmisp.log import processors


@contextmanager
def capture_logs() -> Iterator[list[EventDict]]:
    """Entries as they are logged, before anybody formats them."""
    capture, before = LogCapture(), processors[:]
    processors[:] = [capture]
    try:
        yield capture.entries
    finally:
        processors[:] = before
