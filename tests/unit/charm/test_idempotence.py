"""Nothing changed, nothing done: each event twice, and scale-up beside a unit that serves."""

import dataclasses

import pytest
from ops import testing

from tests.unit.charm.world import Unit, leader, peer_of

LIMIT_OF_REQUESTS = 6
EVENTS = [
    "install",
    "leader_elected",
    "start",
    "config_changed",
    "update_status",
    "upgrade_charm",
    "relation_created",
    "relation_joined",
    "relation_changed",
    "relation_departed",
    "pebble_ready",
    "pebble_check_failed",
    "pebble_check_recovered",
    "pebble_custom_notice",
    "secret_changed",
    "storage_attached",
]
LATER = ("pebble_check_failed", "pebble_check_recovered", "secret_changed")
"""What cannot come before the unit is configured."""


@pytest.fixture
def worker(tmp_path):
    unit = peer_of(leader(tmp_path / "leader"), tmp_path / "worker")
    unit.run("pebble_ready")
    unit.report(role="worker")
    unit.run("update_status")
    return unit


@pytest.fixture
def master(tmp_path):
    return leader(tmp_path)


def play(unit: Unit, event: str) -> testing.State:
    """Play any of the events the charm observes."""
    if event == "pebble_custom_notice":
        return unit.notice("wazuh-server.local/state")
    if event.startswith("pebble_check"):
        return unit.run(event, next(iter(unit.container.check_infos)))
    if event == "secret_changed":
        return _secret_changed(unit)
    if event == "storage_attached":
        storage = testing.Storage("data")
        unit.configure(storages={storage})
        return unit.run(event, storage)
    return unit.run(event)


def _secret_changed(unit: Unit) -> testing.State:
    """Juju sends it to the owner too; ops.testing wants a secret of somebody else's."""
    secret = next(secret for secret in unit.state.secrets if secret.label == "cluster-key")
    others = set(unit.state.secrets) - {secret}
    unit.configure(secrets={*others, dataclasses.replace(secret, owner=None)})
    return unit.run("secret_changed", unit.state.get_secret(label="cluster-key"))


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("role", ["master", "worker"])
def test_given_a_unit_that_serves_when_any_event_comes_twice_then_nothing_changes(
    request, role, event
):
    unit = request.getfixturevalue(role)

    for _ in range(2):
        before = (unit.files(), unit.databag, unit.secrets, unit.container.plan.to_dict())
        play(unit, event)
        after = (unit.files(), unit.databag, unit.secrets, unit.container.plan.to_dict())
        assert after == before
        assert unit.writes == {}
        assert unit.requests <= LIMIT_OF_REQUESTS
        assert unit.status.name == "active"


@pytest.mark.parametrize("event", [event for event in EVENTS if event not in LATER])
def test_given_a_new_unit_when_its_first_event_is_repeated_then_the_second_does_nothing(
    tmp_path, event
):
    unit = Unit(tmp_path)
    play(unit, event)
    before = (unit.files(), unit.databag, unit.secrets)

    play(unit, event)

    assert (unit.files(), unit.databag, unit.secrets) == before
    assert unit.writes == {}


def test_given_a_first_configuration_when_done_then_wazuh_is_started_once(tmp_path):
    unit = Unit(tmp_path)
    replans = 0

    for event in ("install", "relation_created", "leader_elected", "config_changed", "start"):
        unit.run(event)
        replans += unit.calls["replan_services"]

    assert replans == 1


def test_given_a_configuration_when_brought_then_no_hook_waits_for_a_service(tmp_path):
    unit = Unit(tmp_path, config={"custom-config-repository": "git+https://x.org/y"})

    unit.run("pebble_ready")

    assert unit.timeouts["replan_services"] == 0
    assert unit.timeouts["start_services"] == 0


def test_given_a_unit_that_serves_when_others_are_added_then_nothing_is_pushed_there(worker):
    for planned in (4, 5, 6):
        worker.configure(planned_units=planned)
        for event in ("relation_joined", "relation_changed"):
            worker.run(event)
            assert worker.writes == {}


def test_given_a_unit_when_the_charm_container_alone_restarts_then_nothing_is_pushed(master):
    for event in ("start", "pebble_check_failed", "pebble_check_recovered", "pebble_ready"):
        play(master, event)
        assert master.writes == {}


def test_given_the_workload_container_restarts_when_pebble_is_ready_then_all_is_brought_anew(
    master,
):
    before = master.files()
    master.restart_container()

    master.run("pebble_ready")

    assert master.files() == before
    assert master.calls["replan_services"] == 1
    assert master.tools["relation_set"] == 0
    assert master.tools["secret_set"] == 0


def test_given_another_charm_when_it_renders_the_same_then_only_its_memory_is_written(
    master, monkeypatch
):
    monkeypatch.setattr("src.files.fingerprint", lambda: "another")

    master.run("upgrade_charm")

    assert {path for path, _ in master.pushes} == {
        "/etc/wazuh-server/applied.json",
        "/etc/wazuh-server/desired.json",
    }
    assert master.calls["replan_services"] == 0


def test_given_an_option_that_flaps_when_it_ends_where_it_began_then_so_do_the_files(master):
    before = master.files()
    for number in range(20):
        master.configure(config={"custom-config-repository": f"git+https://x.org/{number % 3}"})
        master.run("config_changed")
    master.configure(config={})

    master.run("config_changed")

    assert master.files() == before


def test_given_a_quiet_master_when_any_hook_runs_then_it_asks_juju_for_little(master):
    master.run("update_status")

    assert dict(master.tools) == {
        "config_get": 1,
        "relation_get": 1,
        "secret_get": 1,
        "planned_units": 1,
        "status_set": 2,
    }


def test_given_a_quiet_unit_with_both_options_when_a_hook_runs_then_it_is_one_secret_more(master):
    secret = testing.Secret({"password": "correct horse"}, owner=None)
    master.configure(
        config={"agent-password": secret.id, "custom-config-repository": "git+https://x.org/y"},
        secrets={*master.state.secrets, secret},
    )
    master.run("config_changed")

    master.run("update_status")

    assert master.writes == {}
    assert master.requests <= LIMIT_OF_REQUESTS
    assert master.tools["secret_get"] == 2


def test_given_a_new_application_when_the_leader_publishes_then_it_is_one_write(tmp_path):
    unit = Unit(tmp_path)

    unit.run("pebble_ready")

    assert unit.tools["relation_set"] == 1
