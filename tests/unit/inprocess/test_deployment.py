"""A first deployment: any order, any leader, any moment of a crash, a bad option."""

import itertools

import pytest

from src import files, master_state


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_given_any_starting_order_when_deployed_then_one_master_and_two_workers(deployed, order):
    cluster = deployed(order=order, seed=sum(order[:2]))
    assert cluster.settle()
    assert cluster.masters() == [f"wazuh-server-{order[0]}"]
    assert sorted(one.role for one in cluster.workloads()) == ["master", "worker", "worker"]
    assert cluster.databag()["epoch"] == "1"
    assert not [effects.describe() for effects in cluster.history if not effects.ok]
    assert all(status == "active" for status, _ in cluster.statuses().values())


@pytest.mark.parametrize("worker", [1, 2])
def test_given_a_worker_before_the_key_exists_when_its_hooks_run_then_it_waits_without_error(
    deployed, worker
):
    cluster = deployed(order=(0, worker, 3 - worker))
    unit = f"wazuh-server/{worker}"
    cluster.sync()
    for _ in range(30):
        while unit in cluster.model.due():
            assert cluster.run_hook(unit).ok
        cluster.tick()
    waited = [effects for effects in cluster.history if effects.unit == unit]
    assert {"install", "start", "wazuh-server-pebble-ready"} <= {one.hook for one in waited}
    assert all(effects.quiet for effects in waited)
    status, message = cluster.statuses()[unit]
    assert (status, message) == ("waiting", "waiting for the leader to name a master")
    assert cluster.settle()
    assert cluster.masters() == ["wazuh-server-0"]


def test_given_a_leader_that_dies_before_its_first_commit_when_another_leads_then_it_is_whole(
    deployed,
):
    cluster = deployed(order=(0, 1, 2))
    cluster.sync()
    assert cluster.run_hook("wazuh-server/0").hook == "install"
    assert cluster.run_hook("wazuh-server/0", crash=0.0).secret_writes
    cluster.model.node_lost("wazuh-server/0")
    assert cluster.until(lambda: bool(cluster.masters()), 300)
    cluster.model.node_back("wazuh-server/0")
    assert cluster.settle(400)
    assert cluster.masters() != ["wazuh-server-0"]


@pytest.mark.parametrize("part", [number / 10 for number in range(10)])
def test_given_the_agent_dies_at_any_step_of_the_first_commit_when_back_then_each_secret_is_one(
    deployed, part
):
    cluster = deployed(order=(0, 1, 2))
    cluster.sync()
    assert cluster.run_hook("wazuh-server/0").hook == "install"
    effects = cluster.run_hook("wazuh-server/0", crash=part)
    assert effects.secret_writes
    assert cluster.settle()
    labels = [secret.label for secret in cluster.model.secrets()]
    assert len(labels) == len(set(labels))
    # What the master holds is kept later, once there is one.
    assert len(set(labels) - {master_state.LABEL}) == len(effects.secret_writes)
    assert len({one.key for one in cluster.workloads()}) == 1
    assert cluster.databag()["epoch"] == "1"


def test_given_a_bad_option_on_the_first_deployment_when_settled_then_it_serves_and_says_so(
    deployed,
):
    option = "custom-config-repository"
    cluster = deployed(config={option: "git+hhtp://git.example.com/rules"})
    assert cluster.settle()
    for status, message in cluster.statuses().values():
        assert status == "blocked"
        assert message.startswith(f'{option}: unknown scheme "git+hhtp"')
    cluster.model.set_config(cluster.app, {option: None})
    restarts = [one.restarts for one in cluster.workloads()]
    assert cluster.settle()
    assert all(status == "active" for status, _ in cluster.statuses().values())
    assert [one.restarts for one in cluster.workloads()] == restarts


def test_given_a_first_configuration_when_counted_then_one_start_and_the_second_pass_is_quiet(
    deployed,
):
    cluster = deployed()
    assert cluster.settle()
    for number in range(3):
        unit = f"wazuh-server/{number}"
        # A master that knows of no predecessor asks for master-state, whose keeping is remembered.
        asked = {files.MASTER_STATE, files.APPLIED}
        loud = [one for one in cluster.history if one.unit == unit and set(one.pushes) - asked]
        assert len(loud) == 1
        assert loud[0].replans == 1
        assert cluster.workload(number).restarts == 1
