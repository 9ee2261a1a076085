"""A world that changes: the indicators of ThreatQ at three moments, each as a file that a simulator serves."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqmisp.simulators.threatq import Library, generate

Row = dict[str, Any]
FQDN = {"id": 11, "name": "FQDN"}
HOUR = 3600


def three_moments(folder: Path, indicators: int, seed: int = 0) -> list[Path]:
    """Write what ThreatQ holds at first, after changes that an incremental run sees, and after rows were deleted.

    Between the first two, 1 % of the active indicators get another description, score or malware family, and 0.2 %
    another value; 0.5 % expire, among them some of those that share an attribute with others; 0.5 % of all others
    become active, and 0.5 % are new. Before the third moment 0.5 % are deleted, and half of those that had expired are
    active again.

    Args:
        folder: where to put the files.
        indicators: how many there are at first.
        seed: generates others of them, and other changes.
    """
    library, chance = generate(indicators, seed), random.Random(seed)
    first = _write(folder / "first.ndjson", library)
    newest = max(library.columns.dates["touched_at"]) // 1000
    library.now = lambda: newest + HOUR
    expired = _change(library, chance, max(1, indicators // 1000))
    second = _write(folder / "second.ndjson", library)
    library.now = lambda: newest + 2 * HOUR
    for key in expired[::2]:
        library.change(key, {"status": "Active", "expired_at": None})
    active = [row["id"] for row in _rows(library) if row["status"]["name"] == "Active"]
    for key in chance.sample(active, max(1, indicators // 200)):
        library.delete(key)
    return [first, second, _write(folder / "third.ndjson", library)]


def _change(library: Library, chance: random.Random, permille: int) -> list[int]:
    """What happens between the first two moments; gives the ids of those that have expired."""
    rows = list(_rows(library))
    by_value: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_value[str(row.get("value")).lower().replace("[dot]", ".").strip()].append(row["id"])
    sharing = [key for keys in by_value.values() if len(keys) > 1 for key in keys]
    active = [row["id"] for row in rows if row["status"]["name"] == "Active" and row["id"] not in set(sharing)]
    others = [row["id"] for row in rows if row["status"]["name"] != "Active"]
    chance.shuffle(active)
    for number in range(10 * permille):
        family = {"id": number, "attribute_id": 3, "name": "Malware Family", "value": f"Family {number % 7}"}
        kinds: tuple[Row, ...] = ({"description": f"seen again {number}"}, {"score": 9}, {"attributes": [family]})
        library.change(active.pop(), kinds[number % 3])
    for number in range(2 * permille):
        library.change(active.pop(), {"type": FQDN, "value": f"renamed{number}.example"})
    expired = [active.pop() for _ in range(5 * permille)] + chance.sample(sharing, len(sharing) // 3)
    for key in expired:
        library.expire(key)
    for key in chance.sample(others, min(len(others), 5 * permille)):
        library.change(key, {"status": "Active"})
    new: Row = {"type": FQDN, "score": 5}
    library.add(new | {"value": f"new{number}.example"} for number in range(5 * permille))
    return expired


def _rows(library: Library) -> Iterator[Row]:
    return (library.row(place) for place in range(len(library)) if library.columns.alive[place])


def _write(path: Path, library: Library) -> Path:
    return write(path, (library.raw(place) for place in range(len(library)) if library.columns.alive[place]))


def write(path: Path, lines: Iterable[bytes]) -> Path:
    """Write rows as a corpus."""
    with path.open("wb") as out:
        out.writelines(line + b"\n" for line in lines)
    return path
