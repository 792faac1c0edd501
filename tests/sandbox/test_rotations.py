"""Rotations on real processes, with people logging in, agents enrolling and sessions open."""

import sys

import pytest

from sandbox import rotation
from sandbox.driver import Driver

#: Real seconds; the stand-in's daemons start at once, so these find a defect, not a slow machine.
LONGEST = 60.0


@pytest.mark.parametrize("secret", ["cluster-key", "api-users"])
def test_given_a_cluster_in_use_when_a_secret_is_rotated_then_it_ends_and_no_session_is_cut(
    cluster: Driver, secret: str
) -> None:
    before = cluster.secret(secret)

    noticed = rotation.measure(cluster, secret, calm=5.0)

    sys.stdout.write(f"Juju is emulated, Wazuh a stand-in: {noticed}\n")
    assert cluster.secret(secret) != before
    assert noticed.sessions_cut == 0
    assert noticed.logins > 0
    assert noticed.enrolments > 0
    assert max(*noticed.apart, noticed.refused, noticed.not_enrolled) < LONGEST


def test_given_a_unit_that_does_not_lead_when_asked_to_rotate_then_it_names_the_leader(
    cluster: Driver,
) -> None:
    worker = next(name for name, unit in cluster.units().items() if not unit["leader"])

    done = cluster.run(worker, "rotate-secret", secret="all")

    assert done["status"] == "failed"
    assert "juju run wazuh-server/leader rotate-secret" in done["message"]
