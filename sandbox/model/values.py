"""Frozen values that the model hands out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

HookKind = Literal[
    "install",
    "start",
    "stop",
    "remove",
    "config-changed",
    "update-status",
    "upgrade-charm",
    "leader-elected",
    "leader-settings-changed",
    "relation-created",
    "relation-joined",
    "relation-changed",
    "relation-departed",
    "relation-broken",
    "pebble-ready",
    "pebble-custom-notice",
    "pebble-check-failed",
    "pebble-check-recovered",
    "secret-changed",
    "secret-remove",
    "secret-rotate",
    "secret-expired",
    "storage-attached",
    "storage-detaching",
    "action",
]


@dataclass(frozen=True, slots=True)
class HookSpec:
    """Which hook, and of what: everything its environment is made from."""

    kind: HookKind
    relation: int | None = None
    endpoint: str | None = None
    remote_app: str | None = None
    remote_unit: str | None = None
    departing_unit: str | None = None
    container: str | None = None
    notice_id: str | None = None
    notice_type: str | None = None
    notice_key: str | None = None
    check: str | None = None
    secret: str | None = None
    secret_revision: int | None = None
    secret_label: str | None = None
    storage: str | None = None
    action: str | None = None
    action_name: str | None = None

    @property
    def name(self) -> str:
        """The hook's name as Juju has it, for instance `wazuh-peers-relation-changed`."""
        if self.kind.startswith("relation-"):
            return f"{self.endpoint}-{self.kind}"
        if self.kind.startswith("pebble-"):
            return f"{self.container}-{self.kind}"
        if self.kind.startswith("storage-"):
            return f"{(self.storage or '').partition('/')[0]}-{self.kind}"
        if self.kind == "action":
            return self.action_name or ""
        return self.kind


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod as it must be: another `uid` is another pod, another `boot` a restarted container."""

    unit: str
    uid: int
    address: str
    phase: Literal["pending", "running", "terminating"]
    charm_boot: int
    containers: Mapping[str, int]
    volumes: Mapping[str, str]
    """Storage id to the volume's name; a new name is a new, empty volume."""
    mounts: Mapping[str, Mapping[str, str]]
    """Container to {mount location: storage id}."""
    charm_revision: int
    ready: bool


@dataclass(frozen=True, slots=True)
class ServiceView:
    """The application's Service: ports are open ones, endpoints addresses of ready pods."""

    app: str
    address: str
    ports: tuple[int, ...]
    endpoints: tuple[str, ...]
    headless: Mapping[str, str]
    """Pod's host name to address, ready or not: the `<app>-endpoints` records."""


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the model's log."""

    number: int
    at: float
    unit: str
    """Unit's name, or empty for the model itself."""
    level: str
    text: str
    module: str = "unit"


@dataclass(frozen=True, slots=True)
class SecretView:
    """A secret as `juju secrets` and `juju show-secret` print it."""

    uri: str
    owner: str
    """Application's or unit's name, or `<model>` for a user's secret."""
    label: str
    revision: int
    rotation: str
    description: str
    created: float
    updated: float
    granted: tuple[str, ...]
    content: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """An action's state; results are flat, as action-set gave them."""

    id: str
    unit: str
    name: str
    params: Mapping[str, Any]
    status: Literal["pending", "running", "completed", "failed"]
    message: str = ""
    results: Mapping[str, Any] = field(default_factory=dict)
    log: tuple[str, ...] = ()
    enqueued: float = 0.0
    completed: float | None = None
