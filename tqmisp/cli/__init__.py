"""The command lines: they parse, call the library, and print."""

from tqmisp.cli.app import main

__all__ = ["main"]
