"""Juju's model: the one object that runners and commands talk to."""

import heapq
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from sandbox.model import (
    charm,
    commit,
    leadership,
    lifecycle,
    pods,
    relations,
    scheduler,
    secret_store,
    views,
)
from sandbox.model.entities import Action, Notice, Relation, Secret, Timings, Unit
from sandbox.model.errors import CommandError
from sandbox.model.hook import Hook
from sandbox.model.values import (
    ActionRecord,
    Event,
    HookSpec,
    PodView,
    SecretView,
    ServiceView,
)
from sandbox.model.world import Behaviour, CommitMode, World

RULES: Mapping[str, Callable[..., None]] = {
    "lease_ends": leadership.lease_ends,
    "elect": leadership.elect,
    "update_status": pods.update_status,
    "storage_there": pods.storage_there,
    "grace_over": pods.grace_over,
    "frozen_too_long": pods.frozen_too_long,
    "pebble_found": pods.pebble_found,
    "secret_heard": secret_store.heard,
    "secret_expired": secret_store.expired,
    "secret_rotates": secret_store.rotates,
    "secret_told": secret_store.told,
    "nothing": leadership.no_rule,
}
"""What a timer may do, by the name it is kept under (a model can be pickled)."""


class Model:
    """Juju's rules over one `World`; see `sandbox.model.interface` for every method.

    `seed` decides all that is chance. `behaviour` overrides what `commit_mode` implies. `epoch`
    is the Unix time at which the virtual clock begins.
    """

    def __init__(
        self,
        seed: int = 0,
        commit_mode: CommitMode = "4",
        name: str = "sandbox",
        *,
        behaviour: Behaviour | None = None,
        timings: Timings | None = None,
        epoch: float = 0.0,
    ) -> None:
        chance = random.Random(seed)
        self.world = World(
            name=name,
            uuid=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            behaviour=behaviour or Behaviour.of(commit_mode),
            timings=timings or Timings(),
            random=chance,
            epoch=epoch,
        )

    @property
    def name(self) -> str:
        """The model's name."""
        return self.world.name

    @property
    def uuid(self) -> str:
        """The model's UUID."""
        return self.world.uuid

    @property
    def commit_mode(self) -> CommitMode:
        """`3.6` or `4`."""
        return self.world.behaviour.commit_mode

    @property
    def now(self) -> float:
        """Seconds of the virtual clock."""
        return self.world.now

    # -- commands of an operator -----------------------------------------------------------

    def add_application(
        self,
        metadata: Mapping[str, Any],
        *,
        units: int = 1,
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
        trust: bool = False,
        scripted: bool = False,
    ) -> str:
        """Deploy a charm; scripted ones run no hooks."""
        app = lifecycle.add_application(self.world, metadata, name, trust=trust, scripted=scripted)
        app.config = {
            key: charm.option_value(app.charm, key, value) for key, value in (config or {}).items()
        }
        lifecycle.scale(self.world, app, units)
        return app.name

    def scale(self, app: str, units: int) -> None:
        """Ask for a number of units (R30)."""
        lifecycle.scale(self.world, self.world.app(app), units)

    def set_config(self, app: str, values: Mapping[str, Any]) -> None:
        """Set options (None: back to the default); nothing happens when nothing differs."""
        found = self.world.app(app)
        changed = dict(found.config)
        for key, value in values.items():
            if key not in found.charm.options:
                raise CommandError(f'unknown option "{key}"')
            if value is None:
                changed.pop(key, None)
            else:
                changed[key] = charm.option_value(found.charm, key, value)
        if changed == found.config:
            return
        found.config = changed
        found.config_version += 1
        for unit in self.world.units_of(app):
            unit.config_twice = True

    def trust(self, app: str, *, trusted: bool = True) -> None:
        """Give or take cluster rights; config-changed follows."""
        found = self.world.app(app)
        if found.trusted != trusted:
            found.trusted = trusted
            found.config_version += 1

    def integrate(self, left: str, right: str) -> str:
        """Relate two applications, give the relation's id as the left side has it."""
        ends, interface = relations.resolve_ends(self.world, left, right)
        for relation in self.world.relations.values():
            if relation.endpoints == ends and not relation.dying:
                raise CommandError(f"relation {left} {right} already exists")
        relation = relations.add(self.world, ends, interface)
        return f"{ends[left.partition(':')[0]]}:{relation.id}"

    def remove_relation(self, left: str, right: str) -> None:
        """End the relation between two applications."""
        ends, _ = relations.resolve_ends(self.world, left, right)
        for relation in list(self.world.relations.values()):
            if relation.endpoints == ends and not relation.dying:
                lifecycle.remove_relation(self.world, relation)
                return
        raise CommandError(f"relation {left} {right} not found")

    def suspend_relation(self, relation_id: int, *, suspended: bool = True) -> None:
        """Suspend a relation, or resume it: to the charm it is broken and made anew (R40)."""
        relation = self._relation(relation_id)
        if relation.is_peer:
            raise CommandError("cannot suspend a peer relation")
        relation.suspended = suspended
        if suspended:
            return
        for unit in self.world.units.values():
            known = unit.relations.get(relation_id)
            if known is not None and known.broken:
                unit.relations.pop(relation_id)

    def scripted_set(self, relation_id: int, member: str, data: Mapping[str, str]) -> None:
        """Write a scripted application's databag: `app` or `app/0`."""
        relation = self._relation(relation_id)
        bag = relation.units.get(member) if "/" in member else relation.apps.get(member)
        if bag is None or not self.world.app(member.partition("/")[0]).scripted:
            raise CommandError(f"{member} is no scripted member of relation {relation_id}")
        relations.write(bag, data)

    def _relation(self, number: int) -> Relation:
        if number not in self.world.relations:
            raise CommandError(f"relation {number} not found")
        return self.world.relations[number]

    # -- secrets of users ------------------------------------------------------------------

    def add_secret(self, name: str, content: Mapping[str, str]) -> str:
        """Add a user's secret, give its URI."""
        if secret_store.labelled(self.world, "<model>", name) is not None:
            raise CommandError(f'secret with name "{name}" already exists')
        uri = secret_store.new_uri(self.world)
        secret = Secret(uri, "<model>", "model", label=name, created=self.now)
        self.world.secrets[uri] = secret
        secret_store.set_content(self.world, secret, content, None)
        return uri

    def update_secret(self, name_or_uri: str, content: Mapping[str, str]) -> None:
        """Give a user's secret a new revision: secret-changed for its readers."""
        secret = self._user_secret(name_or_uri)
        secret.updated = self.now
        secret_store.set_content(self.world, secret, content, None)

    def grant_secret(self, name_or_uri: str, app: str) -> None:
        """Let an application read; no hook tells it (R28)."""
        self._user_secret(name_or_uri).grants[self.world.app(app).name] = ""

    def revoke_secret(self, name_or_uri: str, app: str) -> None:
        """Forbid an application to read; no hook tells it (R28)."""
        self._user_secret(name_or_uri).grants.pop(app, None)

    def remove_secret(self, name_or_uri: str) -> None:
        """Remove a user's secret; no hook tells anyone."""
        secret = self._user_secret(name_or_uri)
        self.world.secrets.pop(secret.uri)
        for unit in self.world.units.values():
            unit.consumers.pop(secret.uri, None)

    def _user_secret(self, name_or_uri: str) -> Secret:
        found = secret_store.labelled(self.world, "<model>", name_or_uri)
        found = found or self.world.secrets.get(secret_store.normal(name_or_uri))
        if found is None or found.owner_kind != "model":
            raise CommandError(f'secret "{name_or_uri}" not found')
        return found

    def secrets(self, *, reveal: bool = False) -> list[SecretView]:
        """List all secrets, contents only when asked for."""
        return [secret_store.view(one, reveal=reveal) for one in self.world.secrets.values()]

    # -- actions, errors, refresh, removal -------------------------------------------------

    def run_action(self, unit: str, name: str, params: Mapping[str, Any] | None = None) -> str:
        """Queue an action; parameters get the charm's defaults and must be declared."""
        found = self.world.unit(self._leader_name(unit))
        declared = self.world.apps[found.app].charm.actions
        if name not in declared:
            raise CommandError(f'action "{name}" not defined on unit "{found.name}"')
        schema = declared[name]
        properties = schema.get("params") or {}
        unknown = set(params or {}) - set(properties)
        if unknown and schema.get("additionalProperties") is False:
            raise CommandError(f"additional property {min(unknown)!r} is not allowed")
        missing = [one for one in schema.get("required") or [] if one not in (params or {})]
        if missing:
            raise CommandError(f"{missing[0]} property is missing and required")
        defaults = {key: one["default"] for key, one in properties.items() if "default" in one}
        number = str(self.world.count("action") + 1)
        self.world.actions[number] = Action(
            number, found.name, name, {**defaults, **(params or {})}, self.now
        )
        found.actions.append(number)
        return number

    def _leader_name(self, unit: str) -> str:
        app, _, number = unit.partition("/")
        if number != "leader":
            return unit
        holder = leadership.holder(self.world, self.world.app(app).name)
        if holder is None:
            raise CommandError(f'could not determine leader for "{app}"')
        return holder

    def action(self, action_id: str) -> ActionRecord:
        """Look an action up."""
        if action_id not in self.world.actions:
            raise CommandError(f'action "{action_id}" not found')
        return views.action(self.world.actions[action_id])

    def resolve(self, unit: str, *, retry: bool = True) -> None:
        """Run a failed hook again now, or count it as done though its effects are gone (R9)."""
        found = self.world.unit(unit)
        if found.pending is None:
            raise CommandError(f'unit "{unit}" is not in an error state')
        if retry:
            found.retry_at = self.now
            return
        hook = commit.begin(self.world, found, found.pending)
        self.world.hooks.pop(hook.number)
        found.in_flight = None
        commit.recorded(self.world, found, hook)
        lifecycle.settle(self.world, found.app)

    def refresh(self, app: str, metadata: Mapping[str, Any] | None = None) -> None:
        """Roll out a new revision (R32)."""
        lifecycle.refresh(self.world, self.world.app(app), metadata)

    def remove_application(self, app: str) -> None:
        """Remove an application with all its units."""
        lifecycle.remove_application(self.world, self.world.app(app))

    # -- faults ----------------------------------------------------------------------------

    def pod_deleted(self, unit: str, *, forced: bool = False) -> None:
        """Delete a pod: another of the same name follows (R6)."""
        found = self.world.unit(unit)
        self.world.note(unit, "pod deleted", "WARNING")
        if forced:
            pods.replace(self.world, found)
            return
        pods.terminate(self.world, found)

    def node_lost(self, unit: str, *, keep_volumes: bool = True) -> None:
        """Lose a pod with its node; no hook, no replacement before `node_back`."""
        found = self.world.unit(unit)
        self.world.note(unit, "node lost", "WARNING")
        pods.lose(self.world, found)
        if not keep_volumes:
            pods.new_volumes(self.world, found)

    def node_back(self, unit: str) -> None:
        """Have the pod made again, on another node."""
        found = self.world.unit(unit)
        if found.pod.phase != "absent":
            raise CommandError(f"the pod of {unit} is not lost")
        pods.new_pod(self.world, found)

    def container_restarted(self, unit: str, container: str) -> None:
        """Have a workload container die and be made anew (R8)."""
        pods.container_restarted(self.world.unit(unit), container)

    def charm_container_restarted(self, unit: str) -> None:
        """Have the charm container alone restart (R7)."""
        pods.agent_restarted(self.world, self.world.unit(unit))
        self._settle()

    def pause(self, unit: str, *, kubelet: bool = True) -> None:
        """Freeze the charm container, hook in flight and all."""
        found = self.world.unit(unit)
        leadership.renewals_stop(self.world, found)
        found.pod.frozen = True
        if kubelet:
            wait = self.world.timings.kubelet_restart
            self.world.after(wait, "frozen_too_long", unit, found.pod.charm_boot)

    def unpause(self, unit: str) -> None:
        """Let it go on: nothing tells it that time has passed (R16)."""
        found = self.world.unit(unit)
        found.pod.frozen = False
        leadership.renewals_resume(self.world, found)

    def cut_off(self, unit: str) -> None:
        """Cut a unit's agent off from the controller; its workload goes on."""
        found = self.world.unit(unit)
        leadership.renewals_stop(self.world, found)
        found.pod.reachable = False

    def heal(self, unit: str) -> None:
        """Let it reach the controller again: its agent starts anew (seen on 4.0.15)."""
        found = self.world.unit(unit)
        if not found.pod.reachable:
            found.pod.reachable = True
            pods.agent_restarted(self.world, found)

    # -- reports of the runner ---------------------------------------------------------------

    def pod_started(self, unit: str) -> None:
        """Take it that the pod exists and its agent runs."""
        pods.pod_started(self.world, self.world.unit(unit))
        self._settle()

    def container_ready(self, unit: str, container: str, boot_id: str | None = None) -> None:
        """Pebble answers, or has another boot id than before."""
        found = self.world.unit(unit)
        self._container(found, container)
        pods.container_ready(self.world, found, container, boot_id)

    def container_gone(self, unit: str, container: str) -> None:
        """Pebble no longer answers: the container is being restarted."""
        found = self.world.unit(unit)
        self._container(found, container)
        pods.container_restarted(found, container)

    def readiness(self, unit: str, ready: bool, container: str | None = None) -> None:
        """Say what the ready probe of the unit's workload says now."""
        found = self.world.unit(unit)
        for one in found.pod.containers.values():
            if container in {None, one.name}:
                one.probe = ready
        lifecycle.settle(self.world, found.app)

    def notice(
        self,
        unit: str,
        container: str,
        key: str,
        notice_type: str = "custom",
        notice_id: str | None = None,
    ) -> None:
        """Have a Pebble notice occur."""
        found = self.world.unit(unit)
        self._container(found, container)
        number = notice_id or str(self.world.count("notice") + 1)
        pods.notice(self.world, found, container, Notice(number, notice_type, key))

    def check_failed(self, unit: str, container: str, check: str) -> None:
        """Have a check reach its threshold."""
        pods.check(self.world, self.world.unit(unit), container, check, failed=True)

    def check_recovered(self, unit: str, container: str, check: str) -> None:
        """Have a failed check succeed."""
        pods.check(self.world, self.world.unit(unit), container, check, failed=False)

    def _container(self, unit: Unit, name: str) -> None:
        if name not in unit.pod.containers:
            raise CommandError(f"container {name!r} not found in {unit.name}")

    # -- time and hooks ----------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass; what becomes due meanwhile happens in its order."""
        until = self.world.now + seconds
        timers = self.world.timers
        while timers and timers[0][0] <= until:
            at, _, rule, args = heapq.heappop(timers)
            self.world.now = max(self.world.now, at)
            RULES[rule](self.world, *args)
        self.world.now = until
        self._settle()

    def _settle(self) -> None:
        for app in list(self.world.apps):
            lifecycle.settle(self.world, app)

    def next_deadline(self) -> float | None:
        """Give the next time at which something happens by itself."""
        return self.world.timers[0][0] if self.world.timers else None

    def due(self) -> list[str]:
        """Give the units with a hook to run now."""
        return [
            unit.name
            for unit in self.world.units.values()
            if scheduler.next_hook(self.world, unit) is not None
        ]

    def peek(self, unit: str) -> HookSpec | None:
        """Give the hook that `begin` would start."""
        return scheduler.next_hook(self.world, self.world.unit(unit))

    def begin(self, unit: str) -> Hook:
        """Start the unit's next hook."""
        found = self.world.unit(unit)
        spec = scheduler.next_hook(self.world, found)
        if spec is None:
            raise CommandError(f"{unit} has no hook to run")
        return commit.begin(self.world, found, spec)

    def begin_again(self, unit: str, spec: HookSpec) -> Hook:
        """Start a hook that ran before, as Juju does when it was not recorded (R10)."""
        found = self.world.unit(unit)
        if found.in_flight is not None:
            raise CommandError(f"{unit} is running a hook")
        return commit.begin(self.world, found, spec)

    def finish(self, hook: Hook, ok: bool, *, crash_after: int | None = None) -> bool:
        """Commit or discard; True when the hook is done."""
        return commit.finish(self.world, hook, ok=ok, crash_after=crash_after)

    def kill(self, hook: Hook, signal: Literal["TERM", "KILL"] = "KILL") -> None:
        """Have the hook's process be killed (R10)."""
        commit.killed(self.world, hook, requeue=signal == "TERM")

    def commit_steps(self, hook: Hook) -> list[str]:
        """Name the steps of a commit, between which an agent can die."""
        return commit.steps(self.world, hook)

    # -- looking -----------------------------------------------------------------------------

    def pods(self) -> dict[str, PodView]:
        """Give the pods that must exist now; those of lost nodes are absent."""
        return {
            unit.name: views.pod_view(self.world, unit)
            for unit in self.world.units.values()
            if unit.pod.phase != "absent" and not self.world.apps[unit.app].scripted
        }

    def pod_uid(self, unit: str) -> int | None:
        """Give the number of the pod that a unit must have now; None when it has none."""
        found = self.world.units.get(unit)
        return None if found is None or found.pod.phase == "absent" else found.pod.uid

    def volumes(self) -> frozenset[str]:
        """Give the names of all volumes there are, those kept of removed units too."""
        kept = list(self.world.kept_volumes.values())
        used = [unit.volumes for unit in self.world.units.values()]
        return frozenset(one.name for volumes in (*kept, *used) for one in volumes.values())

    def hidden(self) -> frozenset[str]:
        """Give what of the secrets' contents nobody must see outside of them."""
        return frozenset().union(*map(secret_store.hidden, self.world.secrets.values()))

    def contents(self, label: str) -> list[dict[str, str]]:
        """Give the contents of a labelled secret that Juju still has, the oldest first."""
        for secret in self.world.secrets.values():
            if secret.label == label:
                return [dict(secret.revisions[one].content) for one in sorted(secret.revisions)]
        return []

    def peer_data(self, app: str) -> dict[str, str]:
        """Give the application's side of its first peer relation, which outlives all units."""
        for relation in self.world.relations_of(app):
            if relation.is_peer:
                return dict(relation.apps[app].data)
        raise CommandError(f"{app} has no peer relation")

    def concerns(self, unit: str, spec: HookSpec) -> bool:
        """Whether the relation and the remote unit of a hook are there for a unit."""
        if spec.relation is None:
            return True
        relation = self.world.relations.get(spec.relation)
        known = relation is not None and self.world.unit(unit).relations.get(relation.id)
        there = spec.remote_unit is None or spec.remote_unit in self.world.units
        return bool(known) and known.created and not known.broken and there

    def scaled_to(self, app: str) -> int:
        """Give the number of units that was asked for."""
        return self.world.app(app).scale

    def units(self, app: str) -> list[str]:
        """Give an application's units by number."""
        return [unit.name for unit in self.world.units_of(self.world.app(app).name)]

    def applications(self) -> list[str]:
        """Give the applications' names."""
        return list(self.world.apps)

    def leader(self, app: str) -> str | None:
        """Give the holder of the lease now, whatever units believe."""
        return leadership.holder(self.world, self.world.app(app).name)

    def lease_ends(self, app: str) -> float | None:
        """Give the time at which a lease that is no longer renewed ends, if that is so."""
        return self.world.app(app).lease.ends

    def service(self, app: str) -> ServiceView:
        """Give the application's Service."""
        return views.service(self.world, self.world.app(app))

    def status(self) -> dict[str, Any]:
        """Give the value of `juju status --format json`."""
        return views.status(self.world)

    def show_unit(self, unit: str) -> dict[str, Any]:
        """Give the value of `juju show-unit`."""
        return views.show_unit(self.world, self.world.unit(unit))

    def events(self, since: int = 0) -> Sequence[Event]:
        """Give the log from a number on."""
        return self.world.log[since:]

    def with_behaviour(self, **changes: Any) -> None:
        """Change what is not known for certain of Juju, for tests."""
        self.world.behaviour = replace(self.world.behaviour, **changes)
