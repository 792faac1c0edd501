"""What the status says: the role, or the first thing that is missing."""

import ops
import pytest

from tests.unit.charm.world import Unit, leader, peer_of


def test_given_a_serving_master_when_asked_then_it_says_of_how_many(tmp_path):
    unit = leader(tmp_path, planned=5)

    assert unit.status == ops.ActiveStatus("master of 5, epoch 1")


def test_given_a_serving_worker_when_asked_then_it_names_its_master(tmp_path):
    unit = peer_of(leader(tmp_path / "leader"), tmp_path / "worker")
    unit.run("pebble_ready")
    unit.report(role="worker")

    unit.run("update_status")

    assert unit.status == ops.ActiveStatus("worker of wazuh-server-0, epoch 1")


def test_given_the_supervisor_has_not_reported_when_asked_then_it_starts(tmp_path):
    unit = Unit(tmp_path)

    unit.run("pebble_ready")

    assert unit.status == ops.WaitingStatus("starting Wazuh")


@pytest.mark.parametrize(
    ("report", "status"),
    [
        ({"phase": "starting"}, ops.WaitingStatus("starting Wazuh")),
        ({"phase": "starting", "sentence": "seeding"}, ops.WaitingStatus("seeding")),
        (
            {"phase": "claiming"},
            ops.WaitingStatus("taking over as master: asking the other units"),
        ),
        ({"phase": "following"}, ops.WaitingStatus("not connected to the master")),
        (
            {"phase": "fenced"},
            ops.WaitingStatus("cut off from the other units: enrolment and API are closed"),
        ),
        ({"phase": "refused"}, ops.BlockedStatus("refuses to be master")),
        ({"phase": "refused", "sentence": "3 keys of 9"}, ops.BlockedStatus("3 keys of 9")),
        ({"phase": "failed"}, ops.BlockedStatus("Wazuh does not start")),
        ({"phase": "of a later version"}, ops.WaitingStatus("of a later version")),
        ({"ready": False}, ops.WaitingStatus("not ready yet")),
        ({"ready": False, "sentence": "API down"}, ops.WaitingStatus("API down")),
        ({"epoch": 0}, ops.WaitingStatus("taking up epoch 1")),
    ],
)
def test_given_a_report_when_asked_then_the_status_follows_it(tmp_path, report, status):
    unit = leader(tmp_path)
    unit.report(**report)

    unit.run("pebble_check_failed", _check(unit))

    assert unit.status == status


@pytest.mark.parametrize(
    "rubbish",
    [
        "",
        "{",
        "[]",
        "null",
        '"phase"',
        '{"phase": 3, "epoch": "x", "ready": "yes", "ruleset": []}',
        '{"epoch": null}',
        "\u0000",
    ],
)
def test_given_rubbish_as_report_when_asked_then_it_counts_as_none(tmp_path, rubbish):
    unit = leader(tmp_path)
    unit.write("/run/wazuh-server/state.json", rubbish)

    unit.run("update_status")

    assert unit.status == ops.WaitingStatus("starting Wazuh")
    assert unit.writes == {}


def test_given_pebble_is_away_when_asked_then_the_status_names_it(tmp_path):
    unit = leader(tmp_path)
    unit.connect(False)

    unit.run("update_status")

    assert unit.status == ops.WaitingStatus("waiting for Pebble in the container wazuh-server")


def test_given_a_leader_when_it_serves_then_the_application_is_active(tmp_path):
    unit = leader(tmp_path)

    assert unit.state.app_status.name == "active"


def _check(unit):
    from ops import testing

    info = next(iter(unit.container.check_infos))
    assert isinstance(info, testing.CheckInfo)
    return info
