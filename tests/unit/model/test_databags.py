"""R19–R23: when databags are written, who sees them, what a unit knows of its peers."""

import pytest

from sandbox.model import Behaviour, ToolError


def _bag(driver, unit="app/0"):
    return driver.model.show_unit(unit)[unit]["relation-info"][0]


def test_r19_given_a_hook_that_fails_when_it_wrote_then_only_what_is_immediate_stays(settled):
    driver = settled(1)
    hook = driver.until("app/0", "update-status")
    hook.relation_set("peers:0", {"a": "b"}, app=True)
    hook.open_port("80")
    hook.state_set({"key": "value"})
    hook.secret_add({"key": "value"}, label="one")
    hook.status_set("blocked", "because")
    hook.application_version_set("4.14")
    driver.model.finish(hook, ok=False)
    assert _bag(driver)["application-data"] == {}
    assert driver.model.service("app").ports == (65535,)
    assert driver.model.secrets() == []
    shown = driver.model.status()["applications"]["app"]
    assert shown["version"] == "4.14"
    assert driver.model.world.units["app/0"].status.message == "because"


def test_r19_given_a_hook_when_it_commits_then_relations_ports_and_state_at_once(settled):
    driver = settled(1)
    hook = driver.until("app/0", "update-status")
    hook.relation_set("peers:0", {"a": "b"}, app=True)
    hook.relation_set("peers:0", {"c": "d"})
    hook.open_port("80")
    hook.state_set({"key": "value"})
    assert hook.relation_get("peers:0", "app", app=True) == {"a": "b"}
    assert hook.relation_get("peers:0", "app/0")["c"] == "d"
    assert hook.state_get("key") == "value"
    driver.model.finish(hook, ok=True)
    assert _bag(driver)["application-data"] == {"a": "b"}
    assert _bag(driver)["local-unit"]["data"]["c"] == "d"
    assert driver.model.service("app").ports == (80,)


def test_r20_given_a_peer_whose_joined_hook_is_not_done_when_listed_then_it_is_missing(settled):
    driver = settled(1)
    driver.model.scale("app", 2)
    driver.start(1)
    driver.drain("app/1")
    joined = driver.until("app/0", "peers-relation-joined")
    assert joined.relation_list("peers:0") == []
    assert joined.relation_get("peers:0", "app/1")["ingress-address"]
    driver.model.finish(joined, ok=True)
    assert driver.next("app/0").relation_list("peers:0") == ["app/1"]


def test_r20_given_a_departed_unit_when_its_databag_is_read_by_name_then_it_is_there(settled):
    driver = settled(2)
    hook = driver.until("app/1", "update-status")
    hook.relation_set("peers:0", {"last": "words"})
    driver.model.finish(hook, ok=True)
    driver.drain()
    driver.model.scale("app", 1)
    driver.pass_time(30)
    survivor = driver.until("app/0", "update-status")
    assert survivor.relation_list("peers:0") == []
    assert survivor.relation_get("peers:0", "app/1")["last"] == "words"


def test_r20_given_a_databag_read_in_a_hook_when_another_unit_commits_then_the_hook_sees_the_old(
    settled,
):
    driver = settled(2)
    reader = driver.until("app/1", "update-status")
    assert reader.relation_get("peers:0", "app", app=True) == {}
    leader = driver.until("app/0", "update-status")
    leader.relation_set("peers:0", {"a": "b"}, app=True)
    driver.model.finish(leader, ok=True)
    assert reader.relation_get("peers:0", "app", app=True) == {}


def test_r21_given_a_minion_when_it_touches_the_application_side_then_it_reads_but_cannot_write(
    settled,
):
    driver = settled(2)
    leader = driver.until("app/0", "update-status")
    leader.relation_set("peers:0", {"a": "b"}, app=True)
    driver.model.finish(leader, ok=True)
    minion = driver.until("app/1", "update-status")
    assert minion.relation_get("peers:0", "app", app=True) == {"a": "b"}
    with pytest.raises(ToolError, match="cannot write relation settings"):
        minion.relation_set("peers:0", {"a": "c"}, app=True)


def test_r21_given_a_minion_when_it_reads_its_application_in_another_relation_then_refused(
    settled, remote
):
    driver = settled(2)
    driver.model.add_application(remote, units=1, scripted=True)
    relation = driver.model.integrate("app:logs", "remote")
    driver.drain()
    minion = driver.until("app/1", "update-status")
    with pytest.raises(ToolError, match="permission denied"):
        minion.relation_get(relation, "app", app=True)
    assert minion.relation_get(relation, "remote", app=True) == {}


@pytest.mark.parametrize("hears", [True, False])
def test_seen_given_the_leaders_own_write_when_committed_then_all_hear_and_it_itself_if_so_set(
    driver, hooks, hears
):
    three = driver("4", 3, behaviour=Behaviour(leader_hears_itself=hears))
    three.pass_time(20)
    leader = three.until("app/0", "update-status")
    leader.relation_set("peers:0", {"a": "b"}, app=True)
    three.model.finish(leader, ok=True)
    ran = [(unit, name) for unit, name, _ in three.drain() if "changed" in name]
    expected = {"app/1", "app/2"} | ({"app/0"} if hears else set())
    assert {unit for unit, _ in ran} == expected
    assert len(ran) == len(expected)


def test_seen_given_the_same_value_again_when_committed_then_no_event(settled):
    driver = settled(2)
    for expected in (True, False):
        leader = driver.until("app/0", "update-status")
        leader.relation_set("peers:0", {"a": "b"}, app=True)
        driver.model.finish(leader, ok=True)
        ran = [name for _, name, _ in driver.drain("app/1") if "changed" in name]
        assert bool(ran) is expected


def test_seen_given_a_units_own_databag_when_written_then_only_the_others_hear(settled):
    driver = settled(3)
    hook = driver.until("app/1", "update-status")
    hook.relation_set("peers:0", {"a": "b"})
    driver.model.finish(hook, ok=True)
    ran = {unit for unit, name, _ in driver.drain() if "changed" in name}
    assert ran == {"app/0", "app/2"}


def test_seen_given_the_peer_relation_when_networks_are_asked_then_ingress_is_the_service(
    settled,
):
    driver = settled(1)
    hook = driver.until("app/0", "update-status")
    network = hook.network_get("peers")
    service = driver.model.service("app")
    assert network["ingress-addresses"] == [service.address]
    assert network["bind-addresses"][0]["addresses"][0]["value"] == service.endpoints[0]
    with pytest.raises(ToolError, match="private address"):
        hook.unit_get("private-address")


def test_r23_given_a_new_pod_when_config_changed_runs_then_the_bind_address_is_the_new_one(
    settled,
):
    driver = settled(1)
    driver.model.pod_deleted("app/0", forced=True)
    driver.start_pending()
    hook = driver.until("app/0", "config-changed")
    address = driver.model.pods()["app/0"].address
    assert hook.network_get("peers")["bind-addresses"][0]["addresses"][0]["value"] == address


def test_given_a_relation_removed_when_hooks_ran_then_departed_broken_and_the_other_is_told(
    settled, remote, hooks
):
    driver = settled(2)
    driver.model.add_application(remote, units=2, scripted=True)
    driver.model.integrate("app:logs", "remote")
    driver.drain()
    driver.model.remove_relation("app:logs", "remote")
    ran = hooks(driver.drain("app/1"))
    assert ran == ["logs-relation-departed", "logs-relation-departed", "logs-relation-broken"]
    driver.drain()
    assert driver.model.status()["applications"]["app"]["relations"].keys() == {"peers"}


def test_given_a_scripted_application_when_its_databag_is_written_then_units_hear_of_it(
    settled, remote
):
    driver = settled(1)
    driver.model.add_application(remote, units=1, scripted=True)
    relation = driver.model.integrate("app:logs", "remote")
    driver.drain()
    number = int(relation.partition(":")[2])
    driver.model.scripted_set(number, "remote/0", {"endpoint": "http://here"})
    hook = driver.until("app/0", "logs-relation-changed")
    assert hook.environment()["JUJU_REMOTE_UNIT"] == "remote/0"
    assert hook.relation_get(relation, "remote/0")["endpoint"] == "http://here"
    driver.model.finish(hook, ok=True)
    driver.model.scripted_set(number, "remote", {"all": "units"})
    hook = driver.until("app/0", "logs-relation-changed")
    assert hook.environment()["JUJU_REMOTE_UNIT"] == ""
    assert hook.relation_get(relation, "remote", app=True) == {"all": "units"}
