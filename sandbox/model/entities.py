"""The model's own state: plain records without behaviour beyond looking into themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sandbox.model.values import HookSpec

Data = dict[str, str]


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of the virtual clock; sources are named where not obvious."""

    lease: float = 60.0
    """A claim of leadership (Juju: cmd/containeragent/unit/agent.go)."""
    renewal: float = 30.0
    retry_first: float = 5.0
    retry_last: float = 300.0
    """Back-off of a failed hook: 5, 10, 20, 40 … (worker/common/retrystrategy)."""
    poll: float = 5.0
    """Juju asks Pebble for its boot id this often (pebblepoller.go)."""
    secret_least: float = 1.5
    secret_most: float = 2.6
    """From the commit of a revision to secret-changed, as seen on Juju 4.0.15."""
    update_status: float = 300.0
    grace: float = 30.0
    """SIGTERM to SIGKILL of a pod."""
    kubelet_restart: float = 70.0
    """A frozen charm container is restarted by its failing probe."""
    removed_leader: float = 5.0
    """From a removed leader's death to the next one's election."""


@dataclass(frozen=True, slots=True)
class Option:
    """A configuration option as the charm declares it."""

    name: str
    type: str
    default: Any = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A relation endpoint of a charm."""

    name: str
    interface: str
    role: Literal["requires", "provides", "peers"]


@dataclass(frozen=True, slots=True)
class StorageSpec:
    """A storage of a charm, and where containers mount it."""

    name: str
    kind: str
    mounts: Mapping[str, str]
    """Container to location."""


@dataclass(frozen=True, slots=True)
class CharmSpec:
    """What the model needs of a charmcraft.yaml."""

    name: str
    revision: int
    options: Mapping[str, Option]
    endpoints: Mapping[str, Endpoint]
    containers: tuple[str, ...]
    storages: Mapping[str, StorageSpec]
    actions: Mapping[str, Mapping[str, Any]]
    raw: Mapping[str, Any]


@dataclass(slots=True)
class Status:
    """A workload or application status."""

    status: str = "waiting"
    message: str = "installing agent"
    since: float = 0.0


@dataclass(slots=True)
class Lease:
    """Leadership of an application. `anchor` is a renewal; `ends` is set when they stop."""

    holder: str | None = None
    anchor: float = 0.0
    ends: float | None = None
    serial: int = 0


@dataclass(slots=True)
class Bag:
    """A databag and its version, which grows with each real change."""

    data: Data = field(default_factory=dict)
    version: int = 0


@dataclass(slots=True)
class Relation:
    """A relation: databags by member, and which units have entered its scope."""

    id: int
    endpoints: dict[str, str]
    """Application to endpoint; one item for a peer relation."""
    interface: str
    apps: dict[str, Bag] = field(default_factory=dict)
    units: dict[str, Bag] = field(default_factory=dict)
    scope: set[str] = field(default_factory=set)
    dying: bool = False
    suspended: bool = False

    @property
    def is_peer(self) -> bool:
        """Whether it relates an application to itself."""
        return len(self.endpoints) == 1

    def other(self, app: str) -> str:
        """Give the application at the other side (itself for peers)."""
        return next((name for name in self.endpoints if name != app), app)


@dataclass(slots=True)
class LocalRelation:
    """What one unit's agent has committed of a relation."""

    created: bool = False
    members: dict[str, int] = field(default_factory=dict)
    apps: dict[str, int] = field(default_factory=dict)
    changed_next: str | None = None
    """A unit whose joined hook is done and whose changed hook must follow at once."""
    muted: set[str] = field(default_factory=set)
    """Units whose departure this unit never hears of."""
    broken: bool = False


@dataclass(slots=True)
class Revision:
    """One content of a secret."""

    number: int
    content: Data
    created: float
    expires: float | None = None
    expired_told: bool = False


@dataclass(slots=True)
class Secret:
    """A secret. The owner is an application, a unit, or the model (a user's secret)."""

    uri: str
    owner: str
    owner_kind: Literal["application", "unit", "model"]
    label: str = ""
    description: str = ""
    rotate: str = "never"
    rotates_at: float | None = None
    revisions: dict[int, Revision] = field(default_factory=dict)
    grants: dict[str, str] = field(default_factory=dict)
    """Application or unit to the relation it was granted over (empty for a user's secret)."""
    created: float = 0.0
    updated: float = 0.0

    @property
    def latest(self) -> int:
        """Number of the newest revision."""
        return max(self.revisions)


@dataclass(slots=True)
class Consumer:
    """What one unit follows of one secret."""

    tracked: int
    told: int = 0
    """Newest revision of which secret-changed was committed or made needless."""
    heard: int = 0
    """Newest revision the unit's agent has been sent word of."""
    label: str = ""


@dataclass(slots=True)
class Volume:
    """A persistent volume claim of a unit."""

    name: str
    storage: str
    """Storage id such as `data/0`."""


@dataclass(slots=True)
class Notice:
    """A Pebble notice that a container keeps until it restarts."""

    id: str
    type: str
    key: str


@dataclass(slots=True)
class Container:
    """A workload container: `boot` grows with each restart."""

    name: str
    boot: int = 0
    up: bool = False
    boot_id: str | None = None
    probe: bool | None = None
    """What its ready probe says; None before the runner said anything."""
    notices: dict[str, Notice] = field(default_factory=dict)
    failed_checks: set[str] = field(default_factory=set)
    replay: list[HookSpec] = field(default_factory=list)
    """Check events a restarted agent sees again."""


PodPhase = Literal["absent", "pending", "running", "terminating"]


@dataclass(slots=True)
class Pod:
    """A unit's pod."""

    uid: int = 0
    address: str = ""
    phase: PodPhase = "absent"
    charm_boot: int = 0
    started: bool = False
    """`start` is committed in this charm container and `stop` is not: its probe is ready."""
    containers: dict[str, Container] = field(default_factory=dict)
    reachable: bool = True
    frozen: bool = False


@dataclass(slots=True)
class Unit:
    """A unit: what its agent has committed, and what waits to be run."""

    name: str
    app: str
    number: int
    life: Literal["alive", "dying", "dead"] = "alive"
    pod: Pod = field(default_factory=Pod)
    volumes: dict[str, Volume] = field(default_factory=dict)
    charm_revision: int = 0
    status: Status = field(default_factory=Status)
    agent: Status = field(default_factory=lambda: Status("allocating", ""))
    charm_state: Data = field(default_factory=dict)
    ports: set[str] = field(default_factory=set)
    installed: bool = False
    upgrade_due: bool = False
    start_due: bool = False
    stop_done: bool = False
    config_seen: int = -1
    config_again: bool = False
    config_twice: bool = False
    """`juju config` makes config-changed twice (seen on 4.0.15)."""
    address_seen: str = ""
    leader_told: bool = False
    minion_told: bool = False
    attached: set[str] = field(default_factory=set)
    detached: set[str] = field(default_factory=set)
    attach_ready: set[str] = field(default_factory=set)
    relations: dict[int, LocalRelation] = field(default_factory=dict)
    consumers: dict[str, Consumer] = field(default_factory=dict)
    secret_events: list[HookSpec] = field(default_factory=list)
    removals_told: set[tuple[str, int]] = field(default_factory=set)
    workload_events: list[HookSpec] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    update_status_due: bool = False
    pending: HookSpec | None = None
    """A failed hook: nothing but actions runs before it succeeds or is resolved."""
    failures: int = 0
    retry_at: float | None = None
    in_flight: int | None = None
    """Number of the hook being run."""
    removed: bool = False

    @property
    def agent_runs(self) -> bool:
        """Whether the charm container runs and is not frozen."""
        return self.pod.phase in {"running", "terminating"} and not self.pod.frozen

    @property
    def renews(self) -> bool:
        """Whether its agent can renew a lease."""
        return self.agent_runs and self.pod.reachable and not self.removed


@dataclass(slots=True)
class Application:
    """An application and what belongs to all its units."""

    name: str
    charm: CharmSpec
    scale: int
    address: str
    scripted: bool = False
    trusted: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    config_version: int = 0
    lease: Lease = field(default_factory=Lease)
    status: Status = field(default_factory=lambda: Status("unset", ""))
    version: str = ""
    doomed: set[str] = field(default_factory=set)
    """Units being removed: a scale-down that is not finished."""
    refreshing: list[str] = field(default_factory=list)
    """Units that a refresh still has to replace, next one first."""
    removing: bool = False


@dataclass(slots=True)
class Action:
    """An action that was asked for."""

    id: str
    unit: str
    name: str
    params: dict[str, Any]
    enqueued: float
    status: Literal["pending", "running", "completed", "failed"] = "pending"
    message: str = ""
    results: dict[str, Any] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    completed: float | None = None
