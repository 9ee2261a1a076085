"""Questions to the person at the terminal."""

from __future__ import annotations

import getpass
import sys

from tqmisp.errors import ConfigError
from tqmisp.observe.terminal import escape

NOBODY = "There is nobody to ask: standard input ended. Give the rest as options, with --yes."


def ask(question: str, default: str | None = None) -> str:
    """Ask until there is an answer.

    Raises:
        ConfigError: there is nobody who could answer.
    """
    while True:
        sys.stderr.write(f"{question}{'' if default is None else f' [{escape(default)}]'}: ")
        sys.stderr.flush()
        answer = _line().strip() or default
        if answer is not None:
            return answer


def ask_hidden(question: str) -> str:
    """The same, without showing what is typed; an empty answer is one."""
    if not sys.stdin.isatty():
        sys.stderr.write(f"{question}: ")
        sys.stderr.flush()
        return _line().rstrip("\r\n")
    try:
        return getpass.getpass(f"{question}: ", stream=sys.stderr)
    except EOFError:
        raise _nobody() from None


def ask_number(question: str, default: float, most: float) -> float:
    """A number from 0 to the greatest that there may be."""
    while True:
        try:
            number = float(ask(question, f"{default:g}"))
        except ValueError:
            continue
        if 0 <= number <= most:
            return number


def confirm(question: str) -> bool:
    """Yes or no; no without an answer."""
    return ask(f"{question} (y/n)", "n").lower() in {"y", "yes"}


def _line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise _nobody()
    return line


def _nobody() -> ConfigError:
    """The error for input that ends at a question; ends the line of that question."""
    sys.stderr.write("\n")
    return ConfigError(NOBODY)
