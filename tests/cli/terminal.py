"""A terminal for tests: starts a program on it, waits for what it shows, and types."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SECONDS = 60.0
_TAKE_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests in the background has it ignored
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes the terminal the one that getpass opens, and goes on as the program."""


class Terminal:
    """What stands on the terminal, and a keyboard."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self.shown = ""
        self.process = process
        self._master = master
        self._seen = 0

    def expect(self, text: str) -> None:
        """Wait until ``text`` appears behind what was expected before; fail when the program ends without it."""
        deadline = time.monotonic() + _SECONDS
        while (found := self.shown.find(text, self._seen)) < 0:
            assert self._read(deadline), f"{text!r} did not appear in {self.shown!r}"
        self._seen = found + len(text)

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._master, text.encode() + b"\n")

    def press(self, key: bytes) -> None:
        """Press a key, such as Ctrl-C."""
        os.write(self._master, key)

    def interrupt(self) -> int:
        """Press Ctrl-C until the program has ended; give its exit code.

        More than once is rare: Python overlooks one that comes between its prompt and its reading of the answer.
        """
        deadline = time.monotonic() + _SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            self.press(b"\x03")
            while self._read(time.monotonic() + 5):
                pass
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
        return self.process.wait(1)

    def resize(self, columns: int, lines: int = 24) -> None:
        """Make the window another size; the program is told by SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def end(self) -> int:
        """Read on until the program has ended; give its exit code."""
        deadline = time.monotonic() + _SECONDS
        while self._read(deadline):
            pass
        return self.process.wait(_SECONDS)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            got = os.read(self._master, 65_536)
        except OSError:  # how Linux says that nobody holds the other end any more
            return False
        self.shown += got.decode().replace("\r\n", "\n")
        return bool(got)


def screen(shown: str, columns: int = 1000) -> list[str]:
    """What a person sees after all this: the lines of a terminal that knows the sequences of a live display.

    A line that is longer goes on in the next one, as it does on a terminal.
    """
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", shown):
        if part == "\n":
            row, column = row + 1, 0  # the line discipline has made \r\n of it, and the reader one \n
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part.startswith("\x1b"):
            if part.endswith("A"):
                row = max(0, row - int(part[2:-1] or 1))
            elif part == "\x1b[2K":
                lines[row] = ""
            else:
                assert part[-1] in "mhl", f"unknown sequence {part!r}"
        else:
            for character in part:
                if column == columns:
                    row, column = row + 1, 0
                    lines += [""] * (row + 1 - len(lines))
                lines[row] = lines[row][:column].ljust(column) + character + lines[row][column + 1 :]
                column += 1
    return [line.rstrip() for line in lines]


@contextmanager
def on_terminal(*argv: str, cwd: Path) -> Iterator[Terminal]:
    """Run Python with these arguments on a terminal of its own."""
    master, slave = os.openpty()
    try:
        with subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, "-c", _TAKE_TERMINAL, sys.executable, *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
        ) as process:
            os.close(slave)
            try:
                yield Terminal(master, process)
            finally:
                process.kill()
    finally:
        os.close(master)
