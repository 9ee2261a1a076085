"""``tqmisp check``: whether the servers will take an export."""

from __future__ import annotations

from dataclasses import asdict

import typer

from tqmisp.check import check as look
from tqmisp.check import exit_code
from tqmisp.cli import common, options, render


def check(
    *,
    config: options.Config = None,
    state: options.State = None,
    json: options.Json = None,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
    log_format: options.LogFormat = None,
    progress: options.Progress = None,
) -> None:
    r"""Look whether this ThreatQ and this MISP will take an export, and print each fix.

    Nothing is written to either server. A warning does not stop a run; a
    failure does, and the exit code is the one that the run would end with.

    \b
    Examples:
      tqmisp check
      tqmisp check --config tqmisp.toml --json

    \b
    Exit codes:
      0  a run will work, though there may be warnings
      2  a failure on this machine or in the configuration
      3  a failure of ThreatQ
      4  a failure of MISP
    """
    settings = common.settings(config, dict(locals()))
    findings = common.run_async(lambda: look(settings))
    if settings.output.json:
        counts = {level: sum(each.level == level for each in findings) for level in ("ok", "warning", "failure")}
        common.print_json({"findings": [asdict(each) for each in findings], "counts": counts})
    else:
        common.print_result(render.findings(findings))
    raise typer.Exit(exit_code(findings))
