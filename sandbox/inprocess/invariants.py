"""What must hold of a cluster: at every moment (`watch`), and once faults have stopped (`end`).

I1 no promised agent is lost · I2 published API credentials log in · I3 one master an epoch ·
I4 one cluster key · I6 it converges · I7 no secret in plain sight · I8 no hook error for an
outside cause · I9 nothing changed, nothing done. (I5, a running service is untouched by bad
input, is held by the tests of each input.)
"""

from collections import Counter
from collections.abc import Mapping

from supervisor import keys, machine

from sandbox.inprocess.cluster import Cluster
from sandbox.inprocess.dispatch import KILLED
from sandbox.inprocess.effects import Effects
from sandbox.inprocess.workload import Workload
from sandbox.model import HookSpec
from src.cluster import SCHEMA

API_USERS = "api-users"
OUTSIDE = ("lease not held", "connection is shut down", KILLED)
"""Why a commit may be refused: R16, R18, a unit that is cut off; and a process that was killed."""
CONVERGES_SECONDS = 900.0
CONVERGES_HOOKS = 100
"""Bounds of I6 after the faults stop: virtual seconds in all, hooks a unit."""
TAKES_USERS_SECONDS = 15.0
"""Bound of I2 for passwords of a first hook that was never committed."""
ONCE = (
    "stop",
    "remove",
    "storage-detaching",
    "action",
    "relation-departed",
    "relation-broken",
    "secret-remove",
    "secret-rotate",
    "secret-expired",
)
"""Hooks of a unit's end, and hooks that ask for something to be done each time."""


class BrokenError(AssertionError):
    """An invariant does not hold; the text names it."""


class Watch:
    """Looks at one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.accepted: dict[int, str] = {}
        """Epoch to the one master that workers accepted."""
        self.losses: Counter[str] = Counter()
        """Agents lost by cause, over all ends so far."""
        self.refusals = 0
        """Ends at which the cluster waits for people, since what agents had is gone."""
        self.rollouts = 0
        """Ends at which people had to delete pods of a charm that is older than the databag."""
        self._seen = 0
        self._unknown: dict[str, float] = {}

    # -- at every moment -----------------------------------------------------------------------

    def watch(self) -> None:
        """I2, I3, I7 and I8 on what happened since the last look."""
        for effects in self.cluster.since(self._seen):
            self._hook(effects)
        self._seen = len(self.cluster.history)
        for unit, pod in self.cluster.pods.items():
            if pod.kept.deferred:
                raise BrokenError(
                    f"I9 broken: {unit} deferred an event, which goes with its pod (R11)"
                )
        for workload in self.cluster.workloads():
            self._one_master(workload)
            self._credentials(workload)

    def _hook(self, effects: Effects) -> None:
        if effects.leaks:
            raise BrokenError(f"I7 broken: {effects.leaks} of {effects.unit} {effects.hook}")
        outside = effects.deposed or any(reason in effects.error for reason in OUTSIDE)
        if not effects.ok and not outside:
            raise BrokenError(f"I8 broken: {effects.describe()}")

    def _one_master(self, workload: Workload) -> None:
        master = workload.master(self.cluster.neighbours(workload.node))
        if master is None:
            return
        epoch = master.disk.memory.served
        known = self.accepted.setdefault(epoch, master.node)
        if known != master.node:
            raise BrokenError(f"I3 broken: epoch {epoch}: {known} and {master.node}")

    def _credentials(self, workload: Workload) -> None:
        """Whoever reads the newest secret, or the one before it, can log in.

        A first hook that acted and was not committed leaves passwords that Juju never knew; the
        unit has some seconds, from the first publishing on, to take those that were published.
        """
        if machine.API not in workload.running:
            return
        if not workload.users:
            raise BrokenError(f"I2 broken: {workload.node} has its default passwords")
        published = self.cluster.model.contents(API_USERS)[-2:]
        known = {value for content in published for value in content.values()}
        if not published or set(workload.users.values()) <= known:
            self._unknown.pop(workload.node, None)
            return
        now = self.cluster.model.now
        if now - self._unknown.setdefault(workload.node, now) > TAKES_USERS_SECONDS:
            raise BrokenError(f"I2 broken: nobody knows the passwords of {workload.node}")

    # -- once the faults have stopped ----------------------------------------------------------

    def end(self) -> None:
        """Let the cluster converge and check everything."""
        before = len(self.cluster.history)
        whole = self.cluster.settle(CONVERGES_SECONDS) or self._end_rollout()
        self.watch()
        if not whole:
            self._go_on_regardless()
        hooks = self.cluster.since(before)
        if len(hooks) > CONVERGES_HOOKS * max(1, len(self.cluster.pods)):
            raise BrokenError(f"I6 broken: {len(hooks)} hooks until whole")
        self._same_key()
        self._published()
        self._promised()
        self._nothing_done()

    def _end_rollout(self) -> bool:
        """I6, but where pods of a charm older than the databag hold a refresh up.

        They cannot read it, so a master among them that lost its container serves nobody, and the
        new pods wait for its keys. Somebody deletes them; they come back with the new charm.
        """
        cluster = self.cluster
        schema = int(cluster.databag().get("schema", "0"))
        old = [one for one in cluster.pods if cluster.revision(one) is not cluster.charms[-1]]
        if schema <= SCHEMA or not old:
            return False
        self.rollouts += 1
        for unit in old:
            cluster.model.pod_deleted(unit, forced=True)
        return cluster.settle(CONVERGES_SECONDS)

    def _go_on_regardless(self) -> None:
        """I6, but where what agents had is gone for good: then a unit names the way out.

        Somebody goes it, and the cluster becomes whole.
        """
        refused = [one for one in self.cluster.workloads() if _names_way_out(one)]
        ledger = self.cluster.ledger
        entries = [one for one in ledger.entries.values() if one.volumes]
        gone = [one for one in entries if one.volumes <= ledger.gone]
        if not (refused and gone):
            raise BrokenError(f"I6 broken: not whole: {self.picture()}")
        self.refusals += 1
        unit = self.cluster.unit_of(refused[0])
        leader = self.cluster.model.leader(self.cluster.app) or unit
        self.cluster.model.run_action(leader, "promote", {"unit": unit, "force": True})
        if not self.cluster.settle(CONVERGES_SECONDS):
            raise BrokenError(f"I6 broken: not whole after promote with force: {self.picture()}")
        self.watch()

    def _same_key(self) -> None:
        found = {one.key for one in self.cluster.workloads() if one.key}
        if len(found) != 1:
            raise BrokenError(f"I4 broken: {len(found)} keys")

    def _published(self) -> None:
        """I2: what clients read logs in everywhere."""
        content = self.cluster.model.contents(API_USERS)[-1]
        for workload in self.cluster.workloads():
            for name, password in workload.users.items():
                if content.get(name) != password:
                    raise BrokenError(f"I2 broken: {name} cannot log in on {workload.node}")

    def _promised(self) -> None:
        """I1: every acknowledged enrolment is the master's, or was lost for a cause."""
        ledger = self.cluster.ledger
        text = next(one.disk.keys for one in self.cluster.workloads() if one.serves)
        losses = ledger.losses(text, self._parked())
        for line, cause in losses.items():
            if cause == "unexplained":
                entry = ledger.entries[line]
                shown = f"{line.split()[0]} {entry.name} of {entry.at:.1f} at {entry.where}"
                raise BrokenError(f"I1 broken: lost {shown}; {entry.volumes} held it")
        self.losses.update(cause for cause in losses.values() if cause != "parked")
        ledger.forgive(losses)
        ids = Counter(line.id for line in keys.parse(text))
        twice = [number for number, count in ids.items() if count > 1]
        if twice:
            raise BrokenError(f"I1 broken: ids {twice} are there twice")

    def _parked(self) -> set[str]:
        """Name the volumes of units that were removed: kept, and read by nobody."""
        used = {one.disk.name for one in self.cluster.workloads()}
        return set(self.cluster.disks) - used

    def _nothing_done(self) -> None:
        """I9: every event seen, run once more, changes nothing.

        What is due by time (a new leader keeps `master-state`) is done by the next update-status,
        which comes within minutes by itself (R12).
        """
        for unit in self.cluster.model.units(self.cluster.app):
            self.cluster.repeat(unit, HookSpec("update-status"))
        if not self.cluster.settle(CONVERGES_SECONDS):
            raise BrokenError(f"I6 broken: not whole after update-status: {self.picture()}")
        for effects in repeat_all(self.cluster):
            if not effects.quiet and not _only_fetches(effects):
                raise BrokenError(f"I9 broken: {effects.describe()}")

    def picture(self) -> str:
        """Say how all units are."""
        shown = [
            f"{one.node}: {one.state.phase if one.state else 'down'} {one.role} "
            f"({one.state.sentence if one.state else ''})"
            for one in self.cluster.workloads()
        ]
        return f"{shown} {self.cluster.statuses()} {self.cluster.databag()}"


def _names_way_out(workload: Workload) -> bool:
    state = workload.state
    return state is not None and state.phase == "refused" and "force=true" in str(state.sentence)


def _only_fetches(effects: Effects) -> bool:
    """Tell whether update-status only looked at a repository that may have moved."""
    started = effects.started == ["repository"] and effects.hook == "update-status"
    return started and not (effects.pushes or effects.relation_writes or effects.secret_writes)


def repeat_all(cluster: Cluster) -> list[Effects]:
    """Run every event that a living unit has seen once more, and give what that did."""
    return [
        cluster.repeat(unit, spec)
        for unit in cluster.model.units(cluster.app)
        for spec in list(cluster.specs.get(unit, {}).values())
        if spec.kind not in ONCE and cluster.can_repeat(unit, spec)
    ]


def describe(losses: Mapping[str, int]) -> str:
    """Say what was lost and why."""
    return ", ".join(f"{number} {cause}" for cause, number in sorted(losses.items())) or "none"
