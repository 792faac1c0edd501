"""One hook in flight: the hook tools with Juju's semantics, writes buffered until commit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sandbox.model import leadership, relations, secret_store
from sandbox.model.entities import Action, Relation, Secret, Unit
from sandbox.model.errors import ToolError
from sandbox.model.secret_store import Change
from sandbox.model.values import HookSpec
from sandbox.model.world import World

STATUSES = ("active", "blocked", "maintenance", "waiting")
STATE_LIMIT = 2 * 1024 * 1024
"""Bytes of a charm's state that Juju takes (controller/config.go)."""


@dataclass(slots=True)
class Hook:
    """A hook that was begun. Dead once its process or its agent was killed."""

    world: World
    number: int
    unit: str
    spec: HookSpec
    seen: int = 0
    """What the hook's record will say was seen: a databag's, option's or secret's version."""
    seen_address: str = ""
    dead: bool = False
    bags: dict[tuple[int, bool], dict[str, str]] = field(default_factory=dict)
    """(relation, application's side) to buffered writes."""
    changes: list[Change] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    state: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    cache: dict[tuple[int, str], dict[str, str]] = field(default_factory=dict)
    config: dict[str, Any] | None = None

    # -- what the hook is -----------------------------------------------------------------

    @property
    def dispatch_path(self) -> str:
        """`hooks/config-changed`, `actions/issue-sender-certificate`."""
        return f"{'actions' if self.spec.kind == 'action' else 'hooks'}/{self.spec.name}"

    def environment(self) -> dict[str, str]:
        """JUJU_* variables as Juju gives them for this hook."""
        unit = self._unit()
        action = self.spec.kind == "action"
        values: dict[str, str | int | None] = {
            "JUJU_DISPATCH_PATH": self.dispatch_path,
            "JUJU_HOOK_NAME": "" if action else self.spec.name,
            "JUJU_UNIT_NAME": unit.name,
            "JUJU_MODEL_NAME": self.world.name,
            "JUJU_MODEL_UUID": self.world.uuid,
            "JUJU_VERSION": "4.0.15" if self.world.behaviour.commit_mode == "4" else "3.6.11",
            "JUJU_CONTEXT_ID": f"{unit.name}-{self.spec.name}-{self.number:019d}",
            "JUJU_PRINCIPAL_UNIT": "",
            "JUJU_AVAILABILITY_ZONE": "",
            "JUJU_API_ADDRESSES": "10.152.183.2:17070",
            "JUJU_SLA": "unsupported",
            "CLOUD_API_VERSION": "1.33.0",
            "LANG": "C.UTF-8",
            **self._relation_environment(),
            **self._workload_environment(),
            **self._other_environment(),
        }
        return {key: str(value) for key, value in values.items() if value is not None}

    def _relation_environment(self) -> dict[str, str | None]:
        spec = self.spec
        if spec.relation is None:
            return {}
        return {
            "JUJU_RELATION": spec.endpoint,
            "JUJU_RELATION_ID": f"{spec.endpoint}:{spec.relation}",
            "JUJU_REMOTE_UNIT": spec.remote_unit or "",
            "JUJU_REMOTE_APP": spec.remote_app or "",
            "JUJU_DEPARTING_UNIT": spec.departing_unit,
        }

    def _workload_environment(self) -> dict[str, str | None]:
        spec = self.spec
        return {
            "JUJU_WORKLOAD_NAME": spec.container,
            "JUJU_NOTICE_ID": spec.notice_id,
            "JUJU_NOTICE_TYPE": spec.notice_type,
            "JUJU_NOTICE_KEY": spec.notice_key,
            "JUJU_PEBBLE_CHECK_NAME": spec.check,
        }

    def _other_environment(self) -> dict[str, str | int | None]:
        spec = self.spec
        found: dict[str, str | int | None] = {}
        if spec.secret is not None:
            found["JUJU_SECRET_ID"] = spec.secret
            found["JUJU_SECRET_LABEL"] = spec.secret_label or ""
            found["JUJU_SECRET_REVISION"] = spec.secret_revision
        if spec.storage is not None:
            found["JUJU_STORAGE_ID"] = spec.storage
            found["JUJU_STORAGE_LOCATION"] = f"/var/lib/juju/storage/{spec.storage}"
            found["JUJU_STORAGE_KIND"] = "filesystem"
        if spec.action is not None:
            found["JUJU_ACTION_NAME"] = spec.action_name
            found["JUJU_ACTION_UUID"] = spec.action
            found["JUJU_ACTION_TAG"] = f"action-{spec.action}"
        return found

    def hidden(self) -> frozenset[str]:
        """Give what nobody must see of the secrets that this hook writes."""
        written = [change.content for change in self.changes if change.content]
        return frozenset().union(*map(secret_store.hidden_values, written))

    # -- options and leadership -----------------------------------------------------------

    def config_get(self) -> dict[str, Any]:
        """Options as they are at the hook's first look; unset ones without default are absent."""
        unit = self._unit()
        if self.config is None:
            app = self.world.apps[unit.app]
            values = {name: option.default for name, option in app.charm.options.items()}
            values.update(app.config)
            self.config = {key: value for key, value in values.items() if value is not None}
        return dict(self.config)

    def is_leader(self) -> bool:
        """Whether leadership is guaranteed for 30 s from now."""
        return leadership.holds(self.world, self._unit())

    def leader_get(self) -> dict[str, str]:
        """Give nothing: leader settings are long gone."""
        return {}

    # -- relations ------------------------------------------------------------------------

    def relation_ids(self, endpoint: str) -> list[str]:
        """Ids of an endpoint's relations; in the install hook there are none yet."""
        unit = self._unit()
        return [
            f"{endpoint}:{relation.id}"
            for relation in self.world.relations_of(unit.app)
            if relation.endpoints[unit.app] == endpoint and relations.visible(unit, relation)
        ]

    def relation_list(self, relation: str, *, app: bool = False) -> list[str] | str:
        """Units whose joined hook this unit has committed (R20), or the remote application."""
        unit, found = self._unit(), self._relation(relation)
        if app:
            return found.other(unit.app)
        return sorted(relations.local(unit, found).members)

    def relation_get(self, relation: str, member: str, *, app: bool = False) -> dict[str, str]:
        """Give a databag as it is at the hook's first look, with this hook's own writes on top."""
        unit, found = self._unit(), self._relation(relation)
        name = member.partition("/")[0] if app else member
        self._check_readable(unit, found, name, app=app)
        bags = found.apps if app else found.units
        if name not in bags:
            raise ToolError(f'cannot read settings for unit "{name}" in relation "{relation}"')
        key = (found.id, name)
        if key not in self.cache:
            self.cache[key] = dict(bags[name].data)
        own = name == (unit.app if app else unit.name)
        buffered = self.bags.get((found.id, app), {}) if own else {}
        return {k: v for k, v in {**self.cache[key], **buffered}.items() if v != ""}

    def _check_readable(self, unit: Unit, relation: Relation, name: str, *, app: bool) -> None:
        """Only the leader reads its own application's side, except among peers (R21)."""
        if app and name == unit.app and not relation.is_peer and not self.is_leader():
            raise ToolError("permission denied")

    def relation_set(self, relation: str, data: Mapping[str, str], *, app: bool = False) -> None:
        """Buffer writes to the own databag; an empty value deletes the key."""
        found = self._relation(relation)
        if app and not self.is_leader():
            raise ToolError("cannot write relation settings")
        buffered = self.bags.setdefault((found.id, app), {})
        buffered.update({key: str(value) for key, value in data.items()})

    def relation_model_get(self, relation: str) -> dict[str, str]:
        """Give the remote side's model, always this one."""
        self._relation(relation)
        return {"uuid": self.world.uuid}

    def _relation(self, text: str) -> Relation:
        unit = self._unit()
        number = text.rpartition(":")[2]
        found = self.world.relations.get(int(number)) if number.isdigit() else None
        visible = found is not None and unit.app in found.endpoints
        if found is None or not visible or not relations.visible(unit, found):
            raise ToolError(f'invalid value "{text}" for option -r: relation not found', 2)
        return found

    # -- secrets --------------------------------------------------------------------------

    def secret_add(
        self,
        content: Mapping[str, str],
        *,
        label: str | None = None,
        description: str | None = None,
        expire: float | None = None,
        rotate: str | None = None,
        owner: Literal["application", "unit"] = "application",
    ) -> str:
        """Buffer a new secret, give its URI. A label in use fails at commit only (R25)."""
        unit = self._unit()
        secret_store.check_content(content)
        if not content:
            raise ToolError("missing secret value")
        if owner == "application" and not self.is_leader():
            raise ToolError("this unit is not the leader")
        uri = secret_store.new_uri(self.world)
        name = unit.app if owner == "application" else unit.name
        fields = {
            "label": label,
            "description": description,
            "expire": expire,
            "rotate": rotate,
        }
        self.changes.append(Change("create", uri, name, owner, dict(content), fields))
        return uri

    def secret_get(
        self,
        uri: str | None = None,
        *,
        label: str | None = None,
        refresh: bool = False,
        peek: bool = False,
    ) -> dict[str, str]:
        """Content of the tracked revision; tracking moves at once and for good (R26)."""
        unit = self._unit()
        created = self._created(uri, label)
        if created is not None:
            return dict(created.content or {})
        secret = secret_store.find(self.world, unit, uri, label)
        if secret is None:
            raise ToolError(f'secret "{uri or label}" not found')
        if not secret_store.may_read(secret, unit):
            raise ToolError("permission denied")
        self._label(unit, secret.uri, secret.owner, secret.label, uri, label)
        updated = self._updated(secret.uri)
        if updated is not None and (refresh or peek):
            if refresh:
                self.changes.append(Change("track", secret.uri))
            return dict(updated.content or {})
        if peek:
            return dict(secret.revisions[secret.latest].content)
        consumer = secret_store.track(secret, unit, refresh=refresh)
        if uri is not None and label and secret.owner != unit.app:
            consumer.label = label
        return dict(
            secret.revisions.get(consumer.tracked, secret.revisions[secret.latest]).content
        )

    def _label(
        self, unit: Unit, uri: str, owner: str, known: str, given: str | None, label: str | None
    ) -> None:
        """`secret-get <id> --label x` on one's own application's secret sets the owner's label.

        On a unit that is not leader that fails, at commit: "lease not held".
        """
        if given is None or not label or owner != unit.app:
            return
        if label != known or not self.is_leader():
            self.changes.append(Change("label", uri, fields={"label": label}))

    def _created(self, uri: str | None, label: str | None) -> Change | None:
        for change in self.changes:
            same = uri is not None and change.uri == secret_store.normal(uri)
            if change.kind == "create" and (same or (label and label == change.fields["label"])):
                return change
        return None

    def _updated(self, uri: str) -> Change | None:
        for change in reversed(self.changes):
            if change.kind == "update" and change.uri == uri and change.content is not None:
                return change
        return None

    def secret_set(
        self,
        uri: str,
        content: Mapping[str, str] | None = None,
        *,
        label: str | None = None,
        description: str | None = None,
        expire: float | None = None,
        rotate: str | None = None,
    ) -> None:
        """Buffer a new revision or new metadata."""
        if content is not None:
            secret_store.check_content(content)
        created = self._created(uri, None)
        fields = {
            "label": label,
            "description": description,
            "expire": expire,
            "rotate": rotate,
        }
        if created is not None:
            created.content = dict(content) if content is not None else created.content
            created.fields.update({key: value for key, value in fields.items() if value})
            return
        name = self._owned(uri).uri
        kept = dict(content) if content is not None else None
        self.changes.append(Change("update", name, content=kept, fields=fields))

    def _owned(self, uri: str) -> Secret:
        """Find a secret this unit may change now: its own, or the application's if leader."""
        unit = self._unit()
        secret = self.world.secrets.get(secret_store.normal(uri))
        if secret is None:
            raise ToolError(f'secret "{uri}" not found')
        if secret.owner == unit.name or (secret.owner == unit.app and self.is_leader()):
            return secret
        raise ToolError("permission denied")

    def secret_info_get(
        self, uri: str | None = None, *, label: str | None = None
    ) -> dict[str, dict[str, Any]]:
        """Metadata of one's own secret, as Juju prints it; application's: leader only."""
        unit = self._unit()
        created = self._created(uri, label)
        if created is not None:
            return {created.uri.removeprefix("secret:"): self._created_info(created)}
        secret = secret_store.find(self.world, unit, uri, label)
        owned = secret is not None and (
            secret.owner == unit.name or (secret.owner == unit.app and self.is_leader())
        )
        if secret is None or not owned:
            raise ToolError(f'secret "{uri or label}" not found')
        info: dict[str, Any] = {
            "revision": secret.latest,
            "label": secret.label,
            "owner": secret.owner_kind,
            "rotation": secret.rotate,
        }
        if secret.description:
            info["description"] = secret.description
        if secret.rotates_at is not None:
            info["rotates"] = self.world.date(secret.rotates_at)
        expires = secret.revisions[secret.latest].expires
        if expires is not None:
            info["expiry"] = self.world.date(expires)
        return {secret.uri.removeprefix("secret:"): info}

    def _created_info(self, change: Change) -> dict[str, Any]:
        return {
            "revision": 1,
            "label": change.fields["label"] or "",
            "owner": change.owner_kind,
            "rotation": change.fields["rotate"] or "never",
        }

    def secret_ids(self) -> list[str]:
        """Ids of secrets this unit owns, and the application's if it is leader."""
        unit = self._unit()
        owners = {unit.name, unit.app} if self.is_leader() else {unit.name}
        return [
            secret.uri.removeprefix("secret:")
            for secret in self.world.secrets.values()
            if secret.owner in owners
        ]

    def secret_grant(
        self, uri: str, *, relation: str | None = None, unit: str | None = None
    ) -> None:
        """Buffer a grant to the other side of a relation, or to one of its units."""
        found = self._relation(relation or "")
        to = unit or found.other(self._unit().app)
        self.changes.append(Change("grant", self._grantable(uri), to=to, over=relation or ""))

    def secret_revoke(
        self,
        uri: str,
        *,
        relation: str | None = None,
        app: str | None = None,
        unit: str | None = None,
    ) -> None:
        """Buffer the end of a grant; no hook tells the reader (R28)."""
        to = unit or app or self._relation(relation or "").other(self._unit().app)
        self.changes.append(Change("revoke", self._grantable(uri), to=to))

    def _grantable(self, uri: str) -> str:
        created = self._created(uri, None)
        return created.uri if created is not None else self._owned(uri).uri

    def secret_remove(self, uri: str, *, revision: int | None = None) -> None:
        """Buffer the removal of a secret or of one revision."""
        self.changes.append(Change("remove", self._owned(uri).uri, revision=revision))

    # -- statuses -------------------------------------------------------------------------

    def status_get(self, *, app: bool = False) -> dict[str, Any]:
        """Give the unit's (or, for the leader, the application's) workload status."""
        unit = self._unit()
        if app and not self.is_leader():
            raise ToolError("finding application status: this unit is not the leader")
        status = self.world.apps[unit.app].status if app else unit.status
        return {"status": status.status, "message": status.message, "status-data": {}}

    def status_set(self, status: str, message: str = "", *, app: bool = False) -> None:
        """Set a status at once: never rolled back (R19)."""
        unit = self._unit()
        if status not in STATUSES:
            raise ToolError(f'invalid status "{status}", expected one of {list(STATUSES)}')
        if app and not self.is_leader():
            raise ToolError("setting application status: this unit is not the leader")
        kept = self.world.apps[unit.app].status if app else unit.status
        if (kept.status, kept.message) != (status, message):
            kept.status, kept.message, kept.since = status, message, self.world.now

    def application_version_set(self, version: str) -> None:
        """Set the workload's version at once."""
        self.world.apps[self._unit().app].version = version

    # -- ports and network ----------------------------------------------------------------

    def open_port(self, port: str) -> None:
        """Buffer the opening of `1514` or `1514/tcp`."""
        self.opened.add(_port(port))
        self.closed.discard(_port(port))

    def close_port(self, port: str) -> None:
        """Buffer the closing of a port."""
        self.closed.add(_port(port))
        self.opened.discard(_port(port))

    def opened_ports(self) -> list[str]:
        """Ports as they are committed."""
        return sorted(self._unit().ports)

    def network_get(self, binding: str, relation: str | None = None) -> dict[str, Any]:
        """Ingress is the application's ClusterIP, the bind address the pod's (seen on 4.0.15)."""
        unit = self._unit()
        app = self.world.apps[unit.app]
        if binding not in {*app.charm.endpoints, "juju-info"}:
            raise ToolError(f'no network config found for binding "{binding}"')
        if relation is not None:
            self._relation(relation)
        address = {"hostname": "", "value": unit.pod.address, "cidr": "", "address": ""}
        address["address"] = unit.pod.address
        return {
            "bind-addresses": [
                {"mac-address": "", "interface-name": "", "addresses": [address]},
            ],
            "egress-subnets": [f"{app.address}/32"],
            "ingress-addresses": [app.address],
        }

    def unit_get(self, key: str) -> str:
        """Fail for the private address, as on Kubernetes (seen on 4.0.15)."""
        if key == "public-address":
            return self.world.apps[self._unit().app].address
        raise ToolError(f'"{self.unit}" has no {key.replace("-", " ")} set')

    def goal_state(self) -> dict[str, Any]:
        """Units and relations that are planned."""
        unit = self._unit()
        return {
            "units": self._goal_units(unit.app),
            "relations": {
                relation.endpoints[unit.app]: self._goal_units(relation.other(unit.app))
                for relation in self.world.relations_of(unit.app)
            },
        }

    def _goal_units(self, app: str) -> dict[str, Any]:
        return {
            unit.name: {
                "status": "dying" if unit.life != "alive" else unit.status.status,
                "since": self.world.date(unit.status.since),
            }
            for unit in self.world.units_of(app)
        }

    # -- state and storage ----------------------------------------------------------------

    def state_get(self, key: str | None = None) -> dict[str, str] | str:
        """Give the charm's state in the controller, with this hook's writes."""
        kept = {**self._unit().charm_state, **self.state}
        kept = {name: value for name, value in kept.items() if name not in self.deleted}
        return kept if key is None else kept.get(key, "")

    def state_set(self, data: Mapping[str, str]) -> None:
        """Buffer writes to the charm's state."""
        self.state.update(data)
        self.deleted.difference_update(data)
        if sum(len(value) for value in self.state.values()) > STATE_LIMIT:
            raise ToolError(f"max allowed size ({STATE_LIMIT}) exceeded")

    def state_delete(self, key: str) -> None:
        """Buffer the deletion of a key."""
        self.state.pop(key, None)
        self.deleted.add(key)

    def storage_list(self, name: str | None = None) -> list[str]:
        """Ids of attached storage, the one being attached or detached too."""
        unit = self._unit()
        known = (unit.attached - unit.detached) | ({self.spec.storage} - {None})
        return sorted(
            storage
            for storage in known
            if storage is not None and name in {None, storage.partition("/")[0]}
        )

    def storage_get(self, storage: str | None = None) -> dict[str, str]:
        """Kind and location of a storage."""
        found = storage or self.spec.storage
        if found not in self._unit().volumes:
            raise ToolError(f'invalid value "{found}" for option -s: storage not found', 2)
        return {"kind": "filesystem", "location": f"/var/lib/juju/storage/{found}"}

    # -- actions and the rest ---------------------------------------------------------------

    def action_get(self) -> dict[str, Any]:
        """Parameters, with the defaults the charm declares."""
        return dict(self._action().params)

    def action_set(self, results: Mapping[str, Any]) -> None:
        """Keep results at once: they survive a failing action."""
        self._action().results.update(results)

    def action_log(self, message: str) -> None:
        """Add a line to the action's log."""
        self._action().log.append(message)

    def action_fail(self, message: str = "") -> None:
        """Have the action fail with this message."""
        action = self._action()
        action.status = "failed"
        action.message = message or "action failed without reason given, check action for errors"

    def _action(self) -> Action:
        self._unit()
        if self.spec.action is None:
            raise ToolError("not running an action")
        return self.world.actions[self.spec.action]

    def juju_log(self, level: str, message: str) -> None:
        """Write a line to the log."""
        self.world.note(self.unit, message, level.upper(), f"unit.{self.unit}.juju-log")

    def resource_get(self, name: str) -> str:
        """Refuse: the only resources of a sidecar charm are images, which nobody reads."""
        raise ToolError(f"could not download resource: {name} is not a file of this charm")

    def credential_get(self) -> dict[str, Any]:
        """Refuse without trust; there is no cloud behind the sandbox either."""
        raise ToolError("cannot access cloud credentials")

    def juju_reboot(self, *, now: bool = False) -> None:
        """Refuse: not supported on Kubernetes."""
        raise ToolError("juju-reboot is not supported on k8s")

    def _unit(self) -> Unit:
        """Give the unit; a killed hook and one cut off from its controller get nothing."""
        unit = self.world.units.get(self.unit)
        if self.dead or unit is None:
            raise ToolError("connection refused: hook context is gone")
        if not unit.pod.reachable:
            raise ToolError("connection is shut down")
        return unit


def _port(text: str) -> str:
    number, _, protocol = text.partition("/")
    if not number.isdigit() or not 1 <= int(number) <= 65535:
        raise ToolError(f'invalid value "{text}" for port', 2)
    return f"{int(number)}/{protocol or 'tcp'}"
