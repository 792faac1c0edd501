"""Random schedules of commands and faults: I1–I4, I6–I9.

`WAZUH_STORM_EVENTS` makes each schedule longer, `WAZUH_STORM_SEED` runs one seed alone;
`python -m sandbox.inprocess.hunt` is for long ones.
"""

import os
import sys

import pytest
from supervisor import machine, returners

from sandbox.inprocess import Cluster
from sandbox.inprocess.faults import HARDNESS, Storm
from sandbox.inprocess.hunt import revisions
from sandbox.inprocess.invariants import BrokenError, Watch
from sandbox.inprocess.workload import Workload

EVENTS = int(os.environ.get("WAZUH_STORM_EVENTS", "250"))
SEEDS = [int(os.environ["WAZUH_STORM_SEED"])] if "WAZUH_STORM_SEED" in os.environ else range(2)


@pytest.mark.parametrize("seed", SEEDS)
def test_given_random_faults_when_they_stop_then_the_invariants_held_and_it_converges(
    charm, mode, seed
):
    sys.stdout.write(f"storm seed {seed}, mode {mode}, {EVENTS} events (Juju is emulated)\n")
    storm = Storm(Cluster(charm, commit_mode=mode, seed=seed), seed, revisions())
    storm.run(EVENTS)
    assert storm.kinds
    assert storm.watch.accepted


def test_given_the_same_seed_when_run_again_then_the_same_happens(charm):
    logs = []
    for _ in range(2):
        cluster = Cluster(charm, seed=11)
        storm = Storm(cluster, 11, revisions())
        storm.run(120)
        logs.append((storm.log, [(one.unit, one.hook, one.at) for one in cluster.history]))
    assert logs[0] == logs[1]


def test_given_a_fault_that_must_survive_when_looked_for_then_the_storm_plays_it(charm):
    storm = Storm(Cluster(charm, seed=1), 1)
    played = {one.__name__ for one in storm.table()} | {"crash_commit"}
    assert {name for names in HARDNESS.values() for name in names} <= played
    assert set(HARDNESS) >= {*range(4, 20), 34}


def test_given_all_pods_killed_at_once_when_they_are_back_then_nobody_is_lost(charm):
    cluster = Cluster(charm, seed=3)
    assert cluster.settle()
    assert cluster.enrol("agent", "wazuh-server/1") == 1
    cluster.run(30)
    before = {pod.uid for pod in cluster.pods.values()}
    storm = Storm(cluster, 3)
    storm.do(storm.kill_all)
    cluster.sync()
    assert not before & {pod.uid for pod in cluster.pods.values()}
    storm.calm()
    assert not storm.watch.losses
    assert all("agent" in one.disk.keys for one in cluster.workloads())


@pytest.fixture
def up(charm):
    """Give a cluster that is whole, with its watch."""
    cluster = Cluster(charm, seed=1)
    assert cluster.settle()
    return cluster, Watch(cluster)


def test_given_two_masters_of_an_epoch_when_watched_then_it_is_found(up):
    _, watch = up
    watch.watch()
    watch.accepted[1] = "another"
    with pytest.raises(BrokenError, match="I3 broken"):
        watch.watch()


def test_given_a_storm_when_something_is_broken_then_its_seed_is_named(charm):
    storm = Storm(Cluster(charm, seed=1), 77)
    storm.watch.accepted[1] = "another"
    with pytest.raises(BrokenError, match="seed 77: I3 broken"):
        storm.run(300)


def test_given_another_key_on_a_node_when_it_ends_then_it_is_found(up):
    cluster, watch = up
    taken = cluster.workload(2).taken
    cluster.workload(2).taken = type(taken)(type(taken.secrets)(taken.secrets.parts, "another"))
    with pytest.raises(BrokenError, match="I4 broken"):
        watch._same_key()


def test_given_an_acknowledged_agent_when_the_file_lacks_it_then_it_is_found(up):
    cluster, watch = up
    assert cluster.enrol("agent", "wazuh-server/0") == 1
    cluster.run(30)
    watch._promised()
    for workload in cluster.workloads():
        workload.disk.store("", cluster.model.now)
    with pytest.raises(BrokenError, match="I1 broken: lost 001 agent"):
        watch._promised()


def test_given_an_agent_that_was_removed_when_it_is_active_again_then_it_is_found(up):
    cluster, watch = up
    cluster.enrol("agent", "wazuh-server/0")
    cluster.run(30)
    before = cluster.workload(0).disk.keys
    assert cluster.workload(0).remove(cluster.workload(0).lines()[0], cluster.model.now)
    cluster.run(30)
    watch._promised()
    for workload in cluster.workloads():
        workload.disk.store(before, cluster.model.now)
    with pytest.raises(BrokenError, match="I1 broken"):
        watch._promised()


def test_given_a_kill_before_authd_writes_when_it_ends_then_it_is_counted(up):
    cluster, watch = up
    cluster.enrol("agent", "wazuh-server/0")
    cluster.model.pod_deleted("wazuh-server/0", forced=True)
    assert cluster.settle()
    watch.end()
    assert watch.losses == {"unwritten": 1}


def test_given_unknown_or_default_passwords_when_watched_then_it_is_found(up):
    cluster, watch = up
    watch.watch()
    cluster.workload(0).users = {"wazuh": "wazuh"}
    watch.watch()
    cluster.tick(20.0)
    with pytest.raises(BrokenError, match="I2 broken"):
        watch.watch()
    cluster.workload(0).users = {}
    with pytest.raises(BrokenError, match="default passwords"):
        watch.watch()


def test_given_a_hook_that_shows_a_secret_when_watched_then_it_is_found(up):
    cluster, watch = up
    effects = cluster.history[-1]
    effects.secrets = frozenset({"the-secret"})
    effects.shown("status-set", "active", "it is the-secret")
    with pytest.raises(BrokenError, match=r"I7 broken: \['status-set'\]"):
        watch.watch()


def test_given_a_lease_lost_in_the_middle_of_a_hook_when_watched_then_its_error_is_no_charms_fault(
    up,
):
    cluster, watch = up
    leader = cluster.model.leader(cluster.app)
    cluster.model.set_config(cluster.app, {"custom-config-repository": "git+hhtp://x.example"})

    def gate(effect: str) -> None:
        if effect.startswith(f"{leader} ") and "status-set" in effect:
            cluster.gate = None
            cluster.model.pause(leader, kubelet=False)
            cluster.run(80)
            cluster.model.unpause(leader)

    cluster.gate = gate
    cluster.run(30)
    assert [one for one in cluster.history if one.deposed and not one.ok]
    watch.watch()


@pytest.fixture
def late(up):
    """Give a cluster whose master's node is back, with an agent that no other unit ever had."""
    cluster, watch = up
    assert cluster.enrol("early", "wazuh-server/0") == 1
    cluster.run(30)
    assert cluster.enrol("late", "wazuh-server/0") == 2
    cluster.run(2)
    cluster.model.node_lost("wazuh-server/0")
    assert cluster.until(lambda: cluster.masters() not in ([], ["wazuh-server-0"]))
    assert not any("late" in one.disk.keys for one in cluster.workloads())
    cluster.model.node_back("wazuh-server/0")
    return cluster, watch


def test_given_an_agent_that_only_the_old_master_wrote_when_it_returns_then_it_is_put_back(late):
    cluster, watch = late
    watch.end()
    assert all("late" in one.disk.keys for one in cluster.workloads())
    assert not watch.losses


def test_given_an_agent_that_is_only_kept_aside_when_it_ends_then_it_is_found(late):
    cluster, watch = late
    disk = next(one for one in cluster.disks.values() if one.unit == "wazuh-server/0")
    disk.returned = '{"schema": 2, "done": ["client.keys.2"], "conflicts": [], "doubtful": []}'
    with pytest.raises(BrokenError, match="I1 broken: lost 002 late"):
        watch.end()


def _master(cluster: Cluster) -> Workload:
    """Give the master once agents can enrol there for good."""
    cluster.run(20)
    assert cluster.until(lambda: any(one.lets_in for one in cluster.workloads()))
    return next(one for one in cluster.workloads() if one.lets_in)


def _purge(cluster: Cluster, name: str) -> None:
    master = _master(cluster)
    line = next(one for one in master.lines() if f" {name} " in one)
    assert master.purge(line, cluster.model.now)
    cluster.run(5)


def test_given_an_agent_deleted_for_good_while_a_unit_was_away_when_back_then_it_stays_deleted(up):
    cluster, watch = up
    assert cluster.enrol("early", "wazuh-server/0") == 1
    cluster.run(30)
    cluster.model.node_lost("wazuh-server/0")
    assert cluster.until(lambda: cluster.masters() not in ([], ["wazuh-server-0"]))
    _purge(cluster, "early")
    cluster.model.node_back("wazuh-server/0")
    watch.end()
    assert not any("early" in one.disk.keys for one in cluster.workloads())
    assert not watch.losses


def test_given_an_old_copy_among_those_gathered_when_merged_then_a_deleted_agent_stays_so(up):
    cluster, watch = up
    assert cluster.enrol("early", "wazuh-server/0") == 1
    cluster.run(30)
    cluster.model.node_lost("wazuh-server/2")
    cluster.run(30)
    _purge(cluster, "early")
    cluster.run(30)
    cluster.model.node_lost("wazuh-server/0")
    cluster.model.node_back("wazuh-server/2")
    assert cluster.until(lambda: cluster.masters() not in ([], ["wazuh-server-0"]))
    cluster.model.node_back("wazuh-server/0")
    watch.end()
    assert not any("early" in one.disk.keys for one in cluster.workloads())
    assert not watch.losses


def test_given_hundreds_that_only_the_old_master_has_when_it_returns_then_all_come_at_once(up):
    cluster, watch = up
    assert cluster.enrol("early", "wazuh-server/0") == 1
    cluster.run(30)
    for number in range(2, 700):
        assert cluster.enrol(f"late-{number}", "wazuh-server/0") == number
    cluster.run(2)
    cluster.model.node_lost("wazuh-server/0")
    assert cluster.until(lambda: cluster.masters() not in ([], ["wazuh-server-0"]))
    master = _master(cluster)
    assert master.enrol("new", cluster.model.now) == machine.GAP + 2
    cluster.model.node_back("wazuh-server/0")
    assert cluster.until(lambda: len(master.lines()) == 700)
    state = master.state
    assert state is not None
    assert state.folded
    watch.end()
    assert not watch.losses


def test_given_a_master_killed_while_it_takes_many_in_when_it_is_back_then_nobody_is_lost(
    up, monkeypatch
):
    monkeypatch.setattr(returners, "BULK", 5)
    cluster, watch = up
    assert cluster.enrol("early", "wazuh-server/0") == 1
    cluster.run(30)
    for number in range(2, 20):
        assert cluster.enrol(f"late-{number}", "wazuh-server/0") == number
    cluster.run(2)
    cluster.model.node_lost("wazuh-server/0")
    assert cluster.until(lambda: cluster.masters() not in ([], ["wazuh-server-0"]))
    master = _master(cluster)
    cluster.model.node_back("wazuh-server/0")
    assert cluster.until(lambda: master.state is not None and master.state.folded)
    master.end("killed")
    master.run = 0
    watch.end()
    assert len(_master(cluster).lines()) == 19
    assert not watch.losses


def test_given_a_removed_units_kept_volume_when_it_ends_then_its_agents_are_parked(charm):
    cluster = Cluster(charm, seed=1)
    assert cluster.settle()
    cluster.ledger.acknowledged("001 gone any key", 0.0, "wazuh-server-9")
    cluster.ledger.held("", "001 gone any key", "data/9", 0.0)
    assert cluster.ledger.losses("", {"data/9"}) == {"001 gone any key": "parked"}
    assert cluster.ledger.losses("") == {"001 gone any key": "unexplained"}
    cluster.ledger.forgive({"001 gone any key": "parked"})
    assert "001 gone any key" in cluster.ledger.entries


def test_given_an_agent_that_one_cut_off_worker_has_when_it_returns_then_it_is_put_back(up):
    cluster, watch = up
    assert cluster.enrol("early", "wazuh-server/0") == 1
    cluster.run(30)
    cluster.apart.add(frozenset({"wazuh-server/0", "wazuh-server/1"}))
    assert cluster.enrol("late", "wazuh-server/0") == 2
    cluster.run(30)
    cluster.secluded.add("wazuh-server/2")
    cluster.model.cut_off("wazuh-server/2")
    cluster.model.node_lost("wazuh-server/0", keep_volumes=False)
    assert cluster.until(lambda: cluster.masters() == ["wazuh-server-1"])
    cluster.run(30)
    cluster.secluded.clear()
    cluster.apart.clear()
    cluster.model.heal("wazuh-server/2")
    cluster.model.node_back("wazuh-server/0")
    watch.end()
    assert all("late" in one.disk.keys for one in cluster.workloads())
    assert not watch.losses


def test_given_pods_of_a_charm_too_old_when_they_hold_a_refresh_up_then_it_is_counted():
    old, new = revisions()
    cluster = Cluster(new, units=2, seed=1)
    watch = Watch(cluster)
    assert cluster.settle()
    cluster.refresh(old)
    for unit in list(cluster.pods):
        cluster.model.pod_deleted(unit, forced=True)
    cluster.model.node_lost("wazuh-server/1", keep_volumes=False)
    cluster.model.node_back("wazuh-server/1")
    cluster.run(60)
    cluster.refresh(new)
    watch.end()
    assert watch.rollouts == 1


def test_given_a_lost_unit_that_was_removed_and_made_anew_when_faults_stop_then_it_is_left_alone(
    charm,
):
    cluster = Cluster(charm, units=2, seed=1)
    assert cluster.settle()
    storm = Storm(cluster, 1)
    storm.lost.add("wazuh-server/1")
    storm.stop()
    assert not storm.lost
