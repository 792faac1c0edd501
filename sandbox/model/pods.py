"""Pods and containers: three different restarts (R6–R8), volumes, readiness, the Service."""

from sandbox.model import leadership
from sandbox.model.entities import Container, Notice, Pod, Unit, Volume
from sandbox.model.values import HookSpec
from sandbox.model.world import World


def new_pod(world: World, unit: Unit) -> None:
    """Have a fresh pod: another uid and address, containers booted anew, charm folder empty."""
    old = unit.pod
    number = world.count("address")
    unit.pod = Pod(
        uid=world.count("pod") + 1,
        address=f"10.1.{number // 250}.{number % 250 + 2}",
        phase="pending",
        charm_boot=old.charm_boot + 1,
        containers={
            name: Container(name, boot=_boot(old, name) + 1)
            for name in world.apps[unit.app].charm.containers
        },
    )
    unit.charm_revision = world.apps[unit.app].charm.revision
    unit.stop_done = unit.start_due = False
    unit.workload_events.clear()


def _boot(pod: Pod, container: str) -> int:
    return pod.containers[container].boot if container in pod.containers else 0


def new_volumes(world: World, unit: Unit) -> None:
    """Claim a new, empty volume for each storage of the charm."""
    for name in world.apps[unit.app].charm.storages:
        storage = (
            next(
                (known for known in unit.volumes if known.startswith(f"{name}/")),
                None,
            )
            or f"{name}/{world.count(f'storage {name}')}"
        )
        volume = f"{unit.app}-{name}-{unit.number}-{world.count('volume')}"
        unit.volumes[storage] = Volume(volume, storage)


def pod_started(world: World, unit: Unit) -> None:
    """Have the pod's agent up; a known unit finds its charm folder gone (R6)."""
    if unit.pod.phase != "pending":
        return
    unit.pod.phase = "running"
    unit.upgrade_due = unit.installed
    for storage in sorted(unit.volumes):
        world.after(world.random.uniform(0.0, 3.0), "storage_there", unit.name, storage)
    leadership.renewals_resume(world, unit)
    plan_update_status(world, unit)
    world.note(unit.name, f"pod {unit.pod.uid} started at {unit.pod.address}")


def plan_update_status(world: World, unit: Unit) -> None:
    """Have update-status again in five minutes, give or take a fifth (R12)."""
    seconds = world.timings.update_status * world.random.uniform(0.8, 1.2)
    world.after(seconds, "update_status", unit.name, unit.pod.uid)


def update_status(world: World, name: str, uid: int) -> None:
    """Make update-status due: the interval is over."""
    unit = world.units.get(name)
    if unit is None or unit.pod.uid != uid:
        return
    unit.update_status_due = True
    plan_update_status(world, unit)


def storage_there(world: World, name: str, storage: str) -> None:
    """Attach a volume."""
    unit = world.units.get(name)
    if unit is not None and storage in unit.volumes:
        unit.attach_ready.add(storage)


def terminate(world: World, unit: Unit) -> None:
    """SIGTERM: `stop`, then the end of the pod within the grace of 30 s."""
    if unit.pod.phase == "pending":
        replace(world, unit)
        return
    unit.pod.phase = "terminating"
    world.after(world.timings.grace, "grace_over", unit.name, unit.pod.uid)
    if not unit.pod.started and unit.in_flight is None:
        replace(world, unit)


def grace_over(world: World, name: str, uid: int) -> None:
    """SIGKILL for a pod that is still there."""
    unit = world.units.get(name)
    if unit is not None and unit.pod.uid == uid and unit.pod.phase == "terminating":
        replace(world, unit)


def replace(world: World, unit: Unit) -> None:
    """End the pod; the StatefulSet makes another of the same name."""
    lose(world, unit)
    new_pod(world, unit)


def lose(world: World, unit: Unit) -> None:
    """End the pod; what its agent had in flight counts as killed."""
    drop_hook(world, unit)
    unit.pod.phase = "absent"
    unit.pod.started = False
    leadership.renewals_stop(world, unit)


def drop_hook(world: World, unit: Unit) -> None:
    """Have a hook that died with its agent run again (R10)."""
    if unit.in_flight is None:
        return
    hook = world.hooks.pop(unit.in_flight)
    hook.dead = True
    unit.in_flight = None
    if hook.spec.kind == "action" and hook.spec.action is not None:
        action = world.actions[hook.spec.action]
        action.status, action.message = "failed", "action terminated"
        unit.actions.remove(action.id)
        return
    if hook.spec.kind != "pebble-ready":
        unit.pending, unit.retry_at = hook.spec, world.now


def agent_restarted(world: World, unit: Unit) -> None:
    """Renew the charm container alone: start, old notices and checks, pebble-ready (R7)."""
    drop_hook(world, unit)
    unit.pod.charm_boot += 1
    unit.pod.frozen = False
    unit.start_due = unit.pod.started
    unit.pod.started = False
    unit.workload_events = [
        spec for container in unit.pod.containers.values() for spec in _replayed(container)
    ]
    for container in unit.pod.containers.values():
        if container.up:
            _poll(world, unit, container)
    leadership.renewals_resume(world, unit)
    world.note(unit.name, "agent restarted")


def _replayed(container: Container) -> list[HookSpec]:
    old = [_notice_spec(container.name, notice) for notice in container.notices.values()]
    return old + container.replay


def frozen_too_long(world: World, name: str, boot: int) -> None:
    """Kubelet restarts a charm container whose probe has not answered for 70 s."""
    unit = world.units.get(name)
    if unit is not None and unit.pod.frozen and unit.pod.charm_boot == boot:
        agent_restarted(world, unit)


def container_restarted(unit: Unit, container: str) -> None:
    """Renew a workload container: layers, notices and files off the volume are gone."""
    old = unit.pod.containers[container]
    unit.pod.containers[container] = Container(container, boot=old.boot + 1)
    unit.workload_events = [spec for spec in unit.workload_events if spec.container != container]


def container_ready(world: World, unit: Unit, container: str, boot_id: str | None) -> None:
    """Pebble answers; the poll of every 5 s finds that (R8)."""
    found = unit.pod.containers[container]
    if found.up and (boot_id is None or boot_id == found.boot_id):
        return
    if found.up:
        container_restarted(unit, container)
        found = unit.pod.containers[container]
    found.up, found.boot_id = True, boot_id
    _poll(world, unit, found)


def _poll(world: World, unit: Unit, container: Container) -> None:
    delay = world.random.uniform(0.0, world.timings.poll)
    world.after(delay, "pebble_found", unit.name, unit.pod.uid, container.name, container.boot)


def pebble_found(world: World, name: str, uid: int, container: str, boot: int) -> None:
    """Make pebble-ready due: the agent's poll has seen a boot id that is new to it."""
    unit = world.units.get(name)
    if unit is None or unit.pod.uid != uid or unit.pod.containers[container].boot != boot:
        return
    queue(world, unit, HookSpec("pebble-ready", container=container))


def queue(world: World, unit: Unit, spec: HookSpec) -> None:
    """Put an event of a workload in line, once (R: coalescing).

    A hook that runs already may have looked before this happened: Juju waits for its end and
    asks for what came after it (uniter's pebblenotices.go), so another one follows.
    """
    running = unit.in_flight is not None and world.hooks[unit.in_flight].spec == spec
    if unit.workload_events.count(spec) <= int(running):
        unit.workload_events.append(spec)


def notice(world: World, unit: Unit, container: str, given: Notice) -> None:
    """Record a custom notice; the same key fires again each time."""
    unit.pod.containers[container].notices[given.key] = given
    queue(world, unit, _notice_spec(container, given))
    world.note(unit.name, f"notice {given.key}", "DEBUG")


def _notice_spec(container: str, given: Notice) -> HookSpec:
    return HookSpec(
        "pebble-custom-notice",
        container=container,
        notice_id=given.id,
        notice_type=given.type,
        notice_key=given.key,
    )


def check(world: World, unit: Unit, container: str, name: str, *, failed: bool) -> None:
    """Record that a check reached its threshold, or recovered."""
    spec = HookSpec(
        "pebble-check-failed" if failed else "pebble-check-recovered",
        container=container,
        check=name,
    )
    found = unit.pod.containers[container]
    if spec not in found.replay:
        found.replay.append(spec)
    queue(world, unit, spec)


def ready(unit: Unit) -> bool:
    """Whether the pod is an endpoint of the Service (R33)."""
    pod = unit.pod
    return (
        pod.phase == "running"
        and pod.started
        and not pod.frozen
        and all(container.up and container.probe for container in pod.containers.values())
    )
