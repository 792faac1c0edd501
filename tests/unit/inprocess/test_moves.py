"""Moves of the master, scale, restarts and changes of a running cluster."""

import json

import pytest

LAG = 20.0
"""Seconds after which workers have what the master has."""
OPTION = "custom-config-repository"


def _loud(effects):
    return [one.describe() for one in effects if not one.quiet]


def test_given_the_leader_lost_when_the_lease_is_over_then_one_new_master_in_epoch_2(whole):
    cluster = whole(order=(0, 1, 2))
    for number in range(5):
        assert cluster.workload(0).enrol(f"agent-{number}", cluster.model.now)
    cluster.run(LAG)
    cluster.model.node_lost("wazuh-server/0")
    assert cluster.until(lambda: bool(cluster.masters()), 200)
    master = cluster.masters()
    assert len(master) == 1
    cluster.run(60)
    assert cluster.databag()["epoch"] == "2"
    assert cluster.masters() == master
    assert all(one.state.keys.agents == 5 for one in cluster.workloads())
    cluster.model.node_back("wazuh-server/0")
    assert cluster.settle()
    assert cluster.masters() == master
    assert cluster.workload(0).role == "worker"
    assert {one.disk.keys for one in cluster.workloads()} == {cluster.workload(0).disk.keys}


def test_given_a_new_leader_when_its_hook_publishes_then_only_a_later_hook_acts_on_it(whole):
    cluster = whole(order=(0, 1, 2))
    cluster.model.node_lost("wazuh-server/0")
    published = None
    while published is None:
        if cluster.step() and cluster.history[-1].relation_writes:
            published = cluster.history[-1]
    assert cluster.databag()["epoch"] == "2"
    box = cluster.workload(published.unit).box
    assert json.loads(box.read("/etc/wazuh-server/desired.json"))["epoch"] == 1
    assert cluster.until(
        lambda: json.loads(box.read("/etc/wazuh-server/desired.json"))["epoch"] == 2, 30
    )


def test_given_the_leader_lost_when_a_new_master_serves_then_the_third_unit_restarts_no_daemons(
    whole,
):
    cluster = whole(order=(0, 1, 2))
    cluster.model.node_lost("wazuh-server/0")
    assert cluster.until(lambda: bool(cluster.masters()), 200)
    cluster.run(60)
    other = next(one for one in cluster.workloads() if one.role == "worker")
    assert (other.restarts, other.box.runs["wazuh"]) == (1, 1)


def test_given_the_leaders_pod_back_within_its_lease_when_settled_then_no_move(whole):
    cluster = whole(order=(0, 1, 2))
    before = len(cluster.history)
    cluster.model.pod_deleted("wazuh-server/0")
    assert cluster.settle()
    assert cluster.databag()["epoch"] == "1"
    assert cluster.masters() == ["wazuh-server-0"]
    others = [one for one in cluster.since(before) if one.unit != "wazuh-server/0"]
    assert _loud(others) == []


def test_given_scale_3_5_3_when_settled_then_nothing_is_done_on_the_old_units(whole):
    cluster = whole(order=(0, 1, 2))
    old = {f"wazuh-server/{number}" for number in range(3)}
    runs = [cluster.workload(number).box.runs["wazuh"] for number in range(3)]
    before = len(cluster.history)
    for units in (5, 3):
        cluster.model.scale(cluster.app, units)
        assert cluster.settle()
        assert len(cluster.workloads()) == units
    touched = [one for one in cluster.since(before) if one.unit in old]
    assert touched
    assert _loud(touched) == []
    assert [cluster.workload(number).box.runs["wazuh"] for number in range(3)] == runs
    assert [cluster.workload(number).restarts for number in range(3)] == [1, 1, 1]
    assert cluster.databag()["epoch"] == "1"


def test_given_the_leader_among_those_removed_when_settled_then_the_last_unit_has_all_agents(
    whole,
):
    cluster = whole(order=(2, 1, 0))
    assert cluster.masters() == ["wazuh-server-2"]
    for number in range(4):
        cluster.workload(2).enrol(f"agent-{number}", cluster.model.now)
    cluster.run(LAG)
    cluster.model.scale(cluster.app, 1)
    assert cluster.settle(300)
    assert cluster.masters() == ["wazuh-server-0"]
    assert cluster.workload(0).state.keys.agents == 4


def test_given_a_workload_container_restarts_when_settled_then_that_unit_alone_is_configured(
    whole,
):
    cluster = whole(order=(0, 1, 2))
    before = len(cluster.history)
    cluster.model.container_restarted("wazuh-server/1", "wazuh-server")
    assert cluster.settle()
    loud = [one for one in cluster.since(before) if not one.quiet]
    assert {one.unit for one in loud} == {"wazuh-server/1"}
    assert len(loud) == 1
    assert cluster.databag()["epoch"] == "1"


def test_given_a_charm_container_restarts_when_settled_then_nothing_is_done_at_all(whole):
    cluster = whole()
    before = len(cluster.history)
    for number in range(3):
        cluster.model.charm_container_restarted(f"wazuh-server/{number}")
    assert cluster.settle()
    ran = cluster.since(before)
    assert {"start", "wazuh-server-pebble-ready"} <= {one.hook for one in ran}
    assert _loud(ran) == []


def test_given_a_master_cut_off_from_everything_when_time_passes_then_it_fences_itself_first(
    whole,
):
    cluster = whole(order=(0, 1, 2))
    cluster.cut.add("wazuh-server/0")
    cluster.model.cut_off("wazuh-server/0")
    old = cluster.workload(0)
    assert cluster.until(lambda: not old.serves, 60)
    assert cluster.masters() == []
    assert not old.ready
    assert cluster.until(lambda: bool(cluster.masters()), 200)
    assert cluster.masters() != ["wazuh-server-0"]
    cluster.cut.clear()
    cluster.model.heal("wazuh-server/0")
    assert cluster.settle(300)
    assert cluster.workload(0).role == "worker"
    assert cluster.databag()["epoch"] == "2"


def test_given_a_leader_paused_in_a_hook_when_it_loses_the_lease_then_one_master_per_epoch(whole):
    cluster = whole(order=(0, 1, 2))
    model = cluster.model
    while "wazuh-server/0" not in model.due():
        cluster.step()
    hook = model.begin("wazuh-server/0")
    model.pause("wazuh-server/0", kubelet=False)
    cluster.run(75)
    assert model.leader(cluster.app) != "wazuh-server/0"
    model.unpause("wazuh-server/0")
    model.finish(hook, ok=True)
    assert cluster.settle(300)
    assert cluster.databag()["epoch"] == "2"


def test_given_a_repository_when_set_then_its_commit_is_ordered_and_nothing_restarts(whole):
    cluster = whole(order=(0, 1, 2))
    runs = [dict(one.box.runs) for one in cluster.workloads()]
    cluster.model.set_config(cluster.app, {OPTION: "git+https://git.example.com/rules"})
    assert cluster.settle()
    cluster.run(30)
    master = cluster.workload(0)
    assert master.order.ruleset is not None
    after = [dict(one.box.runs) for one in cluster.workloads()]
    assert [one["wazuh"] for one in after] == [one["wazuh"] for one in runs]
    assert [one.restarts for one in cluster.workloads()] == [1, 1, 1]
    cluster.model.set_config(cluster.app, {OPTION: "git+hhtp://git.example.com/rules"})
    assert cluster.settle()
    assert all(status == "blocked" for status, _ in cluster.statuses().values())
    assert cluster.workload(0).order.ruleset == master.order.ruleset


@pytest.mark.parametrize("how", ["revoke", "remove", "malformed"])
def test_given_an_enrolment_password_that_goes_bad_when_settled_then_the_last_good_one_stays(
    whole, how
):
    cluster = whole(order=(0, 1, 2))
    model, path = cluster.model, "/etc/wazuh-server/files/etc/authd.pass"
    generated = cluster.workload(1).box.read(path)
    uri = model.add_secret("mine", {"password": "operators-choice"})
    model.grant_secret("mine", cluster.app)
    model.set_config(cluster.app, {"agent-password": uri})
    assert cluster.settle()
    assert {one.box.read(path).strip() for one in cluster.workloads()} == {"operators-choice"}
    assert generated.strip() != "operators-choice"
    match how:
        case "revoke":
            model.revoke_secret("mine", cluster.app)
        case "remove":
            model.remove_secret("mine")
        case "malformed":
            model.update_secret("mine", {"passwort": "typing-mistake"})
    assert cluster.settle()
    cluster.run(400)
    assert not [one.describe() for one in cluster.history if not one.ok]
    assert {one.box.read(path).strip() for one in cluster.workloads()} == {"operators-choice"}
    assert any("agent-password" in message for _, message in cluster.statuses().values())


def test_given_a_new_enrolment_password_when_settled_then_no_service_is_restarted(whole):
    cluster = whole(order=(0, 1, 2))
    uri = cluster.model.add_secret("mine", {"password": "operators-choice"})
    cluster.model.grant_secret("mine", cluster.app)
    cluster.model.set_config(cluster.app, {"agent-password": uri})
    before = len(cluster.history)
    assert cluster.settle()
    assert [one.describe() for one in cluster.since(before) if one.started] == []
    assert [one.restarts for one in cluster.workloads()] == [1, 1, 1]


def test_given_an_option_that_flaps_a_hundred_times_when_settled_then_the_last_value_wins(whole):
    cluster = whole(order=(0, 1, 2))
    for number in range(100):
        value = "git+hhtp://x/y" if number % 2 else "git+https://git.example.com/rules"
        cluster.model.set_config(cluster.app, {OPTION: value})
        if number % 7 == 0:
            cluster.step()
    assert cluster.settle()
    assert all(status == "blocked" for status, _ in cluster.statuses().values())
    assert cluster.databag()["epoch"] == "1"


def test_given_the_only_agent_removed_when_a_worker_returns_that_knows_it_then_the_master_serves(
    whole,
):
    cluster = whole(order=(0, 1, 2))
    assert cluster.enrol("agent", "wazuh-server/0") == 1
    assert cluster.settle()
    cluster.cut.add("wazuh-server/2")
    cluster.model.container_restarted("wazuh-server/2", "wazuh-server")
    assert cluster.workload(0).remove(cluster.workload(0).lines()[0], cluster.model.now)
    cluster.run(30)
    cluster.cut.clear()
    assert cluster.settle()
    assert cluster.masters() == ["wazuh-server-0"]
    assert {one.state.keys.agents for one in cluster.workloads()} == {0}
