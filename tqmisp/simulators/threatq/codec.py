"""JSON for rows. Values may hold what orjson does not take, such as half of a surrogate pair."""

from __future__ import annotations

import json
from typing import Any

import orjson


def loads(raw: bytes) -> Any:  # noqa: ANN401  whatever JSON holds
    """Decode JSON.

    Raises:
        ValueError: it is none.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return json.loads(raw)


def dumps(content: object) -> bytes:
    """Encode as JSON."""
    try:
        return orjson.dumps(content)
    except orjson.JSONEncodeError:
        return json.dumps(content).encode()
