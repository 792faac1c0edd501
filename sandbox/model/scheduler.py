"""Which hook a unit runs next: the order of Juju's resolvers (R1–R9)."""

from collections.abc import Callable

from sandbox.model import leadership, relations, secret_store
from sandbox.model.entities import Unit
from sandbox.model.values import HookSpec
from sandbox.model.world import World

Resolver = Callable[[World, Unit], HookSpec | None]


def next_hook(world: World, unit: Unit) -> HookSpec | None:
    """Give the hook to run now, or None; never one beside another of the same unit."""
    if not _able(world, unit):
        return None
    if unit.pending is not None:
        return _in_error(world, unit)
    for resolver in _order(world, unit):
        spec = resolver(world, unit)
        if spec is not None:
            return spec
    return None


def _able(world: World, unit: Unit) -> bool:
    return (
        unit.in_flight is None
        and unit.agent_runs
        and unit.pod.reachable
        and unit.life != "dead"
        and not (unit.pod.phase == "terminating" and unit.stop_done)
        and not world.apps[unit.app].scripted
    )


def _in_error(world: World, unit: Unit) -> HookSpec | None:
    """Only actions run beside a failed hook, and the hook itself when its time has come (R9)."""
    action = _action(world, unit)
    if action is not None:
        return action
    if unit.retry_at is not None and unit.retry_at <= world.now:
        return unit.pending
    return None


def _order(world: World, unit: Unit) -> tuple[Resolver, ...]:
    if not unit.installed:
        return (_install,)
    if unit.life == "dying":
        return _DYING_DOCS if world.behaviour.teardown == "docs" else _DYING
    if unit.pod.phase == "terminating":
        return _TERMINATING
    return _ALIVE


def _install(world: World, unit: Unit) -> HookSpec | None:
    return HookSpec("install")


def _upgrade(world: World, unit: Unit) -> HookSpec | None:
    return HookSpec("upgrade-charm") if unit.upgrade_due else None


def _start(world: World, unit: Unit) -> HookSpec | None:
    return HookSpec("start") if unit.start_due else None


def _leadership(world: World, unit: Unit) -> HookSpec | None:
    if leadership.holds(world, unit):
        return None if unit.leader_told else HookSpec("leader-elected")
    if world.behaviour.commit_mode == "3.6" and not unit.minion_told:
        return HookSpec("leader-settings-changed")
    return None


def _workload(world: World, unit: Unit) -> HookSpec | None:
    return unit.workload_events[0] if unit.workload_events else None


def _action(world: World, unit: Unit) -> HookSpec | None:
    if not unit.actions or not unit.installed:
        return None
    action = world.actions[unit.actions[0]]
    return HookSpec("action", action=action.id, action_name=action.name)


def _attach(world: World, unit: Unit) -> HookSpec | None:
    for storage in sorted(unit.attach_ready - unit.attached):
        return HookSpec("storage-attached", storage=storage)
    return None


def _detach(world: World, unit: Unit) -> HookSpec | None:
    for storage in sorted(unit.attached - unit.detached):
        return HookSpec("storage-detaching", storage=storage)
    return None


def _stop(world: World, unit: Unit) -> HookSpec | None:
    return HookSpec("stop") if unit.pod.started and not unit.stop_done else None


def _config(world: World, unit: Unit) -> HookSpec | None:
    app = world.apps[unit.app]
    stale = unit.config_seen != app.config_version or unit.address_seen != unit.pod.address
    return HookSpec("config-changed") if stale or unit.config_again else None


def _other_relations(world: World, unit: Unit) -> HookSpec | None:
    return relations.next_hook(world, unit, peers=False)


def _peer_relations(world: World, unit: Unit) -> HookSpec | None:
    return relations.next_hook(world, unit, peers=True)


def _update_status(world: World, unit: Unit) -> HookSpec | None:
    return HookSpec("update-status") if unit.update_status_due and unit.pod.started else None


def _remove(world: World, unit: Unit) -> HookSpec | None:
    return HookSpec("remove")


_ALIVE: tuple[Resolver, ...] = (
    _upgrade,
    lambda world, unit: _start(world, unit) if unit.config_seen >= 0 else None,
    relations.creation,
    _leadership,
    _workload,
    secret_store.next_hook,
    _action,
    _attach,
    _config,
    _other_relations,
    _peer_relations,
    _update_status,
)
_TERMINATING: tuple[Resolver, ...] = (
    relations.creation,
    _leadership,
    _workload,
    secret_store.next_hook,
    _action,
    _stop,
)
_BEFORE_DYING: tuple[Resolver, ...] = (_upgrade, _leadership, _workload, secret_store.next_hook)
_DYING: tuple[Resolver, ...] = (
    *_BEFORE_DYING,
    _action,
    _detach,
    _other_relations,
    _peer_relations,
    _stop,
    relations.peers_broken,
    _remove,
)
_DYING_DOCS: tuple[Resolver, ...] = (
    *_BEFORE_DYING,
    _action,
    _stop,
    _detach,
    _other_relations,
    _peer_relations,
    relations.peers_broken,
    _remove,
)
