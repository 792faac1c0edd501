"""Deployment: roles, the order of hooks, what the commands print."""

import json

import pytest

from sandbox.driver import APPLICATION, Driver


def _hooks(cluster: Driver, unit: str) -> list[str]:
    return [record["hook"] for record in cluster.hooks() if record["unit"] == unit]


def test_given_three_units_when_deployed_then_one_is_master_and_two_are_workers(
    cluster: Driver,
) -> None:
    words = [u["workload-status"]["message"].split()[0] for u in cluster.units().values()]

    assert sorted(words) == ["master", "worker", "worker"]


def test_given_three_units_when_deployed_then_hooks_come_in_juju_s_order(cluster: Driver) -> None:
    for unit in cluster.units():
        hooks = _hooks(cluster, unit)

        assert hooks[:2] == ["install", "wazuh-peers-relation-created"]
        assert hooks.index("config-changed") < hooks.index("start")
        assert hooks.index("start") < hooks.index("wazuh-peers-relation-joined")


def test_given_three_units_when_deployed_then_no_hook_failed(cluster: Driver) -> None:
    failed = [record for record in cluster.hooks() if record["code"]]

    assert failed == []


def test_given_a_cluster_when_status_is_asked_as_json_then_it_has_juju_s_shape(
    cluster: Driver,
) -> None:
    status = json.loads(cluster.juju("status", "--format", "json"))

    application = status["applications"][APPLICATION]
    assert status["model"]["name"] == "tests"
    assert application["application-status"]["current"] == "active"
    assert sorted(application["units"]) == [f"{APPLICATION}/{number}" for number in range(3)]
    assert sum(unit["leader"] for unit in application["units"].values()) == 1


def test_given_a_cluster_when_status_is_asked_then_the_table_names_units_and_stand_in(
    cluster: Driver,
) -> None:
    table = cluster.juju("status")

    leader = next(name for name, unit in cluster.units().items() if unit["leader"])
    assert f"{leader}*" in table
    assert "worker of" in table
    assert "a stand-in for Wazuh" in table


def test_given_a_cluster_when_the_workload_starts_then_each_service_was_started_once(
    cluster: Driver,
) -> None:
    starts = {unit: effects["service-starts"] for unit, effects in cluster.effects().items()}

    assert set(starts) == set(cluster.units())
    # Others' tests may have made a pod anew: its counts begin again with it.
    assert all(count["wazuh"] == 1 for count in starts.values())


def test_given_a_model_when_it_is_destroyed_then_nothing_is_left(other: Driver) -> None:
    other.deploy(1)
    other.wait_active(1)
    process = other.process()
    assert process is not None

    other.juju("destroy-model")

    assert other.process() is None
    assert not other.home.exists()


@pytest.mark.parametrize("order", ["2,0,1", "1,2,0"])
def test_given_an_order_of_starting_when_deployed_then_the_first_one_is_master(
    other: Driver, order: str
) -> None:
    other.deploy(3, "--start-order", order)

    other.wait_active(3)

    installs = [record["unit"] for record in other.hooks() if record["hook"] == "install"]
    assert installs == [f"{APPLICATION}/{number}" for number in order.split(",")]
    words = {u: s["workload-status"]["message"].split()[0] for u, s in other.units().items()}
    assert words.pop(installs[0]) == "master"
    assert set(words.values()) == {"worker"}
