"""What the answers of ThreatQ say. Pure."""

from __future__ import annotations

import json
from typing import Any

import orjson


def loads(content: bytes) -> Any:  # noqa: ANN401  it is JSON
    """Decode JSON, also with half characters in its texts, which the fast decoder refuses.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content)


def words_of(content: bytes) -> str:
    """The texts of an error body, whatever its kind; empty where there are none."""
    try:
        body = loads(content)
    except (ValueError, RecursionError):
        return ""
    return "; ".join(_texts(body))


def refusal_in(body: object) -> str | None:
    """The texts of an error that came with a status of success; None where it is none."""
    if not isinstance(body, dict):
        return None
    data = body.get("data")
    hidden = isinstance(data, list) and data and isinstance(data[0], dict) and "id" not in data[0] and data[0]
    if body.get("errors") or (isinstance(data, dict) and data.get("errors")) or (hidden and hidden.get("error")):
        return "; ".join(_texts(body)) or "without a word"
    return None


def _texts(body: object) -> list[str]:
    """Errors come as a list, by field below ``data``, in the first row, or as ``name`` and ``message``."""
    if not isinstance(body, dict):
        return []
    data = body.get("data")
    inner = data.get("errors") if isinstance(data, dict) else None
    if inner is None and isinstance(data, list) and data and isinstance(data[0], dict):
        inner = data[0].get("error")
    for found in (body.get("errors"), inner, body.get("message"), body.get("name")):
        if found:
            return _flat(found)
    return []


def _flat(found: object) -> list[str]:
    if isinstance(found, dict):
        return [f"{name}: {' '.join(_flat(texts))}" for name, texts in found.items()]
    if isinstance(found, list):
        return [text for each in found for text in _flat(each)]
    return [found if isinstance(found, str) else str(found)]
