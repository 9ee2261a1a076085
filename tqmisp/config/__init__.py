"""Settings: a file, the environment and the command line become the option objects that the pieces take."""

from tqmisp.config.load import default_places, load, load_part
from tqmisp.config.settings import (
    ConnectorOptions,
    LocalSettings,
    OutputOptions,
    RunOptions,
    Settings,
    StateOptions,
    ThreatQSettings,
)

__all__ = [
    "ConnectorOptions",
    "LocalSettings",
    "OutputOptions",
    "RunOptions",
    "Settings",
    "StateOptions",
    "ThreatQSettings",
    "default_places",
    "load",
    "load_part",
]
