"""Run a whole application in one process: model, real charm, supervisor's machine, one clock."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.inprocess.container import Box
from sandbox.inprocess.dispatch import Charm, CharmState
from sandbox.inprocess.effects import Effects
from sandbox.inprocess.workload import Disk, Workload
from sandbox.model import Behaviour, CommitMode, Hook, HookSpec, Model, PodView

TICK = 1.0
"""Seconds between two steps of the workloads."""


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
        self.charm = charm
        self.model = Model(seed, commit_mode, behaviour=behaviour)
        self.app = self.model.add_application(charm.metadata, units=units, config=config)
        self.chance = random.Random(f"runner {seed}")
        self.held: set[str] = set()
        """Units whose pods do not start yet."""
        self.cut: set[str] = set()
        """Units that reach nobody, workload and all."""
        self.pods: dict[str, Pod] = {}
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
            self.pods.pop(unit)
        for unit in self._in_order(wanted):
            self._sync_pod(unit, wanted[unit])

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
            pod = self.pods[unit] = Pod(view.uid, view.charm_boot, {})
            self.model.pod_started(unit)
        if pod is None:
            return
        for container, boot in view.containers.items():
            box = pod.boxes.get(container)
            if box is None or box.boot != boot:
                box = self._boot(unit, pod, view, container, boot)
            if not box.up and box.up_at <= self.model.now:
                box.up = True
                self.model.container_ready(unit, container, str(boot))

    def _boot(self, unit: str, pod: Pod, view: PodView, container: str, boot: int) -> Box:
        """Make a container; its Pebble answers at once or some seconds later, by chance."""
        box = pod.boxes[container] = Box(container, boot)
        box.up_at = self.model.now + self.chance.choice((0.0, self.chance.uniform(0.0, 4.0)))
        volumes = [view.volumes[storage] for storage in view.mounts[container].values()]
        disk = self.disks.setdefault(volumes[0], Disk()) if volumes else Disk()
        pod.workloads[container] = Workload(unit.replace("/", "-"), box, disk)
        return box

    def neighbours(self, node: str) -> list[Workload]:
        """Give the workloads another one reaches."""
        if self._unit(node) in self.cut:
            return []
        return [
            workload
            for unit, pod in self.pods.items()
            if unit not in self.cut
            for workload in pod.workloads.values()
            if workload.node != node
        ]

    def addresses(self, node: str) -> int:
        """Count the other pods that the headless name gives."""
        return len(set(self.pods) - {self._unit(node)})

    def kubernetes(self, node: str) -> bool:
        """Tell whether a pod reaches the Kubernetes API."""
        return self._unit(node) not in self.cut

    def _unit(self, node: str) -> str:
        app, _, number = node.rpartition("-")
        return f"{app}/{number}"

    def workload(self, unit: str | int) -> Workload:
        """Give a unit's workload (the first container's)."""
        name = unit if isinstance(unit, str) else f"{self.app}/{unit}"
        return next(iter(self.pods[name].workloads.values()))

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
        pod = self.pods[hook.unit]
        self.charm.run(hook, pod.boxes, pod.kept, effects)
        if hook.dead:
            return effects
        after = None if crash is None else int(crash * len(self.model.commit_steps(hook)))
        done = self.model.finish(hook, effects.ok and not fail, crash_after=after)
        if effects.ok and not done and not fail and crash is None:
            effects.ok = False
            effects.error = self.model.events()[-1].text
        return effects

    def repeat(self, unit: str, spec: HookSpec) -> Effects:
        """Run a hook once more, as after a crash before it was recorded (R10)."""
        return self._dispatch(self.model.begin_again(unit, spec))

    def can_repeat(self, unit: str, spec: HookSpec) -> bool:
        """Whether what the hook is about is still there."""
        secrets = {view.uri for view in self.model.secrets()}
        peers = self.model.units(self.app)
        return (spec.secret is None or spec.secret in secrets) and (
            spec.remote_unit is None or spec.remote_unit in peers
        )

    def step(self) -> bool:
        """Run one due hook, or let one tick pass; tells whether a hook ran."""
        self.sync()
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
            for container, workload in pod.workloads.items():
                for key in workload.tick(self, self.model.now):
                    self.model.notice(unit, container, key)
                self.model.readiness(unit, workload.ready, container)

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

    def masters(self) -> list[str]:
        """Nodes that serve as master."""
        return [one.node for one in self.workloads() if one.serves]

    def whole(self) -> bool:
        """Whether one master serves, all others are its connected workers, all are ready."""
        workloads = self.workloads()
        if len(workloads) != len(self.model.units(self.app)) or len(self.masters()) != 1:
            return False
        return (
            all(
                one.ready and one.state is not None and one.state.phase == "serving"
                for one in workloads
            )
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
        unit = self.model.units(self.app)[0]
        return self.model.show_unit(unit)[unit]["relation-info"][0]["application-data"]

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
