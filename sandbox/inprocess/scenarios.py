"""What happens to a cluster while its hooks and supervisors are killed."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.inprocess import rotations
from sandbox.inprocess.cluster import Cluster
from sandbox.inprocess.faults import GOOD_REPOSITORY, REPOSITORY
from sandbox.inprocess.hunt import revisions

GONE_SECONDS = 100.0
"""How long a lost node stays away: longer than a lease."""


def _nothing(_cluster: Cluster) -> None:
    """Have a deployment happen by itself."""


def _planned(cluster: Cluster) -> None:
    """Have leadership go from a master that lives on."""
    cluster.model.pause("wazuh-server/0", kubelet=False)
    cluster.run(75)
    cluster.model.unpause("wazuh-server/0")


def _unplanned(cluster: Cluster, *, keep_volumes: bool = True) -> None:
    cluster.model.node_lost("wazuh-server/0", keep_volumes=keep_volumes)
    cluster.run(GONE_SECONDS + 60)
    cluster.model.node_back("wazuh-server/0")


def _volume_lost(cluster: Cluster) -> None:
    """Lose the master for good, after its agents were copied."""
    cluster.run(20)
    _unplanned(cluster, keep_volumes=False)


def _promote(cluster: Cluster) -> None:
    parameters = {"unit": "wazuh-server/2"}
    cluster.model.run_action(f"{cluster.app}/leader", "promote", parameters)


def _scale(units: int) -> Callable[[Cluster], None]:
    return lambda cluster: cluster.model.scale(cluster.app, units)


def _to_none_and_back(cluster: Cluster) -> None:
    """Have every unit go with its volume, and three others come (R31)."""
    cluster.run(20)
    cluster.model.scale(cluster.app, 0)
    cluster.run(60)
    cluster.model.scale(cluster.app, 3)


def _rotate(secret: str) -> Callable[[Cluster], None]:
    def act(cluster: Cluster) -> None:
        rotations.rotate(cluster, secret)

    return act


def _configure(cluster: Cluster) -> None:
    uri = cluster.model.add_secret("mine", {"password": "operators-choice"})
    cluster.model.grant_secret("mine", cluster.app)
    values = {REPOSITORY: GOOD_REPOSITORY, "agent-password": uri}
    cluster.model.set_config(cluster.app, values)


def _refresh(cluster: Cluster) -> None:
    """Roll out a revision that writes a newer schema into the databag."""
    cluster.refresh(_revisions()[1])


_revisions = functools.cache(revisions)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens to a cluster that is whole (or new); `order`: who starts first, and leads."""

    name: str
    act: Callable[[Cluster], None]
    order: tuple[int, ...] = (0, 1, 2)
    new: bool = False


SCENARIOS = (
    Scenario("first deployment", _nothing, new=True),
    Scenario("planned move", _planned),
    Scenario("unplanned move", _unplanned),
    Scenario("unplanned move, the volume lost", _volume_lost),
    Scenario("promote", _promote),
    Scenario("leaving leader", _scale(2), order=(2, 1, 0)),
    Scenario("scale-down to one, the leader among those removed", _scale(1), order=(2, 1, 0)),
    Scenario("scale-up to four", _scale(4)),
    Scenario("scale to none and back", _to_none_and_back),
    *(Scenario(f"rotation of {secret}", _rotate(secret)) for secret in rotations.SECRETS),
    Scenario("configuration change", _configure),
    Scenario("refresh to another revision", _refresh),
)
