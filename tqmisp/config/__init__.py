"""Settings: a file, the environment and the command line become the option objects that the pieces take."""

from tqmisp.config.load import default_places, load, load_local
from tqmisp.config.settings import (
    ConnectorOptions,
    LocalSettings,
    OutputOptions,
    RunOptions,
    Settings,
    StateOptions,
)

__all__ = [
    "ConnectorOptions",
    "LocalSettings",
    "OutputOptions",
    "RunOptions",
    "Settings",
    "StateOptions",
    "default_places",
    "load",
    "load_local",
]
