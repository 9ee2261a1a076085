"""Bodies of ThreatQ, with made-up values; their shapes are those that published clients send and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

FOLDER = Path(__file__).parent


def sample(name: str) -> Any:
    """One body, decoded."""
    return orjson.loads((FOLDER / name).read_bytes())
