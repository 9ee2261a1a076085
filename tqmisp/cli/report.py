"""``tqmisp report``: a run as a page, and what was refused as a table."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import orjson

from tqmisp.cli import common, options
from tqmisp.cli.status import know, open_existing, run_line
from tqmisp.config import LocalSettings
from tqmisp.errors import ConfigError
from tqmisp.observe.sheet import csv_line

RUNS = 30
"""Lines of the history."""
ROWS = 5_000
"""Refused indicators in memory at once."""
COLUMNS = ("target", "kind", "code", "indicator_id", "type", "value", "reason")
DEFAULT_OUTPUT = Path("tqmisp-report.html")


def report(
    *,
    output: options.ReportOutput = None,
    run: options.ReportRun = None,
    rejects: options.RejectsOutput = None,
    samples: options.ReportSamples = 100,
    config: options.Config = None,
    state: options.State = None,
    json: options.Json = None,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
    log_format: options.LogFormat = None,
    progress: options.Progress = None,
) -> None:
    r"""Show a run as one web page that loads nothing, and write refused indicators as a table.

    It asks no server. The page is written to tqmisp-report.html unless --json
    or --rejects asks for something else. New files are for their owner only.

    \b
    Examples:
      tqmisp report                           the newest run
      tqmisp report --run 17b529fc --output run.html
      tqmisp report --rejects rejects.csv     every refused indicator
      tqmisp report --json                    what the page is made of
    """
    settings = common.local_settings(config, dict(locals()))
    written: list[str] = []
    if rejects is not None:
        with _create(rejects) as file:
            count = common.run_async(lambda: write_rejects(settings, file))
        written.append(f"{count:,} refused indicators are in {rejects}.")
    if output is None and rejects is None and not settings.output.json:
        output = DEFAULT_OUTPUT
    if output is not None or settings.output.json:
        document = common.run_async(lambda: gather(settings, run=run, samples=samples))
        if output is not None:
            from tqmisp.observe.report import render  # noqa: PLC0415  costs time that no other command need spend

            page = render(document)
            with _create(output) as file:
                file.write(page)
            written.append(f"The report is in {output}.")
        if settings.output.json:
            common.print_json(document)
    for line in written:
        common.say(line)


async def gather(settings: LocalSettings, *, run: str | None = None, samples: int = 100) -> dict[str, Any]:
    """Collect what the page shows, as plain data for :func:`tqmisp.observe.report.render`.

    Args:
        settings: where the journal is.
        run: the id of a run, or its beginning; by default the newest.
        samples: how many refused indicators to take for each reason.

    Raises:
        ConfigError: there is no such run.
    """
    async with open_existing(settings) as journal:
        record = None
        if journal is not None:
            record = await journal.run(run or "")
        if run is not None and record is None:
            raise ConfigError(f"There is no run {run!r}; tqmisp status --json shows the ids of all.")
        return {
            "generated_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "run": run_line(record) if record else None,
            "receipt": orjson.loads(record.receipt) if record and record.receipt else None,
            **await know(journal, settings, runs=RUNS, samples=samples),
        }


async def write_rejects(settings: LocalSettings, file: TextIO) -> int:
    """Write every refused indicator as a line of CSV; return their number."""
    count = 0
    file.write(csv_line(COLUMNS))
    async with open_existing(settings) as journal:
        if journal is None:
            return 0
        for number, name, _ in await journal.targets():
            async for rows in journal.every_refusal(number, ROWS):
                file.writelines(
                    csv_line((name, row.kind, row.code, row.indicator_id, row.label, row.value, row.reason))
                    for row in rows
                )
                count += len(rows)
    return count


def _create(path: Path) -> TextIO:
    """Open a file to write to; a new one is for its owner only, as it holds what others shared in confidence."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from error
