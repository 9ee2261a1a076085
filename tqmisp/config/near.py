"""Guessing which word was meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str], *, least: float = 0.6) -> str | None:
    """The known word that is most like ``word``, or None where none is like it.

    Args:
        word: what was found.
        known: what could have been.
        least: how much alike they must be, 0 to 1.
    """
    found = get_close_matches(word, list(known), n=1, cutoff=least)
    return found[0] if found else None
