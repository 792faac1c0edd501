"""Random schedules of faults: I3, I4, I6, I8, I9.

`WAZUH_STORM_EVENTS` makes each schedule longer, `WAZUH_STORM_SEED` runs one seed alone.
"""

import os
import sys
from dataclasses import replace

import pytest

from sandbox.inprocess import Cluster
from sandbox.inprocess.faults import BrokenError, Storm
from sandbox.inprocess.taken import Taken

EVENTS = int(os.environ.get("WAZUH_STORM_EVENTS", "300"))
SEEDS = [int(os.environ["WAZUH_STORM_SEED"])] if "WAZUH_STORM_SEED" in os.environ else range(2)


@pytest.mark.parametrize("seed", SEEDS)
def test_given_random_faults_when_they_stop_then_the_invariants_held_and_it_converges(
    charm, mode, seed
):
    sys.stdout.write(f"storm seed {seed}, mode {mode}, {EVENTS} events\n")
    cluster = Cluster(charm, commit_mode=mode, seed=seed)
    storm = Storm(cluster, seed)
    storm.run(EVENTS)
    assert storm.log
    assert storm.accepted


def test_given_the_same_seed_when_run_again_then_the_same_happens(charm):
    logs = []
    for _ in range(2):
        cluster = Cluster(charm, seed=11)
        storm = Storm(cluster, 11)
        storm.run(120)
        logs.append((storm.log, [(one.unit, one.hook, one.at) for one in cluster.history]))
    assert logs[0] == logs[1]


def test_given_two_masters_of_an_epoch_when_checked_then_it_is_found_and_names_the_seed(charm):
    cluster = Cluster(charm, seed=1)
    assert cluster.settle()
    storm = Storm(cluster, 77)
    storm.check()
    storm.accepted[1] = "another"
    with pytest.raises(BrokenError, match="I3 broken, seed 77"):
        storm.check()


def test_given_another_key_on_a_node_when_checked_then_it_is_found(charm):
    cluster = Cluster(charm, seed=1)
    assert cluster.settle()
    storm = Storm(cluster, 78)
    box = cluster.workload(2).box
    path = "/etc/wazuh-server/files/etc/ossec.conf"
    box.write(path, (box.read(path) or "").replace("<key>", "<key>0"))
    workload = cluster.workload(2)
    key = workload._key()
    assert key != workload.key
    workload.taken = Taken(replace(workload.taken.secrets, key=key))
    with pytest.raises(BrokenError, match="I4 broken"):
        storm._same_key()
