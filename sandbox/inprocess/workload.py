"""One unit's Wazuh, as the charm and its peers meet it: the supervisor's real state machine.

Daemons are names in a set; client.keys is its real text, treated by the supervisor's own
functions. What takes seconds in reality takes them here too, on the model's clock.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from supervisor import keys, machine
from supervisor.times import REAL, Times

from sandbox.inprocess.container import Box

ORDERS = "/etc/wazuh-server"
DAEMONS = frozenset(
    {
        *machine.FRONT,
        *machine.SESSIONS,
        "wazuh-modulesd",
    }
)
START = 2.0
"""Seconds from the start of the daemons to the last one's being up."""
STATE_NOTICE = "wazuh-server.local/state"
WAKE_NOTICE = "wazuh-server.local/wake"
REPOSITORY_NOTICE = "wazuh-server.local/repository"
RESULT = "/var/lib/wazuh-repository/result.json"


@dataclass(slots=True)
class Disk:
    """What a volume keeps."""

    memory: machine.Memory = field(default_factory=machine.Memory)
    keys: str = ""
    changed: float = 0.0

    def store(self, text: str, now: float) -> None:
        """Replace client.keys."""
        if text != self.keys:
            self.keys, self.changed = text, now


@dataclass(frozen=True, slots=True)
class Order:
    """What the charm pushed, taken whole."""

    desired: machine.Desired
    key: str
    """A digest of what all nodes must share to talk: the cluster's key."""
    ruleset: str | None = None


class Network(Protocol):
    """What a workload sees of the others."""

    def neighbours(self, node: str) -> list["Workload"]:
        """Other units whose pods are there and reachable."""
        ...

    def addresses(self, node: str) -> int:
        """How many other pods' addresses the headless name gives."""
        ...

    def kubernetes(self, node: str) -> bool:
        """Whether the Kubernetes API takes a connection."""
        ...


@dataclass(slots=True)
class Workload:
    """The supervisor and the daemons of one container."""

    node: str
    box: Box
    disk: Disk
    times: Times = REAL
    state: machine.State | None = None
    order: Order | None = None
    run: int = 0
    """Which start of Pebble's service `wazuh` this is."""
    running: frozenset[str] = frozenset()
    role: machine.Role | None = None
    follows: str = ""
    since: float = 0.0
    gathered: dict[str, str] = field(default_factory=dict)
    merged: int = 0
    woken: int = 0
    restarts: int = 0
    """How often all daemons were started."""
    cluster_restarts: int = 0
    """How often the cluster daemon alone was started again."""
    fetches: int = 0
    told: tuple[object, ...] = ()
    _raw: dict[str, bytes] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether the supervisor runs."""
        return self.state is not None

    @property
    def ready(self) -> bool:
        """What the ready check says: the baked-in one fails until the supervisor answers."""
        return self.state is not None and self.state.ready

    @property
    def serves(self) -> bool:
        """Whether this unit is master and workers may connect."""
        return self.role == "master" and machine.CLUSTER in self.running

    def tick(self, network: Network, now: float) -> list[str]:
        """Take one step; gives the notices to send."""
        self._service(now)
        notices = self._fetch()
        if self.state is None:
            return notices
        self._read()
        seen = self._look(network, now)
        desired = self.order.desired if self.order else None
        self.state, actions = machine.step(self.state, desired, seen, now, self.times)
        for action in actions:
            notices += self._do(action, network, now)
        self._replicate(network, now)
        return notices + self._report()

    # -- what Pebble runs ------------------------------------------------------------------

    def _service(self, now: float) -> None:
        """Start with Pebble's service, or start anew with it; end with it."""
        if "wazuh" not in self.box.running:
            self.state, self.running, self.role = None, frozenset(), None
            return
        if self.box.runs["wazuh"] == self.run:
            return
        self.run = self.box.runs["wazuh"]
        self.state = machine.begin(self.node, now)
        self.running, self.role, self.follows = frozenset(), None, ""
        self.gathered, self.merged = {}, 0

    def _fetch(self) -> list[str]:
        """Run the one-shot service that fetches the repository: every request gets a commit."""
        if self.box.runs.get("repository", 0) == self.fetches:
            return []
        self.fetches = self.box.runs["repository"]
        self.box.stop("repository")
        asked = json.loads(self.box.read(f"{ORDERS}/repository.json") or "{}")
        commit = hashlib.sha256(str(asked.get("url")).encode()).hexdigest()[:40]
        result = {"request": asked.get("request", ""), "commit": commit, "error": None}
        self.box.write(RESULT, json.dumps(result))
        return [REPOSITORY_NOTICE]

    # -- what the charm ordered --------------------------------------------------------------

    def _read(self) -> None:
        """Take a new order only whole: every listed file with its digest."""
        raw = self.box.files.get(f"{ORDERS}/desired.json")
        if raw is None or self._raw.get("desired") == raw.content:
            return
        content = json.loads(raw.content)
        for path, entry in content["files"].items():
            found = self.box.files.get(f"{ORDERS}/files/{path}")
            if found is None or hashlib.sha256(found.content).hexdigest() != entry["sha256"]:
                return
        self._raw["desired"] = raw.content
        self.order = Order(_desired(content), self._key(), _commit(content))

    def _key(self) -> str:
        text = self.box.read(f"{ORDERS}/files/etc/ossec.conf") or ""
        return hashlib.sha256(
            text.partition("<key>")[2].partition("</key>")[0].encode()
        ).hexdigest()

    # -- what the machine sees and wants ---------------------------------------------------

    def _look(self, network: Network, now: float) -> machine.Seen:
        others = network.neighbours(self.node)
        complete = self.role is not None and now >= self.since + START
        return machine.Seen(
            memory=self.disk.memory,
            keys=_summary(self.disk.keys),
            quiet=now - self.disk.changed,
            database="wazuh-db" in self.running,
            running=self.running,
            role=self.role,
            complete=complete,
            connected=self._connected(others) if self.role == "worker" else None,
            peers=network.addresses(self.node),
            answers=tuple(_answers(others, now)),
            gathered={node: _summary(text) for node, text in self.gathered.items()},
            merged=self.merged,
            kubernetes=network.kubernetes(self.node),
            api=complete and machine.API in self.running,
            token=f"{self.node}-{self.box.boot}-{self.run}",
            wake=self.woken,
        )

    def master(self, others: Iterable["Workload"]) -> "Workload | None":
        """Give the node this one is connected to, which accepts it: same key, a master."""
        if self.role != "worker" or machine.CLUSTER not in self.running or not self.order:
            return None
        for other in others:
            if other.node == self.follows and other.serves and other.order:
                return other if other.order.key == self.order.key else None
        return None

    def _connected(self, others: Iterable["Workload"]) -> bool:
        return self.master(others) is not None

    def _do(self, action: machine.Action, network: Network, now: float) -> list[str]:
        match action:
            case machine.Remember(memory):
                self.disk.memory = memory
            case machine.Ask(nodes):
                for other in network.neighbours(self.node):
                    if other.node in nodes and other.alive:
                        self.gathered[other.node] = other.disk.keys
            case machine.Merge(attempt, reserve):
                self._merge(attempt, reserve, now)
            case machine.Wake(value):
                self.woken = value
                return [WAKE_NOTICE]
            case machine.Run():
                self._run(action, now)
        return []

    def _merge(self, attempt: int, reserve: int | None, now: float) -> None:
        texts = [self.disk.keys, *(self.gathered[node] for node in sorted(self.gathered))]
        text = keys.merge(texts).text
        if reserve is not None:
            text = keys.reserve(text, reserve)
        self.disk.store(text, now)
        self.merged = attempt

    def _run(self, wanted: machine.Run, now: float) -> None:
        """Bring the daemons to what shall run."""
        if wanted.role is None:
            self.running -= wanted.without
            return
        if self.role != wanted.role:
            self.role, self.follows, self.since = wanted.role, wanted.master, now
            self.restarts += 1
        elif self.follows != wanted.master:
            self.follows = wanted.master
            self.cluster_restarts += 1
        self.running = DAEMONS - wanted.without

    def _replicate(self, network: Network, now: float) -> None:
        """Have the master's keys in place of a worker's: what the master lacks is deleted."""
        master = self.master(network.neighbours(self.node))
        if master is not None:
            self.disk.store(master.disk.keys, now)

    def enrol(self, name: str, now: float) -> int | None:
        """Enrol an agent here as master; gives its id, None when enrolment is closed."""
        if not self.serves or machine.ENROLMENT not in self.running:
            return None
        number = _summary(self.disk.keys).highest + 1
        self.disk.store(f"{self.disk.keys}{number:03d} {name} any {number:064d}\n", now)
        return number

    # -- what the charm is told ------------------------------------------------------------

    def _report(self) -> list[str]:
        state = self.state
        if state is None:
            return []
        report = {
            "schema": 1,
            "epoch": state.memory.term.epoch,
            "role": self.role or "",
            "phase": state.phase,
            "sentence": state.sentence,
            "since": f"{state.since:.0f}",
            "ready": state.ready,
            "keys": state.keys.agents,
            "highest-id": state.keys.highest,
            "contested": state.contested,
            "version": "v4.14.7",
            "ruleset": {"commit": self.order.ruleset if self.order else None, "error": None},
            "wake": self.woken,
        }
        told = (state.phase, state.ready, report["epoch"], self.box.boot, self.run)
        self.box.write("/run/wazuh-server/state.json", json.dumps(report))
        if told == self.told:
            return []
        self.told = told
        return [STATE_NOTICE]


@functools.lru_cache(maxsize=256)
def _summary(text: str) -> machine.Keys:
    return keys.summary(text)


def _answers(others: Iterable[Workload], now: float) -> list[machine.Answer]:
    found = []
    for other in others:
        if other.state is not None:
            answer = machine.status(other.state)
            found.append(machine.replace(answer, heard=now))
    return found


def _commit(content: Mapping[str, object]) -> str | None:
    ruleset = content.get("ruleset")
    return str(ruleset.get("commit")) if isinstance(ruleset, dict) else None


def _desired(content: Mapping[str, object]) -> machine.Desired:
    """Read the machine's part of desired.json."""
    return machine.Desired(
        epoch=int(str(content["epoch"])),
        role="master" if content["role"] == "master" else "worker",
        node=str(content["node"]),
        master=str(content["master"]),
        enrolment=content.get("enrolment") is True,
        high_water=int(str(content.get("high-water", 0))),
        wake=int(str(content.get("wake", 0))),
    )
