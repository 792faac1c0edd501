"""Rotations of secrets, in both commit modes: by action, by policy, with a kill at every step."""

import pytest

from sandbox.inprocess import rotations


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
