"""``tqmisp run``: the main job."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import typer

from tqmisp.cli import common, daemon, job, options, render
from tqmisp.config import Settings
from tqmisp.config.layers import variable
from tqmisp.errors import Interrupted
from tqmisp.observe.receipt import Receipt
from tqmisp.pipeline.stop import Stop, watch_signals
from tqmisp.simulators.sandbox import GENERATED, SandboxOptions, launch

_OF_SERVERS = {
    "url",
    "client_id",
    "email",
    "password",
    "client_secret",
    "key",
    "verify_tls",
    "ca_file",
    "client_cert_file",
    "client_key_file",
    "proxy",
    "name",
}
"""Settings that say which servers are meant; a sandbox has its own."""


def run(
    ctx: typer.Context,
    *,
    full: options.Full = None,
    confirm_retire: options.ConfirmRetire = None,
    score_threshold: options.ScoreThreshold = None,
    status: options.Status = None,
    type: options.Type = None,  # noqa: A002  the word of the field
    exclude_type: options.ExcludeType = None,
    tag: options.Tag = None,
    source: options.Source = None,
    collection: options.Collection = None,
    since: options.Since = None,
    until: options.Until = None,
    publish: options.Publish = None,
    slice_size: options.SliceSize = None,
    distribution: options.Distribution = None,
    sharing_group_id: options.SharingGroupId = None,
    event_tag: options.EventTag = None,
    requests_in_flight: options.RequestsInFlight = None,
    chunk_size: options.ChunkSize = None,
    max_rejects: options.MaxRejects = None,
    every: options.Every = None,
    sandbox: options.Sandbox = False,
    indicators: options.Indicators = None,
    corpus: options.Corpus = None,
    faults: options.Faults = None,
    config: options.Config = None,
    state: options.State = None,
    json: options.Json = None,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
    log_format: options.LogFormat = None,
    progress: options.Progress = None,
) -> None:
    r"""Export indicators from ThreatQ to MISP, and account for each of them.

    \b
    Examples:
      tqmisp run                                  as the configuration says
      tqmisp run --score-threshold 7 --type FQDN  less of it
      tqmisp run --full                           look at everything again
      tqmisp run --every 4h                       stay, and export again and again
      tqmisp run --sandbox --indicators 60000     try it without any server

    \b
    Exit codes:
      0  done and balanced
      1  unexpected error
      2  usage or configuration
      3  ThreatQ unreachable, or it refused us
      4  MISP unreachable, or it refused us
      5  done, with more rejects than --max-rejects
      6  not balanced, or withdrawing needs --confirm-retire
      7  another run is at work
      130, 143  stopped by Ctrl-C or SIGTERM; the next run goes on

    With --every, failed runs do not end the process, SIGHUP reads the configuration
    again, and SIGTERM ends it with 0 once what has begun is finished.

    Every option can be set as a variable of the environment, such as
    TQMISP_SCORE_THRESHOLD for --score-threshold; lists are separated by commas.
    """
    given = dict(locals())
    if not sandbox and (indicators, corpus, faults) != (None, None, None):
        raise typer.BadParameter("--indicators, --corpus and --faults go with --sandbox.")
    if indicators is not None and corpus is not None:
        raise typer.BadParameter("--indicators and --corpus exclude one another.")
    origin = ctx.get_parameter_source("config")
    if sandbox and config is not None and origin is not None and origin.name == "COMMANDLINE":
        raise typer.BadParameter("--sandbox brings its own servers; leave --config out.")
    if sandbox and every is not None:
        raise typer.BadParameter("--sandbox ends with its run; for --every start 'tqmisp sandbox' beside it.")
    if sandbox and state is not None and "://" in state:
        raise typer.BadParameter("With --sandbox, --state is a folder.")
    if sandbox:
        folder = Path(state or tempfile.mkdtemp(prefix="tqmisp-"))
        simulated = SandboxOptions(
            indicators=indicators or GENERATED, corpus=corpus, faults=faults, state=folder / "sandbox"
        )
        given |= {"state": str(folder), "misp.name": "sandbox"}  # a name of its own in whatever journal it meets
        common.say(f"Sandbox and journal are kept in {folder}; --state {folder} goes on from there.")
        settings, receipt = common.run_async(partial(_in_sandbox, simulated, given))
    else:
        load = partial(common.settings, config, given)
        settings = load()
        if settings.schedule.interval:
            raise typer.Exit(common.run_async(partial(daemon.keep_exporting, settings, load, _show)))
        receipt = common.run_async(partial(job.export_until_signal, settings))
    _show(receipt, settings)
    raise typer.Exit(common.exit_code(receipt, settings.run.max_rejects))


def _show(receipt: Receipt, settings: Settings) -> None:
    if settings.output.json:
        common.print_json(receipt.as_json())
    else:
        common.print_result(render.receipt(receipt))


async def _in_sandbox(simulated: SandboxOptions, given: Mapping[str, Any]) -> tuple[Settings, Receipt]:
    stop = Stop()
    async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
        await tasks.start(watch_signals, stop)
        with anyio.CancelScope() as starting, stop.attach(drain=starting.cancel, abort=starting.cancel):
            endpoints = await stack.enter_async_context(launch(simulated))
        if starting.cancelled_caught:
            raise job.with_exit_code(Interrupted("Stopped before the sandbox was ready."), stop)
        settings = common.settings(Path(endpoints.config), given, _without_servers(os.environ))
        receipt = await job.export(settings, stop)
        tasks.cancel_scope.cancel()
    return settings, receipt


def _without_servers(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without what is meant for real servers and those who watch them: a sandbox must reach neither."""
    theirs = {variable(f"{section}.{key}") for section in ("threatq", "misp") for key in _OF_SERVERS}
    theirs |= {"TQMISP_STATE", *map(variable, ("state.path", "metrics.textfile", "metrics.port", "notify.webhook"))}
    theirs |= {"TQMISP_EVERY", variable("schedule.every")}  # a sandbox ends with its run
    return {name: value for name, value in env.items() if name not in theirs}
