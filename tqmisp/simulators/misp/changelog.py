"""The file that lets a simulated MISP survive its process.

One line of JSON for each request that changed something, written with one ``write()`` before the request is answered:
what was answered is there after a SIGKILL, and what is there is a whole request. Nothing is flushed to the disk, so a
power failure may lose lines.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

Change = list[Any]
"""``[kind, ...]``; the kinds are those of :mod:`tqmisp.simulators.misp.store`."""


class ChangeLog:
    """An append-only log of changes in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "changes.jsonl"
        self._file: BinaryIO = self.path.open("ab", buffering=0)

    def read(self) -> Iterator[list[Change]]:
        """Yield the changes of each request, oldest first, and cut off a last line that was not written to its end."""
        whole = 0
        with self.path.open("rb", buffering=1024 * 1024) as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                yield orjson.loads(line)
        os.truncate(self.path, whole)

    def append(self, changes: list[Change]) -> None:
        """Write what one request changed.

        Raises:
            OSError: the disk is full; nothing of it is in the log.
        """
        line = orjson.dumps(changes, option=orjson.OPT_APPEND_NEWLINE)
        written = self._file.write(line)
        if written != len(line):
            self._file.truncate(self._file.tell() - written)  # or the next line would be the end of this one
            msg = f"{self.path}: {written} of {len(line)} bytes written"
            raise OSError(msg)

    def close(self) -> None:
        """Let the file go."""
        self._file.close()
