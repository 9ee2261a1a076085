from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.contract.recordings import Recording, differences, recordings
from tqmisp.misp.reject import Unstorable
from tqmisp.misp.types import known_types
from tqmisp.misp.values import stored

ALREADY_THERE = "A similar attribute already exists for this event."
NOT_FOR_ITS_VALUE = {
    191: "uuid-known-elsewhere.com",
    195: "other-same-uuid.com",
    196: "uuid-elsewhere.com",
    399: "clean3.com",  # known in the event under another UUID
}
"""Dropped without a word by ``/events/...``, for another reason than the value."""


class Verdict(NamedTuple):
    """What the server said to one attribute."""

    recording: Recording
    type: str
    category: str | None
    value: str
    stored: str | None
    """The value in the answer; None where there is none."""
    valid: bool


def attributes_of(body: Any) -> list[dict[str, Any]]:
    """The attributes in a body, whichever of its shapes it has."""
    if isinstance(body, dict):
        body = body.get("Event", body)
    if isinstance(body, dict):
        body = body.get("Attribute", body)
    return [each for each in (body if isinstance(body, list) else [body]) if isinstance(each, dict)]


def text(value: Any) -> str | None:
    """A value as a row of ThreatQ could have it; None for shapes that none can have."""
    if value is None or isinstance(value, str):
        return value or ""
    return str(value) if isinstance(value, int) else None


def of_attributes_add(recording: Recording) -> Iterator[Verdict]:
    """``/attributes/add`` names each refusal, by index where several were sent."""
    answer = recording.answer
    sent = [
        each | {"value": value}
        for each in attributes_of(recording.sent())
        for value in (each["value"] if isinstance(each.get("value"), list) else [each.get("value")])
    ]
    errors = answer.get("errors", {})
    by_index = isinstance(recording.sent(), list) and len(sent) > 1
    saved = answer.get("Attribute", [])
    saved = [each["value"] for each in (saved if isinstance(saved, list) else [saved]) if isinstance(each, dict)]
    remaining = iter(saved)
    for index, each in enumerate(sent):
        own = errors.get(f"attribute_{index}") if by_index else errors
        value = text(each.get("value"))
        if isinstance(own, str) or value is None:
            continue  # refused by the server's own screen; or a shape that is not ours
        complaints = [
            said
            for field in ("type", "category", "value")
            for said in (own or {}).get(field, ())
            if said != ALREADY_THERE
        ]
        kept = None if own else next(remaining, None)  # long answers are cut in the recordings
        yield Verdict(recording, each.get("type", ""), each.get("category"), value, kept, not complaints)


def of_event(recording: Recording) -> Iterator[Verdict]:
    """Events answer with what they hold; what is missing was dropped without a word."""
    answered = recording.answer["Event"]["Attribute"]
    held = {each["uuid"]: each for each in answered if isinstance(each, dict)}
    values = {each["value"] for each in held.values()}
    for each in attributes_of(recording.sent()):
        value = text(each.get("value"))
        row = held.get(each.get("uuid", "").lower(), {})
        if value is None or ("value" not in each and row) or NOT_FOR_ITS_VALUE.get(recording.number) == value:
            continue
        kept = row.get("value") or (value if value in values else None)
        if kept is None and len(held) < len(answered):
            continue  # the recording is cut, the answer was longer
        kind = each.get("type") or row.get("type", "")
        yield Verdict(recording, kind, each.get("category"), value, kept, kept is not None)


def verdicts() -> Iterator[Verdict]:
    """Every verdict on a value in the recordings."""
    for recording in recordings().values():
        if not isinstance(recording.answer, dict) or recording.status == 500:
            continue
        if isinstance(recording.body, str) or not recording.body:
            continue
        if recording.path.startswith("/attributes/add/") and {"Attribute", "errors"} & recording.answer.keys():
            yield from of_attributes_add(recording)
        elif recording.path.startswith("/events/") and "Attribute" in recording.answer.get("Event", {}):
            yield from of_event(recording)


def predict(verdict: Verdict) -> tuple[str | None, str]:
    """What we expect to be stored, or None and the code."""
    try:
        value = stored(verdict.type, verdict.value)
    except Unstorable as error:
        return None, error.code
    if verdict.category is not None and verdict.category not in known_types()[verdict.type].categories:
        return None, "category"
    return value, ""


@pytest.mark.parametrize(
    "verdict", [pytest.param(each, id=f"{each.recording.title} {index}") for index, each in enumerate(verdicts())]
)
def test_a_recorded_verdict_is_predicted(verdict: Verdict) -> None:
    """What a real MISP 2.5.1 stored or refused is what we say that it will."""
    value, code = predict(verdict)
    assert (value is not None) == verdict.valid, code
    if verdict.stored is not None:
        assert differences(verdict.stored, value) == []


def test_the_verdicts_are_many(capsys: pytest.CaptureFixture[str]) -> None:
    """The table above is not empty by some accident; how long it is, is printed."""
    found = list(verdicts())
    refused = sum(not each.valid for each in found)
    kept = sum(each.stored is not None for each in found)
    with capsys.disabled():
        print(  # noqa: T201
            f"\nMISP 2.5.1: {len(found)} recorded verdicts on values are held against ours: "
            f"{kept} stored, {refused} refused, {len(found) - kept - refused} valid but there already"
        )
    assert len(found) >= 160
    assert refused >= 30
