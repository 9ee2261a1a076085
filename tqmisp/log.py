"""The loggers of this package: structlog in front, the standard library's ``logging`` behind.

They leave structlog as whoever imports us has configured it, and print nothing by themselves: what is logged goes to
the handlers of ``logging.getLogger("tqmisp")`` and above it, as a library's should. A command sets its own, see
:mod:`tqmisp.observe.logs`.
"""

from __future__ import annotations

import logging
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

logging.getLogger("tqmisp").addHandler(logging.NullHandler())


def _as_text(_logger: WrappedLogger, _method: str, event: EventDict) -> tuple[tuple[str], dict[str, Any]]:
    """One line, in which what others wrote is spelled out: ``text name='value'``."""
    known = {name: event.pop(name) for name in ("exc_info", "stack_info") if name in event}
    text = str(event.pop("event"))
    shown = text if text.isprintable() else repr(text)[1:-1]
    return (" ".join([shown, *(f"{name}={value!r}" for name, value in event.items())]),), known


LIBRARY: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.filter_by_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    _as_text,
)
"""What becomes of an entry where no command has said otherwise."""
processors: list[Processor] = list(LIBRARY)
"""What becomes of each entry of all our loggers; one list for all of them, so that a command can change it."""


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=processors,
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    return logger
