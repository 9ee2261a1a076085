"""A MISP that speaks the contract recorded from version 2.5.1."""

from tqmisp.simulators.misp.accounts import ROLES, Organisation, Role, User, key_of
from tqmisp.simulators.misp.app import create_app
from tqmisp.simulators.misp.costs import Costs, Work
from tqmisp.simulators.misp.options import CALIBRATIONS, DEFAULT_KEY, MispSimulatorOptions
from tqmisp.simulators.misp.server import DIES_UNTAGGED, ROWS_TO_LIVE, nginx_error
from tqmisp.simulators.misp.store import MispStore

__all__ = [
    "CALIBRATIONS",
    "DEFAULT_KEY",
    "DIES_UNTAGGED",
    "ROLES",
    "ROWS_TO_LIVE",
    "Costs",
    "MispSimulatorOptions",
    "MispStore",
    "Organisation",
    "Role",
    "User",
    "Work",
    "create_app",
    "key_of",
    "nginx_error",
]
