"""Rotations of secrets over a `Cluster`: how they are begun, and what must hold all the while.

`Watch(cluster).look()` after every step; it raises `RefusedError` where no credential that Juju
knows works, and measures how long the published one was refused and workers were apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.inprocess.cluster import Cluster
from sandbox.inprocess.workload import Workload

SECRETS = ("cluster-key", "api-users", "api-identity", "enrolment-password")
USERS = ("wazuh", "wazuh-wui", "wazuh-charm", "wazuh-dashboard")
NEXT = "next-"


class RefusedError(AssertionError):
    """Something that Juju knows as a credential, and all of it, is refused."""


def rotate(cluster: Cluster, secret: str) -> str:
    """Ask the leader to rotate; gives the action's number."""
    return cluster.model.run_action(f"{cluster.app}/leader", "rotate-secret", {"secret": secret})


def content(cluster: Cluster, label: str) -> Mapping[str, str]:
    """Give the newest content of the application's secret that Juju has."""
    for secret in cluster.model.secrets(reveal=True):
        if secret.label == label and secret.owner == cluster.app:
            return secret.content or {}
    return {}


def under_way(cluster: Cluster) -> list[str]:
    """Name the secrets that hold something to come."""
    return [
        label for label in SECRETS if any(key.startswith(NEXT) for key in content(cluster, label))
    ]


def done(cluster: Cluster) -> bool:
    """Tell whether every unit has in force what is published, and nothing is to come."""
    users, password = content(cluster, "api-users"), content(cluster, "enrolment-password")
    return not under_way(cluster) and all(
        one.order is not None
        and one.taken.secrets == one.order.secrets
        and one.users == {name: users[name] for name in USERS}
        and one.taken.secrets.password == password["password"]
        for one in cluster.workloads()
    )


@dataclass(slots=True)
class Watch:
    """What is seen of the credentials while time goes by (seconds of the virtual clock)."""

    cluster: Cluster
    refused: float = 0.0
    """The longest time for which a published API password was refused by a serving master."""
    apart: float = 0.0
    """The longest time for which a worker had no connection to a serving master."""
    api_closed: int = 0
    """The most units whose API was away at once, of those that run."""
    _refused_since: float | None = None
    _apart_since: dict[str, float] = field(default_factory=dict)

    def look(self) -> None:
        """Check the invariant I2 and measure. Raises RefusedError."""
        users = content(self.cluster, "api-users")
        for workload in self.cluster.workloads():
            if workload.serves and "wazuh-apid" in workload.running and users:
                self._log_in(workload, users)
            if workload.role == "worker" and workload.alive:
                self._follow(workload)
        self.api_closed = max(self.api_closed, self._closed())

    def _log_in(self, workload: Workload, users: Mapping[str, str]) -> None:
        for user in USERS:
            known = {users.get(user, ""), users.get(f"{NEXT}{user}", "")}
            if not any(workload.logs_in(user, password) for password in known):
                raise RefusedError(f"{workload.node}: no password of {user} that Juju knows works")
        if all(workload.logs_in(user, users[user]) for user in USERS):
            self._refused_since = None
            return
        now = self.cluster.model.now
        self._refused_since = now if self._refused_since is None else self._refused_since
        self.refused = max(self.refused, now - self._refused_since)

    def _follow(self, workload: Workload) -> None:
        now, node = self.cluster.model.now, workload.node
        if workload.master(self.cluster.neighbours(node)) is not None:
            self._apart_since.pop(node, None)
            return
        since = self._apart_since.setdefault(node, now)
        self.apart = max(self.apart, now - since)

    def _closed(self) -> int:
        return sum(
            one.role is not None and "wazuh-apid" not in one.running
            for one in self.cluster.workloads()
        )

    def until_done(self, seconds: float = 300.0) -> bool:
        """Go on, looking after every step, until all rotations have ended."""
        end = self.cluster.model.now + seconds
        while self.cluster.model.now < end:
            self.cluster.step()
            self.look()
            if done(self.cluster) and self.cluster.whole():
                return True
        return False
