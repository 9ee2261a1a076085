"""``tqmisp explain``: everything that is known of one indicator."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from tqmisp.cli import common, job, options, render_dossier
from tqmisp.errors import MispError, ThreatQError
from tqmisp.transport.options import PeerOptions

READ_TIMEOUT = 30.0
"""Seconds without a byte at most, whatever is configured: nothing that is asked here takes a server long."""


def explain(
    *,
    asked: Annotated[
        str,
        typer.Argument(
            metavar="VALUE|ID",
            help="The value of an indicator, its id in ThreatQ, or the UUID of an attribute of ours.",
            show_default=False,
        ),
    ],
    config: options.Config = None,
    state: options.State = None,
    json: options.Json = None,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
    log_format: options.LogFormat = None,
    progress: options.Progress = None,
) -> None:
    r"""Say of one indicator whether it is selected, what it becomes, where it is, and why.

    ThreatQ, the journal and MISP are asked; nothing is written. Whoever does not
    answer is named, and the others are told of all the same.

    \b
    Examples:
      tqmisp explain evil.example
      tqmisp explain hxxps://evil[.]example/path
      tqmisp explain 4711 --json
      tqmisp explain -- -value-that-begins-with-a-dash

    \b
    Exit codes:
      0  everybody was asked, whether or not anybody knows it
      3  ThreatQ could not be asked
      4  MISP could not be asked
    """
    given = dict(locals())
    settings = common.settings(config, {name: value for name, value in given.items() if name != "asked"})
    settings = replace(
        settings,
        threatq=replace(settings.threatq, **_impatient(settings.threatq)),
        misp=replace(settings.misp, **_impatient(settings.misp)),
    )
    result = common.run_async(lambda: job.until_signal(settings, lambda export: export.explain(asked), look=True))
    if settings.output.json:
        common.print_json(result.as_json())
    else:
        common.print_result(render_dossier.dossier(result))
    if "threatq" in result.not_asked:
        raise typer.Exit(ThreatQError.exit_code)
    raise typer.Exit(MispError.exit_code if "misp" in result.not_asked else 0)


def _impatient(options: PeerOptions) -> dict[str, Any]:
    """What to change in them, since somebody is waiting: who does not answer now is not waited for."""
    return {"attempts": 1, "patience": 0.0, "read_timeout": min(options.read_timeout, READ_TIMEOUT)}
