"""What a text of faults says, and how one that says nothing is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tqmisp.errors import ConfigError
from tqmisp.simulators import misp, threatq
from tqmisp.simulators.faults import KINDS, Fault, FaultPlan


def test_a_text_says_where_what_and_how_often() -> None:
    """Each part of the grammar is read into a field of its own."""
    plan = FaultPlan.parse(
        "seed=7; misp:events/edit=500-after@10%; threatq:indicators/query=429:retry-after=1@3x;"
        "*=latency:200ms@5%,2x,every=4,after=1"
    )
    assert plan == FaultPlan(
        (
            Fault(where="misp:events/edit", kind="500-after", rate=0.1),
            Fault(where="threatq:indicators/query", kind="429", parameters={"retry-after": 1}, times=3),
            Fault(where="*", kind="latency", parameters={"for": 0.2}, rate=0.05, times=2, every=4, after=1),
        ),
        seed=7,
    )


def test_a_file_holds_a_plan_with_remarks(tmp_path: Path) -> None:
    """An item a line, and what follows # is for people."""
    (tmp_path / "faults").write_text("seed=3\n# the worst day of last year\nmisp:*=502@1%  # nightly\n\n")
    assert FaultPlan.parse(f"@{tmp_path}/faults") == FaultPlan((Fault(where="misp:*", kind="502", rate=0.01),), 3)
    with pytest.raises(ConfigError, match="The faults cannot be read"):
        FaultPlan.parse(f"@{tmp_path}/absent")


def test_no_text_is_no_fault() -> None:
    """An empty plan is a plan."""
    assert FaultPlan.parse("") == FaultPlan()


def test_parameters_that_are_left_out_have_defaults() -> None:
    """The first parameter may come without its name."""
    [short] = FaultPlan.parse("*=stall:2s").faults
    [plain] = FaultPlan.parse("*=stall").faults
    assert (short.seconds("for"), plain.seconds("for")) == (2.0, 60.0)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("misp:events/edit", "'misp:events/edit': expected WHERE=KIND"),
        ("*=explode", "There is no kind of fault 'explode'. There are: latency, "),
        ("events/edit=500", "'events/edit' is no place for a fault"),
        ("splunk:*=500", "'splunk:\\*' is no place for a fault"),
        ("misp:=500", "'misp:' is no place for a fault"),
        ("threatq:*=maintenance", "'maintenance' can only happen to misp"),
        ("*=500-after", "'500-after' can only happen to misp"),
        ("misp:*=token-expired", "'token-expired' can only happen to threatq"),
        ("misp:*=cursor-repeats", "'cursor-repeats' can only happen to threatq"),
        ("*=latency:soon", "for=soon: expected a time such as 200ms or 2s"),
        ("*=latency:by=2s", "'latency' has no parameter 'by'. It has: for"),
        ("*=reset:1s", "'reset' has no parameter '1s'. It has: none"),
        ("*=429:retry-after=x", "retry-after=x: expected a whole number"),
        ("threatq:*=cursor-repeats:to=last", "to=last: expected same or first"),
        ("*=500@often", "'often' is no measure: expected 10%, 3x, every=5 or after=2"),
        ("*=500@every=two", "every=two: expected a whole number"),
        ("*=500@0%", "A fault that never happens"),
        ("*=500@120%", "A fault that never happens"),
        ("*=500@every=0", "A fault that never happens"),
        ("seed=many", "'seed=many': expected a whole number"),
        ("*=500;oops", "'oops'"),
    ],
)
def test_a_bad_text_is_refused_with_its_bad_part(spec: str, named: str) -> None:
    """The error names the item, and in it what is wrong."""
    with pytest.raises(ConfigError, match=named):
        FaultPlan.parse(spec)


def test_values_are_looked_at_like_texts() -> None:
    """Faults that are made in Python are refused for the same reasons."""
    with pytest.raises(ConfigError, match="no parameter 'speed'"):
        Fault(where="*", kind="slow", parameters={"speed": 1})
    with pytest.raises(ConfigError, match="can only happen to misp"):
        Fault(where="threatq:*", kind="stall-after")


def test_a_route_must_be_there() -> None:
    """A pattern that fits no route of its server would never strike."""
    with pytest.raises(ConfigError, match=r"'misp:event/edit': there is no such route\. There are: .*events/edit"):
        misp.create_app(faults=FaultPlan.parse("misp:event/edit=500"))
    with pytest.raises(ConfigError, match=r"'threatq:indicator/query': .* indicators/query"):
        threatq.create_app(threatq.generate(1), faults=FaultPlan.parse("threatq:indicator/query=500"))


def test_every_kind_is_in_the_documentation() -> None:
    """The table of the kinds lists each of them, and no others."""
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    table = page.partition("| kind |")[2].partition("\n\n")[0]
    listed = [line.partition("`")[2].partition("`")[0].partition(":")[0] for line in table.splitlines()[2:]]
    assert listed == list(KINDS)
