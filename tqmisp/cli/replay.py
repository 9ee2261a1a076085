"""``tqmisp replay``: rejects and quarantine once more."""

from __future__ import annotations

from typing import Annotated

import typer

from tqmisp.cli import common, job, options, render


def replay(
    *,
    code: Annotated[
        list[str] | None,
        typer.Option(
            "--code", help="Only what was refused for this reason; repeat it.", metavar="CODE", show_default=False
        ),
    ] = None,
    type: Annotated[  # noqa: A002  the word of the field
        list[str] | None,
        typer.Option(
            "--type", help="Only of this type, as status shows it; repeat it.", metavar="NAME", show_default=False
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run", help="Only what this run refused: its id, or the beginning.", metavar="ID", show_default=False
        ),
    ] = None,
    max_rejects: options.MaxRejects = None,
    config: options.Config = None,
    state: options.State = None,
    json: options.Json = None,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
    log_format: options.LogFormat = None,
    progress: options.Progress = None,
) -> None:
    r"""Try indicators again that were rejected or quarantined, after something was mended.

    Each is read from ThreatQ as it is now; what is refused again keeps its
    place and its reason.

    \b
    Examples:
      tqmisp replay
      tqmisp replay --code server_error
      tqmisp replay --run 3f2a --type FQDN

    The exit codes are those of run.
    """
    given = dict(locals())
    settings = common.settings(config, {name: given[name] for name in given if name not in {"code", "type", "run"}})
    receipt = common.run_async(
        lambda: job.until_signal(settings, lambda export: export.replay(codes=code or (), types=type or (), run=run))
    )
    if settings.output.json:
        common.print_json(receipt.as_json())
    else:
        common.print_result(render.receipt(receipt))
    raise typer.Exit(common.exit_code(receipt, settings.run.max_rejects))
