"""R6–R8, R11, R30–R33, R38: three restarts, volumes, scale, refresh, readiness, the Service."""

import pytest

from sandbox.model import CommandError


def test_r06_given_a_pod_deleted_when_it_is_back_then_upgrade_config_start_ready_and_no_relation(
    settled, hooks
):
    driver = settled(2)
    before = driver.model.pods()["app/1"]
    driver.model.pod_deleted("app/1")
    ran = hooks(driver.pass_time(20))
    assert ran == ["stop", "upgrade-charm", "config-changed", "start", "box-pebble-ready"]
    after = driver.model.pods()["app/1"]
    assert after.uid != before.uid
    assert after.address != before.address
    assert after.volumes == before.volumes
    assert after.charm_revision == before.charm_revision


def test_r06_given_a_pod_that_does_not_stop_when_30_s_are_over_then_it_is_killed(settled):
    driver = settled(1)
    uid = driver.model.pods()["app/0"].uid
    driver.model.pod_deleted("app/0")
    driver.next("app/0")
    driver.model.advance(29)
    assert driver.model.pods()["app/0"].uid == uid
    driver.model.advance(2)
    assert driver.model.pods()["app/0"].uid != uid


def test_r06_given_a_pod_killed_without_grace_when_it_is_back_then_no_stop_ran(settled, hooks):
    driver = settled(1)
    driver.model.pod_deleted("app/0", forced=True)
    ran = hooks(driver.pass_time(20))
    assert ran == ["upgrade-charm", "config-changed", "start", "box-pebble-ready"]


def test_r07_given_the_charm_container_restarts_when_hooks_run_then_start_old_news_pebble_ready(
    settled, hooks
):
    driver = settled(1)
    model = driver.model
    model.notice("app/0", "box", "example.com/one")
    model.check_failed("app/0", "box", "ready")
    model.check_recovered("app/0", "box", "ready")
    driver.drain()
    boots = dict(model.pods()["app/0"].containers)
    model.charm_container_restarted("app/0")
    ran = hooks(driver.pass_time(10))
    assert ran == [
        "start",
        "box-pebble-custom-notice",
        "box-pebble-check-failed",
        "box-pebble-check-recovered",
        "box-pebble-ready",
    ]
    assert model.pods()["app/0"].containers == boots


def test_r08_given_a_workload_container_restarts_when_pebble_answers_then_only_pebble_ready(
    settled, hooks
):
    driver = settled(2)
    boot = driver.model.pods()["app/0"].containers["box"]
    driver.model.notice("app/0", "box", "example.com/one")
    driver.drain()
    driver.model.container_restarted("app/0", "box")
    assert driver.model.pods()["app/0"].containers["box"] == boot + 1
    assert driver.model.due() == []
    driver.model.container_ready("app/0", "box", "another")
    assert hooks(driver.pass_time(6)) == ["box-pebble-ready"]


def test_r08_given_another_boot_id_when_reported_then_pebble_ready_within_the_poll(settled, hooks):
    driver = settled(1)
    driver.model.container_ready("app/0", "box", "first")
    driver.pass_time(6)
    driver.model.container_ready("app/0", "box", "first")
    assert hooks(driver.pass_time(6)) == []
    driver.model.container_ready("app/0", "box", "second")
    assert hooks(driver.pass_time(5)) == ["box-pebble-ready"]


def test_seen_given_the_same_notice_key_again_when_it_occurs_then_it_fires_again(settled, hooks):
    driver = settled(1)
    for _ in range(2):
        driver.model.notice("app/0", "box", "example.com/key")
        assert hooks(driver.drain()) == ["box-pebble-custom-notice"]


def test_seen_given_a_notice_again_while_its_hook_runs_when_that_ends_then_it_fires_once_more(
    settled, hooks
):
    driver = settled(1)
    driver.model.notice("app/0", "box", "example.com/key", notice_id="17")
    hook = driver.until("app/0", "box-pebble-custom-notice")
    for _ in range(2):
        driver.model.notice("app/0", "box", "example.com/key", notice_id="17")
    driver.model.finish(hook, ok=True)
    assert hooks(driver.drain()) == ["box-pebble-custom-notice"]


def test_r30_given_a_scale_down_when_units_go_then_the_highest_numbers_even_the_leader(driver):
    three = driver("4", 3)
    three.start(2, 0, 1)
    three.pass_time(20)
    assert three.model.leader("app") == "app/2"
    three.model.scale("app", 1)
    three.pass_time(30)
    assert three.model.units("app") == ["app/0"]
    assert three.model.leader("app") == "app/0"


def test_r30_given_a_doomed_unit_in_error_when_others_are_dead_then_all_pods_stay(settled):
    driver = settled(3)
    driver.model.scale("app", 1)
    driver.model.finish(driver.until("app/2", "stop"), ok=False)
    driver.model.world.units["app/2"].retry_at = driver.model.now + 1000
    driver.drain("app/1")
    assert set(driver.model.pods()) == {"app/0", "app/1", "app/2"}
    driver.model.resolve("app/2")
    driver.drain("app/2")
    assert set(driver.model.pods()) == {"app/0"}


def test_r30_given_a_scale_down_not_finished_when_scaled_up_then_it_waits_for_the_end(settled):
    driver = settled(3)
    driver.model.scale("app", 2)
    driver.model.scale("app", 4)
    assert driver.model.units("app") == ["app/0", "app/1", "app/2"]
    driver.pass_time(30)
    assert driver.model.units("app") == ["app/0", "app/1", "app/2", "app/3"]


def test_seen_given_two_units_removed_when_survivors_hear_then_of_one_only(settled, hooks):
    driver = settled(4)
    driver.model.scale("app", 2)
    driver.pass_time(30)
    departed = [
        (unit, remote)
        for unit, name, remote in driver.ran
        if name == "peers-relation-departed" and unit in {"app/0", "app/1"}
    ]
    assert sorted(unit for unit, _ in departed) == ["app/0", "app/1"]
    assert len({remote for _, remote in departed}) == 1


def test_seen_given_a_unit_nobody_heard_leave_when_its_number_is_back_then_it_is_seen_again(
    settled,
):
    driver = settled(4)
    driver.model.scale("app", 2)
    driver.pass_time(30)
    driver.model.scale("app", 4)
    driver.pass_time(30)
    hook = driver.until("app/0", "update-status")
    assert hook.relation_list("peers:0") == ["app/1", "app/2", "app/3"]


def test_seen_given_scale_2_0_2_when_back_then_new_volumes_and_the_databag_and_secrets_stay(
    settled,
):
    driver = settled(2)
    leader = driver.until("app/0", "update-status")
    leader.relation_set("peers:0", {"kept": "yes"}, app=True)
    leader.secret_add({"key": "value"}, label="kept")
    driver.model.finish(leader, ok=True)
    before = [pod.volumes for pod in driver.model.pods().values()]
    driver.model.scale("app", 0)
    driver.pass_time(30)
    assert driver.model.units("app") == []
    assert driver.model.service("app").endpoints == ()
    driver.model.scale("app", 2)
    driver.pass_time(30)
    after = [pod.volumes for pod in driver.model.pods().values()]
    assert not {str(one) for one in before} & {str(one) for one in after}
    hook = driver.until("app/1", "update-status")
    assert hook.relation_get("peers:0", "app", app=True) == {"kept": "yes"}
    assert hook.secret_get(label="kept") == {"key": "value"}


@pytest.mark.parametrize("keep", [True, False])
def test_r31_given_a_lost_node_when_the_unit_is_back_then_its_volume_is_kept_or_lost(
    settled, keep
):
    driver = settled(2)
    before = driver.model.pods()["app/1"].volumes
    driver.model.node_lost("app/1", keep_volumes=keep)
    assert "app/1" not in driver.model.pods()
    driver.model.node_back("app/1")
    after = driver.model.pods()["app/1"].volumes
    assert (after == before) is keep
    assert set(after) == set(before)


def test_r32_given_a_refresh_when_pods_become_ready_then_one_by_one_highest_first(settled):
    driver = settled(3)
    driver.model.refresh("app")
    seen = []
    for _ in range(3):
        pending = [unit for unit, pod in driver.model.pods().items() if pod.phase != "running"]
        assert len(pending) == 1
        seen.extend(pending)
        driver.drain()
        unit = pending[0]
        assert driver.model.pods()[unit].charm_revision == 1
        driver.start(int(unit[-1]))
        driver.drain(unit)
    assert seen == ["app/2", "app/1", "app/0"]
    driver.pass_time(10)
    assert {pod.charm_revision for pod in driver.model.pods().values()} == {1}


def test_r32_given_a_refreshed_unit_not_ready_when_time_passes_then_the_next_one_stays(settled):
    driver = settled(2)
    driver.model.refresh("app")
    driver.drain()
    driver.model.pod_started("app/1")
    driver.model.container_ready("app/1", "box", "x")
    driver.model.readiness("app/1", ready=False)
    driver.drain()
    driver.model.advance(100)
    driver.drain()
    assert driver.model.pods()["app/0"].charm_revision == 0


def test_r33_given_a_pod_when_start_probe_or_agent_change_then_the_endpoints_follow(settled):
    driver = settled(2)
    model = driver.model
    addresses = {unit: pod.address for unit, pod in model.pods().items()}
    assert set(model.service("app").endpoints) == set(addresses.values())
    model.readiness("app/1", ready=False)
    assert model.service("app").endpoints == (addresses["app/0"],)
    model.readiness("app/1", ready=True)
    model.pause("app/1")
    assert model.service("app").endpoints == (addresses["app/0"],)
    assert set(model.service("app").headless) == {"app-0", "app-1"}


def test_r33_given_a_new_pod_when_start_has_not_run_then_it_is_no_endpoint(driver):
    one = driver()
    one.start(0)
    assert one.model.service("app").endpoints == ()
    one.drain()
    assert len(one.model.service("app").endpoints) == 1


def test_seen_given_a_unit_cut_off_from_the_controller_when_asked_then_it_stays_an_endpoint(
    settled,
):
    driver = settled(2)
    driver.model.cut_off("app/1")
    driver.model.set_config("app", {"text": "new"})
    assert driver.model.due() == ["app/0"]
    assert len(driver.model.service("app").endpoints) == 2


def test_r38_given_no_port_opened_when_asked_then_the_placeholder_else_the_union(settled):
    driver = settled(2)
    assert driver.model.service("app").ports == (65535,)
    for unit, port in (("app/0", "1514"), ("app/1", "1515/tcp")):
        hook = driver.until(unit, "update-status")
        hook.open_port(port)
        assert driver.model.service("app").ports != (1514, 1515)
        driver.model.finish(hook, ok=True)
    assert driver.model.service("app").ports == (1514, 1515)


def test_r40_given_a_suspended_relation_when_hooks_run_then_it_breaks_and_is_made_again(
    settled, remote, hooks
):
    driver = settled(1)
    driver.model.add_application(remote, units=1, scripted=True)
    relation = int(driver.model.integrate("app:logs", "remote").partition(":")[2])
    driver.drain()
    driver.model.suspend_relation(relation)
    assert hooks(driver.drain()) == ["logs-relation-departed", "logs-relation-broken"]
    driver.model.suspend_relation(relation, suspended=False)
    ran = hooks(driver.drain())
    assert ran == ["logs-relation-created", "logs-relation-joined", "logs-relation-changed"]


def test_r40_given_options_when_set_then_only_their_type_is_checked(settled):
    driver = settled(1)
    driver.model.set_config("app", {"text": "anything ::", "size": "12", "fast": "True"})
    assert driver.next("app/0").config_get() == {"text": "anything ::", "size": 12, "fast": True}
    for values in ({"size": "many"}, {"fast": "perhaps"}, {"key": "no-uri"}, {"other": "x"}):
        with pytest.raises(CommandError):
            driver.model.set_config("app", values)


def test_given_an_application_removed_when_hooks_ran_then_nothing_of_it_is_left(settled, remote):
    driver = settled(2)
    driver.model.add_application(remote, units=1, scripted=True)
    driver.model.integrate("app:logs", "remote")
    driver.drain()
    leader = driver.until("app/0", "update-status")
    leader.secret_add({"key": "value"}, label="gone")
    driver.model.finish(leader, ok=True)
    driver.model.remove_application("app")
    driver.pass_time(30)
    assert driver.model.applications() == ["remote"]
    assert driver.model.pods() == {}
    assert driver.model.secrets() == []
    assert driver.model.status()["applications"]["remote"]["relations"] == {}
