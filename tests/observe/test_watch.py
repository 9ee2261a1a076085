from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from tests.cli.conftest import receipt
from tests.logs import capture_logs
from tqmisp.errors import Interrupted, LockHeld, MispRefused, TqmispError
from tqmisp.observe import logs, notify
from tqmisp.observe.metrics import Latest, earlier_success
from tqmisp.observe.notify import message, send
from tqmisp.observe.options import MetricsOptions, NotifyOptions
from tqmisp.observe.receipt import Receipt
from tqmisp.observe.watch import watched

SILENT = MetricsOptions()


class Hook:
    """Takes notifications."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.status = 200
        self.hang = False
        self.options = NotifyOptions()

    async def take(self, request: web.Request) -> web.Response:
        self.taken.append(json.loads(await request.text()))
        if self.hang:
            await anyio.sleep_forever()
        return web.Response(status=self.status, headers={"Location": "/elsewhere"} if self.status == 302 else {})


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    """Serve one."""
    here = Hook()
    app = web.Application()
    app.router.add_post("/hooks/hush-hush", here.take)
    async with TestServer(app) as server:
        here.options = NotifyOptions(webhook=SecretStr(str(server.make_url("/hooks/hush-hush"))))
        yield here


def _uneven() -> Receipt:
    result = receipt()
    result.targets[0].balanced = False
    result.targets[0].read += 1
    result.targets[0].imbalance = ["60001 indicators were read, 60000 are accounted for."]
    return result


async def test_a_run_that_does_not_balance_is_told(hook: Hook) -> None:
    """Which run, how many are missing, and the sentences of the receipt."""
    async with watched("misp", SILENT, hook.options) as watch:
        watch.end(_uneven())
    [told] = hook.taken
    assert told["event"] == "run_not_balanced"
    assert (told["read"], told["accounted"]) == (60_001, 60_000)
    assert told["imbalance"] == ["60001 indicators were read, 60000 are accounted for."]
    assert told["run_id"] == receipt().run_id
    assert told["text"] == "tqmisp: the run to misp does not balance."


async def _fail(hook: Hook, error: BaseException, metrics: MetricsOptions = SILENT) -> None:
    async with watched("misp", metrics, hook.options):
        raise error


async def test_a_run_that_failed_is_told(hook: Hook) -> None:
    """Its kind and its words, without a secret, and short; the error goes on its way."""
    logs.register(["hush-hush"])
    try:
        with pytest.raises(MispRefused):
            await _fail(hook, MispRefused("MISP said hush-hush \ud800 <!channel> " + "x" * 65_536))
    finally:
        logs.register(())
    [told] = hook.taken
    assert told["event"] == "run_failed"
    assert told["error"] == "MispRefused"
    assert told["reason"].startswith(r"MISP said ********** \ud800 ")
    assert len(told["reason"]) < 600
    assert told["text"] == "tqmisp: the run to misp failed (MispRefused)."
    assert "hush-hush" not in json.dumps(told)


async def test_a_run_that_holds_something_back_is_told(hook: Hook) -> None:
    """It ends with an exit code that is not 0, so somebody should know why."""
    result = receipt()
    result.targets[0].held_back = "Half of all would be withdrawn."
    async with watched("misp", SILENT, hook.options) as watch:
        watch.end(result)
    [told] = hook.taken
    assert (told["event"], told["reason"]) == ("run_held_back", "Half of all would be withdrawn.")


@pytest.mark.parametrize("error", [Interrupted("Stopped."), LockHeld("Another run is at work.")], ids=repr)
async def test_nobody_is_told_of_what_needs_nobody(hook: Hook, error: Exception) -> None:
    """A run that is well, that a signal stopped, or that another one kept out."""
    async with watched("misp", SILENT, hook.options) as watch:
        watch.end(receipt())
    with pytest.raises(type(error)):
        await _fail(hook, error)
    assert hook.taken == []
    assert message("misp") is None


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_refusal_is_logged_and_tried_once(hook: Hook, status: int) -> None:
    """No repetition, no redirect, no error, and the address in no log."""
    hook.status = status
    with capture_logs() as said:
        async with watched("misp", SILENT, hook.options) as watch:
            watch.end(_uneven())
    assert len(hook.taken) == 1
    assert said == [{"event": "the notification was refused", "status": status, "log_level": "warning"}]


async def test_an_address_that_does_not_answer_is_left(hook: Hook) -> None:
    """After its time, or at once where nobody listens; with the error of the run as if nothing had been."""
    hook.hang = True
    quick = NotifyOptions(webhook=hook.options.webhook, timeout=0.01)
    with capture_logs() as said:
        await send({"a": 1}, quick)
        await send({"a": 1}, NotifyOptions(webhook=SecretStr("http://127.0.0.1:1/hush-hush")))
        await send({"a": 1}, NotifyOptions(webhook=SecretStr("nonsense://hush-hush")))
        await send({"a": 1}, NotifyOptions())
    assert [each["event"] for each in said] == ["the notification could not be delivered"] * 3
    assert "hush-hush" not in str(said)


async def test_metrics_tell_how_a_run_ended(hook: Hook, tmp_path: Path) -> None:
    """Done, failed or stopped; a run that is kept out leaves them as they are."""
    path = tmp_path / "tqmisp.prom"
    metrics = MetricsOptions(textfile=str(path))
    async with watched("misp", metrics, hook.options) as watch:
        watch.end(receipt())
    assert 'tqmisp_run_outcome{outcome="done",target="misp"} 1.0' in path.read_text()
    for error, outcome in (
        (MispRefused("No."), "failed"),
        (LockHeld("Another run is at work."), "failed"),
        (Interrupted("Stopped."), "stopped"),
    ):
        with pytest.raises(type(error)):
            await _fail(hook, error, metrics)
        assert f'tqmisp_run_outcome{{outcome="{outcome}",target="misp"}} 1.0' in path.read_text()
    assert await anyio.to_thread.run_sync(earlier_success, path, "misp") is not None


async def test_metrics_of_one_run_after_another() -> None:
    """In a process that stays, the last run is there between runs; one that is kept out does not take its place."""
    latest, metrics = Latest(), MetricsOptions(port=1, address="nowhere.invalid")  # the port is not for the run

    async def run(error: Exception | None = None) -> None:
        with suppress(TqmispError):
            async with watched("misp", metrics, NotifyOptions(), latest) as watch:
                if error is not None:
                    raise error
                watch.end(receipt())

    assert list(latest.collect()) == []
    with capture_logs() as said:
        await run()
        assert latest.run is not None
        success = latest.run.last_success
        assert (latest.run.outcome, success is not None) == ("done", True)
        await run(MispRefused("No."))
        await run(LockHeld("Another run is at work."))
    assert said == []
    assert (latest.run.outcome, latest.run.last_success) == ("failed", success)
    assert {"tqmisp_run_outcome", "tqmisp_last_success_timestamp_seconds"} <= {each.name for each in latest.collect()}


def test_many_sentences_are_few() -> None:
    """A document stays small, whatever is off."""
    result = _uneven()
    result.targets[0].imbalance = ["x" * 1_000] * 100
    told = message("misp", receipt=result)
    assert told is not None
    assert len(told["imbalance"]) == notify.MOST_SENTENCES
    assert len(json.dumps(told)) < 10_000
