"""Run a whole application in one process: model, real charm, supervisor's machine, one clock."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.inprocess.container import Box
from sandbox.inprocess.dispatch import KILLED, Charm, CharmState
from sandbox.inprocess.effects import Effects, Killed
from sandbox.inprocess.ledger import Ledger
from sandbox.inprocess.workload import Disk, Workload
from sandbox.model import Behaviour, CommitMode, Hook, HookSpec, Model, PodView

TICK = 1.0
"""Seconds between two steps of the workloads."""
PART_SECONDS = 23.0
"""How long the supervisor of a removed unit stays after SIGTERM, at most."""


@dataclass(slots=True)
class Pod:
    """One pod as it runs here."""

    uid: int
    charm_boot: int
    boxes: dict[str, Box]
    workloads: dict[str, Workload] = field(default_factory=dict)
    kept: CharmState = field(default_factory=CharmState)


class Cluster:
    """An application of one charm and what it runs on.

    `order` is the order in which pods start (all by number when None): the first is leader.
    `seed` decides which of several due units runs first, and all chance in the model.
    """

    def __init__(
        self,
        charm: Charm,
        *,
        units: int = 3,
        seed: int = 0,
        commit_mode: CommitMode = "4",
        behaviour: Behaviour | None = None,
        config: Mapping[str, Any] | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        self.charms = [charm]
        """The charm's revisions, the oldest first."""
        self.model = Model(seed, commit_mode, behaviour=behaviour)
        self.app = self.model.add_application(charm.metadata, units=units, config=config)
        self.chance = random.Random(f"runner {seed}")
        self.held: set[str] = set()
        """Units whose pods do not start yet."""
        self.cut: set[str] = set()
        """Units that reach no other unit, workload and all."""
        self.no_kubernetes: set[str] = set()
        """Units that do not reach the Kubernetes API; those cut off never do."""
        self.secluded: set[str] = set()
        """Units that reach no other unit, but the Kubernetes API."""
        self.frozen: set[str] = set()
        """Units of which nothing runs for now: their nodes stand still."""
        self.apart: set[frozenset[str]] = set()
        """Pairs of units that do not reach each other."""
        self.loss = 0.0
        """What part of the questions between peers gets no answer."""
        self.ledger = Ledger()
        self.gate: Callable[[str], None] | None = None
        """Looks at each effect of a charm before it happens; see `Effects.gate`."""
        self.supervisor_gate: Callable[[str], None] | None = None
        """The same for each effect of a supervisor."""
        self.commit_gate: Callable[[Hook, int], int | None] | None = None
        """Asked before a hook's commit of so many steps: before which of them its agent dies.

        It may raise `Killed`: the hook's process is killed after all it did."""
        self.looker: Callable[[], None] | None = None
        """Called before every step, when pods and containers are what the model says."""
        self.pods: dict[str, Pod] = {}
        self.ending: dict[str, tuple[Workload, float]] = {}
        """Workloads of removed units that still answer, and for how long at most."""
        self.disks: dict[str, Disk] = {}
        self.history: list[Effects] = []
        self.specs: dict[str, dict[str, HookSpec]] = {}
        """Last spec of each hook by unit."""
        self._order = [f"{self.app}/{number}" for number in order] if order is not None else None

    # -- the outside world ------------------------------------------------------------------

    def sync(self) -> None:
        """Bring pods and containers to what the model says."""
        wanted = self.model.pods()
        for unit in [one for one in self.pods if one not in wanted]:
            self._part(unit, self.pods.pop(unit))
        self.ending = {unit: one for unit, one in self.ending.items() if self._lasts(*one)}
        self._look_for_volumes()
        for unit in self._in_order(wanted):
            self._sync_pod(unit, wanted[unit])

    def _part(self, unit: str, pod: Pod) -> None:
        """Let a removed unit's pod have its grace; one that is to come again is gone at once."""
        if unit in self.model.units(self.app):
            self._end(pod)
            return
        for workload in pod.workloads.values():
            workload.part(self.model.now)
            self.ending[unit] = (workload, self.model.now + PART_SECONDS)

    def _lasts(self, workload: Workload, until: float) -> bool:
        return self.model.now < until and workload.has_to_give()

    def _in_order(self, wanted: Mapping[str, PodView]) -> list[str]:
        order = self._order
        if order is None:
            return list(wanted)
        return sorted(wanted, key=lambda unit: order.index(unit) if unit in order else len(order))

    def _sync_pod(self, unit: str, view: PodView) -> None:
        pod = self.pods.get(unit)
        if view.phase == "pending":
            if unit in self.held:
                return
            if pod is not None:
                self._end(pod)
            pod = self.pods[unit] = Pod(view.uid, view.charm_boot, {})
            self.model.pod_started(unit)
        if pod is None or not self._is_there(unit, pod):
            return
        if view.phase == "terminating":
            self._terminate(pod)
            return
        for container, boot in view.containers.items():
            box = pod.boxes.get(container)
            if box is None or box.boot != boot:
                box = self._boot(unit, pod, view, container, boot)
            if not box.up and box.up_at <= self.model.now:
                box.up = True
                self.model.container_ready(unit, container, str(boot))

    def _is_there(self, unit: str, pod: Pod) -> bool:
        """Tell whether the pod has not been replaced by what was reported of it."""
        return self.model.pod_uid(unit) == pod.uid

    def _end(self, pod: Pod) -> None:
        """Have a pod's workloads end as by a kill."""
        for workload in pod.workloads.values():
            workload.end("killed")

    def _terminate(self, pod: Pod) -> None:
        """SIGTERM reaches Pebble too: it stops its services and no longer answers."""
        for box in pod.boxes.values():
            box.running.clear()
            box.up = False
        self._end(pod)

    def _look_for_volumes(self) -> None:
        """Forget the volumes that are gone for good."""
        kept, units = self.model.volumes(), set(self.model.units(self.app))
        for name in [one for one in self.disks if one not in kept]:
            disk = self.disks.pop(name)
            self.ledger.lost(name, removed=disk.unit not in units)

    def _boot(self, unit: str, pod: Pod, view: PodView, container: str, boot: int) -> Box:
        """Make a container; its Pebble answers at once or some seconds later, by chance."""
        box = pod.boxes[container] = Box(container, boot)
        box.up_at = self.model.now + self.chance.choice((0.0, self.chance.uniform(0.0, 4.0)))
        if container in pod.workloads:
            pod.workloads[container].end("killed")
        names = [view.volumes[storage] for storage in view.mounts[container].values()]
        name = names[0] if names else ""
        disk = self.disks.setdefault(name, Disk(name, unit, self.ledger)) if names else Disk()
        pod.workloads[container] = Workload(unit.replace("/", "-"), box, disk)
        return box

    def neighbours(self, node: str) -> list[Workload]:
        """Give the workloads another one reaches."""
        here = self._unit(node)
        there = [(unit, one) for unit, pod in self.pods.items() for one in pod.workloads.values()]
        going = [(unit, one) for unit, (one, _) in self.ending.items()]
        return [one for unit, one in there + going if unit != here and self._reaches(here, unit)]

    def _reaches(self, one: str, other: str) -> bool:
        pair = {one, other}
        shut = self.frozen | self.cut | self.secluded
        return not (pair & shut or frozenset(pair) in self.apart)

    def addresses(self, node: str) -> int:
        """Count the other pods that the headless name gives."""
        return len((set(self.pods) | set(self.ending)) - {self._unit(node)})

    def kubernetes(self, node: str) -> bool:
        """Tell whether a pod reaches the Kubernetes API."""
        return self._unit(node) not in self.cut | self.no_kubernetes | self.frozen

    def delivered(self) -> bool:
        """Whether a question to a peer gets its answer this time."""
        return not self.loss or self.chance.random() >= self.loss

    def _unit(self, node: str) -> str:
        app, _, number = node.rpartition("-")
        return f"{app}/{number}"

    def unit_of(self, workload: Workload) -> str:
        """Give the unit that a workload is of."""
        return self._unit(workload.node)

    def workload(self, unit: str | int) -> Workload:
        """Give a unit's workload (the first container's)."""
        name = unit if isinstance(unit, str) else f"{self.app}/{unit}"
        return next(iter(self.pods[name].workloads.values()))

    def workload_of(self, unit: str) -> Workload | None:
        """Give a unit's workload, if it has one yet."""
        return next(iter(self.pods[unit].workloads.values()), None)

    def workloads(self) -> list[Workload]:
        """Give all workloads."""
        return [one for pod in self.pods.values() for one in pod.workloads.values()]

    # -- hooks -----------------------------------------------------------------------------

    def run_hook(self, unit: str, *, crash: float | None = None, fail: bool = False) -> Effects:
        """Run the unit's next hook to its end.

        With `crash` (from 0 up to 1) the agent dies at that part of the commit; with `fail` the
        hook's process exits with 1 after all it did.
        """
        return self._dispatch(self.model.begin(unit), crash=crash, fail=fail)

    def _dispatch(self, hook: Hook, *, crash: float | None = None, fail: bool = False) -> Effects:
        effects = Effects(hook.unit, hook.spec.name, len(self.history), self.model.now)
        self.history.append(effects)
        self.specs.setdefault(hook.unit, {})[_kind(hook.spec)] = hook.spec
        effects.secrets = self.model.hidden()
        effects.gate = self._gate(hook)
        self._play(hook, effects)
        if hook.dead:
            effects.error = effects.error or KILLED
            return effects
        if effects.error == KILLED:
            self.model.kill(hook)
            return effects
        steps = len(self.model.commit_steps(hook))
        after = None if crash is None else int(crash * steps)
        if self.commit_gate is not None and effects.ok:
            try:
                after = self.commit_gate(hook, steps)
            except Killed:
                effects.ok, effects.error = False, KILLED
                self.model.kill(hook)
                return effects
        done = self.model.finish(hook, effects.ok and not fail, crash_after=after)
        if effects.ok and not done and not fail and after is None:
            effects.ok = False
            effects.error = self.model.events()[-1].text
        return effects

    def _play(self, hook: Hook, effects: Effects) -> None:
        pod, led = self.pods[hook.unit], hook.is_leader()
        self.revision(hook.unit).run(hook, pod.boxes, pod.kept, effects)
        effects.deposed = led and self.model.leader(self.app) != hook.unit

    def revision(self, unit: str) -> Charm:
        """Give the charm that a unit's pod has."""
        number = self.model.pods()[unit].charm_revision
        return self.charms[min(number, len(self.charms) - 1)]

    def _gate(self, hook: Hook) -> Callable[[str], None]:
        """Let nobody go on who died while the gate let time pass."""

        def gate(effect: str) -> None:
            if self.gate is not None:
                self.gate(f"{hook.unit} {hook.spec.name}: {effect}")
            if hook.dead:
                raise Killed

        return gate

    def refresh(self, charm: Charm) -> None:
        """Roll out another revision."""
        self.charms.append(charm)
        self.model.refresh(self.app, charm.metadata)

    def repeat(self, unit: str, spec: HookSpec) -> Effects:
        """Run a hook once more, as after a crash before it was recorded (R10)."""
        return self._dispatch(self.model.begin_again(unit, spec))

    def can_repeat(self, unit: str, spec: HookSpec) -> bool:
        """Whether what the hook is about is still there; a lost lease is told to nobody (R15)."""
        if spec.kind == "leader-elected" and self.model.leader(self.app) != unit:
            return False
        secrets = {view.uri for view in self.model.secrets()}
        return (spec.secret is None or spec.secret in secrets) and self.model.concerns(unit, spec)

    def step(self) -> bool:
        """Run one due hook, or let one tick pass; tells whether a hook ran."""
        self.sync()
        if self.looker is not None:
            self.looker()
        due = self.model.due()
        if due:
            self.run_hook(self.chance.choice(due))
            return True
        self.tick()
        return False

    def tick(self, seconds: float = TICK) -> None:
        """Let time pass for everyone."""
        self.model.advance(seconds)
        self.sync()
        for unit, pod in list(self.pods.items()):
            if unit in self.frozen:
                continue
            for container, workload in pod.workloads.items():
                workload.gate = self.supervisor_gate
                keys = workload.tick(self, self.model.now)
                if not self._is_there(unit, pod):
                    break
                for key in keys:
                    self.model.notice(unit, container, key)
                self.model.readiness(unit, workload.ready, container)
        for workload, _ in self.ending.values():
            workload.tick(self, self.model.now)

    def run(self, seconds: float) -> None:
        """Let everything go on for some seconds of the virtual clock."""
        until = self.model.now + seconds
        while self.model.now < until:
            self.step()

    def until(self, condition: Callable[[], bool], seconds: float = 300.0) -> bool:
        """Go on until a condition holds; False when it does not within so many seconds."""
        end = self.model.now + seconds
        while self.model.now < end:
            self.sync()
            if condition():
                return True
            self.step()
        return condition()

    def settle(self, seconds: float = 200.0) -> bool:
        """Go on until the cluster is whole and nothing is left to do for ten seconds."""
        calm = self.model.now
        end = self.model.now + seconds
        while self.model.now < end:
            if self.step() or not self.whole():
                calm = self.model.now
            if self.model.now - calm >= 10.0:
                return True
        return False

    # -- what is asked of the result --------------------------------------------------------

    def enrol(self, name: str, unit: str) -> int | None:
        """Enrol an agent that asks a unit; None when it is refused."""
        return self.workload(unit).enrol_through(self, name, self.model.now)

    def masters(self) -> list[str]:
        """Nodes that serve as master."""
        return [one.node for one in self.workloads() if one.serves]

    def whole(self) -> bool:
        """Whether one master serves, all others are its workers with its keys, all are ready."""
        workloads = self.workloads()
        if len(workloads) != len(self.model.units(self.app)) or len(self.masters()) != 1:
            return False
        return (
            all(
                one.ready and one.state is not None and one.state.phase == "serving"
                for one in workloads
            )
            and len({one.disk.keys for one in workloads}) == 1
            and not any(one.pending or one.has_to_return() for one in workloads)
            and not self.failing()
        )

    def failing(self) -> list[str]:
        """Units in hook error."""
        units = self.model.status()["applications"][self.app]["units"]
        return [
            unit for unit, shown in units.items() if shown["workload-status"]["current"] == "error"
        ]

    def databag(self) -> dict[str, str]:
        """Give the peers' application databag."""
        return self.model.peer_data(self.app)

    def statuses(self) -> dict[str, tuple[str, str]]:
        """Units' workload statuses."""
        units = self.model.status()["applications"][self.app]["units"]
        return {
            unit: (one["workload-status"]["current"], one["workload-status"]["message"])
            for unit, one in units.items()
        }

    def since(self, number: int) -> list[Effects]:
        """Give the effects of all hooks from a number on."""
        return self.history[number:]


def _kind(spec: HookSpec) -> str:
    """Tell events apart of which a second run is a different event."""
    key = spec.notice_key or spec.check or spec.secret_label or ""
    side = "" if spec.remote_unit else "app"
    return f"{spec.name} {side if spec.kind == 'relation-changed' else key}"
