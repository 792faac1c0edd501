"""Faults of one unit, several and all: no agent is lost, and the cluster becomes whole again."""

import itertools
from collections.abc import Iterator

import pytest

from sandbox.demo.cluster import Cluster
from sandbox.demo.steps import Run
from sandbox.driver import APPLICATION, Driver

_NUMBERS = itertools.count()
_DAEMONS = ("wazuh-remoted", "wazuh-authd", "wazuh-clusterd", "wazuh-db")


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

    for daemon in ("wazuh-remoted", "wazuh-authd", "wazuh-clusterd", "wazuh-db"):
        cluster.driver.juju("kill", master, "--daemon", daemon)
        find = f"ls /var/ossec/var/run | grep -q '^{daemon}-' && pgrep -f '[/]{daemon}' >/dev/null"
        cluster.wait(
            daemon, lambda find=find: "up" in _enter(cluster, master, f"{find} && echo up")
        )

    after = cluster.starts(master)
    kept = {pid for pid, text in before.items() if after.get(pid) == text}
    assert any("wazuh-analysisd" in before[pid] for pid in kept)
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
