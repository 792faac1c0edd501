"""R1–R5, R9, R10, R12: which hook a unit runs next, and what becomes of a failed one."""

import itertools

import pytest

from sandbox.model import CommandError


def test_r01_given_everything_is_due_when_hooks_run_then_in_the_order_of_the_resolvers(
    settled, remote, hooks
):
    driver = settled(2)
    model = driver.model
    app_uri = _leader_secret(driver)
    reader = driver.until("app/1", "update-status")
    reader.secret_get(label="one")
    model.finish(reader, ok=True)
    model.add_application(remote, units=1, scripted=True)
    changer = driver.until("app/0", "update-status")
    changer.secret_set(app_uri, {"key": "second"})
    changer.relation_set("peers:0", {"a": "b"}, app=True)
    model.finish(changer, ok=True)
    model.advance(3)
    model.integrate("app:logs", "remote:logs")
    model.set_config("app", {"text": "new"})
    model.run_action("app/1", "work", {"name": "x"})
    model.notice("app/1", "box", "example.com/key")
    model.charm_container_restarted("app/1")
    ran = hooks(driver.drain("app/1"), "app/1")
    order = [
        "start",
        "logs-relation-created",
        "box-pebble-custom-notice",
        "app-secret-changed",
        "work",
        "config-changed",
        "config-changed",
        "logs-relation-joined",
        "logs-relation-changed",
        "peers-relation-changed",
    ]
    assert [_short(name) for name in ran] == order


def _leader_secret(driver):
    hook = driver.until("app/0", "update-status")
    uri = hook.secret_add({"key": "first"}, label="one")
    driver.model.finish(hook, ok=True)
    return uri


def _short(name):
    return "app-secret-changed" if name == "secret-changed" else name


def test_r01_given_a_hook_in_flight_when_asked_for_another_then_there_is_none(driver):
    one = driver(units=1)
    one.start(0)
    one.next("app/0")
    assert one.model.due() == []
    with pytest.raises(CommandError):
        one.next("app/0")


def test_r02_given_a_first_boot_when_hooks_run_then_install_created_leadership_config_start(
    driver, mode, hooks
):
    two = driver(mode, 2)
    two.start(0, 1)
    leader = hooks(two.drain("app/0"))
    assert leader == [
        "install",
        "peers-relation-created",
        "leader-elected",
        "config-changed",
        "start",
    ]
    minion = hooks(two.drain("app/1"))
    told = ["leader-settings-changed"] if mode == "3.6" else []
    boot = ["install", "peers-relation-created", *told, "config-changed", "start"]
    assert minion == [*boot, "peers-relation-joined", "peers-relation-changed"]


def test_r02_given_the_install_hook_when_relations_are_listed_then_there_are_none(driver):
    one = driver()
    one.start(0)
    assert one.next("app/0").relation_ids("peers") == []


def test_r02_given_pebble_answers_late_when_hooks_run_then_start_comes_before_pebble_ready(
    driver, hooks
):
    one = driver()
    one.model.pod_started("app/0")
    one.drain()
    one.model.container_ready("app/0", "box")
    ran = hooks(one.pass_time(10))
    assert "box-pebble-ready" in ran
    assert hooks(one.ran).index("start") < hooks(one.ran).index("box-pebble-ready")


def test_r03_given_a_relation_with_news_when_hooks_run_then_application_joined_changed(
    settled, hooks
):
    driver = settled(2)
    leader = driver.until("app/0", "update-status")
    leader.relation_set("peers:0", {"a": "b"}, app=True)
    driver.model.finish(leader, ok=True)
    driver.model.scale("app", 3)
    driver.start(2)
    ran = [
        (name, remote)
        for unit, name, remote in driver.drain("app/2")
        if name.startswith("peers") and not name.endswith("created")
    ]
    assert ran == [
        ("peers-relation-changed", None),
        ("peers-relation-joined", "app/0"),
        ("peers-relation-changed", "app/0"),
        ("peers-relation-joined", "app/1"),
        ("peers-relation-changed", "app/1"),
    ]


def test_r03_given_peers_and_others_with_news_when_hooks_run_then_others_come_first(
    settled, remote, hooks
):
    driver = settled(1)
    driver.model.add_application(remote, units=1, scripted=True)
    driver.model.integrate("app:logs", "remote")
    driver.model.scale("app", 2)
    driver.start(1)
    driver.drain("app/1")
    ran = hooks(driver.drain("app/0"))
    assert ran.index("logs-relation-joined") < ran.index("peers-relation-joined")


def test_r04_given_juju_3_6_when_a_unit_is_removed_then_no_peer_relation_is_broken(driver, hooks):
    two = driver("3.6", 2)
    two.pass_time(20)
    two.model.scale("app", 1)
    ran = hooks(two.pass_time(20))
    assert "remove" in ran
    assert not [name for name in ran if name.endswith("broken")]


def test_seen_given_juju_4_when_a_unit_is_removed_then_its_peer_relation_breaks_after_stop(
    driver, hooks
):
    two = driver("4", 2)
    two.pass_time(20)
    two.model.scale("app", 1)
    ran = hooks(two.pass_time(20), "app/1")
    assert ran == [
        "data-storage-detaching",
        "peers-relation-departed",
        "stop",
        "peers-relation-broken",
        "remove",
    ]
    assert not [name for name in hooks(two.ran, "app/0") if name.endswith("broken")]


def test_r05_given_a_dying_unit_when_hooks_run_then_detaching_others_peers_stop_remove(
    settled, remote, hooks
):
    driver = settled(3)
    driver.model.add_application(remote, units=1, scripted=True)
    driver.model.integrate("app:logs", "remote")
    driver.drain()
    driver.model.scale("app", 2)
    ran = [name for name in hooks(driver.drain("app/2")) if name != "peers-relation-broken"]
    assert ran == [
        "data-storage-detaching",
        "logs-relation-departed",
        "logs-relation-broken",
        "peers-relation-departed",
        "peers-relation-departed",
        "stop",
        "remove",
    ]


def test_r05_given_a_dying_unit_when_peers_depart_then_it_is_named_as_the_departing_one(settled):
    driver = settled(2)
    driver.model.scale("app", 1)
    departed = driver.until("app/1", "peers-relation-departed").environment()
    assert departed["JUJU_DEPARTING_UNIT"] == "app/1"
    assert departed["JUJU_REMOTE_UNIT"] == "app/0"


def test_r05_given_the_order_of_the_documentation_when_a_unit_dies_then_stop_comes_first(
    settled, hooks
):
    driver = settled(2)
    driver.model.with_behaviour(teardown="docs")
    driver.model.scale("app", 1)
    ran = hooks(driver.drain("app/1"))
    assert ran[0] == "stop"
    assert ran[-1] == "remove"


def test_r09_given_a_hook_that_fails_when_time_passes_then_it_is_tried_at_5_10_20_40(settled):
    driver = settled(1)
    driver.model.set_config("app", {"text": "new"})
    waits = []
    for _ in range(10):
        hook = driver.next("app/0")
        assert hook.spec.name == "config-changed"
        assert not driver.model.finish(hook, ok=False)
        failed_at = driver.model.now
        while not driver.model.due():
            deadline = driver.model.next_deadline()
            driver.model.advance(deadline - driver.model.now)
        waits.append(round(driver.model.now - failed_at))
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300, 300]


def test_r09_given_a_unit_in_error_when_more_is_due_then_only_actions_run(settled):
    driver = settled(2)
    driver.model.set_config("app", {"text": "new"})
    driver.drain("app/0")
    driver.model.finish(driver.next("app/1"), ok=False)
    leader = driver.until("app/0", "update-status")
    leader.relation_set("peers:0", {"a": "b"}, app=True)
    driver.model.finish(leader, ok=True)
    driver.model.advance(max(0.0, 0.1))
    unit = driver.model.world.units["app/1"]
    unit.retry_at = driver.model.now + 1000
    driver.model.notice("app/1", "box", "example.com/key")
    assert driver.model.peek("app/1") is None
    number = driver.model.run_action("app/1", "work", {"name": "x"})
    assert driver.once("app/1") == "work"
    assert driver.model.action(number).status == "completed"


def test_r09_given_a_hook_in_error_when_it_is_tried_again_then_it_sees_the_newest_options(settled):
    driver = settled(1)
    driver.model.set_config("app", {"text": "bad"})
    driver.model.finish(driver.next("app/0"), ok=False)
    driver.model.set_config("app", {"text": "good"})
    driver.model.resolve("app/0")
    assert driver.next("app/0").config_get()["text"] == "good"


def test_r09_given_resolve_without_retry_when_asked_then_the_hook_counts_as_done(settled):
    driver = settled(1)
    driver.model.set_config("app", {"text": "bad"})
    failing = driver.next("app/0")
    failing.state_set({"key": "value"})
    driver.model.finish(failing, ok=False)
    driver.model.resolve("app/0", retry=False)
    status = driver.model.status()["applications"]["app"]["units"]["app/0"]
    assert status["workload-status"]["current"] != "error"
    assert driver.model.world.units["app/0"].charm_state == {}


def test_r09_given_a_unit_without_error_when_resolved_then_refused(settled):
    with pytest.raises(CommandError, match="not in an error state"):
        settled(1).model.resolve("app/0")


def test_r09_given_pebble_ready_fails_when_seconds_pass_then_it_comes_again_and_is_no_error(
    settled,
):
    driver = settled(1)
    driver.model.container_restarted("app/0", "box")
    driver.model.container_ready("app/0", "box", "another")
    driver.model.finish(driver.until("app/0", "box-pebble-ready"), ok=False)
    status = driver.model.status()["applications"]["app"]["units"]["app/0"]
    assert status["workload-status"]["current"] != "error"
    driver.model.finish(driver.until("app/0", "box-pebble-ready"), ok=True)


@pytest.mark.parametrize(("signal", "failures"), [("TERM", 0), ("KILL", 1)])
def test_r10_given_a_hook_killed_by_a_signal_when_it_is_due_again_then_it_runs_again(
    settled, signal, failures
):
    driver = settled(1)
    driver.model.set_config("app", {"text": "new"})
    hook = driver.next("app/0")
    driver.model.kill(hook, signal)
    assert driver.model.world.units["app/0"].failures == failures
    driver.model.advance(5)
    assert driver.next("app/0").spec == hook.spec


def test_r10_given_an_agent_that_dies_after_the_commit_when_back_then_the_hook_runs_again(settled):
    driver = settled(1)
    driver.model.set_config("app", {"text": "new"})
    hook = driver.next("app/0")
    hook.relation_set("peers:0", {"written": "yes"}, app=True)
    last = len(driver.model.commit_steps(hook)) - 1
    assert not driver.model.finish(hook, ok=True, crash_after=last)
    again = driver.next("app/0")
    assert again.spec == hook.spec
    assert again.relation_get("peers:0", "app", app=True)["written"] == "yes"


def test_r12_given_a_quiet_unit_when_time_passes_then_update_status_comes_about_every_5_minutes(
    settled,
):
    driver = settled(1)
    times = []
    for _ in range(6):
        hook = driver.until("app/0", "update-status")
        times.append(driver.model.now)
        driver.model.finish(hook, ok=True)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(240 <= gap <= 360 for gap in gaps)
    assert len({round(gap) for gap in gaps}) > 1


def test_seen_given_juju_config_when_set_then_config_changed_comes_twice_on_every_unit(
    settled, hooks
):
    driver = settled(2)
    driver.model.set_config("app", {"text": "new"})
    ran = hooks(driver.pass_time(5))
    assert ran.count("config-changed") == 4


def test_given_the_same_value_when_set_then_no_event(settled):
    driver = settled(1)
    driver.model.set_config("app", {"text": "new"})
    driver.drain()
    driver.model.set_config("app", {"text": "new"})
    assert driver.model.due() == []


def test_coalescing_given_several_changes_before_a_hook_when_it_runs_then_one_event_last_value(
    settled, hooks
):
    driver = settled(2)
    for number in range(3):
        leader = driver.until("app/0", "update-status")
        leader.relation_set("peers:0", {"value": str(number)}, app=True)
        driver.model.finish(leader, ok=True)
    seen = []
    while driver.model.peek("app/1") is not None:
        hook = driver.next("app/1")
        if hook.spec.name == "peers-relation-changed":
            seen.append(hook.relation_get("peers:0", "app", app=True)["value"])
        driver.model.finish(hook, ok=True)
    assert seen == ["2"]
