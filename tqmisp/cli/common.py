"""What every command does before and after its work: settings, logs, results, errors and exit codes."""

from __future__ import annotations

import logging
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import anyio
import orjson
from rich.console import Console, RenderableType

from tqmisp.config import LocalSettings, load, load_part
from tqmisp.config.layers import SHORT
from tqmisp.config.settings import Settings
from tqmisp.errors import ConfigError, Interrupted, MispError, ThreatQError, TqmispError, Transient
from tqmisp.log import get_logger
from tqmisp.observe import logs
from tqmisp.observe.receipt import Receipt
from tqmisp.observe.streams import silence
from tqmisp.observe.terminal import escape
from tqmisp.pipeline.groups import first_error

R = TypeVar("R")

NOT_BALANCED = 6
TOO_MANY_REJECTS = 5

log = get_logger(__name__)


def overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what is a setting out of the arguments of a command; ``-v`` that was not given is none."""
    settings = {name: value for name, value in given.items() if name in SHORT or "." in name}
    return settings | {"verbose": settings.get("verbose") or None}


def settings(config: Path | None, given: Mapping[str, Any], env: Mapping[str, str] | None = None) -> Settings:
    """Load everything and start logging."""
    loaded = load(config, env=env, overrides=overrides(given))
    start_logging(loaded)
    return loaded


def local_settings(
    config: Path | None, given: Mapping[str, Any], env: Mapping[str, str] | None = None
) -> LocalSettings:
    """Load what needs no server and start logging."""
    loaded = load_part(LocalSettings, config, env=env, overrides=overrides(given))
    start_logging(loaded)
    return loaded


def start_logging(loaded: LocalSettings) -> None:
    """Log as the settings say, and let no secret of theirs through."""
    logs.register(loaded.secrets())
    output = loaded.output
    logs.configure(
        verbose=output.verbose, form=output.log_format, file=Path(output.log_file) if output.log_file else None
    )
    for warning in loaded.warnings:
        log.warning(warning)


def run_async(work: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Run to the end; of several errors at once, the first is raised alone."""
    try:
        return anyio.run(work)
    except BaseExceptionGroup as group:
        raise first_error(group) from None


def print_result(result: RenderableType) -> None:
    """Print a result for people on stdout."""
    Console(file=sys.stdout, highlight=False, markup=False, emoji=False).print(result)


def print_json(document: object) -> None:
    """Print a result for machines on stdout, as one line."""
    sys.stdout.write(orjson.dumps(document, default=str).decode() + "\n")


def say(text: str) -> None:
    """Tell the person something that is no result, on stderr; it ends nothing where nobody reads it."""
    try:
        sys.stderr.write(logs.redact(escape(text)) + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        silence(sys.stderr)


def exit_code(receipt: Receipt, max_rejects: int | None) -> int:
    """What a finished run tells the shell; the worst finding counts."""
    if not receipt.balanced or any(target.held_back for target in receipt.targets):
        return NOT_BALANCED
    if receipt.stopped_by:
        return stopped_code(receipt.stopped_by)
    refused = sum(sum(each.rejected.values()) + sum(each.quarantined.values()) for each in receipt.targets)
    if max_rejects is not None and refused > max_rejects:
        return TOO_MANY_REJECTS
    return 0


def stopped_code(reason: str | None) -> int:
    """128 and the number of the signal, as a shell would say: 130 for Ctrl-C, 143 for SIGTERM."""
    if reason is not None and reason in signal.Signals.__members__:
        return 128 + signal.Signals[reason].value
    return Interrupted.exit_code


def report_error(error: BaseException) -> int:
    """Tell what went wrong and what to do next; return the exit code.

    A traceback is for those who asked for it by ``-vv``.
    """
    if logging.getLogger("tqmisp").isEnabledFor(logging.DEBUG):
        for line in "".join(traceback.format_exception(error)).splitlines():
            say(line)
    known = isinstance(error, TqmispError)
    words = str(error) if known else f"unexpected {type(error).__name__}: {error}"
    for line in words.splitlines() or [type(error).__name__]:
        say(f"error: {line}")
    hint = _hint(error)
    if hint:
        say(f"hint: {hint}")
    return error.exit_code if isinstance(error, TqmispError) else 1


def _hint(error: BaseException) -> str | None:
    if isinstance(error, ConfigError):
        return "docs/configuration.md shows every setting; --help lists the options."
    if isinstance(error, Transient):
        return "nothing is lost: run the same command again, and it goes on from where it stopped."
    if isinstance(error, ThreatQError | MispError):
        return "mend this and run the same command again; it goes on from where it stopped."
    if isinstance(error, TqmispError):
        return None
    return "this is a fault in tqmisp; run again with -vv and report the traceback."
