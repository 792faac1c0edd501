"""R12–R18 and what was seen: leases, elections, and that nobody is told of a loss."""

import pytest

from sandbox.model import ToolError


@pytest.mark.parametrize("first", [0, 1, 2])
def test_r14_given_any_starting_order_when_the_first_pod_is_up_then_it_leads_from_install_on(
    driver, first
):
    three = driver("4", 3)
    three.start(first)
    hook = three.next(f"app/{first}")
    assert hook.spec.name == "install"
    assert hook.is_leader()


@pytest.mark.parametrize("seed", range(8))
def test_r13_given_a_leader_gone_for_good_when_time_passes_then_another_within_30_to_60_s(
    settled, seed
):
    driver = settled(3, seed=seed)
    driver.pass_time(seed * 7.3)
    lost_at = driver.model.now
    driver.model.node_lost("app/0")
    while driver.model.leader("app") in {None, "app/0"}:
        driver.model.advance(0.5)
    assert 30 <= driver.model.now - lost_at <= 60.5


def test_r13_given_the_leaders_pod_back_within_its_lease_when_time_passes_then_it_keeps_it(
    settled, hooks
):
    driver = settled(2)
    driver.model.pod_deleted("app/0", forced=True)
    driver.model.advance(20)
    driver.start(0)
    ran = driver.pass_time(120)
    assert driver.model.leader("app") == "app/0"
    assert "leader-elected" not in hooks(ran)
    assert hooks(ran, "app/1") == []


def test_r15_given_leadership_lost_when_the_old_leader_is_back_then_no_hook_tells_it(
    settled, hooks
):
    driver = settled(2)
    driver.model.cut_off("app/0")
    driver.pass_time(70)
    assert driver.model.leader("app") == "app/1"
    assert hooks(driver.ran, "app/1").count("leader-elected") == 1
    before = len(driver.ran)
    driver.model.heal("app/0")
    driver.drain("app/0")
    ran = hooks(driver.ran[before:], "app/0")
    assert ran[0] == "start"
    assert not [name for name in ran if "leader" in name]
    assert not driver.until("app/0", "update-status").is_leader()


def test_r15_given_a_leader_whose_agent_restarts_when_hooks_run_then_elected_is_not_repeated(
    settled, hooks
):
    driver = settled(1)
    driver.model.charm_container_restarted("app/0")
    assert "leader-elected" not in hooks(driver.pass_time(10))


def test_r16_given_a_leader_paused_in_a_hook_when_it_goes_on_after_its_lease_then_nothing_commits(
    settled,
):
    driver = settled(2)
    hook = driver.until("app/0", "update-status")
    assert hook.is_leader()
    hook.relation_set("peers:0", {"epoch": "2"}, app=True)
    hook.relation_set("peers:0", {"mine": "x"})
    driver.model.pause("app/0", kubelet=False)
    driver.model.advance(61)
    assert driver.model.leader("app") == "app/1"
    driver.model.unpause("app/0")
    assert not driver.model.finish(hook, ok=True)
    assert "lease not held" in driver.model.events()[-1].text
    bags = driver.model.show_unit("app/0")["app/0"]["relation-info"][0]
    assert bags["application-data"] == {}
    assert "mine" not in bags["local-unit"]["data"]


def test_r18_given_a_lease_lost_in_a_hook_when_retried_then_as_a_minion(settled):
    driver = settled(2)
    hook = driver.until("app/0", "update-status")
    hook.secret_add({"key": "value"}, label="one")
    driver.model.cut_off("app/0")
    driver.model.advance(61)
    driver.model.heal("app/0")
    assert hook.dead
    assert driver.model.secrets() == []
    again = driver.next("app/0")
    assert again.spec.name == "update-status"
    assert not again.is_leader()


def test_seen_given_a_frozen_agent_when_70_s_are_over_then_it_restarts_without_leadership(
    settled, hooks
):
    driver = settled(2)
    driver.model.pause("app/0")
    ran = driver.pass_time(80)
    assert hooks(ran, "app/0")[0] == "start"
    assert driver.model.leader("app") == "app/1"


def test_r17_given_a_dying_leader_when_its_hooks_run_then_it_leads_until_remove(driver):
    two = driver("4", 2)
    two.start(1, 0)
    two.pass_time(20)
    assert two.model.leader("app") == "app/1"
    two.model.scale("app", 1)
    for name in ("data-storage-detaching", "peers-relation-departed", "stop", "remove"):
        hook = two.until("app/1", name)
        assert hook.is_leader()
        two.model.finish(hook, ok=True)
    assert two.model.leader("app") is None
    assert "leader-elected" in [name for _, name, _ in two.pass_time(5.1)]
    assert two.model.leader("app") == "app/0"


def test_given_a_unit_cut_off_in_a_hook_when_it_asks_then_every_tool_fails(settled):
    driver = settled(1)
    hook = driver.until("app/0", "update-status")
    driver.model.cut_off("app/0")
    for ask in (hook.is_leader, hook.config_get, lambda: hook.relation_ids("peers")):
        with pytest.raises(ToolError):
            ask()
    assert not driver.model.finish(hook, ok=True)


def test_given_all_agents_away_when_the_first_is_back_then_it_leads(settled):
    driver = settled(2)
    driver.model.node_lost("app/0")
    driver.model.node_lost("app/1")
    driver.model.advance(100)
    assert driver.model.leader("app") is None
    driver.model.node_back("app/1")
    driver.start(1)
    assert driver.model.leader("app") == "app/1"
