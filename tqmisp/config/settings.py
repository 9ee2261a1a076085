"""What can be set, section by section; each section is the option object of the piece that it is for."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import platformdirs

from tqmisp.misp.options import EventOptions, MispOptions
from tqmisp.misp.policy import MappingPolicy
from tqmisp.pipeline.limits import Limits
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

    def secrets(self) -> Iterator[str]:
        """Yield every value that must never be shown."""
        yield from _passwords(self.state.path)

    def __repr__(self) -> str:
        shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self))
        for secret in self.secrets():
            shown = shown.replace(secret, MASK)
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings(LocalSettings):
    """Everything that an export needs to know."""

    threatq: ThreatQOptions
    misp: MispOptions
    selection: Selection = field(default_factory=Selection)
    events: EventOptions = field(default_factory=EventOptions)
    mapping: MappingPolicy = field(default_factory=MappingPolicy)
    pipeline: Limits = field(default_factory=Limits)
    run: RunOptions = field(default_factory=RunOptions)
    connector: ConnectorOptions = field(default_factory=ConnectorOptions)

    def secrets(self) -> Iterator[str]:
        """Yield every value that must never be shown."""
        yield from super().secrets()
        for secret in (self.threatq.password, self.threatq.client_secret, self.misp.key):
            if secret is not None:
                yield secret.get_secret_value()
        if self.threatq.client_secret is not None:  # the form in which HTTP Basic carries it
            pair = f"{self.threatq.client_id}:{self.threatq.client_secret.get_secret_value()}"
            yield base64.b64encode(pair.encode()).decode()
        for url in (self.threatq.url, self.threatq.proxy, self.misp.url, self.misp.proxy):
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
