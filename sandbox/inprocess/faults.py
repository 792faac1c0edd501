"""Everything that people, Juju and machines may do to a `Cluster`, by chance.

`Faults` holds one method for each command and fault; each picks its victim with `chance` and
says what it did. `Storm(cluster, seed).run(events)` plays them between hooks and ticks; the same
seed does the same again. What breaks an invariant raises `BrokenError`, which names the seed.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from sandbox.inprocess.cluster import Cluster
from sandbox.inprocess.dispatch import Charm
from sandbox.inprocess.effects import Effects, Killed
from sandbox.inprocess.invariants import BrokenError, Watch
from sandbox.inprocess.rotations import SECRETS
from sandbox.model import CommandError

REPOSITORY = "custom-config-repository"
GOOD_REPOSITORY = "git+https://git.example.com/rules"
BAD_REPOSITORY = "git+hhtp://git.example.com/rules"
LARGEST = 7
"""Units at most."""
MOST_AGENTS = 3000
"""Agents at most in one run: more tell nothing new and take time."""
HARDNESS: dict[int, tuple[str, ...]] = {
    4: ("restart_agent",),
    5: ("delete_pod",),
    6: ("delete_pod",),
    7: ("lose_node", "return_node"),
    8: ("pause_in_hook",),
    9: ("run_action", "lose_node", "pause_in_hook", "kill_in_hook"),
    10: ("crash_commit",),
    11: ("crash_commit",),
    12: ("lose_volume",),
    13: ("lose_volume", "scale"),
    14: ("lose_volume",),
    15: ("lose_node", "cut_off", "partition", "return_node"),
    16: ("scale",),
    17: ("scale", "keep_volumes"),
    18: ("pause", "lose_answers", "cut_off", "flap"),
    19: ("refresh",),
    21: ("set_password",),
    29: ("relate", "tell"),
    30: ("run_action", "fail_hook"),
    33: ("flap",),
    34: ("kill_all",),
}
"""Faults by their number in the list of what must survive, and what plays them here."""
PARAMETERS: dict[str, Callable[["Faults"], object]] = {
    "name": lambda faults: f"sender-{faults.chance.randint(0, 3)}",
    "unit": lambda faults: faults.any_unit(),
    "secret": lambda faults: faults.chance.choice((*SECRETS, "all")),
}
"""How the parameters of actions are chosen."""
TOLD: tuple[dict[str, str], ...] = (
    {"external_host": "wazuh.example.com", "scheme": "https"},
    {"external_host": "a</host><x>"},
    {"certificates": "[{", "request_errors": "{}"},
    {"certificates": "[]"},
    {"endpoints": "10.0.0.1:9200", "secret-user": "secret:gone", "secret-tls": "secret:gone"},
    {"endpoints": "a:0,,b", "secret-user": "$IncludeConfig", "username": "x"},
    {"opencti_url": "https://opencti.example.com", "opencti_token": "secret:gone"},
    {"opencti_url": "ftp://x\ny", "opencti_token": "[]"},
    dict.fromkeys(
        (
            "external_host",
            "scheme",
            "certificates",
            "request_errors",
            "endpoints",
            "secret-user",
            "secret-tls",
            "username",
            "opencti_url",
            "opencti_token",
        ),
        "",
    ),
)
"""What other applications say: some of it right, none of it whole; an empty text takes it back."""
T = TypeVar("T")


class Chance(Protocol):
    """What decides: Python's generator, or Hypothesis' own."""

    def random(self) -> float:
        """Give a number from 0 up to 1."""
        ...

    def randint(self, a: int, b: int) -> int:
        """Give a whole number."""
        ...

    def uniform(self, a: float, b: float) -> float:
        """Give a number between two."""
        ...

    def choice(self, seq: Sequence[T]) -> T:
        """Give one of several."""
        ...


class Faults:
    """Commands and faults on one cluster. `revisions` are those of the charm to refresh to."""

    def __init__(self, cluster: Cluster, chance: Chance, revisions: Sequence[Charm] = ()) -> None:
        self.cluster = cluster
        self.chance = chance
        self.revisions = revisions
        self.log: list[str] = []
        self.kinds: Counter[str] = Counter()
        """How often each was done."""
        self.lost: set[str] = set()
        self.paused: set[str] = set()
        self.offline: set[str] = set()
        self.agents = 0
        self.rate = 0
        """Agents that enrol in each second."""
        self.password: str | None = None
        self.related: dict[str, int] = {}
        """Relations by endpoint."""

    def do(self, fault: Callable[[], str]) -> None:
        """Do one, and write it down unless it had nothing to do."""
        try:
            done = fault()
        except CommandError as error:
            done = f"{fault.__name__}: refused: {error}"
        if done:
            self.kinds[fault.__name__] += 1
            self.log.append(f"{self.cluster.model.now:8.1f} {done}")

    def table(self) -> tuple[Callable[[], str], ...]:
        """Give all of them, the frequent ones more than once."""
        return (
            self.delete_pod,
            self.kill_all,
            self.lose_node,
            self.lose_volume,
            self.return_node,
            self.return_node,
            self.restart_container,
            self.restart_agent,
            self.pause,
            self.unpause,
            self.pause_in_hook,
            self.kill_in_hook,
            self.fail_hook,
            self.freeze,
            self.cut_off,
            self.seclude,
            self.separate,
            self.partition,
            self.lose_answers,
            self.heal,
            self.heal,
            self.kill_supervisor,
            self.scale,
            self.scale,
            self.keep_volumes,
            self.refresh,
            self.set_repository,
            self.flap,
            self.set_password,
            self.set_password,
            self.relate,
            self.relate,
            self.tell,
            self.run_action,
            self.run_action,
            self.set_rate,
            self.enrol,
            self.enrol,
            self.enrol,
            self.remove_agent,
        )

    # -- who ---------------------------------------------------------------------------------

    def any_unit(self) -> str:
        """Pick a unit, whatever was done to it."""
        units = self.cluster.model.units(self.cluster.app)
        if not units:
            raise CommandError("no unit left")
        return self.chance.choice(units)

    def _unit(self) -> str:
        """Pick a unit to which nothing was done yet."""
        touched = self.lost | self.paused | self.offline
        units = [unit for unit in self.cluster.pods if unit not in touched]
        if not units:
            raise CommandError("no unit left")
        return self.chance.choice(units)

    def _exists(self, unit: str) -> bool:
        return unit in self.cluster.model.units(self.cluster.app)

    # -- time --------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let a second or some pass, agents enrolling meanwhile."""
        for _ in range(self.chance.choice((1, 1, 1, 4))):
            for _ in range(self.rate):
                self.enrol()
            self.cluster.tick()

    def enrol(self) -> str:
        """Enrol an agent at any unit of the Service."""
        units = [unit for unit in self.cluster.pods if unit not in self.cluster.frozen]
        if not units or self.agents >= MOST_AGENTS:
            return ""
        unit = self.chance.choice(units)
        if not self.cluster.workload_of(unit):
            return ""
        number = self.cluster.enrol(f"agent-{self.agents}", unit)
        if number is None:
            return ""
        self.agents += 1
        return f"agent-{self.agents - 1} enrolled at {unit}: {number:03d}"

    def set_rate(self) -> str:
        """Have agents enrol all the time, or no longer."""
        self.rate = self.chance.choice((0, 0, 1, 3))
        return f"{self.rate} enrolments a second"

    def remove_agent(self) -> str:
        """Remove an agent through the master."""
        for workload in self.cluster.workloads():
            there = self.cluster.unit_of(workload) not in self.cluster.frozen
            lines = workload.lines() if workload.serves and there else []
            if lines:
                line = self.chance.choice(lines)
                if workload.remove(line, self.cluster.model.now):
                    return f"agent {line.split()[0]} removed at {workload.node}"
        return ""

    # -- pods, nodes, volumes ------------------------------------------------------------------

    def delete_pod(self) -> str:
        """R6: the pod goes and comes back, with or without its grace."""
        unit, forced = self._unit(), self.chance.random() < 0.5
        self.cluster.model.pod_deleted(unit, forced=forced)
        return f"pod {unit} deleted, forced={forced}"

    def kill_all(self) -> str:
        """Kill all pods at once, as a power cut does; those of lost nodes stay away."""
        units = [unit for unit in self.cluster.pods if unit not in self.lost]
        for unit in units:
            self.cluster.model.pod_deleted(unit, forced=True)
        self.paused.clear()
        self.cluster.frozen.clear()
        return f"all pods killed: {units}" if units else ""

    def lose_node(self) -> str:
        """Lose a pod with its node; the volume stays."""
        unit = self._unit()
        self.lost.add(unit)
        self.cluster.model.node_lost(unit)
        return f"node of {unit} lost"

    def lose_volume(self) -> str:
        """Lose a pod with its node and its volume."""
        if self.chance.random() < 0.5:
            return ""
        unit = self._unit()
        self.lost.add(unit)
        self.cluster.model.node_lost(unit, keep_volumes=False)
        return f"node and volume of {unit} lost"

    def return_node(self) -> str:
        """Have a lost node's pod made again."""
        if not self.lost:
            return ""
        unit = self.chance.choice(sorted(self.lost))
        self.lost.discard(unit)
        if self._exists(unit) and unit not in self.cluster.model.pods():  # not another by now
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

    def kill_supervisor(self) -> str:
        """Kill a supervisor before one of its next effects; Pebble starts it again."""
        unit, left = self._unit(), [self.chance.randint(0, 3)]
        node = unit.replace("/", "-")

        def gate(effect: str) -> None:
            if not effect.startswith(f"{node} "):
                return
            left[0] -= 1
            if left[0] < 0:
                self.cluster.supervisor_gate = None
                raise Killed

        self.cluster.supervisor_gate = gate
        return f"supervisor of {unit} to be killed"

    # -- hooks -----------------------------------------------------------------------------------

    def _due(self) -> str | None:
        due = [unit for unit in self.cluster.model.due() if unit in self.cluster.pods]
        return self.chance.choice(due) if due else None

    def hook(self) -> Effects | None:
        """Run a due hook, if there is one."""
        unit = self._due()
        return self.cluster.run_hook(unit) if unit else None

    def crash_commit(self) -> str:
        """Have an agent die at some step of a hook's commit."""
        unit = self._due()
        if unit is None:
            return ""
        effects = self.cluster.run_hook(unit, crash=self.chance.random())
        return f"crash at the commit of {effects.hook} {unit}"

    def fail_hook(self) -> str:
        """Have a hook fail after all it did."""
        unit = self._due()
        if unit is None:
            return ""
        return f"{self.cluster.run_hook(unit, fail=True).hook} of {unit} failed"

    def _in_hook(self, then: Callable[[str], None]) -> str:
        """Have something happen to a unit before an effect of its hook, chosen by chance."""
        unit, left = self._due(), [self.chance.randint(0, 40)]
        if unit is None:
            return ""

        def gate(_effect: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                self.cluster.gate = None
                then(unit)

        self.cluster.gate = gate
        effects = self.cluster.run_hook(unit)
        self.cluster.gate = None
        step = effects.steps[-1] if left[0] < 0 and effects.steps else "its end"
        return f"{effects.hook} of {unit}, before {step}"

    def kill_in_hook(self) -> str:
        """Kill a hook's process in the middle."""

        def kill(_unit: str) -> None:
            raise Killed

        done = self._in_hook(kill)
        return done and f"killed in {done}"

    def pause_in_hook(self) -> str:
        """Freeze a unit's agent in the middle of a hook, past its lease (R16)."""
        seconds = self.chance.choice((10.0, 45.0, 80.0))

        def pause(unit: str) -> None:
            self.cluster.model.pause(unit, kubelet=False)
            self.cluster.run(seconds)
            if self._exists(unit):
                self.cluster.model.unpause(unit)

        done = self._in_hook(pause)
        return done and f"paused for {seconds:.0f} s in {done}"

    # -- what stands still, and what is cut ------------------------------------------------------

    def pause(self) -> str:
        """Freeze a charm container; kubelet restarts it after 70 s."""
        unit = self._unit()
        self.paused.add(unit)
        self.cluster.model.pause(unit)
        return f"{unit} paused"

    def freeze(self) -> str:
        """Freeze a whole pod, as a node that stands still."""
        unit = self._unit()
        self.paused.add(unit)
        self.cluster.model.pause(unit, kubelet=False)
        self.cluster.frozen.add(unit)
        return f"{unit} frozen"

    def unpause(self) -> str:
        """Let all that stands still go on."""
        for unit in sorted(self.paused):
            if self._exists(unit):
                self.cluster.model.unpause(unit)
        text = f"unpaused {sorted(self.paused)}" if self.paused else ""
        self.paused.clear()
        self.cluster.frozen.clear()
        return text

    def cut_off(self) -> str:
        """Cut a unit off from the controller alone."""
        unit = self._unit()
        self.offline.add(unit)
        self.cluster.model.cut_off(unit)
        return f"{unit} cut off from the controller"

    def seclude(self) -> str:
        """Cut a unit off from its peers, perhaps from the controller too."""
        unit = self._unit()
        self.offline.add(unit)
        self.cluster.secluded.add(unit)
        if self.chance.random() < 0.5:
            return f"{unit} cut off from its peers"
        self.cluster.model.cut_off(unit)
        return f"{unit} cut off from peers and controller, not from Kubernetes"

    def separate(self) -> str:
        """Cut one pair of units apart."""
        pair = frozenset({self.any_unit(), self.any_unit()})
        if len(pair) == 1:
            return ""
        self.cluster.apart.add(pair)
        return f"{sorted(pair)} cut apart"

    def partition(self) -> str:
        """Cut a unit off from everything."""
        unit = self._unit()
        self.offline.add(unit)
        self.cluster.cut.add(unit)
        self.cluster.model.cut_off(unit)
        return f"{unit} cut off from everything"

    def lose_answers(self) -> str:
        """Have questions between peers go without an answer now and then."""
        self.cluster.loss = self.chance.choice((0.0, 0.1, 0.3))
        return f"{self.cluster.loss:.0%} of the answers lost"

    def heal(self) -> str:
        """End every cut."""
        for unit in sorted(self.offline):
            if self._exists(unit):
                self.cluster.model.heal(unit)
        text = f"healed {sorted(self.offline)}" if self.offline else ""
        self.offline.clear()
        for cut in (self.cluster.cut, self.cluster.secluded, self.cluster.apart):
            cut.clear()
        return text

    # -- what people ask for ---------------------------------------------------------------------

    def scale(self) -> str:
        """Scale to anything from none to seven."""
        units = self.chance.choice((0, 1, 2, 3, 3, 4, 5, LARGEST))
        self.cluster.model.scale(self.cluster.app, units)
        return f"scaled to {units}"

    def keep_volumes(self) -> str:
        """Have removed units' volumes be kept from now on, or go (R31)."""
        volumes = self.chance.choice(("lost", "kept"))
        self.cluster.model.with_behaviour(volumes=volumes)
        return f"volumes of removed units are {volumes}"

    def refresh(self) -> str:
        """Roll out another revision, or the old one again, whatever is under way (R32).

        Not with units that never had the cluster's keys: a whole new set of units with a charm
        older than the databag waits for ever, and no refresh gets past the first of them.
        """
        workloads = self.cluster.workloads()
        if not self.revisions or len(workloads) < 2 or not all(one.ready for one in workloads):
            return ""
        if self.cluster.model.scaled_to(self.cluster.app) < len(workloads):
            return ""
        number = self.chance.randint(0, len(self.revisions) - 1)
        self.cluster.refresh(self.revisions[number])
        return f"refreshed to revision {number}"

    def set_repository(self) -> str:
        """Set the repository to something good, bad, or back."""
        value = self.chance.choice((GOOD_REPOSITORY, BAD_REPOSITORY, None))
        self.cluster.model.set_config(self.cluster.app, {REPOSITORY: value})
        return f"{REPOSITORY}={value}"

    def flap(self) -> str:
        """Change an option over and over, hooks running in between."""
        for number in range(self.chance.randint(2, 12)):
            value = (GOOD_REPOSITORY, BAD_REPOSITORY, None)[number % 3]
            self.cluster.model.set_config(self.cluster.app, {REPOSITORY: value})
            if self.chance.random() < 0.3:
                self.hook()
        return f"{REPOSITORY} flapped"

    def set_password(self) -> str:
        """Give an enrolment password, change it, withdraw it."""
        model, app = self.cluster.model, self.cluster.app
        if self.password is None:
            self.password = model.add_secret("enrolment", {"password": "one-of-many"})
            model.grant_secret(self.password, app)
            model.set_config(app, {"agent-password": self.password})
            return "agent-password set"
        step = self.chance.choice(("update", "revoke", "grant", "unset", "set", "bad", "remove"))
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
            case "remove":
                model.remove_secret(self.password)
                self.password = None
            case _:
                value = self.password if step == "set" else None
                model.set_config(app, {"agent-password": value})
        return f"agent-password: {step}"

    def run_action(self) -> str:
        """Run any action that the charm declares, on any unit."""
        actions = self.cluster.charms[-1].metadata.get("actions") or {}
        if not actions:
            return ""
        name = self.chance.choice(sorted(actions))
        known = actions[name].get("params") or {}
        params = {one: make(self) for one, make in PARAMETERS.items() if one in known}
        leader = f"{self.cluster.app}/leader"
        unit = leader if self.chance.random() < 0.7 else self.any_unit()
        self.cluster.model.run_action(unit, name, params)
        return f"{name} {params} on {unit}"

    def relate(self) -> str:
        """Relate an application that says nothing yet, or end that relation."""
        metadata, model = self.cluster.charms[0].metadata, self.cluster.model
        endpoints = {
            name: (opposite, about)
            for role, opposite in (("provides", "requires"), ("requires", "provides"))
            for name, about in (metadata.get(role) or {}).items()
        }
        if not endpoints:
            return ""
        endpoint = self.chance.choice(sorted(endpoints))
        other = f"other-{endpoint}"
        if other not in model.applications():
            model.add_application(_neighbour(endpoint, *endpoints[endpoint]), scripted=True)
        left, right = f"{self.cluster.app}:{endpoint}", f"{other}:{endpoint}"
        if endpoint in self.related:
            del self.related[endpoint]
            model.remove_relation(left, right)
            return f"{endpoint} removed"
        self.related[endpoint] = int(model.integrate(left, right).rpartition(":")[2])
        return f"{endpoint} related"

    def tell(self) -> str:
        """Have a related application write something, or take it back."""
        if not self.related:
            return ""
        endpoint = self.chance.choice(sorted(self.related))
        data = self.chance.choice(TOLD)
        self.cluster.model.scripted_set(self.related[endpoint], f"other-{endpoint}", data)
        return f"{endpoint} told {sorted(data)}"

    # -- the end ---------------------------------------------------------------------------------

    def stop(self) -> None:
        """End all faults: everything is reachable, nothing stands still, nobody enrols."""
        cluster = self.cluster
        cluster.supervisor_gate, cluster.loss, self.rate = None, 0.0, 0
        self.unpause()
        self.heal()
        while self.lost:
            self.return_node()
        if self.revisions and cluster.charms[-1] is not self.revisions[-1]:
            cluster.refresh(self.revisions[-1])
        if not cluster.model.units(cluster.app) or cluster.model.scaled_to(cluster.app) == 0:
            cluster.model.scale(cluster.app, 3)


def _neighbour(endpoint: str, role: str, about: Mapping[str, str]) -> dict[str, object]:
    """Describe an application that has the other end."""
    return {"name": f"other-{endpoint}", role: {endpoint: {"interface": about["interface"]}}}


class Storm(Faults):
    """Faults by chance between hooks by chance, all from one seed."""

    def __init__(self, cluster: Cluster, seed: int, revisions: Sequence[Charm] = ()) -> None:
        super().__init__(cluster, random.Random(f"storm {seed}"), revisions)
        self.seed = seed
        self.watch = Watch(cluster)
        self.hooks = self.ticks = 0

    def run(self, events: int) -> None:
        """Do so many hooks, ticks and faults, then stop the faults and check the end."""
        for _ in range(events):
            self.event()
        self.calm()

    def event(self) -> None:
        """Do one, and look at what came of it."""
        roll = self.chance.random()
        self.cluster.sync()
        if roll < 0.06:
            self.do(self.chance.choice(self.table()))
        elif roll < 0.08:
            self.do(self.crash_commit)
        elif roll < 0.85 and self.hook():
            self.hooks += 1
        else:
            self.tick()
            self.ticks += 1
        self._checked(self.watch.watch)

    def calm(self) -> None:
        """Stop the faults and check what becomes of it."""
        self.stop()
        self._checked(self.watch.end)

    def _checked(self, check: Callable[[], None]) -> None:
        try:
            check()
        except BrokenError as error:
            done = "\n".join(self.log[-40:])
            raise BrokenError(f"seed {self.seed}: {error}\nlast:\n{done}") from None
