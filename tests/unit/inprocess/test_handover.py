"""Roles that people and leaving leaders give away, and masters that die while the leader lives."""

import pytest


def _promote(cluster, unit, **parameters):
    number = cluster.model.run_action(
        f"{cluster.app}/leader", "promote", {"unit": unit, **parameters}
    )
    assert cluster.until(lambda: cluster.model.action(number).status in ("completed", "failed"))
    return cluster.model.action(number)


@pytest.fixture
def promoted(whole):
    """Unit 2 is master by promotion, unit 0 leads."""
    cluster = whole(order=(0, 1, 2))
    for number in range(3):
        cluster.workload(0).enrol(f"agent-{number}", cluster.model.now)
    cluster.run(5)
    assert _promote(cluster, "wazuh-server/2").status == "completed"
    assert cluster.settle()
    return cluster


def test_given_a_promotion_when_settled_then_the_unit_serves_and_the_leader_leaves_it(promoted):
    assert promoted.masters() == ["wazuh-server-2"]
    assert promoted.workload(2).state.keys.agents == 3

    promoted.run(700)

    assert promoted.model.leader(promoted.app) == "wazuh-server/0"
    assert promoted.masters() == ["wazuh-server-2"]
    assert promoted.databag()["epoch"] == "2"


def test_given_a_promoted_master_that_dies_when_the_leader_lives_then_it_takes_over(promoted):
    promoted.model.node_lost("wazuh-server/2")
    died = promoted.model.now

    assert promoted.until(lambda: promoted.masters() == ["wazuh-server-0"], 200)

    assert promoted.model.now - died > 60, "a pod may be made again elsewhere first"
    assert promoted.databag()["epoch"] == "3"
    promoted.model.node_back("wazuh-server/2")
    assert promoted.settle()
    assert promoted.masters() == ["wazuh-server-0"]
    assert {one.state.keys.agents for one in promoted.workloads()} == {3}


def test_given_a_promoted_masters_pod_when_made_again_then_it_stays_master(promoted):
    promoted.model.pod_deleted("wazuh-server/2")

    assert promoted.settle()

    assert promoted.masters() == ["wazuh-server-2"]
    assert promoted.databag()["epoch"] == "2"


def test_given_a_promotion_when_leadership_changes_then_the_new_leader_is_master(promoted):
    promoted.model.node_lost("wazuh-server/0")
    assert promoted.until(lambda: promoted.model.leader(promoted.app) != "wazuh-server/0", 100)
    promoted.run(30)
    promoted.model.node_back("wazuh-server/0")
    assert promoted.settle()

    leader = promoted.model.leader(promoted.app)
    assert promoted.masters() == [leader.replace("/", "-")]
    assert promoted.databag()["decided-by"].endswith(leader)


def test_given_two_promotions_when_the_second_comes_at_once_then_it_is_refused(whole):
    cluster = whole(order=(0, 1, 2))
    assert _promote(cluster, "wazuh-server/2").status == "completed"

    second = _promote(cluster, "wazuh-server/1")

    assert second.status == "failed"
    assert "has not taken over yet" in second.message
    assert cluster.settle()
    assert cluster.masters() == ["wazuh-server-2"]


def test_given_the_promoted_master_is_removed_when_settled_then_the_leader_has_every_agent(
    promoted,
):
    promoted.workload(2).enrol("last-moment", promoted.model.now)
    promoted.model.scale(promoted.app, 2)

    assert promoted.settle(300)

    assert promoted.masters() == ["wazuh-server-0"]
    assert {one.state.keys.agents for one in promoted.workloads()} == {4}


@pytest.mark.parametrize("teardown", ["source", "docs"])
@pytest.mark.parametrize("units", [1, 2])
def test_given_the_leader_is_removed_when_settled_then_every_agent_is_there(
    whole, units, teardown
):
    cluster = whole(order=(2, 1, 0))
    cluster.model.with_behaviour(teardown=teardown)
    for number in range(4):
        cluster.workload(2).enrol(f"agent-{number}", cluster.model.now)
    cluster.model.scale(cluster.app, units)

    assert cluster.settle(300)

    assert len(cluster.masters()) == 1
    assert {one.state.keys.agents for one in cluster.workloads()} == {4}
    assert not [one.describe() for one in cluster.history if not one.ok]


def test_given_every_volume_lost_when_refused_then_force_goes_on_and_no_id_is_given_again(
    promoted,
):
    for number in range(3):
        workload = promoted.workload(number)
        workload.disk.memory = type(workload.disk.memory)()
        workload.disk.store("", promoted.model.now)
        promoted.model.container_restarted(f"wazuh-server/{number}", "wazuh-server")
    promoted.run(120)
    status, message = promoted.statuses()["wazuh-server/2"]
    assert status == "blocked"
    assert "juju run wazuh-server/leader promote unit=wazuh-server/2 force=true" in message
    assert promoted.masters() == []

    assert _promote(promoted, "wazuh-server/2", force=True).status == "completed"
    assert promoted.settle()

    assert promoted.masters() == ["wazuh-server-2"]
    assert promoted.workload(2).enrol("new", promoted.model.now) > 3


def test_given_a_promoted_master_when_all_units_are_refreshed_then_nothing_moves(promoted):
    before = len(promoted.history)

    promoted.model.refresh(promoted.app)

    assert promoted.settle(600)
    assert promoted.masters() == ["wazuh-server-2"]
    assert promoted.databag()["epoch"] == "2"
    upgraded = [one.unit for one in promoted.since(before) if one.hook == "upgrade-charm"]
    assert upgraded == ["wazuh-server/2", "wazuh-server/1", "wazuh-server/0"]
