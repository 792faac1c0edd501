"""The master's move: one write by the leader, acted on only once it is committed."""

import dataclasses

import ops
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src import cluster
from tests.unit.charm.world import Unit, leader, own, peer_of


@pytest.fixture
def second(tmp_path):
    """A worker that serves, and has just become leader."""
    first = leader(tmp_path / "first")
    unit = peer_of(first, tmp_path / "second")
    unit.run("pebble_ready")
    unit.report(role="worker")
    unit.run("update_status")
    unit.configure(leader=True, secrets={own(secret) for secret in unit.state.secrets})
    return unit


def test_given_a_worker_when_it_becomes_leader_then_it_publishes_itself_under_the_next_epoch(
    second,
):
    second.run("leader_elected")

    assert second.databag["epoch"] == "2"
    assert second.databag["master"] == "wazuh-server/1"
    assert second.databag["high-water"] == "63"


def test_given_a_new_epoch_when_it_is_not_committed_then_the_unit_stays_worker(second):
    second.run("leader_elected")

    assert second.desired["epoch"] == 1
    assert second.desired["role"] == "worker"
    assert second.desired["wake"] == 2


def test_given_a_committed_epoch_when_the_supervisor_wakes_the_charm_then_it_is_master(second):
    second.run("leader_elected")

    second.notice("wazuh-server.local/wake")

    assert second.desired["epoch"] == 2
    assert second.desired["role"] == "master"
    assert second.environment["WAZUH_NODE_TYPE"] == "master"


def test_given_the_hook_fails_after_it_asked_when_run_again_then_it_asks_for_another_wake_up(
    second,
):
    second.run("leader_elected", commit=False)
    assert second.desired["wake"] == 2
    assert second.databag["epoch"] == "1"

    second.run("leader_elected")

    assert second.desired["wake"] == 3
    assert second.databag["epoch"] == "2"


def test_given_a_leader_never_configured_when_elected_then_the_master_stays(tmp_path):
    first = leader(tmp_path / "first")
    second = peer_of(first, tmp_path / "second")
    second.configure(leader=True, secrets={own(secret) for secret in second.state.secrets})

    second.run("leader_elected")

    assert second.databag["epoch"] == "1"
    assert second.desired["role"] == "worker"


def test_given_a_leader_whose_container_is_away_when_elected_then_the_master_stays(second):
    second.connect(False)

    second.run("leader_elected")

    assert second.databag["epoch"] == "1"


def test_given_the_old_master_when_it_hears_of_the_new_epoch_then_it_becomes_worker(tmp_path):
    first = leader(tmp_path)
    first.configure(leader=False)
    first.publish(first.databag | {"epoch": "2", "master": "wazuh-server/1"})

    first.run("relation_changed")

    assert first.desired["role"] == "worker"
    assert first.desired["master"] == "wazuh-server-1"
    assert first.status == ops.WaitingStatus("taking up epoch 2")


def test_given_a_third_unit_when_the_master_moves_then_it_is_told_and_no_service_is_touched(
    tmp_path,
):
    first = leader(tmp_path / "first")
    third = peer_of(first, tmp_path / "third", number=2)
    third.run("pebble_ready")
    third.report(role="worker")
    before, environment = third.desired["generations"], dict(third.environment)
    third.publish(first.databag | {"epoch": "2", "master": "wazuh-server/1"})

    third.run("relation_changed")

    after = third.desired["generations"]
    assert after == before
    assert third.desired["master"] == "wazuh-server-1"
    assert third.environment == environment
    assert "replan_services" not in third.calls


def test_given_a_leader_that_is_master_when_others_come_and_go_then_nothing_is_touched(tmp_path):
    unit = leader(tmp_path)

    for event in ("relation_joined", "relation_changed", "relation_departed"):
        unit.run(event)
        assert unit.writes == {}


def test_given_a_returning_leader_when_its_lease_holds_then_no_epoch_is_spent(tmp_path):
    unit = leader(tmp_path)
    unit.restart_container()

    for event in ("upgrade_charm", "config_changed", "start", "pebble_ready"):
        unit.run(event)

    assert unit.databag["epoch"] == "1"
    assert unit.desired["role"] == "master"


def test_given_a_supervisor_that_knows_a_higher_epoch_when_taking_over_then_it_is_surpassed(
    second,
):
    second.report(role="worker", epoch=7)

    second.run("leader_elected")

    assert second.databag["epoch"] == "8"


@pytest.mark.parametrize(
    ("report", "epoch"),
    [({"epoch": 7}, "8"), ({"contested": True}, "2"), ({"epoch": 0, "contested": True}, "1")],
    ids=["a newer one is known", "two hold this one", "not yet heard of this one"],
)
def test_given_a_leader_that_may_not_serve_its_own_epoch_when_told_then_it_names_itself_again(
    tmp_path, report, epoch
):
    unit = leader(tmp_path)
    unit.report(phase="refused", **report)

    unit.notice("wazuh-server.local/state")

    assert unit.databag["epoch"] == epoch
    assert unit.databag["master"] == "wazuh-server/0"


UNITS = st.integers(0, 120).map(lambda number: f"wazuh-server/{number}")
DECISIONS = st.builds(
    cluster.Decision,
    epoch=st.integers(1, 10**9),
    master=UNITS,
    high_water=st.integers(0, 10**6),
    decided_by=st.one_of(st.just(""), UNITS),
    regardless=st.booleans(),
)


@given(DECISIONS)
def test_given_any_decision_when_written_and_read_then_it_is_the_same(decision):
    assert cluster.parse(decision.dump()) == decision


@given(DECISIONS, UNITS, st.booleans(), st.integers(0, 10**9), st.integers(0, 10**6))
def test_given_any_decision_when_the_next_is_made_then_epoch_and_high_water_only_grow(
    current, unit, configured, seen, highest
):
    outlook = cluster.Outlook(
        unit, planned=121, configured=configured, seen_epoch=seen, highest_id=highest
    )

    following = cluster.next_decision(current, outlook)

    if following is None:
        assert unit in (current.master, current.leader) or not configured
    elif following.epoch == current.epoch:
        assert following == dataclasses.replace(current, decided_by=unit)
        assert unit == current.master
    else:
        assert following.epoch > max(current.epoch, seen)
        assert following.high_water == max(current.high_water, highest)
        assert following.master in (unit, current.master)
        assert following.leader == unit


@given(DECISIONS, st.lists(UNITS, min_size=2, max_size=5, unique=True))
def test_given_any_decision_when_all_units_read_it_then_at_most_one_is_master(decision, units):
    masters = [unit for unit in units if decision.role(unit) is cluster.Role.MASTER]

    assert len(masters) <= 1


def test_given_a_move_when_it_is_not_the_first_epoch_then_it_is_never_acted_on_at_once():
    old = cluster.Decision(1, "wazuh-server/0")
    new = cluster.Decision(2, "wazuh-server/1")

    assert cluster.acted_on(old, new) == old
    assert cluster.acted_on(old, None) == old
    assert cluster.acted_on(None, cluster.Decision(1, "wazuh-server/0")) is not None
    assert cluster.acted_on(None, new) is None


def test_given_the_published_epoch_when_the_hook_is_run_twice_then_it_is_published_once(second):
    second.run("leader_elected")
    second.run("leader_elected")

    assert second.databag["epoch"] == "2"
    assert isinstance(second, Unit)
