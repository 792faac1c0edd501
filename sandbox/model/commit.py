"""Commit, failure and crash of a hook in both modes (R9, R10, R18, R19, R25)."""

from sandbox.model import leadership, lifecycle, pods, relations, secret_store
from sandbox.model.entities import Unit
from sandbox.model.errors import CommandError
from sandbox.model.hook import Hook
from sandbox.model.values import HookSpec
from sandbox.model.world import World

ORDER = {"create": 0, "update": 1, "label": 1, "grant": 2, "revoke": 3, "track": 4, "remove": 5}


def begin(world: World, unit: Unit, spec: HookSpec) -> Hook:
    """Start a hook: note what it is about to see, enter a scope that it creates."""
    hook = Hook(world, world.count("hook"), unit.name, spec)
    hook.seen = _version(world, unit, spec)
    hook.seen_address = unit.pod.address
    if spec.kind == "relation-created" and spec.relation is not None:
        relations.enter(world, world.relations[spec.relation], unit)
    if spec.kind == "config-changed":
        _refresh_addresses(world, unit)
    if spec.action is not None:
        world.actions[spec.action].status = "running"
    unit.in_flight = hook.number
    world.hooks[hook.number] = hook
    return hook


def _refresh_addresses(world: World, unit: Unit) -> None:
    for relation in world.relations_of(unit.app):
        if unit.name in relation.scope:
            relations.refresh_addresses(world, relation, unit)


def _version(world: World, unit: Unit, spec: HookSpec) -> int:
    if spec.kind == "config-changed":
        return world.apps[unit.app].config_version
    if spec.kind == "secret-changed":
        return unit.consumers[spec.secret or ""].heard if spec.secret in unit.consumers else 0
    return relations.version_of(world, spec)


def steps(world: World, hook: Hook) -> list[str]:
    """Name what a commit does one after the other: the points at which it can be cut."""
    if world.behaviour.commit_mode == "3.6":
        secrets = [change.describe() for change in _ordered(hook)]
        return [*secrets, "databags, ports and state", "record"]
    return ["secrets, databags, ports and state", "record"]


def _ordered(hook: Hook) -> list[secret_store.Change]:
    return sorted(hook.changes, key=lambda change: ORDER[change.kind])


def finish(world: World, hook: Hook, *, ok: bool, crash_after: int | None = None) -> bool:
    """End a hook. True when it is done, False when it will be run again or was an action."""
    if hook.dead:
        return False
    unit = world.units[hook.unit]
    reason = None if ok else "exit status 1"
    reason = _cut(unit) or reason
    if reason is None:
        reason = _commit(world, unit, hook, crash_after)
    if hook.dead:
        return False
    world.hooks.pop(hook.number)
    unit.in_flight = None
    if reason is not None:
        failed(world, unit, hook.spec, reason)
    else:
        recorded(world, unit, hook)
    _afterwards(world, unit)
    return reason is None


def _cut(unit: Unit) -> str | None:
    return None if unit.pod.reachable else "connection is shut down"


def _afterwards(world: World, unit: Unit) -> None:
    if unit.pod.phase == "terminating" and (unit.stop_done or not unit.pod.started):
        pods.replace(world, unit)
    lifecycle.settle(world, unit.app)


def _commit(world: World, unit: Unit, hook: Hook, crash_after: int | None) -> str | None:
    """Apply the steps; give Juju's reason when one is refused."""
    if crash_after is not None and crash_after > len(steps(world, hook)):
        raise CommandError(f"a commit of {len(steps(world, hook))} steps, not {crash_after}")
    work = _per_secret if world.behaviour.commit_mode == "3.6" else _together
    return work(world, unit, hook, crash_after)


def _per_secret(world: World, unit: Unit, hook: Hook, crash_after: int | None) -> str | None:
    """3.6: each secret for itself, then the databags (R25)."""
    labels: set[tuple[str, str]] = set()
    for number, change in enumerate(_ordered(hook)):
        if _crashes(world, unit, number, crash_after):
            return None
        reason = secret_store.verify(world, unit, change, labels)
        if reason is not None:
            return reason
        secret_store.apply(world, unit, change)
    return _last_steps(world, unit, hook, len(hook.changes), crash_after)


def _together(world: World, unit: Unit, hook: Hook, crash_after: int | None) -> str | None:
    """4: all or nothing."""
    if _crashes(world, unit, 0, crash_after):
        return None
    labels: set[tuple[str, str]] = set()
    known = {change.uri for change in hook.changes if change.kind == "create"}
    for change in _ordered(hook):
        if change.uri in known and change.kind != "create":
            continue
        reason = secret_store.verify(world, unit, change, labels)
        if reason is not None:
            return reason
    if _lost(world, unit, hook):
        return "lease not held"
    for change in _ordered(hook):
        secret_store.apply(world, unit, change)
    return _last_steps(world, unit, hook, 0, crash_after)


def _last_steps(
    world: World, unit: Unit, hook: Hook, before: int, crash_after: int | None
) -> str | None:
    if _crashes(world, unit, before, crash_after):
        return None
    if _lost(world, unit, hook):
        return "lease not held"
    _write(world, unit, hook)
    _crashes(world, unit, before + 1, crash_after)
    return None


def _crashes(world: World, unit: Unit, step: int, crash_after: int | None) -> bool:
    """Have the agent die here; the hook counts as killed and runs again."""
    if crash_after != step:
        return False
    pods.agent_restarted(world, unit)
    return True


def _lost(world: World, unit: Unit, hook: Hook) -> bool:
    """Whether the application's databag is written without the lease (R16, R18)."""
    writes = any(app and data for (_, app), data in hook.bags.items())
    return writes and not leadership.holds(world, unit)


def _write(world: World, unit: Unit, hook: Hook) -> None:
    """One transaction: databags, ports, state."""
    for (number, app), data in hook.bags.items():
        relation = world.relations.get(number)
        if relation is None:
            continue
        known = relations.local(unit, relation)
        bag = relation.apps[unit.app] if app else relation.units[unit.name]
        current = known.apps.get(unit.app, 0) == bag.version
        if relations.write(bag, data) and app and relation.is_peer and current:
            _hears_itself(world, unit, known, bag.version)
    unit.ports = (unit.ports | hook.opened) - hook.closed
    kept = {**unit.charm_state, **hook.state}
    unit.charm_state = {key: kept[key] for key in kept if key not in hook.deleted}


def _hears_itself(world: World, unit: Unit, known: relations.LocalRelation, version: int) -> None:
    """Where Juju does not report the leader's own write, it counts as seen."""
    if not world.behaviour.leader_hears_itself:
        known.apps[unit.app] = version


def failed(world: World, unit: Unit, spec: HookSpec, reason: str) -> None:
    """Keep nothing of a failed hook; try it again after 5, 10, 20 … s (R9)."""
    world.note(unit.name, f'hook "{spec.name}" failed: {reason}', "ERROR", "juju.worker.uniter")
    if spec.kind == "action" and spec.action is not None:
        action = world.actions[spec.action]
        action.status, action.completed = "failed", world.now
        action.message = action.message or reason
        unit.actions.remove(spec.action)
        return
    if spec.kind == "pebble-ready":
        if spec in unit.workload_events:
            unit.workload_events.remove(spec)
        container = unit.pod.containers[spec.container or ""]
        again = (unit.name, unit.pod.uid, container.name, container.boot)
        world.after(world.timings.poll, "pebble_found", *again)
        return
    same = unit.pending == spec
    unit.failures = unit.failures + 1 if same else 1
    unit.pending = spec
    wait = world.timings.retry_first * 2 ** min(unit.failures - 1, 10)
    wait = min(wait, world.timings.retry_last)
    unit.retry_at = world.now + wait
    world.after(wait, "nothing")


def killed(world: World, hook: Hook, *, requeue: bool) -> None:
    """End a hook whose process was killed by a signal; its agent lives on (R10)."""
    if hook.dead:
        return
    unit = world.units[hook.unit]
    if requeue:
        pods.drop_hook(world, unit)
        return
    finish(world, hook, ok=False)


def recorded(world: World, unit: Unit, hook: Hook) -> None:
    """Write down that a hook is done: the next one is chosen from this."""
    spec = hook.spec
    world.note(unit.name, f'ran "{spec.name}" hook', "INFO", "juju.worker.uniter.operation")
    if spec == unit.pending:
        unit.pending, unit.retry_at, unit.failures = None, None, 0
    if spec.kind.startswith("relation-"):
        relations.recorded(world, unit, spec, hook.seen)
    elif spec.kind.startswith("secret-"):
        secret_store.recorded(world, unit, spec, hook.seen)
    elif spec.kind.startswith("pebble-"):
        if spec in unit.workload_events:
            unit.workload_events.remove(spec)
    elif spec.kind == "action" and spec.action is not None:
        _action_done(world, unit, spec.action)
    else:
        _life(world, unit, hook)


def _action_done(world: World, unit: Unit, number: str) -> None:
    action = world.actions[number]
    if action.status == "running":
        action.status = "completed"
    action.completed = world.now
    unit.actions.remove(number)


def _life(world: World, unit: Unit, hook: Hook) -> None:
    """Record the hooks of a unit's own life."""
    match hook.spec.kind:
        case "install":
            unit.installed = True
        case "upgrade-charm":
            unit.upgrade_due, unit.config_seen = False, -1
        case "config-changed":
            _configured(unit, hook)
        case "start":
            unit.start_due, unit.pod.started = False, True
        case "stop":
            unit.pod.started, unit.stop_done = False, True
        case "update-status":
            unit.update_status_due = False
        case "remove":
            lifecycle.died(world, unit)
        case _:
            _told(world, unit, hook.spec)


def _configured(unit: Unit, hook: Hook) -> None:
    unit.config_seen, unit.address_seen = hook.seen, hook.seen_address
    unit.config_again, unit.config_twice = unit.config_twice, False
    unit.start_due = unit.start_due or not unit.pod.started


def _told(world: World, unit: Unit, spec: HookSpec) -> None:
    """Record what a unit has been told of leadership and storage."""
    match spec.kind:
        case "leader-elected":
            unit.leader_told = leadership.holds(world, unit)
            unit.minion_told = True  # a later loss is told by no hook (R15)
        case "leader-settings-changed":
            unit.minion_told = True
        case "storage-attached":
            unit.attached.add(spec.storage or "")
        case "storage-detaching":
            unit.detached.add(spec.storage or "")
