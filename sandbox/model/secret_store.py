"""Secrets: owners, labels, revisions, who tracks what, rotation and expiry (R24–R29)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sandbox.model import leadership
from sandbox.model.entities import Consumer, Revision, Secret, Unit
from sandbox.model.errors import ToolError
from sandbox.model.values import HookSpec, SecretView
from sandbox.model.world import World

KEY = re.compile(r"^([a-z](?:-?[a-z0-9]){2,})$")
ALPHABET = "0123456789abcdefghijklmnopqrstuv"
PERIODS = {
    "never": 0.0,
    "hourly": 3600.0,
    "daily": 86400.0,
    "weekly": 604800.0,
    "monthly": 2592000.0,
    "quarterly": 7776000.0,
    "yearly": 31536000.0,
}


@dataclass(slots=True)
class Change:
    """One buffered change of one secret, applied at commit."""

    kind: Literal["create", "update", "grant", "revoke", "remove", "label", "track"]
    uri: str
    owner: str = ""
    owner_kind: Literal["application", "unit", "model"] = "application"
    content: dict[str, str] | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    to: str = ""
    over: str = ""
    revision: int | None = None

    def describe(self) -> str:
        """Name the step for a log or a list of crash points; never the content."""
        return f"secret-{self.kind} {self.fields.get('label') or self.uri}"


def new_uri(world: World) -> str:
    """Make an id as Juju's look: 20 characters."""
    return "secret:" + "".join(world.random.choice(ALPHABET) for _ in range(20))


def check_content(content: Mapping[str, str]) -> None:
    """Refuse keys that Juju refuses."""
    for key in content:
        if not KEY.match(key):
            raise ToolError(f"key {key!r} not valid")


def normal(uri: str) -> str:
    """Give `secret:<id>` for any way to write a secret's URI."""
    identity = uri.removeprefix("secret:").rstrip("/").rpartition("/")[2]
    return f"secret:{identity}"


def labelled(world: World, owner: str, label: str) -> Secret | None:
    """Find a secret by its owner and the owner's label."""
    if not label:
        return None
    for secret in world.secrets.values():
        if secret.owner == owner and secret.label == label:
            return secret
    return None


def find(world: World, unit: Unit, uri: str | None, label: str | None) -> Secret | None:
    """Find a secret as a unit names it: its id, the owner's label, or a label of its own."""
    if uri is not None:
        elsewhere = uri.startswith("secret://") and world.uuid != uri.split("/")[2]
        return None if elsewhere else world.secrets.get(normal(uri))
    if not label:
        return None
    own = labelled(world, unit.app, label) or labelled(world, unit.name, label)
    if own is not None:
        return own
    for known, consumer in unit.consumers.items():
        if consumer.label == label:
            return world.secrets.get(known)
    return None


def may_read(secret: Secret, unit: Unit) -> bool:
    """Whether the unit's application owns the secret or was granted it."""
    return (
        secret.owner in {unit.app, unit.name}
        or unit.app in secret.grants
        or unit.name in secret.grants
    )


def track(secret: Secret, unit: Unit, *, refresh: bool) -> Consumer:
    """Follow a secret from its first read; `refresh` moves at once, whatever follows (R26)."""
    consumer = unit.consumers.get(secret.uri)
    if consumer is None:
        consumer = Consumer(secret.latest, secret.latest, secret.latest)
        unit.consumers[secret.uri] = consumer
    if refresh:
        consumer.tracked = secret.latest
    return consumer


def verify(world: World, unit: Unit, change: Change, labels: set[tuple[str, str]]) -> str | None:
    """Give the reason why Juju refuses a change at commit, or None."""
    if change.kind == "track":
        return None
    secret = world.secrets.get(change.uri)
    owner = change.owner if secret is None else secret.owner
    if owner == unit.app and not leadership.holds(world, unit):
        return "lease not held"
    if secret is None and change.kind != "create":
        return f'secret "{change.uri}" not found'
    label = change.fields.get("label")
    if label and _taken(world, owner, label, change.uri, labels):
        return f'secret with label "{label}" already exists'
    if change.kind == "grant" and secret is not None and secret.owner_kind == "unit":
        return _unit_grant(world, unit, change)
    return None


def _taken(world: World, owner: str, label: str, uri: str, labels: set[tuple[str, str]]) -> bool:
    other = labelled(world, owner, label)
    if other is not None and other.uri != uri:
        return True
    if (owner, label) in labels:
        return True
    labels.add((owner, label))
    return False


def _unit_grant(world: World, unit: Unit, change: Change) -> str | None:
    """Refuse to grant a unit's own secret over the peer relation, as seen on 4.0.15."""
    if change.to.partition("/")[0] == unit.app:
        return "cannot grant a unit-owned secret over a peer relation"
    return None


def apply(world: World, unit: Unit, change: Change) -> None:
    """Carry out a verified change."""
    match change.kind:
        case "create":
            _create(world, change)
        case "update" | "label":
            _update(world, world.secrets[change.uri], change)
        case "grant":
            world.secrets[change.uri].grants[change.to] = change.over
        case "revoke":
            world.secrets[change.uri].grants.pop(change.to, None)
        case "remove":
            _remove(world, change)
        case "track":
            track(world.secrets[change.uri], unit, refresh=True)


def _create(world: World, change: Change) -> None:
    secret = Secret(change.uri, change.owner, change.owner_kind)
    secret.created = world.now
    world.secrets[secret.uri] = secret
    _update(world, secret, change)


def _update(world: World, secret: Secret, change: Change) -> None:
    fields = change.fields
    secret.label = fields.get("label") or secret.label
    secret.description = fields.get("description") or secret.description
    secret.updated = world.now
    if change.content is not None:
        set_content(world, secret, change.content, fields.get("expire"))
    elif fields.get("expire") is not None:
        _expire(world, secret, secret.revisions[secret.latest], fields["expire"])
    if fields.get("rotate"):
        secret.rotate = fields["rotate"]
        plan_rotation(world, secret)


def set_content(
    world: World, secret: Secret, content: Mapping[str, str], expire: float | None
) -> None:
    """Add a revision unless the content is the same (R27), and send word to readers."""
    if secret.revisions and secret.revisions[secret.latest].content == dict(content):
        return
    number = secret.latest + 1 if secret.revisions else 1
    secret.revisions[number] = Revision(number, dict(content), world.now)
    if expire is not None:
        _expire(world, secret, secret.revisions[number], expire)
    for unit in world.units.values():
        if secret.uri in unit.consumers:
            delay = world.random.uniform(world.timings.secret_least, world.timings.secret_most)
            world.after(delay, "secret_heard", unit.name, secret.uri)


def heard(world: World, name: str, uri: str) -> None:
    """Word of a new revision has reached a unit's agent; several become one."""
    unit, secret = world.units.get(name), world.secrets.get(uri)
    if unit is not None and secret is not None and uri in unit.consumers:
        unit.consumers[uri].heard = secret.latest


def _expire(world: World, secret: Secret, revision: Revision, at: float) -> None:
    revision.expires = at
    world.after(at - world.now, "secret_expired", secret.uri, revision.number)


def expired(world: World, uri: str, number: int) -> None:
    """Tell the leader (or the owning unit) that a revision's time is over."""
    secret = world.secrets.get(uri)
    if secret is None or number not in secret.revisions:
        return
    _tell_owner(
        world,
        secret,
        HookSpec("secret-expired", secret=uri, secret_revision=number, secret_label=secret.label),
    )


def plan_rotation(world: World, secret: Secret) -> None:
    """Set the next time of rotation."""
    period = PERIODS[secret.rotate]
    secret.rotates_at = world.now + period if period else None
    if period:
        world.after(period, "secret_rotates", secret.uri, secret.rotates_at)


def rotates(world: World, uri: str, at: float) -> None:
    """Tell the owner that the rotation policy's period is over."""
    secret = world.secrets.get(uri)
    if secret is None or secret.rotates_at != at:
        return
    _tell_owner(world, secret, HookSpec("secret-rotate", secret=uri, secret_label=secret.label))


def _tell_owner(world: World, secret: Secret, spec: HookSpec) -> None:
    """Queue for the owner; without a leader now, for the one that will be found."""
    if secret.owner_kind == "unit":
        owner = secret.owner
    else:
        owner = leadership.holder(world, secret.owner) if secret.owner in world.apps else None
    unit = world.units.get(owner or "")
    if unit is None:
        if secret.owner in world.apps:
            world.after(world.timings.poll, "secret_told", secret.uri, spec)
        return
    if spec not in unit.secret_events:
        unit.secret_events.append(spec)


def told(world: World, uri: str, spec: HookSpec) -> None:
    """Try again to tell an owner that had no leader."""
    if uri in world.secrets:
        _tell_owner(world, world.secrets[uri], spec)


def _remove(world: World, change: Change) -> None:
    """Remove a secret, or a revision: 4.0.15 says yes and keeps the revision listed."""
    secret = world.secrets[change.uri]
    if change.revision is None or set(secret.revisions) == {change.revision}:
        world.secrets.pop(secret.uri)
        for unit in world.units.values():
            unit.consumers.pop(secret.uri, None)
        return
    if world.behaviour.commit_mode == "3.6":
        secret.revisions.pop(change.revision, None)


def obsolete(world: World, secret: Secret) -> list[int]:
    """Revisions that nobody tracks any more."""
    tracked = {
        unit.consumers[secret.uri].tracked
        for unit in world.units.values()
        if secret.uri in unit.consumers
    }
    return [one for one in sorted(secret.revisions) if one != secret.latest and one not in tracked]


def next_hook(world: World, unit: Unit) -> HookSpec | None:
    """Give the next secret hook of a unit: owner's events, changes, removals."""
    if unit.secret_events:
        return unit.secret_events[0]
    for uri, consumer in unit.consumers.items():
        if consumer.heard > consumer.told and consumer.tracked < consumer.heard:
            secret = world.secrets[uri]
            label = consumer.label or (secret.label if secret.owner == unit.app else "")
            return HookSpec("secret-changed", secret=uri, secret_label=label)
    if leadership.holds(world, unit):
        return _removal(world, unit)
    return None


def _removal(world: World, unit: Unit) -> HookSpec | None:
    for secret in world.secrets.values():
        if secret.owner != unit.app:
            continue
        for number in obsolete(world, secret):
            if (secret.uri, number) not in unit.removals_told:
                return HookSpec(
                    "secret-remove",
                    secret=secret.uri,
                    secret_revision=number,
                    secret_label=secret.label,
                )
    return None


def recorded(world: World, unit: Unit, spec: HookSpec, revision: int) -> None:
    """Take a committed secret hook into the unit's state."""
    uri = spec.secret or ""
    if spec in unit.secret_events:
        unit.secret_events.remove(spec)
    if spec.kind == "secret-changed" and uri in unit.consumers:
        unit.consumers[uri].told = max(unit.consumers[uri].told, revision)
    if spec.kind == "secret-remove" and spec.secret_revision is not None:
        unit.removals_told.add((uri, spec.secret_revision))
    if spec.kind == "secret-rotate" and uri in world.secrets:
        plan_rotation(world, world.secrets[uri])


PUBLIC = (
    "authority",
    "ca",
    "certificate",
    "chain",
    "hosts",
    "previous",
    "public",
    "request",
    "user",
    "username",
)
"""Keys of a secret's content end so when everybody may see what they hold."""
SHORTEST_HIDDEN = 6
"""Characters below which a value is no secret worth looking for."""


def hidden(secret: Secret) -> frozenset[str]:
    """Give what nobody must see of a secret's contents, of any revision."""
    return frozenset().union(*(hidden_values(one.content) for one in secret.revisions.values()))


def hidden_values(content: Mapping[str, str]) -> frozenset[str]:
    """Give the values of a content that nobody must see; of a long one a line is enough."""
    found = set()
    for key, value in content.items():
        if key.rpartition("-")[2] in PUBLIC or len(value) < SHORTEST_HIDDEN:
            continue
        rows = value.splitlines()
        found.add(rows[len(rows) // 2] if len(rows) > 2 else value)
    return frozenset(found)


def view(secret: Secret, *, reveal: bool) -> SecretView:
    """Give a secret as `juju secrets` lists it."""
    return SecretView(
        uri=secret.uri,
        owner="<model>" if secret.owner_kind == "model" else secret.owner,
        label=secret.label,
        revision=secret.latest,
        rotation=secret.rotate,
        description=secret.description,
        created=secret.created,
        updated=secret.updated,
        granted=tuple(sorted(secret.grants)),
        content=dict(secret.revisions[secret.latest].content) if reveal else None,
    )
