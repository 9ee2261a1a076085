from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.cli.conftest import receipt
from tqmisp.cli import main, render_plan
from tqmisp.observe.plan import Change, Estimate, Plan

UUID = "8cf61352-9dfc-5bd8-8e2d-3487ad6019e3"


def test_a_plan_writes_nothing(
    servers: dict[str, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One document on stdout, in the form of a receipt, and not even the folder of the journal is made."""
    argv = ["plan", "--config", str(servers["config"]), "--state", str(tmp_path / "state"), "--no-progress"]
    assert main([*argv, "--json", "--slice-size", "2000"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    document = json.loads(out)
    [target] = document["targets"]
    assert target["created"] > 5000
    assert target["created"] == sum(change["created"] for change in document["changes"])
    assert document["estimate"]["attributes"] >= target["created"]
    assert {event["id"] for event in target["events"]} == {None}
    assert len(target["events"]) > 2
    assert main(argv) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("What a run would do now; nothing was written.")
    assert "attributes a second, as is usual" in out
    assert not (tmp_path / "state").exists()


def shown(plan: Plan) -> str:
    """A plan as it is printed."""
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(render_plan.plan(plan))
    return capture.get()


def test_what_is_shown() -> None:
    """By event and by type, with what it takes; words of others are escaped, and nothing is wider than a terminal."""
    foreseen = receipt()
    foreseen.types = {"FQDN": {"read": 40, "refused": 2}, "evil\x1b[31m": {"read": 1, "refused": 0}}
    foreseen.targets[0] = replace(foreseen.targets[0], held_back="Too many have left.")
    changes = [Change(UUID, "ThreatQ Export", kind, 3, 2, 1) for kind in ("domain", "sha256")]
    text = shown(Plan(foreseen, Estimate(58_000, 10 * 2**20, 800.0, "learned", 1.2), changes))
    assert "evil\\x1b[31m" in text
    assert "ThreatQ Export 2026-11-24            6        4        2" in text
    assert "number 5230, published" in text
    assert "new, not published" in text
    assert "about 1 minutes at 800 attributes a second, as learnt" in text
    assert "Too many have left." in text
    assert max(map(len, text.splitlines())) <= 80
    foreseen.stopped_by = "SIGTERM"
    text = shown(Plan(foreseen, Estimate(0, 0, 800.0, "learned", 0.0)))
    assert "It would send nothing." in text
    assert "Stopped by SIGTERM: this is a part of the plan." in text
