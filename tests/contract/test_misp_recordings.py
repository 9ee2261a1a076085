"""The simulated MISP against a real one: every recorded exchange is played again and the answers are compared."""

from __future__ import annotations

import io
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientSession, DummyCookieJar
from aiohttp.test_utils import BaseTestServer, TestServer
from yarl import URL

from tests.contract import preparations
from tests.contract.conftest import COVERED
from tests.contract.recordings import BASE_URL, HEADERS, Recording, differences, recordings
from tqmisp.simulators.misp import MispStore, create_app

COVERED_AT_LEAST = 332
"""Recorded exchanges that the simulator answers like the real server; may only grow."""


class Stage:
    """A simulator whose clock shows the time of the recording."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.store = MispStore(now=lambda: self.clock)


async def play(session: ClientSession, server: BaseTestServer, recording: Recording) -> list[str]:
    """Send a recorded request, and compare the answer."""
    headers = dict(recording.headers)
    key = preparations.AUTHORIZATION.get(recording.number, preparations.SYNC.key)
    headers |= {name: key for name, value in recording.headers.items() if value == "<key>"}
    body = preparations.body_of(recording)
    url = URL(str(server.make_url("/")).rstrip("/") + recording.path, encoded=True)
    async with session.request(
        recording.method,
        url,
        headers=headers,
        data=body if body is None or len(body) < 1_000_000 else io.BytesIO(body),
        allow_redirects=False,
        skip_auto_headers=("Content-Type", "Accept"),
    ) as response:
        answer = await response.read()
    found = (
        [] if response.status == recording.status else [f"status: recorded {recording.status}, got {response.status}"]
    )
    for name in HEADERS:
        recorded = recording.answer_headers.get(name)
        expected = recorded and recorded.replace(BASE_URL, str(server.make_url("/")).rstrip("/"))
        if expected != response.headers.get(name):
            found.append(f"{name}: recorded {expected!r}, got {response.headers.get(name)!r}")
    free = preparations.FREE.get(recording.number, frozenset())
    return found + differences(recording.answer, _decoded(recording, answer), free=free)


def _decoded(recording: Recording, body: bytes) -> Any:
    if isinstance(recording.answer, str):
        return body.decode()
    return json.loads(body)


@pytest.mark.parametrize("part", preparations.PARTS)
async def test_answers_as_recorded(part: str) -> None:
    """In each part of the recordings every answer has the status, the headers and the body of the real server."""
    stage = Stage()
    background = replace(preparations.OPTIONS, background_jobs=True)
    found: dict[str, list[str]] = {}
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(ClientSession(cookie_jar=DummyCookieJar(), auto_decompress=False))
        usual = await stack.enter_async_context(TestServer(create_app(stage.store, preparations.OPTIONS)))
        queueing = await stack.enter_async_context(TestServer(create_app(stage.store, background)))
        for number in preparations.PARTS[part]:
            recording = recordings().get(number)
            if recording is None:
                continue
            if recording.status is not None:
                stage.clock = recording.moment
            if number in preparations.BEFORE:
                preparations.BEFORE[number](stage.store)
            if number in preparations.LEFT_OUT:
                continue
            server = queueing if number in preparations.BACKGROUND_JOBS else usual
            different = await play(session, server, recording)
            if different:
                found[recording.title] = different
            else:
                COVERED.add(number)
    assert not found, "\n".join(f"{title}\n    " + "\n    ".join(lines) for title, lines in found.items())


def test_covers_most_recordings() -> None:
    """The number of exchanges that are compared does not fall, and each other one is left out for a stated reason."""
    played = {number for part in preparations.PARTS.values() for number in part if number in recordings()}
    assert played == set(recordings())
    assert not set(preparations.LEFT_OUT) - played
    assert len(played) - len(preparations.LEFT_OUT) >= COVERED_AT_LEAST
