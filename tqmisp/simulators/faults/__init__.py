"""What can go wrong between a client and the simulators, on purpose and repeatably."""

from tqmisp.simulators.faults.inject import FAULTS, Injector
from tqmisp.simulators.faults.kinds import KINDS, Kind
from tqmisp.simulators.faults.plan import Fault, FaultPlan

__all__ = ["FAULTS", "KINDS", "Fault", "FaultPlan", "Injector", "Kind"]
