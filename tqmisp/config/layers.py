"""Where settings are written down: a TOML file, environment variables, the command line.

Each is a :class:`Layer` that knows its own words for a key, so that an error can name the very place to mend.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tqmisp.config.lines import line_numbers
from tqmisp.config.near import did_you_mean
from tqmisp.errors import ConfigError

PREFIX = "TQMISP_"

SHORT = {
    "state": "state.path",
    "json": "output.json",
    "progress": "output.progress",
    "verbose": "output.verbose",
    "log_file": "output.log_file",
    "log_format": "output.log_format",
    "full": "run.full",
    "confirm_retire": "run.confirm_retire",
    "max_rejects": "run.max_rejects",
    "every": "schedule.every",
    "score_threshold": "selection.score_threshold",
    "status": "selection.statuses",
    "type": "selection.types",
    "exclude_type": "selection.exclude_types",
    "tag": "selection.tags",
    "source": "selection.sources",
    "collection": "selection.collection",
    "since": "selection.since",
    "until": "selection.until",
    "slice_size": "events.slice_size",
    "distribution": "events.distribution",
    "sharing_group_id": "events.sharing_group_id",
    "event_tag": "events.tags",
    "publish": "events.publish",
    "requests_in_flight": "misp.requests_in_flight",
    "chunk_size": "misp.chunk_size",
}
"""The settings that also have a short name: ``type`` is ``--type`` and ``TQMISP_TYPE``."""

Values = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Layer:
    """The settings of one origin, by section and key."""

    kind: Literal["file", "environment", "command line"]
    values: Values = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    """What this origin calls a dotted key; by default ``section.key``."""
    file: Path | None = None
    lines: Mapping[str, int] = field(default_factory=dict)
    """On which line of the file a dotted key stands."""

    def where(self, dotted: str, within: str = "") -> str:
        """Name the place where a setting is written, for the start of a sentence.

        Args:
            dotted: section and key.
            within: what in its value is meant, where it is a table.
        """
        if self.kind == "file":
            line = self.lines.get(f"{dotted}.{within}", self.lines.get(dotted))
            return f"{self.file}{f', line {line}' if line else ''}: {dotted}"
        if self.kind == "environment":
            return f"{self.names.get(dotted, variable(dotted))} in the environment"
        return self.names.get(dotted, dotted)

    @property
    def folder(self) -> Path:
        """What relative paths in this layer are relative to."""
        return self.file.parent if self.file else Path()


def variable(dotted: str) -> str:
    """The environment variable for a dotted key: ``misp.key`` is ``TQMISP_MISP__KEY``."""
    return PREFIX + dotted.upper().replace(".", "__")


def read_file(path: Path) -> Layer:
    """Read a TOML file.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        text = path.read_bytes().decode()
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}); expected a TOML file.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}{_position(error)}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; expected a TOML file.") from error
    for section, values in document.items():
        if not isinstance(values, dict):
            raise ConfigError(
                f"{path}: {section} stands outside any section; expected it below a line such as [threatq]."
            )
    values = {section: _plain(values) for section, values in document.items()}
    return Layer("file", values, file=path, lines=line_numbers(text))


def read_environment(env: Mapping[str, str]) -> Layer:
    """Pick the settings out of environment variables: ``TQMISP_SECTION__KEY``, and the short ones, which count more.

    An empty variable counts as not set. A name without ``__`` that is not known belongs to somebody else, unless it
    is one slip away from a short one.

    Raises:
        ConfigError: a name is one slip away from a known one.
    """
    values: Values = {}
    names: dict[str, str] = {}
    ours = [name for name, value in env.items() if name.startswith(PREFIX) and value]
    for name in sorted(ours, key=lambda name: "__" not in name):  # the long ones first, so that a short one replaces it
        word = name.removeprefix(PREFIX).lower()
        dotted = SHORT.get(word) or (word.replace("__", ".", 1) if "__" in word else None)
        if dotted is None:
            if hint := did_you_mean(word, SHORT, least=0.85):
                raise ConfigError(f"{name} in the environment is no setting; did you mean {PREFIX}{hint.upper()}?")
            continue
        _put(values, dotted, env[name])
        names[dotted] = name
    return Layer("environment", values, names)


def read_overrides(overrides: Mapping[str, Any], names: Mapping[str, str]) -> Layer:
    """Take values given by short name or dotted key; None and an empty list mean that nothing was given.

    A short name is called an option in errors, a dotted key as ``names`` say.
    """
    values: Values = {}
    called: dict[str, str] = dict(names)
    for name, value in overrides.items():
        if value is None or value == []:
            continue
        dotted = SHORT.get(name, name)
        _put(values, dotted, value)
        if name in SHORT:
            called[dotted] = "--" + name.replace("_", "-")
    return Layer("command line", values, called)


def _put(values: Values, dotted: str, value: Any) -> None:  # noqa: ANN401  whatever was given
    section, _, key = dotted.partition(".")
    values.setdefault(section, {})[key] = value


def _position(error: tomllib.TOMLDecodeError) -> str:
    """``, line 3, column 5: reason.`` from the text of an error, which names no value."""
    match = re.fullmatch(
        r"(?P<reason>.*) \(at (?P<place>line \d+, column \d+|end of document)\)", str(error), re.DOTALL
    )
    if match is None:
        return f": not TOML: {error}."
    return f", {match['place']}: not TOML: {match['reason'].removesuffix('.')}."


def _plain(value: Any) -> Any:  # noqa: ANN401  whatever TOML can say
    """Dates as text: ``since = 2026-01-01`` may stand without quotes."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dt.datetime):
        utc = value.astimezone(dt.UTC) if value.tzinfo else value
        return utc.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return value
