"""Applications and units come, grow, shrink, are refreshed and go (R5, R14, R30–R32)."""

from collections.abc import Mapping
from typing import Any

from sandbox.model import charm, leadership, pods, relations
from sandbox.model.entities import Application, LocalRelation, Relation, Unit
from sandbox.model.errors import CommandError
from sandbox.model.world import World


def add_application(
    world: World,
    metadata: Mapping[str, Any],
    name: str | None,
    *,
    trust: bool = False,
    scripted: bool = False,
) -> Application:
    """Add an application without units, with its peer relations."""
    spec = charm.parse(metadata)
    chosen = name or spec.name
    if chosen in world.apps:
        raise CommandError(f'application "{chosen}" already exists')
    number = world.count("service") + 10
    address = f"10.152.{183 + number // 250}.{number % 250}"
    app = Application(chosen, spec, 0, address, scripted=scripted, trusted=trust)
    world.apps[chosen] = app
    for endpoint in spec.endpoints.values():
        if endpoint.role == "peers":
            relations.add(world, {chosen: endpoint.name}, endpoint.interface)
    return app


def scale(world: World, app: Application, number: int) -> None:
    """Ask for a number of units; while some are being removed the target is locked (R30)."""
    if number < 0:
        raise CommandError("scale must be a positive integer or 0")
    if app.removing:
        raise CommandError(f'application "{app.name}" is being removed')
    app.scale = number
    settle(world, app.name)


def settle(world: World, name: str) -> None:
    """Bring an application a step nearer to what was asked of it."""
    app = world.apps.get(name)
    if app is None:
        return
    _shrink(world, app)
    if not app.doomed and not app.removing:
        _resize(world, app)
    _refresh_step(world, app)


def _resize(world: World, app: Application) -> None:
    units = world.units_of(app.name)
    for number in range(len(units), app.scale):
        _add_unit(world, app, number)
    if len(units) > app.scale:
        doom(world, app, units[app.scale :])


def _add_unit(world: World, app: Application, number: int) -> None:
    unit = Unit(f"{app.name}/{number}", app.name, number)
    unit.status.since = world.now
    world.units[unit.name] = unit
    unit.volumes.update(world.kept_volumes.pop(unit.name, {}))
    if not unit.volumes:
        pods.new_volumes(world, unit)
    pods.new_pod(world, unit)
    if app.scripted:
        unit.pod.phase = "running"
        unit.installed = unit.pod.started = True
        unit.status.status, unit.status.message = "active", ""
        for relation in world.relations_of(app.name):
            relations.enter(world, relation, unit)
    world.note(unit.name, "unit added")


def doom(world: World, app: Application, units: list[Unit]) -> None:
    """Have the units with the highest numbers die, leader or not."""
    app.doomed = {unit.name for unit in units}
    heard = world.random.choice(units).name
    for unit in units:
        unit.life = "dying"
        if unit.name != heard and world.behaviour.departures == "one":
            _mute(world, app, unit)
        if app.scripted or not (unit.installed or unit.in_flight is not None):
            died(world, unit)
    _shrink(world, app)


def _mute(world: World, app: Application, gone: Unit) -> None:
    """Survivors do not hear of this unit's departure (seen on 4.0.15)."""
    for relation in world.relations_of(app.name):
        if not relation.is_peer:
            continue
        for unit in world.units_of(app.name):
            if unit.name not in app.doomed:
                relations.local(unit, relation).muted.add(gone.name)


def died(world: World, unit: Unit) -> None:
    """Record a death: the lease is revoked, the pod stays until all doomed ones are dead (R30)."""
    unit.life, unit.removed = "dead", True
    for relation in list(world.relations_of(unit.app)):
        relations.leave(world, relation, unit)
    leadership.revoke(world, unit)
    world.note(unit.name, "unit removed")


def _shrink(world: World, app: Application) -> None:
    """When all doomed units are dead the pods go, and their volumes (seen on 4.0.15)."""
    if not app.doomed or any(world.units[name].life != "dead" for name in app.doomed):
        return
    for name in sorted(app.doomed):
        pods.lose(world, world.units[name])
        for secret in [one for one in world.secrets.values() if one.owner == name]:
            world.secrets.pop(secret.uri)
        gone = world.units.pop(name)
        if world.behaviour.volumes == "kept" and not app.removing:
            world.kept_volumes[name] = gone.volumes
    app.doomed = set()
    what = "pods" if world.behaviour.volumes == "kept" else "pods and volumes"
    world.note("", f"{app.name}: {what} of removed units are gone")
    if app.removing:
        _forget(world, app)


def remove_application(world: World, app: Application) -> None:
    """Have all units die and the relations end; the last one takes the application along."""
    app.removing, app.scale = True, 0
    for relation in list(world.relations_of(app.name)):
        if not relation.is_peer:
            remove_relation(world, relation)
    units = world.units_of(app.name)
    if not units:
        _forget(world, app)
        return
    doom(world, app, units)


def _forget(world: World, app: Application) -> None:
    for relation in [one for one in world.relations.values() if app.name in one.endpoints]:
        relation.scope = {name for name in relation.scope if name in world.units}
        if relation.is_peer or not relation.scope:
            world.relations.pop(relation.id)
    for secret in [one for one in world.secrets.values() if one.owner == app.name]:
        world.secrets.pop(secret.uri)
    world.apps.pop(app.name)


def remove_relation(world: World, relation: Relation) -> None:
    """Have a relation end: departed for each remote unit, then broken."""
    if relation.is_peer:
        raise CommandError("cannot remove a peer relation")
    relation.dying = True
    for app in relation.endpoints:
        for unit in world.units_of(app):
            known = relations.local(unit, relation)
            if world.apps[app].scripted or not known.created:
                relations.leave(world, relation, unit)
                unit.relations[relation.id] = LocalRelation(created=True, broken=True)
    if not relation.scope:
        world.relations.pop(relation.id, None)


def refresh(world: World, app: Application, metadata: Mapping[str, Any] | None) -> None:
    """Roll a new revision out: highest number first, the next when the last is ready (R32)."""
    raw = metadata if metadata is not None else app.charm.raw
    app.charm = charm.parse(raw, app.charm.revision + 1)
    for endpoint in app.charm.endpoints.values():
        known = [one.endpoints[app.name] for one in world.relations_of(app.name)]
        if endpoint.role == "peers" and endpoint.name not in known:
            relations.add(world, {app.name: endpoint.name}, endpoint.interface)
    app.refreshing = [unit.name for unit in reversed(world.units_of(app.name))]
    _refresh_step(world, app)


def _refresh_step(world: World, app: Application) -> None:
    while app.refreshing:
        unit = world.units.get(app.refreshing[0])
        if unit is None or (unit.charm_revision == app.charm.revision and pods.ready(unit)):
            app.refreshing.pop(0)
            continue
        if unit.charm_revision != app.charm.revision and unit.pod.phase == "running":
            pods.terminate(world, unit)
        return
