"""No secret's value in databags, statuses, log lines, Pebble's plan or action results."""

import ops
import pytest
from ops import testing

from tests.unit.charm.world import Unit, leader, peer_of


def _values(unit):
    """Every secret value that must not be seen; certificates are no secrets."""
    open_ = ("certificate", "authority", "jwt-public")
    return {
        line
        for content in unit.secrets.values()
        for key, value in content.items()
        if key not in open_
        for line in value.splitlines()
        if not line.startswith("-----")
    }


def _shown(unit):
    """Everything Juju or Pebble shows to people."""
    state = unit.state
    return "\n".join(
        [
            *(f"{key}={value}" for key, value in unit.databag.items()),
            *(str(relation.local_unit_data) for relation in state.relations),
            state.unit_status.message,
            state.app_status.message,
            str(state.workload_version),
            *(line.message for line in unit.context.juju_log),
            *unit.context.action_logs,
            str(unit.context.action_results),
            str(unit.container.plan),
            str([status.message for status in unit.context.unit_status_history]),
        ]
    )


def _leaked(unit):
    shown = _shown(unit)
    return {value for value in _values(unit) if value in shown}


def _life(folder):
    """Play much of a unit's life and yield after each hook."""
    unit = Unit(folder / "leader")
    secret = testing.Secret(
        {"password": "correct-horse"}, latest_content={"password": "new\nline"}, owner=None
    )
    for event in ("install", "relation_created", "leader_elected", "pebble_ready", "start"):
        unit.run(event)
        yield unit
    unit.report()
    unit.run("update_status")
    yield unit
    unit.act(name="web-1")
    yield unit
    unit.configure(config={"agent-password": secret.id}, secrets={*unit.state.secrets, secret})
    unit.run("config_changed")
    yield unit
    unit.run("secret_changed", secret)
    yield unit
    unit.connect(False)
    unit.run("update_status")
    yield unit
    worker = peer_of(unit, folder / "worker")
    worker.run("pebble_ready")
    yield worker


def test_given_a_units_life_when_all_that_is_shown_is_read_then_no_secret_is_there(tmp_path):
    for unit in _life(tmp_path):
        assert _leaked(unit) == set()


@pytest.mark.parametrize("where", ["databag", "status", "log", "plan"])
def test_given_a_planted_leak_when_looked_for_then_it_is_found(tmp_path, where):
    unit = leader(tmp_path)
    password = unit.secrets["enrolment-password"]["password"]
    if where == "databag":
        unit.publish(unit.databag | {"x": f"<{password}>"})
    elif where == "status":
        unit.configure(unit_status=testing.BlockedStatus(f"bad: {password}"))
    elif where == "log":
        unit.context.juju_log.append(testing.JujuLogLine("INFO", password))
    else:
        layer = {"services": {"wazuh": {"override": "replace", "command": f"/x {password}"}}}
        unit.container.layers["wazuh-server"].services.update(
            _layer(layer).services  # the plan is made of the layers
        )

    assert password in _leaked(unit)


def test_given_pebble_refuses_a_push_when_logged_then_no_content_is_in_the_text(tmp_path):
    unit = Unit(tmp_path)

    def fault(_number, name):
        if name == "push":
            raise ops.pebble.PathError("generic-file-error", "no space left on device")

    unit.fault = fault
    unit.run("pebble_ready")

    assert any("no space left" in line.message for line in unit.context.juju_log)
    assert _leaked(unit) == set()


def _layer(raw):
    return ops.pebble.Layer(raw)
