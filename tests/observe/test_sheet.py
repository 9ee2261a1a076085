from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tqmisp.observe.sheet import csv_line, neutral


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ('"=1', "'\"=1"),
        ("\uff1d1", "'\uff1d1"),  # full-width signs count, too
        ("a;=1", "a;'=1"),  # another cell, where semicolons separate
        ('a;"=1"', 'a;\'"=1"'),
        ("\t=1", "\\x09=1"),
        ("a\r\n=1", "a\\x0d\\x0a=1"),
        ("=\u05d0", "'\u2068=\u05d0\u2069"),
        ("https://a.example/?b=1", "https://a.example/?b=1"),
        ("a@b.example", "a@b.example"),
        ("", ""),
    ],
)
def test_formulas_are_neutralised(text: str, shown: str) -> None:
    """A cell that a spreadsheet would calculate begins with an apostrophe; others are as they were."""
    assert neutral(text) == shown


@given(st.lists(st.text(alphabet=st.characters() | st.sampled_from("=+-@;\"',\t\r\n ")), min_size=1))
def test_no_cell_begins_as_a_formula(cells: list[str]) -> None:
    """Whether commas or semicolons separate, there is one line, and no cell that would be calculated."""
    line = csv_line(cells)
    assert line.count("\r\n") == 1
    for separator in ",;":
        [row] = csv.reader(io.StringIO(line, newline=""), delimiter=separator)
        assert not [cell for cell in row if re.match('[\\s"]*[=+@\uff1d\uff0b\uff0d\uff20-]', cell)]
    assert len(next(csv.reader([line]))) == len(cells)


def test_numbers_stay_numbers() -> None:
    """A number of ours is no text."""
    assert csv_line(["a", -5]) == '"a","-5"\r\n'
