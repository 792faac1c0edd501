"""Random schedules of faults over a `Cluster`, and the invariants that must hold through them.

Everything follows from one seed: `Storm(cluster, seed).run(events)` does the same again for the
same seed. What breaks an invariant raises `BrokenError`, whose text holds the seed.
"""

import random
from collections.abc import Callable

from sandbox.inprocess.cluster import Cluster
from sandbox.inprocess.effects import Effects
from sandbox.model import CommandError

GOOD_REPOSITORY = "git+https://git.example.com/rules"
BAD_REPOSITORY = "git+hhtp://git.example.com/rules"
OUTSIDE = ("lease not held", "connection is shut down")
"""Reasons for which Juju itself refuses a commit: R16, R18 and a unit that is cut off."""
CONVERGES_SECONDS = 900.0
CONVERGES_HOOKS = 400
"""Bounds of I6: after the faults stop, for five units."""


class BrokenError(AssertionError):
    """An invariant does not hold; the text names it, the seed and what was done last."""


class Storm:
    """Faults by chance between hooks by chance."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.seed = seed
        self.chance = random.Random(f"storm {seed}")
        self.log: list[str] = []
        self.lost: set[str] = set()
        self.paused: set[str] = set()
        self.offline: set[str] = set()
        self.accepted: dict[int, str] = {}
        """Epoch to the one master that workers accepted."""
        self.agents = 0
        self.password: str | None = None

    def run(self, events: int) -> None:
        """Do so many hooks, ticks and faults, then stop the faults and check the end."""
        for _ in range(events):
            self._event()
            self.check()
        self.calm()

    def _event(self) -> None:
        cluster = self.cluster
        cluster.sync()
        due = cluster.model.due()
        roll = self.chance.random()
        if roll < 0.06:
            self._fault()
        elif due and roll < 0.85:
            self._hook(self.chance.choice(due))
        else:
            cluster.tick(self.chance.choice((0.5, 1.0, 1.0, 5.0)))

    def _hook(self, unit: str) -> None:
        """Run a hook; now and then its agent dies at a random step of the commit."""
        if self.chance.random() < 0.03:
            effects = self.cluster.run_hook(unit, crash=self.chance.random())
            self.log.append(f"crash at the commit of {effects.hook} {unit}")
            return
        self._no_error(self.cluster.run_hook(unit))

    def _no_error(self, effects: Effects) -> None:
        """I8: no hook error for an outside cause."""
        if not effects.ok and not any(reason in effects.error for reason in OUTSIDE):
            self._broken("I8", effects.describe())

    def _fault(self) -> None:
        fault = self.chance.choice(self._faults())
        try:
            done = fault()
        except CommandError as error:
            done = f"{fault.__name__}: refused: {error}"
        if done:
            self.log.append(f"{self.cluster.model.now:8.1f} {done}")

    def _faults(self) -> tuple[Callable[[], str], ...]:
        return (
            self.delete_pod,
            self.lose_node,
            self.return_node,
            self.restart_container,
            self.restart_agent,
            self.pause,
            self.unpause,
            self.cut_off,
            self.partition,
            self.heal,
            self.heal,
            self.scale,
            self.set_repository,
            self.set_password,
            self.run_action,
            self.enrol,
            self.enrol,
        )

    def _unit(self) -> str:
        """Pick a unit to which nothing was done yet."""
        touched = self.lost | self.paused | self.offline
        units = [unit for unit in self.cluster.pods if unit not in touched]
        if not units:
            raise CommandError("no unit left")
        return self.chance.choice(units)

    def delete_pod(self) -> str:
        """R6: the pod goes and comes back, with or without its grace."""
        unit, forced = self._unit(), self.chance.random() < 0.5
        self.cluster.model.pod_deleted(unit, forced=forced)
        return f"pod {unit} deleted, forced={forced}"

    def lose_node(self) -> str:
        """Lose a pod with its node; the volume stays."""
        unit = self._unit()
        self.lost.add(unit)
        self.cluster.model.node_lost(unit)
        return f"node of {unit} lost"

    def return_node(self) -> str:
        """Have a lost node's pod made again."""
        if not self.lost:
            return ""
        unit = self.chance.choice(sorted(self.lost))
        self.lost.discard(unit)
        if unit in self.cluster.model.units(self.cluster.app):
            self.cluster.model.node_back(unit)
        return f"node of {unit} back"

    def restart_container(self) -> str:
        """R8: the workload container alone."""
        unit = self._unit()
        for container in self.cluster.pods[unit].boxes:
            self.cluster.model.container_restarted(unit, container)
        return f"container of {unit} restarted"

    def restart_agent(self) -> str:
        """R7: the charm container alone."""
        unit = self._unit()
        self.cluster.model.charm_container_restarted(unit)
        return f"charm container of {unit} restarted"

    def pause(self) -> str:
        """Freeze a charm container; kubelet restarts it after 70 s."""
        unit = self._unit()
        self.paused.add(unit)
        self.cluster.model.pause(unit)
        return f"{unit} paused"

    def unpause(self) -> str:
        """Let frozen ones go on."""
        for unit in sorted(self.paused):
            if unit in self.cluster.model.units(self.cluster.app):
                self.cluster.model.unpause(unit)
        text = f"unpaused {sorted(self.paused)}" if self.paused else ""
        self.paused.clear()
        return text

    def cut_off(self) -> str:
        """Cut a unit off from the controller alone."""
        unit = self._unit()
        self.offline.add(unit)
        self.cluster.model.cut_off(unit)
        return f"{unit} cut off from the controller"

    def partition(self) -> str:
        """Cut a unit off from everything."""
        unit = self._unit()
        self.offline.add(unit)
        self.cluster.cut.add(unit)
        self.cluster.model.cut_off(unit)
        return f"{unit} cut off from everything"

    def heal(self) -> str:
        """End every cut."""
        for unit in sorted(self.offline):
            if unit in self.cluster.model.units(self.cluster.app):
                self.cluster.model.heal(unit)
        text = f"healed {sorted(self.offline)}" if self.offline else ""
        self.offline.clear()
        self.cluster.cut.clear()
        return text

    def scale(self) -> str:
        """Scale between one and five; down only from a whole cluster, else keys may go too."""
        units = self.chance.randint(1, 5)
        now = len(self.cluster.model.units(self.cluster.app))
        if units < now and not self.cluster.whole():
            return ""
        self.cluster.model.scale(self.cluster.app, units)
        return f"scaled to {units}"

    def set_repository(self) -> str:
        """Set the repository to something good, bad, or back."""
        value = self.chance.choice((GOOD_REPOSITORY, BAD_REPOSITORY, None))
        self.cluster.model.set_config(self.cluster.app, {"custom-config-repository": value})
        return f"custom-config-repository={value}"

    def set_password(self) -> str:
        """Give an enrolment password, change it, withdraw it."""
        model, app = self.cluster.model, self.cluster.app
        if self.password is None:
            self.password = model.add_secret("enrolment", {"password": "one-of-many"})
            model.grant_secret(self.password, app)
            model.set_config(app, {"agent-password": self.password})
            return "agent-password set"
        step = self.chance.choice(("update", "revoke", "grant", "unset", "set", "bad"))
        number = self.chance.randint(0, 999)
        match step:
            case "update":
                model.update_secret(self.password, {"password": f"password-{number}"})
            case "bad":
                model.update_secret(self.password, {"passwort": f"password-{number}"})
            case "revoke":
                model.revoke_secret(self.password, app)
            case "grant":
                model.grant_secret(self.password, app)
            case _:
                value = self.password if step == "set" else None
                model.set_config(app, {"agent-password": value})
        return f"agent-password: {step}"

    def run_action(self) -> str:
        """Ask for a sender's certificate on any unit."""
        unit = self._unit()
        name = f"sender-{self.chance.randint(0, 3)}"
        self.cluster.model.run_action(unit, "issue-sender-certificate", {"name": name})
        return f"action on {unit}"

    def enrol(self) -> str:
        """Enrol an agent where enrolment is open."""
        for workload in self.cluster.workloads():
            if workload.enrol(f"agent-{self.agents}", self.cluster.model.now) is not None:
                self.agents += 1
                return f"enrolled at {workload.node}"
        return ""

    # -- invariants --------------------------------------------------------------------------

    def check(self) -> None:
        """I3: at most one master that workers accept, per epoch."""
        workloads = self.cluster.workloads()
        for workload in workloads:
            master = workload.master(self.cluster.neighbours(workload.node))
            if master is None or master.state is None:
                continue
            epoch = master.disk.memory.served
            known = self.accepted.setdefault(epoch, master.node)
            if known != master.node:
                self._broken("I3", f"epoch {epoch}: {known} and {master.node}")

    def calm(self) -> None:
        """Stop the faults; I6 I4 I9 are checked on what becomes of it."""
        self.unpause()
        self.heal()
        while self.lost:
            self.return_node()
        before = len(self.cluster.history)
        if not self.cluster.settle(CONVERGES_SECONDS):
            self._broken("I6", f"not whole after {CONVERGES_SECONDS} s: {self._picture()}")
        hooks = self.cluster.since(before)
        if len(hooks) > CONVERGES_HOOKS:
            self._broken("I6", f"{len(hooks)} hooks until whole")
        for effects in hooks:
            self._no_error(effects)
        self.check()
        self._same_key()
        self._nothing_done()

    def _same_key(self) -> None:
        """I4: all nodes share one key."""
        found = {one.key for one in self.cluster.workloads() if one.key}
        if len(found) != 1:
            self._broken("I4", f"{len(found)} keys")

    def _nothing_done(self) -> None:
        """I9: every event seen, run once more, changes nothing."""
        for effects in repeat_all(self.cluster):
            if not effects.quiet:
                self._broken("I9", effects.describe())

    def _picture(self) -> str:
        shown = [
            f"{one.node}: {one.state.phase if one.state else 'down'} {one.role} "
            f"({one.state.sentence if one.state else ''})"
            for one in self.cluster.workloads()
        ]
        return f"{shown} {self.cluster.statuses()} {self.cluster.databag()}"

    def _broken(self, invariant: str, text: str) -> None:
        done = "\n".join(self.log[-40:])
        raise BrokenError(f"{invariant} broken, seed {self.seed}: {text}\nlast:\n{done}")


ONCE = (
    "stop",
    "remove",
    "storage-detaching",
    "action",
    "relation-departed",
    "relation-broken",
    "secret-remove",
)
"""Hooks of a unit's end, and hooks that ask for something to be done each time."""


def repeat_all(cluster: Cluster) -> list[Effects]:
    """Run every event that a living unit has seen once more, and give what that did."""
    return [
        cluster.repeat(unit, spec)
        for unit in cluster.model.units(cluster.app)
        for spec in list(cluster.specs.get(unit, {}).values())
        if spec.kind not in ONCE and cluster.can_repeat(unit, spec)
    ]
