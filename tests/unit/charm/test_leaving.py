"""A unit that is removed: the leader gives the role away, and its container is left in peace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src import cluster
from tests.unit.charm.world import Unit, leader


def _remaining(unit: Unit, planned: int) -> None:
    unit.configure(planned_units=planned)


@pytest.fixture
def last(tmp_path):
    """The unit with the highest number, leader and master of epoch 1."""
    return leader(tmp_path, number=2)


def test_given_a_leader_that_is_removed_when_told_then_the_lowest_that_stays_is_master(last):
    _remaining(last, 2)

    last.run("storage_detaching")

    assert last.databag["master"] == "wazuh-server/0"
    assert last.databag["epoch"] == "2"
    assert last.databag["high-water"] == "63"


def test_given_a_unit_that_leaves_when_its_last_hooks_run_then_its_container_is_left_alone(last):
    _remaining(last, 2)
    last.run("storage_detaching")
    assert last.path("/etc/wazuh-server/leaving").exists()

    for event in ("relation_departed", "relation_changed", "stop", "remove"):
        last.run(event)
        assert last.writes == {}
    assert last.databag["master"] == "wazuh-server/0"


def test_given_the_hook_is_run_twice_when_told_then_the_role_is_given_away_once(last):
    _remaining(last, 2)

    last.run("storage_detaching")
    last.run("storage_detaching")

    assert last.databag["epoch"] == "2"


def test_given_a_hook_that_failed_when_run_again_then_the_role_is_given_away(last):
    _remaining(last, 2)

    last.run("storage_detaching", commit=False)
    assert last.databag["epoch"] == "1"
    last.run("storage_detaching")

    assert last.databag["master"] == "wazuh-server/0"


def test_given_a_scale_to_nothing_when_told_then_there_is_no_one_to_give_it_to(last):
    _remaining(last, 0)

    last.run("storage_detaching")

    assert last.databag["master"] == "wazuh-server/2"
    assert last.databag["epoch"] == "1"


def test_given_a_leader_whose_master_stays_when_removed_then_the_master_stays(last):
    last.publish(last.databag | {"epoch": "2", "master": "wazuh-server/1"})
    _remaining(last, 2)

    last.run("storage_detaching")

    assert last.databag["epoch"] == "2"


def test_given_a_container_that_does_not_answer_when_removed_then_the_role_is_given_away(last):
    _remaining(last, 1)
    last.connect(False)

    last.run("storage_detaching")

    assert last.databag["master"] == "wazuh-server/0"


def test_given_a_worker_when_removed_then_it_publishes_nothing(last):
    last.configure(leader=False)
    _remaining(last, 2)

    last.run("storage_detaching")

    assert last.databag["epoch"] == "1"
    assert last.path("/etc/wazuh-server/leaving").exists()


def test_given_a_promoted_master_that_is_removed_when_the_leader_sees_it_then_it_takes_the_role(
    tmp_path,
):
    unit = leader(tmp_path)
    unit.publish(
        unit.databag | {"epoch": "2", "master": "wazuh-server/2", "decided-by": "2 wazuh-server/0"}
    )
    unit.report(role="worker", epoch=2, serving=2)
    unit.run("relation_changed")
    assert unit.databag["epoch"] == "2"
    _remaining(unit, 2)

    unit.run("relation_departed")

    assert unit.databag["master"] == "wazuh-server/0"
    assert unit.databag["epoch"] == "3"


def test_given_a_container_that_restarts_on_a_leaving_unit_when_ready_then_it_is_configured(last):
    _remaining(last, 2)
    last.run("storage_detaching")
    last.restart_container()

    last.run("pebble_ready")

    assert last.desired["role"] == "worker"


UNITS = st.integers(0, 8).map(lambda number: f"wazuh-server/{number}")


@given(
    current=st.builds(cluster.Decision, st.integers(1, 99), UNITS, st.just(3), UNITS),
    unit=UNITS,
    planned=st.integers(0, 9),
    orphaned=st.booleans(),
)
def test_given_any_scale_down_when_the_leader_leaves_then_only_a_unit_that_stays_gets_the_role(
    current, unit, planned, orphaned
):
    outlook = cluster.Outlook(unit, planned, orphaned=orphaned, leaving=True)

    following = cluster.next_decision(current, outlook)

    if following is not None:
        assert following.epoch == current.epoch + 1
        assert outlook.stays(following.master)
        assert not outlook.stays(current.master)
    elif not outlook.stays(current.master):
        assert not any(outlook.stays(f"wazuh-server/{number}") for number in range(9))
