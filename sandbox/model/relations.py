"""Relations: scopes, databags and what one unit's agent makes of them (R2–R5, R19–R23)."""

from collections.abc import Iterator, Mapping

from sandbox.model.entities import Application, Bag, Endpoint, LocalRelation, Relation, Unit
from sandbox.model.errors import CommandError
from sandbox.model.values import HookKind, HookSpec
from sandbox.model.world import World

JOINED = -1
"""Version of a member whose joined hook is done and whose databag was not looked at yet."""


def add(world: World, ends: Mapping[str, str], interface: str) -> Relation:
    """Make a relation between applications (one item: peers)."""
    relation = Relation(world.count("relation"), dict(ends), interface)
    relation.apps = {app: Bag() for app in ends}
    world.relations[relation.id] = relation
    for app in ends:
        if world.apps[app].scripted:
            for unit in world.units_of(app):
                enter(world, relation, unit)
    return relation


def local(unit: Unit, relation: Relation) -> LocalRelation:
    """Give what the unit's agent has committed of the relation."""
    return unit.relations.setdefault(relation.id, LocalRelation())


def visible(unit: Unit, relation: Relation) -> bool:
    """Whether the unit's hooks see the relation: from relation-created to relation-broken.

    Juju's agent learns of a relation only after install (uniter/relation/resolver.go,
    createdRelationsResolver), so that `relation-ids` gives none in the install hook.
    """
    known = local(unit, relation)
    return (unit.name in relation.scope or known.created) and not known.broken


def enter(world: World, relation: Relation, unit: Unit) -> None:
    """Enter the scope: from now on the others may see the unit join."""
    if unit.name in relation.scope:
        return
    relation.scope.add(unit.name)
    bag = Bag(version=relation.units[unit.name].version if unit.name in relation.units else 0)
    relation.units[unit.name] = bag
    refresh_addresses(world, relation, unit)
    for other in world.units.values():
        if relation.id in other.relations:
            other.relations[relation.id].muted.discard(unit.name)


def refresh_addresses(world: World, relation: Relation, unit: Unit) -> None:
    """Write the addresses that Juju puts into a unit's databag (R23)."""
    address = world.apps[unit.app].address
    changes = {
        "egress-subnets": f"{address}/32",
        "ingress-address": address,
        "private-address": address,
    }
    write(relation.units[unit.name], changes)


def write(bag: Bag, changes: Mapping[str, str]) -> bool:
    """Apply changes (empty: delete); the version grows only when something is different."""
    data = {key: value for key, value in {**bag.data, **changes}.items() if value != ""}
    if data == bag.data:
        return False
    bag.data = data
    bag.version += 1
    return True


def leave(world: World, relation: Relation, unit: Unit) -> None:
    """Leave the scope; the databag stays readable by name (R20)."""
    relation.scope.discard(unit.name)
    if relation.dying and not relation.scope:
        world.relations.pop(relation.id, None)


def ending(relation: Relation, unit: Unit) -> bool:
    """Whether the relation is over as far as this unit goes (R40: suspended counts)."""
    return relation.dying or relation.suspended or unit.life != "alive"


def remote_members(world: World, relation: Relation, unit: Unit) -> list[str]:
    """Units of the other side that are in scope now, sorted."""
    other = relation.other(unit.app)
    return sorted(
        name for name in relation.scope if name != unit.name and name.rpartition("/")[0] == other
    )


def creation(world: World, unit: Unit) -> HookSpec | None:
    """Give the relation-created to run, peers first."""
    if unit.life != "alive":
        return None
    found = sorted(world.relations_of(unit.app), key=lambda one: (not one.is_peer, one.id))
    for relation in found:
        if ending(relation, unit) or local(unit, relation).created:
            continue
        return _spec("relation-created", relation, unit, relation.other(unit.app), None)
    return None


def next_hook(world: World, unit: Unit, *, peers: bool) -> HookSpec | None:
    """Give the next hook of non-peer or of peer relations (R3)."""
    for relation in world.relations_of(unit.app):
        known = local(unit, relation)
        if relation.is_peer != peers or not known.created or known.broken:
            continue
        found = next(_candidates(world, relation, unit, known), None)
        if found is not None:
            return found
    return None


def _candidates(
    world: World, relation: Relation, unit: Unit, known: LocalRelation
) -> Iterator[HookSpec]:
    """Departed, then the application's change, then joined and changed, then changed."""
    over = ending(relation, unit)
    remote = [] if over else remote_members(world, relation, unit)
    other = relation.other(unit.app)
    for member in sorted(known.members):
        if member not in remote and (over or member not in known.muted):
            leaving = unit.name if unit.life != "alive" else member
            yield _spec("relation-departed", relation, unit, other, member, leaving)
    if not over:
        yield from _news(relation, unit, known, remote)
    elif not relation.is_peer:
        yield _spec("relation-broken", relation, unit, other, None)


def _news(
    relation: Relation, unit: Unit, known: LocalRelation, remote: list[str]
) -> Iterator[HookSpec]:
    other = relation.other(unit.app)
    if known.apps.get(other, 0) != relation.apps[other].version:
        yield _spec("relation-changed", relation, unit, other, None)
    if known.changed_next in remote:
        yield _spec("relation-changed", relation, unit, other, known.changed_next)
    for member in remote:
        if member not in known.members:
            yield _spec("relation-joined", relation, unit, other, member)
    for member in remote:
        if known.members.get(member) != relation.units[member].version:
            yield _spec("relation-changed", relation, unit, other, member)


def peers_broken(world: World, unit: Unit) -> HookSpec | None:
    """Give relation-broken of peers, where a version of Juju has it after `stop`."""
    if not world.behaviour.peers_break:
        return None
    for relation in world.relations_of(unit.app):
        known = local(unit, relation)
        if relation.is_peer and known.created and not known.broken:
            return _spec("relation-broken", relation, unit, unit.app, None)
    return None


def _spec(
    kind: HookKind,
    relation: Relation,
    unit: Unit,
    other: str,
    remote_unit: str | None,
    departing: str | None = None,
) -> HookSpec:
    return HookSpec(
        kind=kind,
        relation=relation.id,
        endpoint=relation.endpoints[unit.app],
        remote_app=other,
        remote_unit=remote_unit,
        departing_unit=departing,
    )


def version_of(world: World, spec: HookSpec) -> int:
    """Give the databag's version that a relation-changed hook is about to see."""
    relation = world.relations.get(spec.relation if spec.relation is not None else -1)
    if relation is None or spec.kind != "relation-changed":
        return 0
    if spec.remote_unit is not None:
        return relation.units[spec.remote_unit].version
    return relation.apps[spec.remote_app or ""].version


def recorded(world: World, unit: Unit, spec: HookSpec, version: int) -> None:
    """Take a committed relation hook into the unit's local view."""
    relation = world.relations.get(spec.relation if spec.relation is not None else -1)
    if relation is None:
        return
    known = local(unit, relation)
    remote = spec.remote_unit
    match spec.kind:
        case "relation-created":
            known.created = True
        case "relation-joined" if remote is not None:
            known.members[remote] = JOINED
            known.changed_next = remote
        case "relation-changed" if remote is not None:
            known.members[remote] = version
            if known.changed_next == remote:
                known.changed_next = None
        case "relation-changed":
            known.apps[spec.remote_app or ""] = version
        case "relation-departed" if remote is not None:
            _departed(world, unit, relation, known, remote)
        case "relation-broken":
            known.broken = True
            leave(world, relation, unit)


def _departed(
    world: World, unit: Unit, relation: Relation, known: LocalRelation, remote: str
) -> None:
    known.members.pop(remote, None)
    if known.changed_next == remote:
        known.changed_next = None
    if unit.life != "alive" and relation.is_peer and not known.members:
        leave(world, relation, unit)


def resolve_ends(world: World, left: str, right: str) -> tuple[dict[str, str], str]:
    """Find the endpoints that `integrate left right` means, and their interface."""
    left_app, right_app = (world.app(text.partition(":")[0]) for text in (left, right))
    pairs = [
        ({left_app.name: one.name, right_app.name: two.name}, one.interface)
        for one in _ends(left_app, left.partition(":")[2])
        for two in _ends(right_app, right.partition(":")[2])
        if one.interface == two.interface and {one.role, two.role} == {"requires", "provides"}
    ]
    if not pairs:
        raise CommandError(f"no compatible endpoints found between {left!r} and {right!r}")
    if len(pairs) > 1:
        raise CommandError(f"ambiguous relation: {left!r} {right!r}; name the endpoints")
    return pairs[0]


def _ends(app: Application, wanted: str) -> list[Endpoint]:
    return [end for end in app.charm.endpoints.values() if wanted in {"", end.name}]
