"""Recorded exchanges with a real MISP 2.5.1, and what it means for an answer to be like the recorded one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "recordings" / "misp-2.5.1"
BASE_URL = "http://127.0.0.1:8088"
"""Where the recorded server lived."""

HEADERS = (
    "Content-Type",
    "Location",
    "Content-Disposition",
    "X-Result-Count",
    "X-Export-Module-Used",
    "X-Response-Format",
    "X-Skipped-Elements-Count",
    "X-Rate-Limit-Limit",
    "X-Rate-Limit-Remaining",
    "X-Rate-Limit-Reset",
    "X-Auth-Key-Expiration",
    "X-XSS-Protection",
    "Content-Security-Policy-Report-Only",
    "Retry-After",
)
"""Headers that mean something to a client; the others tell of the machine or of the moment."""

_CUT_TEXT = re.compile(r"\.\.\. (\d+) more characters cut", re.DOTALL)
_CUT_LIST = re.compile(r"\.\.\. (\d+) more items cut")
_CUT_KEYS = re.compile(r"(\d+) more keys cut")
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LAST_NUMBER = re.compile(r"(\d+)(?=\D*$)")
_STAMPS = {"timestamp", "publish_timestamp"}


@dataclass(frozen=True)
class Recording:
    """One exchange."""

    number: int
    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    status: int | None
    answer_headers: dict[str, str]
    answer: Any

    @property
    def title(self) -> str:
        """How it is named in reports."""
        return f"{self.number:03} {self.name}"

    @property
    def moment(self) -> int:
        """The second in which the server worked on it: the time it stamped, else that of its ``Date``."""
        answered = int(parsedate_to_datetime(self.answer_headers["Date"]).timestamp())
        stamps = {int(stamp) for stamp in re.findall(r'"timestamp": "(\d+)"', json.dumps(self.answer))}
        longest = 200 if str(self.body).startswith("<") else 2  # a body of which only the size was kept is a large one
        near = [stamp for stamp in stamps if 0 <= answered - stamp <= longest]
        return max(near, default=answered)

    def sent(self) -> Any:
        """The body with what was cut out of the recording put back where it can be told."""
        return _uncut(self.body)


@cache
def recordings() -> dict[int, Recording]:
    """All of them, by number."""
    found = {}
    for file in sorted(FOLDER.glob("*.json")):
        content = json.loads(file.read_text())
        request, response = content["request"], content["response"]
        number = int(file.name[:3])
        found[number] = Recording(
            number=number,
            name=content["name"],
            method=request["method"],
            path=request["path"],
            headers=request["headers"],
            body=request["body"],
            status=response["status"],
            answer_headers=response.get("headers") or {},
            answer=response["body"],
        )
    return found


@cache
def sent_uuids() -> frozenset[str]:
    """UUIDs that a client chose; others in answers were made by the server."""
    text = json.dumps([[recording.path, recording.body] for recording in recordings().values()])
    return frozenset(_UUID.findall(text.lower()))


def _uncut(value: Any) -> Any:
    """Put back what was left out: repeated characters, and rows that go on counting."""
    if isinstance(value, dict):
        return {name: _uncut(item) for name, item in value.items()}
    if isinstance(value, list):
        cut = _CUT_LIST.fullmatch(value[-1]) if value and isinstance(value[-1], str) else None
        rows = [_uncut(item) for item in (value[:-1] if cut else value)]
        for _ in range(int(cut[1]) if cut else 0):
            rows.append({name: _next(item) for name, item in rows[-1].items()})
        return rows
    if isinstance(value, str) and (cut := _CUT_TEXT.search(value)):
        kept = value[: cut.start()]
        return kept + kept[-1] * int(cut[1])
    return value


def _next(item: Any) -> Any:
    if not isinstance(item, str):
        return item
    return _LAST_NUMBER.sub(lambda found: str(int(found[0]) + 1).zfill(len(found[0])), item)


def differences(expected: Any, actual: Any, *, where: str = "", free: frozenset[str] = frozenset()) -> list[str]:
    """What is not as it was recorded.

    Args:
        expected: from the recording, which may be cut.
        actual: from the simulator.
        where: the way to here.
        free: names of fields whose value does not count.
    """
    if isinstance(expected, dict):
        return _different_objects(expected, actual, where, free)
    if isinstance(expected, list):
        return _different_lists(expected, actual, where, free)
    if isinstance(expected, str) and isinstance(actual, str):
        cut = _CUT_TEXT.search(expected)
        if cut and actual.startswith(expected[: cut.start()]) and len(actual) == cut.start() + int(cut[1]):
            return []
    if expected == actual and type(expected) is type(actual):
        return []
    return [f"{where or 'body'}: recorded {_short(expected)}, got {_short(actual)}"]


def _different_objects(expected: dict[str, Any], actual: Any, where: str, free: frozenset[str]) -> list[str]:
    if not isinstance(actual, dict):
        return [f"{where}: recorded an object, got {_short(actual)}"]
    cut = _CUT_KEYS.fullmatch(expected.get("...", ""))
    kept = {name: value for name, value in expected.items() if name != "..."}
    found = []
    if cut and "length" not in free and len(actual) != len(kept) + int(cut[1]):
        found.append(f"{where}: recorded {len(kept) + int(cut[1])} keys, got {len(actual)}")
    if not cut and (surplus := sorted(actual.keys() - kept.keys())):
        found.append(f"{where}: not recorded {surplus}")
    for name, value in kept.items():
        here = f"{where}.{name}"
        if name not in actual:
            found.append(f"{here}: missing")
        elif name in free or _same_stamp(name, value, actual[name]) or _both_made(name, value, actual[name]):
            continue
        else:
            found += differences(value, actual[name], where=here, free=free)
    return found


def _different_lists(expected: list[Any], actual: Any, where: str, free: frozenset[str]) -> list[str]:
    if not isinstance(actual, list):
        return [f"{where}: recorded a list, got {_short(actual)}"]
    cut = _CUT_LIST.fullmatch(expected[-1]) if expected and isinstance(expected[-1], str) else None
    kept = expected[:-1] if cut else expected
    length = len(kept) + (int(cut[1]) if cut else 0)
    found = [] if length == len(actual) or "length" in free else [f"{where}: recorded {length}, got {len(actual)}"]
    for number, (one, other) in enumerate(zip(kept, actual, strict=False)):
        found += differences(one, other, where=f"{where}[{number}]", free=free)
    return found


def _same_stamp(name: str, expected: Any, actual: Any) -> bool:
    """A clock that ticked while the real server was at work."""
    if name not in _STAMPS or not (isinstance(expected, str) and isinstance(actual, str)):
        return False
    return actual.isdecimal() and abs(int(expected) - int(actual)) <= 1


def _both_made(name: str, expected: Any, actual: Any) -> bool:
    """UUIDs that both servers made up."""
    if name != "uuid" or not isinstance(expected, str) or not isinstance(actual, str):
        return False
    return expected not in sent_uuids() and actual not in sent_uuids() and bool(_UUID.fullmatch(actual))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else f"{text[:160]}…"
