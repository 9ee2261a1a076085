"""What can be set, section by section; each section is the option object of the piece that it is for."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import platformdirs

from tqmisp.config import database
from tqmisp.misp.options import EventOptions, MispOptions
from tqmisp.misp.policy import MappingPolicy
from tqmisp.misp.retire import RetireOptions
from tqmisp.observe.options import MetricsOptions, NotifyOptions
from tqmisp.pipeline.limits import PipelineOptions
from tqmisp.schedule.options import ScheduleOptions
from tqmisp.threatq.options import Selection, ThreatQOptions

MASK = "**********"
"""Stands where a secret would, as pydantic writes it."""


def _state_folder() -> str:
    return str(platformdirs.user_state_path("tqmisp"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StateOptions:
    """Where the journal is kept."""

    path: str = field(default_factory=_state_folder, repr=False)  # the URL of a database may hold a password
    """A folder, or the URL of a database; by default the state folder of the platform."""

    @property
    def place(self) -> Path | str:
        """The folder as a path, or the URL."""
        return self.path if "://" in self.path else Path(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What a run does beyond reading and delivering."""

    full: bool = False
    """Read everything, not only what has changed since the last run."""
    confirm_retire: bool = False
    """Withdraw what has left the selection, however much it is."""
    max_rejects: int | None = None
    """With more indicators than this rejected or quarantined, the exit code is 5; without it there is no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """What is shown while a run is at work, and where."""

    json: bool = False
    """Print the result as one JSON document."""
    progress: bool = True
    """Show how far the run is, on the terminal."""
    verbose: int = 0
    """0 logs warnings and errors, 1 also information, 2 everything."""
    log_file: str | None = None
    """Log to the end of this file, not to the terminal."""
    log_format: Literal["text", "json"] = "text"
    """``text`` for people, ``json`` for machines: one object a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorOptions:
    """The connector in ThreatQ's user interface; only ``tq-misp-export`` looks at it."""

    name: str = "MISP Export"
    """The connector whose settings name MISP's address, its key and the score threshold."""


@dataclass(frozen=True, kw_only=True, repr=False)
class LocalSettings:
    """What can be known without any server."""

    state: StateOptions = field(default_factory=StateOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """What is not wrong but should be known, a sentence each."""
    file: Path | None = field(default=None, compare=False)
    """From where they come, if not all from the environment and the command line."""

    def secrets(self) -> Iterator[str]:
        """Yield every value that must never be shown."""
        yield from _passwords(self.state.path)
        yield from database.passwords(self.state.path)

    def __repr__(self) -> str:
        shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self))
        for secret in self.secrets():
            shown = shown.replace(secret, MASK)
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True, kw_only=True, repr=False)
class ThreatQSettings(LocalSettings):
    """What is needed to reach ThreatQ, as before its user interface has been asked for the rest."""

    threatq: ThreatQOptions
    connector: ConnectorOptions = field(default_factory=ConnectorOptions)

    def secrets(self) -> Iterator[str]:
        """Yield every value that must never be shown."""
        yield from super().secrets()
        options = self.threatq
        if options.password is not None:
            yield options.password.get_secret_value()
        if options.client_secret is not None:
            secret = options.client_secret.get_secret_value()
            yield secret
            yield base64.b64encode(f"{options.client_id}:{secret}".encode()).decode()  # as HTTP Basic carries it
        for url in (options.url, options.proxy):
            yield from _passwords(url)


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings(ThreatQSettings):
    """Everything that an export needs to know."""

    misp: MispOptions
    selection: Selection = field(default_factory=Selection)
    events: EventOptions = field(default_factory=EventOptions)
    mapping: MappingPolicy = field(default_factory=MappingPolicy)
    pipeline: PipelineOptions = field(default_factory=PipelineOptions)
    retire: RetireOptions = field(default_factory=RetireOptions)
    run: RunOptions = field(default_factory=RunOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    metrics: MetricsOptions = field(default_factory=MetricsOptions)
    notify: NotifyOptions = field(default_factory=NotifyOptions)

    def secrets(self) -> Iterator[str]:
        """Yield every value that must never be shown."""
        yield from super().secrets()
        yield self.misp.key.get_secret_value()
        if self.notify.webhook is not None:
            yield self.notify.webhook.get_secret_value()
        for url in (self.misp.url, self.misp.proxy):
            yield from _passwords(url)


def _passwords(url: str | None) -> Iterator[str]:
    """The password in a URL, as it stands there and as it is meant."""
    try:
        password = urlsplit(url or "").password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
