from __future__ import annotations

import csv
from pathlib import Path

from benchmarks import controller
from benchmarks.servers import MispSetup


def test_decisions_about_a_server_can_be_kept(tmp_path: Path) -> None:
    """Everything arrives over real HTTP, and each decision is a line of the file."""
    found = controller.measure(MispSetup(), 20_000)
    place = tmp_path / "decisions.csv"
    controller.write_csv(found["decisions"], place)
    with place.open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(found["decisions"]) > 0
    assert int(lines[-1]["in_flight"]) == found["in_flight"]
    assert int(lines[-1]["chunk"]) == found["chunk"]
