"""Killed at every request of Pebble, or refused at it: the next hooks bring all in order."""

import dataclasses
import http.client
import json

import ops
import pytest
from ops import testing

from src import digests
from tests.unit.charm.world import Unit, leader

GOOD = "git+https://git.example.org/rules@main"
CHANGE = ops.pebble.Change.from_dict(
    {
        "id": "1",
        "kind": "replan",
        "summary": "",
        "status": "Error",
        "ready": True,
        "spawn-time": "2026-01-01T00:00:00Z",
    }
)
ERRORS = {
    "connection": ops.pebble.ConnectionError("refused"),
    "refusal": ops.pebble.APIError({}, 500, "error", "internal"),
    "change": ops.pebble.ChangeError("failed", CHANGE),
    "path": ops.pebble.PathError("generic-file-error", "no space left on device"),
    "time": TimeoutError("timed out"),
    "reset": ConnectionResetError("reset"),
    "cut": http.client.IncompleteRead(b""),
}


def _first(folder):
    return Unit(folder)


def _changed(folder):
    unit = leader(folder)
    unit.configure(config={"custom-config-repository": GOOD})
    return unit


def _password(folder):
    unit = leader(folder)
    secret = testing.Secret({"password": "correct horse"}, owner=None)
    unit.configure(config={"agent-password": secret.id}, secrets={*unit.state.secrets, secret})
    return unit


def _moved(folder):
    unit = leader(folder)
    unit.configure(leader=False)
    unit.publish(unit.databag | {"epoch": "2", "master": "wazuh-server/1"})
    return unit


SCENES = {"first": _first, "changed": _changed, "password": _password, "moved": _moved}


def _outcome(unit):
    """What counts in the end; keys are made anew at each first deployment."""
    desired = unit.desired
    return (
        sorted(unit.files()),
        desired["role"],
        desired["epoch"],
        sorted(unit.container.plan.services),
        unit.environment["WAZUH_NODE_TYPE"],
    )


def _check_consistency(unit):
    """What desired.json lists is there, and the service that runs was told the same role."""
    desired, files = unit.desired, unit.files()
    for path, entry in desired["files"].items():
        content = files[f"/etc/wazuh-server/files/{path}"]
        assert digests.plain(content.encode()) == entry["sha256"]
    assert unit.environment["WAZUH_NODE_TYPE"] == desired["role"]
    assert unit.container.service_statuses["wazuh"] == ops.pebble.ServiceStatus.ACTIVE


def _whole(scene, folder):
    """Make the scene, and play it once undisturbed: the scene, its requests and its outcome."""
    before = scene(folder / "before")
    unit = before.copy(folder / "whole")
    unit.run("config_changed")
    return before, unit.requests, _outcome(unit)


@pytest.mark.parametrize("scene", SCENES)
def test_given_a_hook_killed_at_any_request_when_run_again_then_all_is_in_order(tmp_path, scene):
    before, count, wanted = _whole(SCENES[scene], tmp_path)
    for step in range(1, count + 1):
        unit = before.copy(tmp_path / str(step))
        assert unit.kill(step)

        unit.run("config_changed")

        assert _outcome(unit) == wanted
        _check_consistency(unit)
        unit.run("update_status")
        assert unit.writes == {}


def test_given_a_change_killed_midway_when_it_is_taken_back_then_the_old_state_is_whole(tmp_path):
    scene, count, _ = _whole(_password, tmp_path)
    for step in range(1, count + 1):
        unit = scene.copy(tmp_path / str(step))
        before = unit.desired
        assert unit.kill(step)
        unit.configure(config={})

        unit.run("config_changed")

        _check_consistency(unit)
        assert unit.desired == before


def test_given_a_hook_killed_after_its_last_request_when_juju_forgets_it_then_it_runs_again(
    tmp_path,
):
    for scene, make in SCENES.items():
        unit = make(tmp_path / scene)
        unit.run("config_changed", commit=False)

        unit.run("config_changed")

        _check_consistency(unit)
        unit.run("update_status")
        assert unit.writes == {}


@pytest.mark.parametrize(
    ("scene", "error"),
    [("password", error) for error in ERRORS] + [(scene, "connection") for scene in SCENES],
)
def test_given_pebble_refuses_at_any_request_when_it_answers_again_then_all_is_in_order(
    tmp_path, scene, error
):
    before, count, wanted = _whole(SCENES[scene], tmp_path)
    for step in range(1, count + 1):
        unit = before.copy(tmp_path / str(step))
        unit.fault = _refuse_at(step, ERRORS[error])

        unit.run("config_changed")

        assert unit.status.name in ("waiting", "active")
        unit.fault = None
        unit.run("update_status")
        assert _outcome(unit) == wanted
        _check_consistency(unit)


def test_given_a_replan_that_came_to_nothing_when_the_next_hook_runs_then_it_is_asked_again(
    tmp_path,
):
    unit = leader(tmp_path)
    unit.stop("wazuh")

    unit.run("update_status")

    assert unit.calls["replan_services"] == 1


def test_given_a_plan_that_lost_its_layer_when_the_next_hook_runs_then_it_is_brought_back(
    tmp_path,
):
    unit = leader(tmp_path)
    unit.configure(containers={dataclasses.replace(unit.container, layers={}, check_infos=[])})

    unit.run("update_status")

    assert set(unit.container.plan.services) == {"wazuh", "rsyslog"}


@pytest.mark.parametrize(
    "rubbish",
    ["", "[]", "{", '{"inputs": 3, "pushed": [], "layer": "x", "wake": "y", "serve": 1}'],
)
def test_given_a_memory_of_another_charm_when_read_then_all_is_brought_anew(tmp_path, rubbish):
    unit = leader(tmp_path)
    before = unit.files()
    unit.write("/etc/wazuh-server/applied.json", rubbish)

    unit.run("update_status")

    after = unit.files()
    assert json.loads(after.pop("/etc/wazuh-server/applied.json"))
    before.pop("/etc/wazuh-server/applied.json")
    assert after == before


def _refuse_at(step, error):
    def fault(number, _name):
        if number == step:
            raise error

    return fault
