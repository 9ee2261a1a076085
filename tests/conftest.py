from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

WORKS_ON_THE_LOOP = [
    f"tqmisp.{part}"
    for part in ("check", "export", "journal", "misp", "observe", "pipeline", "schedule", "threatq", "transport")
]
MAY_BLOCK = [
    ("tqmisp/misp/galaxies.py", ("_table",)),  # the names of actors and malware, once
    ("tqmisp/misp/types.py", ("known_types",)),  # the types of MISP, once
    ("tqmisp/journal/store.py", ("_migrate",)),  # Alembic and its scripts, when a journal is made or upgraded
    ("zoneinfo/_tzpath.py", ("find_tzfile",)),  # the zone of the run day, once
    ("zoneinfo/_common.py", ("load_data", "from_file")),
    ("logging/__init__.py", ("handle",)),  # a line to a log file; no item has one of its own
]

settings.register_profile("ci", deadline=None, print_blob=True)  # how long an example takes says more of the machine
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _the_loop_is_free() -> Iterator[None]:
    """Fail a test in which the package blocks the event loop; tests and simulators may."""
    with blockbuster_ctx(WORKS_ON_THE_LOOP) as guard:
        for function in guard.functions.values():
            for file, names in MAY_BLOCK:
                function.can_block_in(file, names)
        yield
