"""Exports threat indicators from ThreatQ into MISP: every one accounted for, none twice.

::

    from tqmisp import Export, load_settings

    async with Export.open(load_settings(Path("tqmisp.toml"))) as export:
        receipt = await export.run()

The names below are the public ones. They are loaded when they are first used, so that a part of the package costs no
more than itself.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqmisp.config import Settings
    from tqmisp.config import load as load_settings
    from tqmisp.errors import TqmispError
    from tqmisp.export import Export
    from tqmisp.journal import Journal, Ledger
    from tqmisp.misp.client import MispClient
    from tqmisp.misp.mapping import IndicatorMapper
    from tqmisp.misp.options import EventOptions, MispOptions
    from tqmisp.misp.policy import MappingPolicy
    from tqmisp.misp.retire import RetireOptions
    from tqmisp.misp.sink import MispSink
    from tqmisp.model import Indicator
    from tqmisp.observe.receipt import Receipt
    from tqmisp.pipeline.stop import Stop
    from tqmisp.threatq.client import ThreatQClient
    from tqmisp.threatq.options import Selection, ThreatQOptions
    from tqmisp.threatq.source import ThreatQSource
    from tqmisp.verification import Verdict

__version__ = version("tqmisp")

__all__ = [
    "EventOptions",
    "Export",
    "Indicator",
    "IndicatorMapper",
    "Journal",
    "Ledger",
    "MappingPolicy",
    "MispClient",
    "MispOptions",
    "MispSink",
    "Receipt",
    "RetireOptions",
    "Selection",
    "Settings",
    "Stop",
    "ThreatQClient",
    "ThreatQOptions",
    "ThreatQSource",
    "TqmispError",
    "Verdict",
    "load_settings",
]

_HOMES = {
    "EventOptions": "tqmisp.misp.options",
    "Export": "tqmisp.export",
    "Indicator": "tqmisp.model",
    "IndicatorMapper": "tqmisp.misp.mapping",
    "Journal": "tqmisp.journal",
    "Ledger": "tqmisp.journal",
    "MappingPolicy": "tqmisp.misp.policy",
    "MispClient": "tqmisp.misp.client",
    "MispOptions": "tqmisp.misp.options",
    "MispSink": "tqmisp.misp.sink",
    "Receipt": "tqmisp.observe.receipt",
    "RetireOptions": "tqmisp.misp.retire",
    "Selection": "tqmisp.threatq.options",
    "Settings": "tqmisp.config",
    "Stop": "tqmisp.pipeline.stop",
    "ThreatQClient": "tqmisp.threatq.client",
    "ThreatQOptions": "tqmisp.threatq.options",
    "ThreatQSource": "tqmisp.threatq.source",
    "TqmispError": "tqmisp.errors",
    "Verdict": "tqmisp.verification",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used."""
    if name == "load_settings":
        return import_module("tqmisp.config").load
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tqmisp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
