"""Logs: structlog in front, the standard library behind, and no secret in either."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, quote_plus

import structlog
from structlog.typing import EventDict, WrappedLogger

from tqmisp import log
from tqmisp.errors import ConfigError
from tqmisp.observe.streams import silence
from tqmisp.observe.terminal import escape

MASK = "**********"
SHORTEST = 4
"""Shorter secrets are masked by the name of their key only: masking them wherever they occur would eat every text."""

Format = Literal["text", "json", "classic"]
"""``text`` for people, ``json`` for machines, ``classic`` as the 2018 connector wrote."""

_SECRET_NAME = re.compile(r"^key$|passw|secret|token|auth_?key|api_?key|authorization|credential|cookie", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
_COLOURS = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}

_PLAIN = "\x1b[0m"

_known: re.Pattern[str] | None = None
_installed: list[logging.Handler] = []
"""Ours, as opposed to those of whoever uses us as a library."""


def register(secrets: Iterable[str]) -> None:
    """Mask these values from now on, also in the forms that URLs and JSON give them; forget the earlier ones."""
    global _known  # noqa: PLW0603  logging is one for the whole process
    forms: set[str] = set()
    for secret in secrets:
        if len(secret) >= SHORTEST:
            forms |= {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], escape(secret)}
    longest_first = sorted(forms, key=len, reverse=True)
    _known = re.compile("|".join(map(re.escape, longest_first))) if forms else None


def redact(text: str) -> str:
    """Mask every registered secret, and whatever stands where a token stands in a header."""
    if _known is not None:
        text = _known.sub(MASK, text)
    return _BEARER.sub(rf"\1 {MASK}", text)


def configure(
    *,
    verbose: int = 0,
    form: Format = "text",
    file: Path | None = None,
    stream: Literal["stderr", "stdout"] = "stderr",
    ours: Sequence[str] = ("tqmisp",),
) -> None:
    """Send all logs of this process to one place.

    Args:
        verbose: 0 for warnings, 1 for information, 2 for everything of ours, 3 also for the libraries.
        form: how a line looks.
        file: append to this file, which is made for its owner only; it may be rotated by others.
        stream: where else.
        ours: the loggers that ``verbose`` means.

    Raises:
        ConfigError: the file cannot be written.
    """
    log.processors[:] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.filter_by_level,
        *_ABOUT,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ]
    handler = _to_file(file) if file else _Stream(stream)
    coloured = file is None and getattr(sys, stream).isatty() and not os.environ.get("NO_COLOR")
    renderer = {"json": _json, "classic": _classic}.get(form) or _Text(coloured=coloured)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.contextvars.merge_contextvars, *_ABOUT],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redact_event,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    while _installed:
        old = _installed.pop()
        root.removeHandler(old)
        old.close()
    _installed.append(handler)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose > 2 else logging.WARNING)
    for name in ours:
        logging.getLogger(name).setLevel({0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG))
    logging.captureWarnings(capture=True)


def _timestamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    event["timestamp"] = datetime.fromtimestamp(record.created, UTC) if record else datetime.now(UTC)
    return event


_ABOUT = [structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, _timestamp]


class _Discreet(logging.Handler):
    """Says once why a line cannot be written, and never the line itself, which has not been through redaction."""

    _told = False

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802  the name is the library's
        if not self._told:
            self._told = True
            error = sys.exception()
            reason = getattr(error, "strerror", None) or type(error).__name__
            with suppress(Exception):  # it may be stderr itself that fails
                sys.stderr.write(f"error: the log cannot be written: {reason}\n")


class _Stream(_Discreet):
    """Writes to the stream as it is at that moment, so that a live display can put itself in between."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = getattr(sys, self._name)
            stream.write(self.format(record) + "\n")
            stream.flush()
        except BrokenPipeError:
            silence(stream)
        except Exception:  # noqa: BLE001  as every handler does: a log must not end the work
            self.handleError(record)


class _File(_Discreet, logging.handlers.WatchedFileHandler):
    """Appends to a file, and finds it again after others have rotated it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; what looks for the file is not in the care of :meth:`handleError` by itself."""
        try:
            super().emit(record)
        except OSError:  # its folder is gone
            self.handleError(record)


def _to_file(path: Path) -> logging.Handler:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
        return _File(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"The log file {path} cannot be written: {error.strerror}.") from error


def _redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: _masked(name, value) for name, value in event.items()}


def _masked(name: str, value: Any) -> Any:  # noqa: ANN401  whatever somebody logs
    if value is not None and _SECRET_NAME.search(name):
        return MASK
    if isinstance(value, Mapping):
        return {str(key): _masked(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked("", item) for item in value]
    if value is None or isinstance(value, bool | int | float | datetime):
        return value
    return redact(value if isinstance(value, str) else repr(value))


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    event["timestamp"] = event["timestamp"].isoformat(timespec="milliseconds")
    return json.dumps(event)


def _pairs(event: EventDict) -> str:
    return "".join(f" {escape(str(name))}={escape(str(value))}" for name, value in event.items())


def _traceback(event: EventDict) -> str:
    text = event.pop("exception", None)
    return "" if text is None else "\n" + "\n".join(escape(line) for line in str(text).splitlines())


def _classic(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    moment = event.pop("timestamp").astimezone().strftime("%Y-%m-%d %H:%M:%S")
    level, name = event.pop("level").upper(), event.pop("logger")
    event.pop("run", None)  # in 2018 a line ended with its text
    traceback, text = _traceback(event), escape(str(event.pop("event")))
    return f"{moment} - {name} {level}: {text}{_pairs(event)}{traceback}"


class _Text:
    """``2026-11-24T08:00:00Z warning  text name=value``."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        moment = event.pop("timestamp").strftime("%Y-%m-%dT%H:%M:%SZ")
        level = event.pop("level")
        event.pop("logger")
        traceback, text = _traceback(event), escape(str(event.pop("event")))
        colour = _COLOURS.get(level, "") if self._coloured else ""
        return f"{moment} {colour}{level:<8}{_PLAIN if colour else ''} {text}{_pairs(event)}{traceback}"
