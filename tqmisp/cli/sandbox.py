"""``tqmisp sandbox``: both simulators, for as long as they are wanted."""

from __future__ import annotations

import sys

import anyio
import typer

from tqmisp.cli import common, options
from tqmisp.pipeline.stop import Stop, watch_signals
from tqmisp.simulators.sandbox import GENERATED, Endpoints, SandboxOptions, serve


def sandbox(
    *,
    indicators: options.Indicators = None,
    seed: options.Seed = None,
    corpus: options.Corpus = None,
    faults: options.Faults = None,
    state: options.SandboxState = None,
    ready_file: options.ReadyFile = None,
    config: options.Config = None,
    json: options.Json = None,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
    log_format: options.LogFormat = None,
    progress: options.Progress = None,
) -> None:
    r"""Serve a simulated ThreatQ and a simulated MISP until a signal comes.

    When both answer, one line of JSON on stdout says where they are, how to
    log in, and where a configuration lies that fits.

    \b
    Examples:
      tqmisp sandbox --indicators 60000
      tqmisp sandbox --corpus feed.ndjson.gz --state ./sandbox
      tqmisp sandbox --faults 'seed=7; *=any@5%'
    """
    given = dict(locals()) | {"state": None}  # the folder of the simulators is not that of the journal
    if indicators is not None and corpus is not None:
        raise typer.BadParameter("--indicators and --corpus exclude one another.")
    common.local_settings(config, given)
    simulated = SandboxOptions(
        indicators=indicators or GENERATED,
        seed=seed or 0,
        corpus=corpus,
        faults=faults,
        state=state,
        ready_file=ready_file,
    )
    common.run_async(lambda: _serve(simulated))


async def _serve(simulated: SandboxOptions) -> None:
    stop = Stop()
    async with anyio.create_task_group() as tasks:
        await tasks.start(watch_signals, stop)
        scope = tasks.cancel_scope
        with stop.attach(drain=scope.cancel, abort=scope.cancel):
            await serve(simulated, _print)


def _print(endpoints: Endpoints) -> None:
    sys.stdout.write(endpoints.as_json().decode() + "\n")
    sys.stdout.flush()
