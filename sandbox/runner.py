"""The loop that keeps real pods in step with the model, and the model with real pods.

The model's clock is the real one times the clock factor. What Kubernetes does and Juju does not
(probes, restarts, a lost node's long farewell) is done here.
"""

import asyncio
import signal
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sandbox.hooks import Hooks
from sandbox.model import CommandError, Event, Model, PodView, ServiceView
from sandbox.node import Node
from sandbox.pebble import Pebble
from sandbox.pods import Container, Pod
from sandbox.processes import signal_sharing, signal_tree
from sandbox.settings import Settings

# Seconds of the model's clock, as Kubernetes has them by default.
PROBE_PERIOD = 5.0
ALIVE_FAILURES = 3
POD_START = 4.0
NODE_GRACE = 40.0
# Real seconds between SIGTERM and SIGKILL.
GRACE = 30.0
BACK_OFF_FIRST, BACK_OFF_LAST, BACK_OFF_RESET = 10.0, 300.0, 600.0


@dataclass(frozen=True, slots=True)
class LostPod:
    """A pod whose node is gone: for a while Kubernetes goes on as if it were there."""

    address: str
    since: float
    endpoint: bool


class Runner:
    """Everything of one model that runs; all of it in one thread."""

    def __init__(self, settings: Settings, node: Node, model: Model) -> None:
        self.settings = settings
        self.node = node
        self.model = model
        self.hooks = Hooks(model, node, self.wake)
        self.cuts: dict[str, dict[str, float]] = {}
        """Unit to what it is cut off from, and since when."""
        self.lost: dict[str, LostPod] = {}
        self.frozen: set[str] = set()
        self.users: dict[str, int | None] = {}
        """Application to the uid of its hooks."""
        self._spawned: set[asyncio.Task[None]] = set()
        self._returns: dict[str, float] = {}
        self._busy: set[str] = set()
        self._last_hook: dict[str, float] = {}
        self._woken = asyncio.Event()
        self._ended = False
        self._clock = time.monotonic()
        self._logged = 0

    def wake(self) -> None:
        """Have the loop look at once."""
        self._woken.set()

    def end(self) -> None:
        """Have `run` return."""
        self._ended = True
        self.wake()

    async def run(self) -> None:
        """Go round until `end`; a fault in any part ends all."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            while not self._ended:
                self.tick()
                self._bring_pods()
                await self._publish()
                self._start_hooks()
                self._write_log()
                await self._rest()
            for task in self._spawned:
                task.cancel()

    def tick(self) -> None:
        """Bring the model's clock up to now."""
        now = time.monotonic()
        self.model.advance((now - self._clock) * self.settings.factor)
        self._clock = now
        for unit in [unit for unit, at in self._returns.items() if at <= self.model.now]:
            self.node_back(unit)

    # -- faults ---

    def lose_node(self, unit: str, *, keep_volume: bool, back_after: float | None) -> None:
        """End a unit's pod without a word; `back_after` seconds later another node takes it."""
        view = self._view(unit)
        endpoint = view.address in self.model.service(view.unit.partition("/")[0]).endpoints
        self.lost[unit] = LostPod(view.address, self.model.now, endpoint)
        self.model.node_lost(unit, keep_volumes=keep_volume)
        if back_after is not None:
            self._returns[unit] = self.model.now + back_after
        self.wake()

    def node_back(self, unit: str) -> None:
        """Have the unit's pod made on another node."""
        self._returns.pop(unit, None)
        self.lost.pop(unit, None)
        if unit in self.model.units(unit.partition("/")[0]):
            self.model.node_back(unit)
        self.wake()

    def freeze(self, unit: str, *, agent_only: bool) -> None:
        """SIGSTOP to all processes of a unit's pod, or to its hooks alone."""
        pod = self.pod(unit)
        self.model.pause(unit, kubelet=agent_only)
        if not agent_only:
            self.frozen.add(unit)
            signal_sharing(pod.pause.pid, "net", signal.SIGSTOP)
            return
        for process in self.hooks.processes(unit):
            signal_tree(process, signal.SIGSTOP)

    def thaw(self, unit: str) -> None:
        """SIGCONT to all that `freeze` stopped."""
        pod = self.pod(unit)
        self.frozen.discard(unit)
        signal_sharing(pod.pause.pid, "net", signal.SIGCONT)
        self.model.unpause(unit)
        self.wake()

    def cut(self, unit: str, names: frozenset[str]) -> None:
        """Cut a unit off from the controller, or on the network; see `network.FAR`."""
        self.pod(unit)
        held = self.cuts.setdefault(unit, {})
        for name in names:
            held.setdefault(name, self.model.now)
        if "controller" in names:
            self.model.cut_off(unit)
        self.wake()

    def heal(self, unit: str) -> None:
        """Undo every cut of a unit."""
        if "controller" in self.cuts.pop(unit, {}):
            self.hooks.kill(unit)
            self.model.heal(unit)
        self.wake()

    def restart_agent(self, unit: str) -> None:
        """Kill the charm container: what runs in it dies, and it comes back at once."""
        self.pod(unit)
        self.model.charm_container_restarted(unit)
        self.hooks.kill(unit)
        self.wake()

    def pod(self, unit: str) -> Pod:
        """Return the running pod of a unit."""
        if unit not in self.node.pods:
            raise CommandError(f"unit {unit!r} has no pod")
        return self.node.pods[unit]

    def container(self, unit: str, name: str | None = None) -> Container:
        """Return a unit's workload container, the only one when not named."""
        containers = self.pod(unit).containers
        found = containers.get(name or next(iter(containers), ""))
        if found is None:
            raise CommandError(f"container {name!r} not found in {unit}")
        return found

    # -- pods ---

    def _view(self, unit: str) -> PodView:
        if unit not in self.model.pods():
            raise CommandError(f"unit {unit!r} has no pod")
        return self.model.pods()[unit]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        return task

    def _bring_pods(self) -> None:
        wanted = self.model.pods()
        for unit, pod in list(self.node.pods.items()):
            view = wanted.get(unit)
            if view is None or view.uid != pod.view.uid:
                self._remove(pod)
            elif view.charm_boot != pod.view.charm_boot:
                self.hooks.kill(unit)
                pod.view = view
            elif view.phase == "terminating" and not pod.leaving:
                pod.leaving = True
                for container in pod.containers.values():
                    self._spawn(self.node.stop(container, GRACE))
        for unit, view in wanted.items():
            if unit not in self.node.pods and unit not in self._busy:
                self._busy.add(unit)
                self._spawn(self._make(view))

    def _remove(self, pod: Pod) -> None:
        unit = pod.view.unit
        if unit in self._busy:
            return
        self._busy.add(unit)
        self.hooks.kill(unit)
        self.frozen.discard(unit)
        self._spawn(self._gone(pod, 0 if unit in self.lost else GRACE))

    async def _gone(self, pod: Pod, grace: float) -> None:
        unit = pod.view.unit
        await self.node.remove_pod(pod, grace=grace)
        self.cuts.pop(unit, None)
        app = unit.partition("/")[0]
        if app not in self.model.applications() or unit not in self.model.units(app):
            self.lost.pop(unit, None)
            await self.node.remove_volumes(set(pod.view.volumes.values()) - self.model.volumes())
        self._busy.discard(unit)
        self.wake()

    async def _make(self, view: PodView) -> None:
        await asyncio.sleep(POD_START / self.settings.factor)
        while not self._has_turn(view.unit):
            await asyncio.sleep(0.05)
        app = view.unit.partition("/")[0]
        pod = await self.node.make_pod(view, self.users[app])
        self._busy.discard(view.unit)
        if self._current(pod):
            self.model.pod_started(view.unit)
        for name in view.containers:
            self._spawn(self._tend(pod, name, self.users[app]))
        self.wake()

    def _has_turn(self, unit: str) -> bool:
        """Say whether all that were to start before this unit are installed."""
        app, _, number = unit.partition("/")
        order = self.settings.order
        if int(number) not in order:
            return True
        first = {f"{app}/{earlier}" for earlier in order[: order.index(int(number))]}
        return first <= {r.unit for r in self.hooks.records if r.hook == "install"}

    def _current(self, pod: Pod) -> bool:
        view = self.model.pods().get(pod.view.unit)
        return view is not None and view.uid == pod.view.uid

    # -- containers: the kubelet ---

    async def _tend(self, pod: Pod, name: str, user: int | None) -> None:
        """Keep a container running, with the kubelet's back-off."""
        wait = 0.0
        while not pod.leaving:
            began = self.model.now
            container = await self.node.start_container(pod, name, user)
            watchers = [
                self._spawn(self._probe(pod, container)),
                self._spawn(self._listen(pod, container)),
            ]
            await asyncio.wait([container.ended])
            for watcher in watchers:
                watcher.cancel()
            if pod.leaving or not self._current(pod):
                return
            self.model.container_gone(pod.view.unit, name)
            self.model.world.note(pod.view.unit, f"container {name} ended", "WARNING", "kubelet")
            self.wake()
            await asyncio.sleep(wait / self.settings.factor)
            fresh = self.model.now - began > BACK_OFF_RESET
            wait = 0.0 if fresh else min(max(BACK_OFF_FIRST, 2 * wait), BACK_OFF_LAST)

    async def _probe(self, pod: Pod, container: Container) -> None:
        """Ask Pebble's health as the kubelet does, and restart a container that is not alive."""
        pebble, failures, last = Pebble(container.socket), 0, None
        while True:
            ready = await pebble.healthy("ready")
            if ready != last and self._current(pod):
                self.model.readiness(pod.view.unit, ready, container.name)
                last = ready
                self.wake()
            alive = pod.view.unit in self.frozen or await pebble.healthy("alive")
            failures = 0 if alive else failures + 1
            if failures >= ALIVE_FAILURES:
                self.node.kill(container)
            await asyncio.sleep(max(0.25, PROBE_PERIOD / self.settings.factor))

    async def _listen(self, pod: Pod, container: Container) -> None:
        """Hear what Juju's agent would: a new Pebble, notices, checks."""
        pebble, unit, name = Pebble(container.socket), pod.view.unit, container.name
        while (boot := await pebble.boot_id()) is None:
            await asyncio.sleep(0.05)
        if self._current(pod):
            self.model.container_ready(unit, name, boot)
            self.wake()
        while True:
            notices = await pebble.notices(pod.heard.get(name, ""), 20)
            if notices is None:
                await asyncio.sleep(0.2)
                continue
            for notice in notices:
                pod.heard[name] = notice.repeated
                if notice.type == "custom" and self._current(pod):
                    self.model.notice(unit, name, notice.key, "custom", notice.id)
                elif notice.type == "change-update":
                    await self._judge(pod, name, pebble, notice.key)
                self.wake()

    async def _judge(self, pod: Pod, container: str, pebble: Pebble, change: str) -> None:
        outcome = await pebble.check_outcome(change)
        if outcome is None or not self._current(pod):
            return
        check, passes = outcome
        tell = self.model.check_recovered if passes else self.model.check_failed
        tell(pod.view.unit, container, check)

    # -- the Service, hooks, the log --------------------------------------------------------------

    def services(self) -> list[ServiceView]:
        """Return the Services as Kubernetes has them: it learns late that a node is gone."""
        return [self._service(app) for app in self.model.applications() if app in self.users]

    def _service(self, app: str) -> ServiceView:
        service, now = self.model.service(app), self.model.now
        unheard = {
            self.node.pods[unit].view.address
            for unit, cuts in self.cuts.items()
            if unit in self.node.pods and now - cuts.get("kubernetes", now) > NODE_GRACE
        }
        endpoints = [address for address in service.endpoints if address not in unheard]
        headless = dict(service.headless)
        for unit, pod in self.lost.items():
            if unit.partition("/")[0] != app:
                continue
            headless[unit.replace("/", "-")] = pod.address
            if pod.endpoint and now - pod.since < NODE_GRACE:
                endpoints.append(pod.address)
        return replace(service, endpoints=tuple(endpoints), headless=headless)

    async def _publish(self) -> None:
        cuts: Mapping[str, Any] = {
            self.node.pods[unit].view.address: names
            for unit, names in self.cuts.items()
            if unit in self.node.pods
        }
        await self.node.publish(self.services(), cuts)

    def _start_hooks(self) -> None:
        due = sorted(self.model.due(), key=lambda unit: self._last_hook.get(unit, 0.0))
        for unit in due:
            pod = self.node.pods.get(unit)
            if self.hooks.count >= self.settings.parallel:
                return
            if pod is None or not self._current(pod) or self.hooks.busy(unit):
                continue
            self._last_hook[unit] = time.monotonic()
            hook = self.model.begin(unit)
            self._spawn(self.hooks.run(pod, hook, self.users[unit.partition("/")[0]]))

    def _write_log(self) -> None:
        events = self.model.events(self._logged)
        if not events:
            return
        self._logged += len(events)
        with Path("debug.log").open("a") as log:
            log.writelines(self._line(event) for event in events)

    def date(self, at: float) -> float:
        """Return the real Unix time of a moment of the model's clock."""
        return self.model.world.epoch + at / self.settings.factor

    def _line(self, event: Event) -> str:
        moment = time.strftime("%H:%M:%S", time.localtime(self.date(event.at)))
        who = f"unit-{event.unit.replace('/', '-')}" if event.unit else "controller-0"
        return f"{who}: {moment} {event.level} {event.module} {event.text}\n"

    async def _rest(self) -> None:
        deadline = self.model.next_deadline()
        wait = 0.2
        if deadline is not None:
            wait = min(wait, max(0.01, (deadline - self.model.now) / self.settings.factor))
        try:
            async with asyncio.timeout(wait):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()
