"""Juju's model run in one process: real charm over ops-scenario, supervisor's real machine.

`Cluster(Charm.load(WazuhOperatorCharm, folder), units=3, seed=1)` deploys; `settle()` lets it
become whole; `history` holds what each hook did. `sandbox.inprocess.faults` makes random
schedules of faults and checks the invariants.
"""

from sandbox.inprocess.cluster import Cluster
from sandbox.inprocess.dispatch import Charm
from sandbox.inprocess.effects import Effects
from sandbox.inprocess.workload import Workload

__all__ = ["Charm", "Cluster", "Effects", "Workload"]
