"""What the secret `master-state` is for: no volume is left, and nothing may be lost."""

import datetime

import pytest

from sandbox.model import Behaviour
from src import master_state

DELETED, KEPT = Behaviour(volumes="lost"), Behaviour(volumes="kept")


def _fill(cluster, agents=5):
    """Enrol agents and make users by hand; give a moment for both to get about."""
    master = next(one for one in cluster.workloads() if one.serves)
    given = [master.enrol(f"agent-{number}", cluster.model.now) for number in range(agents)]
    assert None not in given
    assert master.make_user("ann")
    cluster.run(30)


def _agents(cluster):
    return [one.state.keys.agents for one in cluster.workloads()]


def _people(cluster):
    (master,) = cluster.masters()
    return next(one.disk.people.made for one in cluster.workloads() if one.node == master)


def _empty_and_fill_again(cluster, units=3):
    cluster.model.scale(cluster.app, 0)
    assert cluster.until(lambda: not cluster.pods, 600), cluster.statuses()
    cluster.model.scale(cluster.app, units)
    assert cluster.settle(600), cluster.statuses()


@pytest.mark.parametrize("behaviour", [DELETED, KEPT], ids=["deleted", "kept"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_given_a_cluster_when_scaled_to_nothing_and_back_then_every_agent_and_user_is_there(
    whole, behaviour, order
):
    cluster = whole(order=order, behaviour=behaviour)
    _fill(cluster)

    _empty_and_fill_again(cluster)

    assert _agents(cluster) == [5, 5, 5]
    assert _people(cluster) == {"ann"}


def test_given_a_cluster_without_agents_when_scaled_to_nothing_and_back_then_users_are_there(
    whole,
):
    cluster = whole(behaviour=DELETED)
    _fill(cluster, agents=0)

    _empty_and_fill_again(cluster, units=1)

    assert _people(cluster) == {"ann"}


def test_given_one_unit_whose_volume_is_lost_when_it_is_back_then_it_begins_from_the_secret(
    whole, monkeypatch
):
    monkeypatch.setattr(master_state, "EVERY", datetime.timedelta(0))
    cluster = whole(units=1)
    _fill(cluster)
    cluster.run(400)

    cluster.model.node_lost(f"{cluster.app}/0", keep_volumes=False)
    cluster.run(60)
    cluster.model.node_back(f"{cluster.app}/0")

    assert cluster.settle(600), cluster.statuses()
    assert _agents(cluster) == [5]
    assert _people(cluster) == {"ann"}


def test_given_a_removed_agent_when_scaled_to_nothing_and_back_then_it_stays_removed(whole):
    cluster = whole(behaviour=DELETED)
    _fill(cluster)
    (master,) = (one for one in cluster.workloads() if one.serves)
    line = master.disk.keys.splitlines()[1]
    assert master.remove(line, cluster.model.now)
    cluster.run(30)

    _empty_and_fill_again(cluster)

    assert _agents(cluster) == [4, 4, 4]
    assert "002 !agent-1 " in cluster.workload(0).disk.keys


def test_given_the_secret_was_removed_when_all_volumes_are_gone_then_it_says_what_is_missing(
    whole,
):
    cluster = whole(behaviour=DELETED)
    _fill(cluster)
    cluster.model.scale(cluster.app, 0)
    assert cluster.until(lambda: not cluster.pods, 600)
    (secret,) = (s for s in cluster.model.secrets() if s.label == "master-state")
    cluster.model.world.secrets.pop(secret.uri)

    cluster.model.scale(cluster.app, 3)
    cluster.run(300)

    (said,) = {text for status, text in cluster.statuses().values() if status == "blocked"}
    assert "agents up to id 5 were known" in said
    assert cluster.masters() == []


def test_given_a_planned_move_when_it_ends_then_users_followed(whole):
    cluster = whole()
    _fill(cluster)
    number = cluster.model.run_action(
        f"{cluster.app}/leader", "promote", {"unit": f"{cluster.app}/2"}
    )
    assert cluster.until(lambda: cluster.model.action(number).status == "completed")
    assert cluster.settle()

    assert cluster.masters() == [f"{cluster.app}-2"]
    assert _people(cluster) == {"ann"}


def test_given_a_master_lost_with_its_volume_when_another_serves_then_users_followed(whole):
    cluster = whole(order=(0, 1, 2))
    _fill(cluster)

    cluster.model.node_lost(f"{cluster.app}/0", keep_volumes=False)
    assert cluster.until(lambda: cluster.masters() not in ([], [f"{cluster.app}-0"]), 400)
    cluster.model.node_back(f"{cluster.app}/0")
    assert cluster.settle(400)

    assert _people(cluster) == {"ann"}
    assert _agents(cluster) == [5, 5, 5]


def test_given_a_cluster_at_rest_when_hooks_run_then_the_secret_is_written_once(whole):
    cluster = whole()
    before = len(cluster.history)
    cluster.run(1500)
    written = [
        effects.hook for effects in cluster.since(before) if "secret-set" in effects.describe()
    ]
    assert written == [], [one.describe() for one in cluster.since(before)]
    (secret,) = (s for s in cluster.model.secrets() if s.label == "master-state")
    assert secret.revision == 1
