"""Whether this ThreatQ and this MISP will take an export: each thing that was looked at, with its fix.

Nothing is left behind on either server.
"""

from tqmisp.check.checks import check
from tqmisp.check.finding import Finding, exit_code

__all__ = ["Finding", "check", "exit_code"]
