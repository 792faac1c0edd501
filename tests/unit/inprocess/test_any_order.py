"""Commands and faults in any order that Hypothesis finds, and shrinks: I1–I4, I6–I9.

`HYPOTHESIS_PROFILE=hunt` looks for minutes to hours; without it a small fixed share is played.
"""

import os
import random
from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sandbox.inprocess import Charm, Cluster
from sandbox.inprocess.faults import LARGEST, Faults
from sandbox.inprocess.hunt import revisions
from sandbox.inprocess.invariants import Watch

HUNTS = os.environ.get("HYPOTHESIS_PROFILE") == "hunt"
NAMES = sorted({one.__name__ for one in Faults(Cluster(revisions()[0]), random.Random()).table()})
CHANCE = st.randoms(use_true_random=False)
SHARE = settings(
    max_examples=3, stateful_step_count=15, derandomize=True, phases=[Phase.generate, Phase.shrink]
)
HUNT = settings(max_examples=500, stateful_step_count=60)


class AnyOrder(RuleBasedStateMachine):
    """One cluster: whatever is done to it, no invariant breaks, and in the end it is whole."""

    charms: ClassVar[tuple[Charm, Charm]] = revisions()

    @initialize(
        units=st.integers(1, LARGEST if HUNTS else 3),
        mode=st.sampled_from(["3.6", "4"]),
        seed=st.integers(0, 999),
        settled=st.booleans(),
    )
    def deploy(self, units, mode, seed, settled):
        cluster = Cluster(self.charms[0], units=units, seed=seed, commit_mode=mode)
        self.watch = Watch(cluster)
        self.faults = Faults(cluster, random.Random(seed), self.charms)
        if settled:
            assert cluster.settle()

    @rule(name=st.sampled_from(NAMES), chance=CHANCE)
    def command_or_fault(self, name, chance):
        self.faults.chance = chance
        self.faults.cluster.sync()
        self.faults.do(getattr(self.faults, name))

    @rule(chance=CHANCE)
    def commit_cut(self, chance):
        self.faults.chance = chance
        self.faults.cluster.sync()
        self.faults.do(self.faults.crash_commit)

    @rule(seconds=st.sampled_from([1, 5, 20, 70]))
    def time(self, seconds):
        self.faults.cluster.run(seconds)

    @rule(agents=st.integers(1, 3), chance=CHANCE)
    def agents(self, agents, chance):
        self.faults.chance = chance
        for _ in range(agents):
            self.faults.enrol()

    @rule()
    def calm(self):
        self.faults.stop()
        self.watch.end()

    @invariant()
    def holds(self):
        if hasattr(self, "watch"):
            self.watch.watch()

    def teardown(self):
        if hasattr(self, "watch"):
            self.calm()


AnyOrder.TestCase.settings = settings(
    HUNT if HUNTS else SHARE,
    deadline=None,
    print_blob=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
        HealthCheck.large_base_example,
    ],
)
TestAnyOrder = AnyOrder.TestCase
