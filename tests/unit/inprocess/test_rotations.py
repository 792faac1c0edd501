"""Rotations of secrets, in both commit modes: by action, by policy, with a kill at every step."""

import os

import pytest

from sandbox.inprocess import invariants, rotations


@pytest.mark.parametrize("secret", [*rotations.SECRETS, "all"])
def test_given_a_whole_cluster_when_a_secret_is_rotated_then_every_unit_has_the_new_one(
    whole, secret
):
    cluster = whole(order=(0, 1, 2))
    before = {label: dict(rotations.content(cluster, label)) for label in rotations.SECRETS}
    restarts = [one.restarts for one in cluster.workloads()]
    watch = rotations.Watch(cluster)
    number = rotations.rotate(cluster, secret)
    cluster.until(lambda: cluster.model.action(number).status == "completed", 30)

    assert watch.until_done(), (rotations.under_way(cluster), cluster.statuses())

    for label in rotations.SECRETS:
        changed = rotations.content(cluster, label) != before[label]
        assert changed == (secret in (label, "all")), label
    assert [one.restarts for one in cluster.workloads()] == restarts
    assert watch.api_closed <= 1


def _begun(deployed, secret, seed=7):
    """Deploy as ever for this seed, and ask for the rotation; gives what watches it."""
    cluster = deployed(order=(0, 1, 2), seed=seed)
    assert cluster.settle()
    rotations.rotate(cluster, secret)
    return cluster, rotations.Watch(cluster)


def _hooks_of(deployed, secret):
    """Count the hooks of an undisturbed rotation, and the steps of each one's commit."""
    cluster, watch = _begun(deployed, secret)
    before = len(cluster.history)
    assert watch.until_done()
    return len(cluster.history) - before


def _play(cluster, watch, hook, crash):
    """Go on to the n-th hook from now on, whose agent dies at that part of its commit."""
    done = 0
    while True:
        cluster.sync()
        due = cluster.model.due()
        if not due:
            cluster.tick()
        elif done == hook:
            cluster.run_hook(cluster.chance.choice(due), crash=crash)
            return
        else:
            cluster.run_hook(cluster.chance.choice(due))
            done += 1
        watch.look()


CRASHES = (0.0, 0.3, 0.6, 0.99)
EVERY = int(os.environ.get("WAZUH_ROTATION_EVERY", "4"))
"""Each test takes one hook of so many; with 1, every hook dies at every part of its commit."""


@pytest.mark.parametrize("crash", CRASHES)
@pytest.mark.parametrize("secret", ["api-users", "all"])
def test_given_a_rotation_when_any_hooks_agent_dies_in_its_commit_then_a_known_password_works(
    deployed, secret, crash
):
    for hook in range(CRASHES.index(crash) % EVERY, _hooks_of(deployed, secret), EVERY):
        cluster, watch = _begun(deployed, secret)
        _play(cluster, watch, hook, crash)
        assert watch.until_done(), (hook, rotations.under_way(cluster), cluster.statuses())


@pytest.mark.parametrize("secret", ["cluster-key", "all"])
def test_given_a_rotation_when_the_leader_is_lost_after_any_hook_then_the_next_one_ends_it(
    deployed, secret
):
    for hook in range(0, _hooks_of(deployed, secret), EVERY):
        cluster, watch = _begun(deployed, secret)
        _play(cluster, watch, hook, None)
        cluster.model.node_lost("wazuh-server/0")
        for _ in range(150):
            cluster.step()
            watch.look()
        cluster.model.node_back("wazuh-server/0")
        assert watch.until_done(400), (hook, rotations.under_way(cluster), cluster.statuses())


@pytest.mark.parametrize("unit", [0, 1, 2])
def test_given_a_master_that_does_not_lead_when_rotated_then_its_evidence_reaches_the_leader(
    whole, unit
):
    cluster = whole(order=(0, 1, 2))
    cluster.model.run_action("wazuh-server/leader", "promote", {"unit": f"wazuh-server/{unit}"})
    assert cluster.until(lambda: cluster.masters() == [f"wazuh-server-{unit}"], 100)
    assert cluster.settle()
    watch = rotations.Watch(cluster)
    number = rotations.rotate(cluster, "all")
    assert cluster.until(lambda: cluster.model.action(number).status == "completed", 30)

    assert watch.until_done(), (rotations.under_way(cluster), cluster.statuses())

    assert cluster.masters() == [f"wazuh-server-{unit}"]


def test_given_a_rotation_policy_when_its_period_is_over_then_every_secret_is_rotated(whole):
    cluster = whole(order=(0, 1, 2))
    cluster.model.set_config(cluster.app, {"secret-rotation": "hourly"})
    assert cluster.settle()
    before = {label: dict(rotations.content(cluster, label)) for label in rotations.SECRETS}
    watch = rotations.Watch(cluster)

    cluster.model.advance(3600)
    assert cluster.until(lambda: bool(rotations.under_way(cluster)), 60)
    assert watch.until_done()

    for label in rotations.SECRETS:
        assert rotations.content(cluster, label) != before[label], label


def test_given_a_policy_on_an_older_secret_when_the_option_changes_then_it_follows(whole):
    cluster = whole(order=(0, 1, 2))
    for policy in ("weekly", "daily", None):
        cluster.model.set_config(cluster.app, {"secret-rotation": policy})
        assert cluster.settle()
        shown = {s.label: s.rotation for s in cluster.model.secrets() if s.owner == cluster.app}
        assert {shown[label] for label in rotations.SECRETS} == {policy or "never"}
        assert shown["certificate-authority"] == "never"


def test_given_a_rotation_that_ended_when_all_events_come_again_then_nothing_is_done(whole):
    cluster = whole(order=(0, 1, 2))
    watch = rotations.Watch(cluster)
    number = rotations.rotate(cluster, "all")
    assert cluster.until(lambda: cluster.model.action(number).status == "completed", 30)
    assert watch.until_done()
    assert cluster.settle()
    loud = [one.describe() for one in invariants.repeat_all(cluster) if not one.quiet]
    assert loud == []
