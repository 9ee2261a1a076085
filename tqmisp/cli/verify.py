"""``tqmisp verify``: whether MISP holds what was delivered."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from tqmisp.cli import common, job, options, render
from tqmisp.export import Export
from tqmisp.observe.receipt import Receipt
from tqmisp.verification import Verdict

DIFFERENT = 6


def verify(
    *,
    thorough: Annotated[
        bool,
        typer.Option("--all", help="Look at each attribute of all events.", show_envvar=False, show_default=False),
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Deliver again what MISP has lost; what people changed or deleted stays.",
            show_envvar=False,
            show_default=False,
        ),
    ] = False,
    config: options.Config = None,
    state: options.State = None,
    json: options.Json = None,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
    log_format: options.LogFormat = None,
    progress: options.Progress = None,
) -> None:
    r"""Hold what the journal says against what MISP holds, event by event.

    Events are compared by count and by time, and those that differ attribute
    by attribute. What is missing or stale is ours to mend; what people have
    deleted, changed or added is listed and stays.

    \b
    Examples:
      tqmisp verify
      tqmisp verify --all --json
      tqmisp verify --repair     and mend what is ours

    \b
    Exit codes:
      0  MISP holds what was delivered, but for what people have decided
      4  MISP unreachable, or it refused us
      6  something is missing or stale
      7  a run is at work
    """
    settings = common.settings(config, dict(locals()))
    verdict, receipt = common.run_async(
        lambda: job.until_signal(settings, partial(_verify, every=thorough, repair=repair))
    )
    if settings.output.json:
        common.print_json(verdict.as_json() | ({"repair": receipt.as_json()} if receipt else {}))
    else:
        common.print_result(render.verdict(verdict))
        if receipt is not None:
            common.print_result(render.receipt(receipt))
    if receipt is not None:
        raise typer.Exit(common.exit_code(receipt, None))
    raise typer.Exit(0 if verdict.holds else DIFFERENT)


async def _verify(export: Export, *, every: bool, repair: bool) -> tuple[Verdict, Receipt | None]:
    verdict = await export.verify(every=every, repair=repair)
    return verdict, await export.run(full=True) if verdict.to_deliver_again else None
