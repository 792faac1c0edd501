"""Environments, actions, states, storage and what a runner prints; models that are kept."""

import copy
import pickle

import pytest

from sandbox.model import CommandError, ToolError


def _finish(driver, hook):
    driver.model.finish(hook, ok=True)


def test_given_each_kind_of_hook_when_it_begins_then_its_environment_is_jujus(settled, remote):
    driver = settled(2)
    model = driver.model
    assert driver.ran[0][1] == "install"
    hook = driver.until("app/0", "update-status")
    environment = hook.environment()
    assert environment["JUJU_DISPATCH_PATH"] == "hooks/update-status"
    assert environment["JUJU_HOOK_NAME"] == "update-status"
    assert environment["JUJU_UNIT_NAME"] == "app/0"
    assert environment["JUJU_MODEL_NAME"] == model.name
    assert environment["JUJU_MODEL_UUID"] == model.uuid
    _finish(driver, hook)
    model.notice("app/0", "box", "example.com/key", notice_id="17")
    environment = driver.until("app/0", "box-pebble-custom-notice").environment()
    assert environment["JUJU_WORKLOAD_NAME"] == "box"
    assert environment["JUJU_NOTICE_ID"] == "17"
    assert environment["JUJU_NOTICE_TYPE"] == "custom"
    assert environment["JUJU_NOTICE_KEY"] == "example.com/key"


def test_given_check_and_storage_hooks_when_they_begin_then_their_variables_are_set(driver):
    one = driver()
    one.start(0)
    storage = one.until("app/0", "data-storage-attached")
    assert storage.environment()["JUJU_STORAGE_ID"] == "data/0"
    assert storage.storage_list("data") == ["data/0"]
    assert storage.storage_get("data/0")["kind"] == "filesystem"
    _finish(one, storage)
    one.model.check_failed("app/0", "box", "up")
    check = one.until("app/0", "box-pebble-check-failed")
    assert check.environment()["JUJU_PEBBLE_CHECK_NAME"] == "up"
    with pytest.raises(ToolError, match="not found"):
        check.storage_get("data/7")


def test_given_peer_hooks_when_they_begin_then_relation_and_remote_are_named(settled):
    driver = settled(1)
    driver.model.scale("app", 2)
    driver.start(1)
    driver.drain("app/1")
    environment = driver.until("app/0", "peers-relation-joined").environment()
    assert environment["JUJU_RELATION"] == "peers"
    assert environment["JUJU_RELATION_ID"] == "peers:0"
    assert environment["JUJU_REMOTE_APP"] == "app"
    assert environment["JUJU_REMOTE_UNIT"] == "app/1"
    assert "JUJU_DEPARTING_UNIT" not in environment


def test_given_an_action_when_it_runs_then_parameters_results_and_log_are_kept(settled):
    driver = settled(1)
    number = driver.model.run_action("app/leader", "work", {"name": "x"})
    assert driver.model.action(number).status == "pending"
    hook = driver.next("app/0")
    assert hook.dispatch_path == "actions/work"
    assert hook.environment()["JUJU_ACTION_NAME"] == "work"
    assert hook.environment()["JUJU_ACTION_UUID"] == number
    assert hook.action_get() == {"name": "x", "days": 7}
    assert driver.model.action(number).status == "running"
    hook.action_log("half")
    hook.action_set({"result": "fine"})
    _finish(driver, hook)
    record = driver.model.action(number)
    assert (record.status, record.results, record.log) == (
        "completed",
        {"result": "fine"},
        ("half",),
    )


def test_given_an_action_that_fails_when_it_ends_then_results_stay_and_it_is_not_retried(settled):
    driver = settled(1)
    said = driver.model.run_action("app/0", "work", {"name": "x"})
    hook = driver.next("app/0")
    hook.action_set({"result": "half"})
    hook.action_fail("because")
    _finish(driver, hook)
    crashed = driver.model.run_action("app/0", "work", {"name": "x"})
    driver.model.finish(driver.next("app/0"), ok=False)
    assert driver.model.action(said).message == "because"
    assert driver.model.action(said).results == {"result": "half"}
    assert driver.model.action(crashed).status == "failed"
    driver.model.advance(10)
    assert driver.model.due() == []


@pytest.mark.parametrize(
    ("unit", "name", "params"),
    [
        ("app/0", "unknown", {}),
        ("app/9", "work", {"name": "x"}),
        ("app/0", "work", {}),
        ("app/0", "work", {"name": "x", "more": 1}),
        ("none/leader", "work", {"name": "x"}),
    ],
)
def test_given_an_action_that_is_not_declared_so_when_asked_for_then_refused(
    settled, unit, name, params
):
    with pytest.raises(CommandError):
        settled(1).model.run_action(unit, name, params)


def test_given_no_action_when_action_tools_are_used_then_they_fail(settled):
    hook = settled(1).until("app/0", "update-status")
    with pytest.raises(ToolError, match="not running an action"):
        hook.action_get()


def test_given_charm_state_when_written_then_it_is_kept_and_has_a_limit(settled):
    driver = settled(1)
    hook = driver.until("app/0", "update-status")
    hook.state_set({"one": "1", "two": "2"})
    hook.state_delete("one")
    _finish(driver, hook)
    hook = driver.until("app/0", "update-status")
    assert hook.state_get() == {"two": "2"}
    assert hook.state_get("one") == ""
    with pytest.raises(ToolError, match="max allowed size"):
        hook.state_set({"big": "x" * (2 * 1024 * 1024 + 1)})


def test_given_statuses_when_set_then_at_once_and_the_application_only_by_its_leader(settled):
    driver = settled(2)
    leader = driver.until("app/0", "update-status")
    leader.status_set("active", "mine")
    leader.status_set("active", "all", app=True)
    shown = driver.model.status()["applications"]["app"]
    assert shown["application-status"]["message"] == "all"
    assert shown["units"]["app/0"]["workload-status"]["message"] == "mine"
    assert leader.status_get() == {"status": "active", "message": "mine", "status-data": {}}
    minion = driver.until("app/1", "update-status")
    for ask in (
        lambda: minion.status_set("active", "x", app=True),
        lambda: minion.status_get(app=True),
        lambda: minion.status_set("error", "x"),
    ):
        with pytest.raises(ToolError):
            ask()


def test_given_units_dying_when_the_goal_is_asked_then_it_says_so(settled):
    driver = settled(2)
    driver.model.scale("app", 1)
    units = driver.until("app/0", "update-status").goal_state()["units"]
    assert units["app/1"]["status"] == "dying"
    assert units["app/0"]["since"].endswith("Z")


def test_given_tools_that_kubernetes_or_this_model_lack_when_used_then_they_fail(settled):
    hook = settled(1).until("app/0", "update-status")
    for ask in (
        hook.juju_reboot,
        hook.credential_get,
        lambda: hook.resource_get("image"),
        lambda: hook.network_get("nowhere"),
        lambda: hook.relation_get("peers:99", "app/0"),
        lambda: hook.open_port("70000"),
        lambda: hook.status_set("fine"),
    ):
        with pytest.raises(ToolError):
            ask()


def test_given_a_status_when_shown_then_it_has_what_juju_status_prints(settled):
    driver = settled(2)
    driver.model.pause("app/1")
    driver.model.set_config("app", {"text": "x"})
    hook = driver.next("app/0")
    units = driver.model.status()["applications"]["app"]["units"]
    assert units["app/0"]["leader"] is True
    assert units["app/0"]["juju-status"]["current"] == "executing"
    assert units["app/1"]["juju-status"]["current"] == "lost"
    driver.model.finish(hook, ok=False)
    units = driver.model.status()["applications"]["app"]["units"]
    assert units["app/0"]["workload-status"]["current"] == "error"
    assert 'hook failed: "config-changed"' in units["app/0"]["workload-status"]["message"]


def test_given_a_model_with_a_hook_in_flight_when_kept_and_loaded_then_it_goes_on_the_same(driver):
    one = driver("4", 2, seed=5)
    one.start(0, 1)
    hook = one.next("app/0")
    assert pickle.dumps(one.model)
    kept = copy.deepcopy(one.model)
    loaded_hook = kept.world.hooks[hook.number]
    assert kept.finish(loaded_hook, ok=True) and one.model.finish(hook, ok=True)
    for model in (one.model, kept):
        while model.due():
            model.finish(model.begin(model.due()[0]), ok=True)
        model.advance(400)
    assert [event.text for event in kept.events()] == [event.text for event in one.model.events()]
    assert kept.due() == one.model.due()


def test_given_the_log_when_asked_from_a_number_then_only_what_followed(settled):
    driver = settled(1)
    count = len(driver.model.events())
    hook = driver.until("app/0", "update-status")
    hook.juju_log("warning", "something")
    found = driver.model.events(count)[0]
    assert (found.number, found.unit, found.level, found.text) == (
        count,
        "app/0",
        "WARNING",
        "something",
    )


def test_given_what_does_not_exist_when_commanded_then_refused_with_a_sentence(settled):
    model = settled(1).model
    for command in (
        lambda: model.scale("none", 1),
        lambda: model.scale("app", -1),
        lambda: model.pod_deleted("app/7"),
        lambda: model.integrate("app:logs", "app:front"),
        lambda: model.remove_relation("app:logs", "app:front"),
        lambda: model.node_back("app/0"),
        lambda: model.action("99"),
        lambda: model.grant_secret("none", "app"),
        lambda: model.container_ready("app/0", "none"),
        lambda: model.scripted_set(0, "app", {}),
        lambda: model.suspend_relation(0),
        lambda: model.add_application({"name": "app"}),
    ):
        with pytest.raises(CommandError):
            command()
