"""The action `promote`: the leader names the unit a person chose, and does not undo it."""

import dataclasses

import ops
import pytest
from ops import testing

from src import cluster
from tests.unit.charm.world import leader, peer_of

OTHERS = ["wazuh-server-1", "wazuh-server-2"]


@pytest.fixture
def first(tmp_path):
    """The leader, master of epoch 1, which hears both others."""
    unit = leader(tmp_path / "first")
    unit.report(serving=1, answering=OTHERS)
    return unit


def test_given_a_unit_that_answers_when_promoted_then_it_is_published_under_the_next_epoch(first):
    result = first.act("promote", unit="wazuh-server/2")

    assert result == {"master": "wazuh-server/2", "epoch": 2}
    assert first.databag["master"] == "wazuh-server/2"
    assert first.databag["epoch"] == "2"
    assert first.databag["decided-by"] == "2 wazuh-server/0"
    assert first.databag["high-water"] == "63"
    assert first.desired["role"] == "master", "acted on only once it is committed"
    assert first.desired["wake"] == 2


def test_given_a_promotion_when_the_leader_runs_on_then_it_does_not_undo_it(first):
    first.act("promote", unit="wazuh-server/2")
    first.notice("wazuh-server.local/wake")
    first.report(role="worker", epoch=2, serving=2, answering=OTHERS)

    for event in ("config_changed", "update_status", "relation_changed", "start"):
        first.run(event)

    assert first.databag["master"] == "wazuh-server/2"
    assert first.databag["epoch"] == "2"
    assert first.desired["role"] == "worker"
    assert first.status == ops.ActiveStatus("worker of wazuh-server-2, epoch 2")


def test_given_a_promotion_when_another_unit_leads_then_it_takes_the_role(first, tmp_path):
    first.act("promote", unit="wazuh-server/2")
    second = peer_of(first, tmp_path / "second")
    second.run("pebble_ready")
    second.report(role="worker", epoch=2)
    second.configure(
        leader=True, secrets={dataclasses.replace(s, owner="app") for s in second.state.secrets}
    )

    second.run("leader_elected")

    assert second.databag["master"] == "wazuh-server/1"
    assert second.databag["epoch"] == "3"
    assert second.databag["decided-by"] == "3 wazuh-server/1"


def test_given_a_promoted_unit_that_comes_to_lead_when_elected_then_it_stays_and_signs(
    first, tmp_path
):
    first.act("promote", unit="wazuh-server/1")
    second = peer_of(first, tmp_path / "second")
    second.run("pebble_ready")
    second.report(epoch=2)
    second.configure(
        leader=True, secrets={dataclasses.replace(s, owner="app") for s in second.state.secrets}
    )

    second.run("leader_elected")

    assert second.databag["epoch"] == "2"
    assert second.databag["decided-by"] == "2 wazuh-server/1", "or the first could not undo it"
    assert second.desired["wake"] == 0, "the epoch is the same, so there is nothing to act on"


def test_given_the_orphan_of_a_promotion_when_reported_then_the_leader_takes_the_role(first):
    first.act("promote", unit="wazuh-server/2")
    first.run("relation_changed")
    first.report(role="worker", epoch=2, phase="following", orphaned=True)

    first.notice("wazuh-server.local/state")

    assert first.databag["master"] == "wazuh-server/0"
    assert first.databag["epoch"] == "3"


def test_given_the_orphan_of_an_older_epoch_when_reported_then_nothing_is_published(first):
    first.report(orphaned=True)
    first.act("promote", unit="wazuh-server/2", force=True)

    first.notice("wazuh-server.local/state")

    assert first.databag["epoch"] == "2"


def test_given_a_worker_that_leads_not_when_it_reports_an_orphan_then_it_publishes_nothing(
    first, tmp_path
):
    worker = peer_of(first, tmp_path / "worker")
    worker.run("pebble_ready")
    worker.report(role="worker", orphaned=True)

    worker.notice("wazuh-server.local/state")

    assert worker.databag["epoch"] == "1"


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        ("wazuh-server/0", "unit: wazuh-server/0 is master already (epoch 1)"),
        ("wazuh-server/9", "unit: wazuh-server/9 is not among the 3 units that are to stay"),
        ("wazuh-server/99999999999", "unit: not a unit of wazuh-server, such as wazuh-server/0"),
        ("other/1", "unit: not a unit of wazuh-server, such as wazuh-server/0"),
        ("wazuh-server-1", "unit: not a unit of wazuh-server, such as wazuh-server/0"),
        ("", "unit: not a unit of wazuh-server, such as wazuh-server/0"),
        ("a</node><x>/1\n", "unit: not a unit of wazuh-server, such as wazuh-server/0"),
    ],
)
def test_given_a_unit_that_cannot_be_master_when_promoted_then_the_reason_is_said(
    first, unit, reason
):
    with pytest.raises(testing.ActionFailed) as failure:
        first.act("promote", unit=unit)

    assert failure.value.message == reason
    assert first.databag["epoch"] == "1"


def test_given_a_silent_unit_when_promoted_then_only_force_names_it(first):
    first.report(serving=1, answering=["wazuh-server-1"])

    with pytest.raises(testing.ActionFailed, match="wazuh-server/2 does not answer"):
        first.act("promote", unit="wazuh-server/2")
    first.act("promote", unit="wazuh-server/2", force=True)

    assert first.databag["master"] == "wazuh-server/2"


def test_given_two_promotions_when_the_first_is_under_way_then_the_second_is_refused(first):
    first.act("promote", unit="wazuh-server/2")

    with pytest.raises(testing.ActionFailed, match=r"wazuh-server/2 has not taken over yet"):
        first.act("promote", unit="wazuh-server/1")

    assert first.databag["master"] == "wazuh-server/2"


def test_given_a_unit_that_does_not_lead_when_asked_then_it_says_who_can(first, tmp_path):
    worker = peer_of(first, tmp_path / "worker")

    with pytest.raises(
        testing.ActionFailed, match=r"only the leader can do this: juju run wazuh-server/leader"
    ):
        worker.act("promote", unit="wazuh-server/1")


def test_given_a_new_application_when_asked_then_it_says_what_is_missing(tmp_path):
    unit = leader(tmp_path)
    unit.publish({})

    with pytest.raises(testing.ActionFailed, match="waiting for the leader to name a master"):
        unit.act("promote", unit="wazuh-server/1")


def test_given_force_when_promoted_then_missing_keys_hold_that_epoch_back_no_more(first):
    first.act("promote", unit="wazuh-server/0", force=True)
    first.notice("wazuh-server.local/wake")

    assert first.databag["regardless"] == "2"
    assert first.databag["high-water"] == "63", "ids up to there may have been given"
    assert first.desired["regardless"] is True
    first.report(epoch=2, serving=2, answering=OTHERS)
    first.act("promote", unit="wazuh-server/1")
    assert cluster.parse(first.databag) == cluster.Decision(
        3, "wazuh-server/1", 63, "wazuh-server/0"
    )


def test_given_data_of_a_revision_without_promote_when_read_then_its_master_decided_it():
    databag = {"schema": "1", "epoch": "4", "master": "wazuh-server/1", "high-water": "9"}

    decision = cluster.parse(databag)

    assert decision is not None
    assert decision.leader == "wazuh-server/1"
    for unit in ("wazuh-server/0", "wazuh-server/1"):
        following = cluster.next_decision(decision, cluster.Outlook(unit, planned=3))
        assert (following is None) == (unit == "wazuh-server/1")


def test_given_what_a_newer_leader_left_when_an_older_one_has_moved_the_role_then_it_is_void(
    first,
):
    first.act("promote", unit="wazuh-server/2", force=True)
    databag = first.databag
    assert databag["schema"] == "1", "an older charm reads what it knows, and leaves the rest"
    older = databag | {"epoch": "3", "master": "wazuh-server/1"}

    decision = cluster.parse(older)

    assert decision == cluster.Decision(3, "wazuh-server/1", 63)


@pytest.mark.parametrize(
    "text", ["", "2", "2 ", "x wazuh-server/0", "2 a</x>/0", "٢ a/0", "3 a/0"]
)
def test_given_a_broken_note_of_who_decided_when_read_then_the_master_did(text):
    databag = {"schema": "1", "epoch": "2", "master": "wazuh-server/1", "decided-by": text}

    decision = cluster.parse(databag)

    assert decision is not None
    assert decision.leader == "wazuh-server/1"
