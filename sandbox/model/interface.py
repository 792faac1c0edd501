"""What a runner may ask of the model: the seam between Juju's rules and what runs the hooks.

The classes here are protocols: `sandbox.model.Model` and `sandbox.model.Hook` fulfil them.
A runner keeps this loop, and nothing else in it decides anything:

    model.advance(seconds since the last call × clock factor)
    bring pods to what `model.pods()` says (new uid: the old pod is gone, make a fresh one),
        then report `pod_started`, `container_ready`, `readiness`
    for unit in model.due():              # units side by side, one hook of each at a time
        hook = model.begin(unit)
        run dispatch with hook.environment(), hook tools call the methods of the hook
        model.finish(hook, ok=exit code == 0)
    sleep until model.next_deadline() or an event of the outside

Times are seconds of the model's virtual clock, which begins at 0. Names are Juju's: a unit is
`wazuh-server/0`, a relation id `wazuh-peers:0`, a secret `secret:<20 characters>`, a storage
`data/0`. Every command raises `CommandError` with the sentence to print when it is refused.
Everything is picklable between two calls, hooks in flight included.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from sandbox.model.values import (
    ActionRecord,
    Event,
    HookSpec,
    PodView,
    SecretView,
    ServiceView,
)

CommitMode = Literal["3.6", "4"]


class HookInterface(Protocol):
    """One hook in flight. Methods are the hook tools; they raise `ToolError(text, code)`."""

    unit: str
    spec: HookSpec

    @property
    def dispatch_path(self) -> str:
        """`hooks/config-changed`, `actions/issue-sender-certificate`."""
        ...

    def environment(self) -> dict[str, str]:
        """JUJU_* variables for this hook; the runner adds sockets, PATH, JUJU_CHARM_DIR."""
        ...

    def config_get(self) -> dict[str, Any]: ...
    def is_leader(self) -> bool: ...
    def leader_get(self) -> dict[str, str]: ...
    def relation_ids(self, endpoint: str) -> list[str]: ...
    def relation_list(self, relation: str, *, app: bool = False) -> list[str] | str:
        """Units whose joined this unit has committed; with `app` the remote application."""
        ...

    def relation_get(self, relation: str, member: str, *, app: bool = False) -> dict[str, str]:
        """One databag; `member` is a unit's name, with `app` an application's or unit's name."""
        ...

    def relation_set(self, relation: str, data: Mapping[str, str], *, app: bool = False) -> None:
        """Buffer writes to the own databag; an empty value deletes the key."""
        ...

    def relation_model_get(self, relation: str) -> dict[str, str]: ...
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
        """Buffer a new secret, give its URI. `expire`: seconds of the virtual clock."""
        ...

    def secret_get(
        self,
        uri: str | None = None,
        *,
        label: str | None = None,
        refresh: bool = False,
        peek: bool = False,
    ) -> dict[str, str]: ...
    def secret_set(
        self,
        uri: str,
        content: Mapping[str, str] | None = None,
        *,
        label: str | None = None,
        description: str | None = None,
        expire: float | None = None,
        rotate: str | None = None,
    ) -> None: ...
    def secret_info_get(
        self, uri: str | None = None, *, label: str | None = None
    ) -> dict[str, dict[str, Any]]:
        """`{id without "secret:": {revision, label, owner, rotation, …}}` as Juju prints it."""
        ...

    def secret_ids(self) -> list[str]: ...
    def secret_grant(
        self, uri: str, *, relation: str | None = None, unit: str | None = None
    ) -> None: ...
    def secret_revoke(
        self,
        uri: str,
        *,
        relation: str | None = None,
        app: str | None = None,
        unit: str | None = None,
    ) -> None: ...
    def secret_remove(self, uri: str, *, revision: int | None = None) -> None: ...
    def status_get(self, *, app: bool = False) -> dict[str, Any]: ...
    def status_set(self, status: str, message: str = "", *, app: bool = False) -> None: ...
    def application_version_set(self, version: str) -> None: ...
    def open_port(self, port: str) -> None:
        """`1514`, `1514/tcp` (buffered)."""
        ...

    def close_port(self, port: str) -> None: ...
    def opened_ports(self) -> list[str]: ...
    def network_get(self, binding: str, relation: str | None = None) -> dict[str, Any]: ...
    def unit_get(self, key: str) -> str: ...
    def goal_state(self) -> dict[str, Any]: ...
    def state_get(self, key: str | None = None) -> dict[str, str] | str: ...
    def state_set(self, data: Mapping[str, str]) -> None: ...
    def state_delete(self, key: str) -> None: ...
    def storage_list(self, name: str | None = None) -> list[str]: ...
    def storage_get(self, storage: str | None = None) -> dict[str, str]: ...
    def action_get(self) -> dict[str, Any]: ...
    def action_set(self, results: Mapping[str, Any]) -> None: ...
    def action_log(self, message: str) -> None: ...
    def action_fail(self, message: str = "") -> None: ...
    def juju_log(self, level: str, message: str) -> None: ...
    def resource_get(self, name: str) -> str: ...
    def credential_get(self) -> dict[str, Any]: ...
    def juju_reboot(self, *, now: bool = False) -> None: ...


class ModelInterface(Protocol):
    """Juju's model. Constructed as `Model(seed=…, commit_mode="4", name="test")`."""

    name: str
    uuid: str
    commit_mode: CommitMode
    now: float

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
        """Deploy a charm. `metadata` is charmcraft.yaml as a mapping (config, actions included).

        `scripted` applications run no hooks: their databags are written by `scripted_set`.
        """
        ...

    def scale(self, app: str, units: int) -> None: ...
    def set_config(self, app: str, values: Mapping[str, Any]) -> None:
        """Set options; None resets one to its default. Strings are parsed by the option's type."""
        ...

    def trust(self, app: str, *, trusted: bool = True) -> None: ...
    def integrate(self, left: str, right: str) -> str:
        """`app[:endpoint]` twice; gives the relation id of the left side."""
        ...

    def remove_relation(self, left: str, right: str) -> None: ...
    def scripted_set(self, relation_id: int, member: str, data: Mapping[str, str]) -> None: ...
    def add_secret(self, name: str, content: Mapping[str, str]) -> str:
        """Add a user secret, give its URI."""
        ...

    def update_secret(self, name_or_uri: str, content: Mapping[str, str]) -> None: ...
    def grant_secret(self, name_or_uri: str, app: str) -> None: ...
    def revoke_secret(self, name_or_uri: str, app: str) -> None: ...
    def remove_secret(self, name_or_uri: str) -> None: ...
    def run_action(self, unit: str, name: str, params: Mapping[str, Any] | None = None) -> str:
        """Queue an action (`app/leader` is understood); gives its id for `action(id)`."""
        ...

    def action(self, action_id: str) -> ActionRecord: ...
    def resolve(self, unit: str, *, retry: bool = True) -> None: ...
    def refresh(self, app: str, metadata: Mapping[str, Any] | None = None) -> None: ...
    def remove_application(self, app: str) -> None: ...

    # -- faults ----------------------------------------------------------------------------
    def pod_deleted(self, unit: str, *, forced: bool = False) -> None:
        """`kubectl delete pod`: stop hook, ≤ 30 s, then a new pod (new uid, new address)."""
        ...

    def node_lost(self, unit: str, *, keep_volumes: bool = True) -> None:
        """The pod is gone at once, no hook; it comes back only by `node_back`."""
        ...

    def node_back(self, unit: str) -> None:
        """A new pod for a unit whose node was lost (with an empty volume if it was lost too)."""
        ...

    def container_restarted(self, unit: str, container: str) -> None:
        """A workload container died and is being made anew (report `container_ready` later)."""
        ...

    def charm_container_restarted(self, unit: str) -> None:
        """The charm container died (a hook in flight counts as killed); the agent is back."""
        ...

    def pause(self, unit: str, *, kubelet: bool = True) -> None:
        """Freeze the charm container; kubelet restarts it after 70 s unless told otherwise."""
        ...

    def unpause(self, unit: str) -> None: ...
    def cut_off(self, unit: str) -> None:
        """The unit's agent cannot reach the controller; the workload goes on."""
        ...

    def heal(self, unit: str) -> None: ...

    # -- reports of the runner --------------------------------------------------------------
    def pod_started(self, unit: str) -> None:
        """The pod of `pods()` exists and its agent runs (the first one becomes leader)."""
        ...

    def pod_stopped(self, unit: str) -> None:
        """Optional: the pod's processes are gone (else taken from the model's own clock)."""
        ...

    def container_ready(self, unit: str, container: str, boot_id: str | None = None) -> None:
        """Pebble answers, or answers with another boot id: pebble-ready after the poll."""
        ...

    def container_gone(self, unit: str, container: str) -> None:
        """Pebble no longer answers."""
        ...

    def readiness(self, unit: str, ready: bool, container: str | None = None) -> None:
        """What the ready probe of the unit's workload (all, or one container) says now."""
        ...

    def notice(
        self,
        unit: str,
        container: str,
        key: str,
        notice_type: str = "custom",
        notice_id: str | None = None,
    ) -> None: ...
    def check_failed(self, unit: str, container: str, check: str) -> None: ...
    def check_recovered(self, unit: str, container: str, check: str) -> None: ...

    # -- time and hooks ----------------------------------------------------------------------
    def advance(self, seconds: float) -> None: ...
    def next_deadline(self) -> float | None:
        """The next time at which something happens by itself; None when nothing will."""
        ...

    def due(self) -> list[str]:
        """Units with a hook to run now (none in flight there)."""
        ...

    def peek(self, unit: str) -> HookSpec | None:
        """The hook that `begin` would start."""
        ...

    def begin(self, unit: str) -> HookInterface: ...
    def finish(self, hook: HookInterface, ok: bool, *, crash_after: int | None = None) -> bool:
        """Commit or discard; True when the hook is done, False when it is in error.

        `crash_after=k`: the agent dies after k of `commit_steps(hook)`; the hook runs again.
        """
        ...

    def kill(self, hook: HookInterface, signal: Literal["TERM", "KILL"] = "KILL") -> None:
        """The hook's process was killed: requeued (TERM) or failed (KILL)."""
        ...

    def commit_steps(self, hook: HookInterface) -> list[str]: ...

    # -- looking -------------------------------------------------------------------------------
    def pods(self) -> dict[str, PodView]:
        """Pods that must exist now, by unit."""
        ...

    def units(self, app: str) -> list[str]: ...
    def leader(self, app: str) -> str | None:
        """The holder of the lease now, whatever units believe."""
        ...

    def service(self, app: str) -> ServiceView: ...
    def status(self) -> dict[str, Any]:
        """The value from which the tables and the JSON of `juju status` are printed."""
        ...

    def show_unit(self, unit: str) -> dict[str, Any]: ...
    def secrets(self, *, reveal: bool = False) -> list[SecretView]: ...
    def events(self, since: int = 0) -> Sequence[Event]:
        """The event log, for debug-log and tests; `Event.number` counts from 0."""
        ...
