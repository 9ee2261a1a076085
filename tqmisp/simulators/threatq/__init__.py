"""A ThreatQ over real HTTP, as published clients of the real one see it."""

from tqmisp.simulators.threatq.app import ACCOUNTS, create_app
from tqmisp.simulators.threatq.corpus import from_corpus
from tqmisp.simulators.threatq.generate import generate
from tqmisp.simulators.threatq.library import Library
from tqmisp.simulators.threatq.options import ThreatQSimulatorOptions

__all__ = ["ACCOUNTS", "Library", "ThreatQSimulatorOptions", "create_app", "from_corpus", "generate"]
