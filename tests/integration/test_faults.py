"""Faults of one unit, several and all: no agent is lost, and the cluster becomes whole again."""

import itertools
import sys
import time
from collections.abc import Iterator

import pytest

from sandbox.demo.cluster import Cluster
from sandbox.demo.steps import Run
from sandbox.driver import APPLICATION, Driver

_NUMBERS = itertools.count()
_DAEMONS = ("wazuh-remoted", "wazuh-authd", "wazuh-clusterd", "wazuh-db")
_FROZEN = "pgrep -f '[/]wazuh-(clusterd|apid)|[/]wazuh_(clusterd|apid)' | xargs -r kill -{}"
_STALE = """
touch /var/ossec/var/run/wazuh-remoted-1.pid /var/ossec/var/run/.restart
mkdir -p /var/ossec/var/start-script-lock; echo 4194999 > /var/ossec/var/start-script-lock/pid
pkill -KILL -f /opt/wazuh-server/bin/supervisor
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """One cluster for all of these, and the agents that were enrolled on it."""
    driver = Driver("tests-faults")
    driver.destroy()
    driver.deploy(3)
    try:
        whole = Run(Cluster(driver))
        whole.cluster.wait("three units active", lambda: whole.cluster.is_whole(3), 300)
        yield whole
    finally:
        driver.destroy()


@pytest.fixture
def cluster(run: Run) -> Iterator[Cluster]:
    """The cluster with agents on every node; afterwards each of them is there again."""
    _enrol(run, 10)
    run.cluster.wait("each key on every node", run.nobody_lost, 180)
    yield run.cluster
    run.cluster.wait("three units active", lambda: run.cluster.is_whole(3), 300)
    run.cluster.wait("each key on every node", run.nobody_lost, 180)
    _enrol(run, 1)


def _enrol(run: Run, count: int) -> None:
    """Enrol agents: all have to be let in."""
    names = [f"agent-{next(_NUMBERS)}" for _ in range(count)]

    def let_in() -> bool:
        answers = run.cluster.ask(
            "agents", host=APPLICATION, names=names, password=run.password, ca=run.authority
        )
        run.enrolled |= {a["id"]: a["key_sha256"] for a in answers if a["id"]}
        done = {a["name"] for a in answers if a["id"]}
        names[:] = [name for name in names if name not in done]
        return not names

    run.cluster.wait("agents are let in", let_in, 120)


def _master(cluster: Cluster) -> str:
    master = cluster.master()
    assert master is not None
    return master


def _worker(cluster: Cluster) -> str:
    return next(unit for unit in cluster.units() if unit != _master(cluster))


def _leader(cluster: Cluster) -> str:
    return next(unit for unit, value in cluster.units().items() if value["leader"])


def _enter(cluster: Cluster, unit: str, script: str) -> str:
    return cluster.driver.exec(unit, ["sh", "-c", script], check=False)


def test_fault_1_given_each_daemon_of_the_master_when_killed_then_it_alone_is_started_again(
    cluster: Cluster,
) -> None:
    master = _master(cluster)
    before = cluster.starts(master)

    for daemon in _DAEMONS:
        cluster.driver.juju("kill", master, "--daemon", daemon)
        find = f"ls /var/ossec/var/run | grep -q '^{daemon}-' && pgrep -f '[/]{daemon}' >/dev/null"
        cluster.wait(
            daemon, lambda find=find: "up" in _enter(cluster, master, f"{find} && echo up")
        )

    after = cluster.starts(master)
    kept = {pid for pid, text in before.items() if after.get(pid) == text}
    assert any("wazuh-analysisd" in before[pid] for pid in kept)
    assert _master(cluster) == master


def test_fault_2_given_the_cluster_daemon_and_the_api_when_frozen_then_they_go_on(
    cluster: Cluster,
) -> None:
    master = _master(cluster)

    _enter(cluster, master, _FROZEN.format("STOP"))
    time.sleep(90 / cluster.driver.clock_factor)
    _enter(cluster, master, _FROZEN.format("CONT"))

    cluster.wait("three units active", lambda: cluster.is_whole(3), 180)
    assert _master(cluster) == master


def test_fault_5_given_the_master_s_pod_when_deleted_then_its_agents_are_there_again(
    cluster: Cluster,
) -> None:
    master = _master(cluster)
    address = cluster.driver.address(master)

    cluster.driver.juju("kill", master)

    cluster.wait("another pod", lambda: cluster.driver.address(master) not in {"", address}, 120)


def test_fault_14_given_a_worker_when_its_volume_is_lost_then_it_has_every_key_again(
    cluster: Cluster,
) -> None:
    master, worker = _master(cluster), _worker(cluster)

    cluster.driver.juju("lose-node", worker)
    cluster.wait("the unit is missed", lambda: not cluster.is_whole(3), 60)
    cluster.wait("three units active", lambda: cluster.is_whole(3), 300)

    assert _master(cluster) == master


def test_fault_16_given_the_leader_among_those_removed_when_scaled_to_one_then_nobody_is_lost(
    cluster: Cluster, run: Run
) -> None:
    if _leader(cluster) == f"{APPLICATION}/0":
        cluster.driver.juju("lose-node", f"{APPLICATION}/0", "--keep-volume")
        cluster.wait("another leader", lambda: _leader(cluster) != f"{APPLICATION}/0", 180)
        cluster.wait("three units active", lambda: cluster.is_whole(3), 300)
        cluster.wait("each key on every node", run.nobody_lost, 180)

    cluster.driver.juju("scale-application", APPLICATION, "1")
    cluster.wait("one unit", lambda: cluster.is_whole(1), 300)

    assert run.nobody_lost()
    cluster.driver.juju("scale-application", APPLICATION, "3")


def test_fault_25_given_a_worker_cut_off_from_its_peers_when_healed_then_it_has_every_key(
    cluster: Cluster, run: Run
) -> None:
    worker = _worker(cluster)

    cluster.driver.juju("partition", worker, "--from", "peers")
    cluster.wait("it misses its master", lambda: "no connection" in cluster.messages()[worker])
    _enrol(run, 3)
    assert set(run.everywhere()[worker]) <= set(run.enrolled)
    assert run.everywhere()[worker], "what is enrolled meanwhile cannot be known there"
    cluster.driver.juju("heal", worker)


def test_fault_34_given_all_pods_when_killed_at_once_then_everything_is_there_again(
    cluster: Cluster,
) -> None:
    before = {unit: cluster.driver.address(unit) for unit in cluster.units()}

    for unit in before:
        cluster.driver.juju("kill", unit)

    def anew() -> bool:
        return all(cluster.driver.address(unit) not in {"", before[unit]} for unit in before)

    cluster.wait("three new pods", anew, 180)


def test_fault_35_given_a_stale_pid_file_and_lock_when_the_supervisor_dies_then_all_starts_again(
    cluster: Cluster,
) -> None:
    worker = _worker(cluster)

    def starts() -> int:
        return cluster.driver.effects()[worker]["service-starts"]["wazuh"]

    before = starts()
    _enter(cluster, worker, _STALE)

    cluster.wait("the service starts again", lambda: starts() > before, 120)
    cluster.wait("three units active", lambda: cluster.is_whole(3), 180)


@pytest.mark.parametrize("role", ["worker", "master"])
def test_given_agents_of_a_unit_that_leaves_when_it_has_hooks_to_run_then_they_are_told_to_go(
    cluster: Cluster, run: Run, role: str
) -> None:
    """What the pod's end overtakes is cut; either way each agent reports again in the end."""
    leaving, staying = f"{APPLICATION}/2", f"{APPLICATION}/1"
    wanted = leaving if role == "master" else staying
    if _master(cluster) != wanted:
        cluster.driver.juju("run", f"{APPLICATION}/leader", "promote", f"unit={wanted}")
        cluster.wait("the master", lambda: cluster.master() == wanted and cluster.is_whole(3))
    numbers = list(run.enrolled)[:20]

    with cluster.asking("reporting", host=APPLICATION, ids=numbers, seconds=300) as finish:
        cluster.wait("agents report", lambda: len(_reporting(run)) == len(numbers), 60)
        there = [number for number, node in _reporting(run).items() if node.endswith("-2")]
        cluster.driver.juju("scale-application", APPLICATION, "2")
        cluster.wait("two units", lambda: cluster.is_whole(2), 180)
        found = {answer["id"]: answer for answer in finish()}

    told = [number for number in there if found[number]["told"]]
    sys.stdout.write(f"{role}: {len(there)} agents reported there, {len(told)} were told to go\n")
    assert there
    assert told
    assert all(one["open"] for one in found.values())
    cluster.driver.juju("scale-application", APPLICATION, "3")


def _reporting(run: Run) -> dict[str, str]:
    """Agent's id → node, of all that are connected, as the API says."""
    path = "/agents?status=active&select=id,node_name&limit=500"
    login = {"user": "wazuh", "password": run.api_password, "ca": run.authority}
    (answer,) = run.cluster.ask("call", host=APPLICATION, path=path, **login)
    items = answer["body"]["data"]["affected_items"] if answer["status"] == 200 else []
    return {item["id"]: item["node_name"] for item in items if item["id"] != "000"}


def test_fault_17_given_no_volume_left_when_scaled_up_again_then_agents_are_there_or_it_says_so(
    cluster: Cluster, run: Run
) -> None:
    """Juju deletes the volumes with the units: `master-state` has the keys, else it says so."""
    _to_none_and_up(cluster)

    cluster.wait(
        "everybody is there, or the way out is said",
        lambda: bool(_ways_out(cluster)) or (cluster.is_whole(3) and run.nobody_lost()),
        300,
    )

    if said := _ways_out(cluster):
        assert any("promote" in sentence for sentence in said)
        run.enrolled.clear()
        params = (f"unit={APPLICATION}/0", "force=true")
        cluster.driver.juju("run", f"{APPLICATION}/leader", "promote", *params)
        cluster.wait("three units active", lambda: cluster.is_whole(3), 300)


@pytest.fixture
def kept(cluster: Cluster) -> Iterator[Cluster]:
    """Removed units leave their volumes, as with another storage class or an older Juju."""
    cluster.driver.juju("volumes", "kept")
    yield cluster
    cluster.driver.juju("volumes", "lost")


def test_fault_17_given_volumes_that_stay_when_scaled_to_none_and_up_then_every_agent_is_there(
    kept: Cluster, run: Run
) -> None:
    _to_none_and_up(kept)

    kept.wait("three units active", lambda: kept.is_whole(3), 300)
    kept.wait("each key on every node", run.nobody_lost, 180)


def test_fault_17_given_stale_volumes_when_their_units_come_again_then_no_newer_agent_is_lost(
    kept: Cluster, run: Run
) -> None:
    """The units that come again know less than the one that stayed: it is theirs to copy."""
    kept.driver.juju("scale-application", APPLICATION, "1")
    kept.wait("one unit", lambda: kept.is_whole(1), 300)
    _enrol(run, 5)
    kept.driver.juju("scale-application", APPLICATION, "3")

    kept.wait("three units active", lambda: kept.is_whole(3), 300)
    kept.wait("each key on every node", run.nobody_lost, 180)


def _to_none_and_up(cluster: Cluster) -> None:
    cluster.driver.juju("scale-application", APPLICATION, "0")
    cluster.wait("no unit", lambda: not cluster.units(), 300)
    cluster.driver.juju("scale-application", APPLICATION, "3")


def _ways_out(cluster: Cluster) -> list[str]:
    """What blocked units say."""
    return [
        unit["workload-status"]["message"]
        for unit in cluster.units().values()
        if unit["workload-status"]["current"] == "blocked"
    ]
