import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tqmisp.observe.terminal import escape, safe

HOSTILE = {
    "\x1b[31mred\x1b[0m": r"\x1b[31mred\x1b[0m",  # colours
    "\x1b]0;title\x07": r"\x1b]0;title\x07",  # sets the title of the window
    "one\r\ntwo": r"one\x0d\x0atwo",  # forges a line
    "nul\x00": r"nul\x00",
    "\x9b2J": r"\x9b2J",  # the one-byte form of an escape sequence
    "exe\u202etxt.": r"exe\u202etxt.",  # turns the direction
    "a\u2066b\u2069": r"a\u2066b\u2069",
    "zero\u200bwidth": r"zero\u200bwidth",
    "line\u2028end": r"line\u2028end",
    "half\ud800": r"half\ud800",  # cannot be encoded
    "tag\U000e0041": r"tag\U000e0041",
    "e" + "\u0301" * 6: "e" + "\u0301" * 4 + r"\u0301\u0301",  # piles up over the lines above
    "plain é 漢 \\ [bold]x[/]": "plain é 漢 \\ [bold]x[/]",
}


@pytest.mark.parametrize(("value", "shown"), HOSTILE.items(), ids=ascii)
def test_what_acts_is_spelled_out(value: str, shown: str) -> None:
    """Characters that act on a terminal, or cannot be seen, appear as their code; all others stay."""
    assert escape(value) == shown


def test_right_to_left_letters_are_kept_in_their_place() -> None:
    """Hebrew and Arabic stay readable, but cannot reorder the text around them."""
    hebrew = "\u05e9\u05dc\u05d5\u05dd.example"
    assert escape(hebrew) == f"\u2068{hebrew}\u2069"


def test_long_values_are_shortened() -> None:
    """A value of 64 kB takes no more room than it is given."""
    assert escape("x" * 65_536, limit=10) == "x" * 9 + "…"
    assert escape("x" * 10, limit=10) == "x" * 10


def test_markup_is_text() -> None:
    """A value cannot colour, link or hide anything by the markup that rich knows."""
    out = io.StringIO()
    Console(file=out, width=80).print(safe("[bold red]x[/] [link=https://a.example]y[/link] :smile:"))
    assert out.getvalue() == "[bold red]x[/] [link=https://a.example]y[/link] :smile:\n"


@given(st.text(alphabet=st.characters(codec=None)))
def test_nothing_that_acts_is_left(value: str) -> None:
    """Whatever comes in, what goes out can be encoded, is one line, and neither controls nor turns anything."""
    shown = escape(value)
    shown.encode()
    assert shown.splitlines() in ([], [shown])
    assert not {char for char in shown if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}}
    assert not {"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067"} & set(shown)
    assert shown.count("\u2068") == shown.count("\u2069")
