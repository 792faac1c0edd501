"""One unit's Wazuh, as the charm and its peers meet it: the supervisor's real state machine.

Daemons are names in a set; client.keys is its real text, treated by the supervisor's own
functions. What takes seconds in reality takes them here too, on the model's clock.
"""

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from supervisor import deletions, keys, machine, master_state, parts, returners, users
from supervisor.times import REAL, Times

from sandbox.inprocess.container import Box
from sandbox.inprocess.effects import Killed
from sandbox.inprocess.ledger import Ledger, removed
from sandbox.inprocess.people import People
from sandbox.inprocess.returned import Api, Deleted, Shelf
from sandbox.inprocess.taken import USERS, Secrets, Taken

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
WRITE = 0.5
"""Seconds for which authd keeps what it has acknowledged before it writes it."""
HASH = 8.0
"""Seconds between two looks of a master at its files (cluster.json)."""
COPY = 9.0
"""Seconds between two integrity checks of a worker (cluster.json)."""
STATE_NOTICE = "wazuh-server.local/state"
WAKE_NOTICE = "wazuh-server.local/wake"
REPOSITORY_NOTICE = "wazuh-server.local/repository"
RESULT = "/var/lib/wazuh-repository/result.json"
PREPARED = "/run/wazuh-server/master-state"
GIVEN = f"{ORDERS}/master-state.json"


@dataclass(slots=True)
class Disk:
    """What a volume keeps."""

    name: str = ""
    unit: str = ""
    ledger: Ledger = field(default_factory=Ledger)
    memory: machine.Memory = field(default_factory=machine.Memory)
    keys: str = ""
    changed: float = 0.0
    aside: dict[int, str] = field(default_factory=dict)
    """Keys from before each master that this unit followed, by that master's epoch."""
    returned: str = ""
    """Which of them are settled, as the supervisor records it."""
    people: People = field(default_factory=People)
    deleted: deletions.Record = field(default_factory=deletions.Record)

    def store(self, text: str, now: float) -> None:
        """Replace client.keys."""
        if text != self.keys:
            self.ledger.held(self.keys, text, self.name, now)
            self.keys, self.changed = text, now


@dataclass(frozen=True, slots=True)
class Order:
    """What the charm pushed, taken whole."""

    desired: machine.Desired
    secrets: Secrets
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

    def delivered(self) -> bool:
        """Whether a question to a peer gets its answer this time."""
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
    starts: int = 0
    """How many supervisors there were in this container."""
    running: frozenset[str] = frozenset()
    role: machine.Role | None = None
    follows: str = ""
    since: float = 0.0
    gathered: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    """What the others keep for the master beside their keys."""
    watched: tuple[str, str] = ("", "")
    """The takeover that this unit serves from, and its client.keys at the last look."""
    gathered_for: int = 0
    """The epoch for which keys were asked."""
    answers: dict[str, machine.Answer] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)
    """What authd has acknowledged and not written."""
    write_at: float = 0.0
    offered: str = ""
    """What a master's cluster daemon gives to workers: its files at its last look."""
    hashed: float = 0.0
    source: tuple[str, int, int] | None = None
    """Which process of which master this worker is connected to."""
    copy_at: float = 0.0
    users: dict[str, str] = field(default_factory=dict, repr=False)
    """The API's users and passwords, once set."""
    gate: Callable[[str], None] | None = None
    """Called before each of the supervisor's effects; it may raise `Killed`."""
    merged: int = 0
    woken: int = 0
    restarts: int = 0
    """How often all daemons were started."""
    taken: Taken = field(default_factory=Taken)
    """What the daemons that run were started with."""
    cluster_restarts: int = 0
    """How often the cluster daemon alone was started again."""
    fetches: int = 0
    told: tuple[object, ...] = ()
    ending: bool = False
    """Whether the pod is being ended for good: no daemon runs, the supervisor may still answer."""
    keeper: returners.Returners | None = None
    """Puts agents back that only this volume keeps."""
    looked: float = 0.0
    """When it last looked for them."""
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
    def key(self) -> str:
        """A digest of the cluster's key in force: what all nodes must share to talk."""
        return self.taken.secrets.key

    @property
    def serves(self) -> bool:
        """Whether this unit is master and workers may connect."""
        return self.role == "master" and machine.CLUSTER in self.running

    def logs_in(self, user: str, password: str) -> bool:
        """Tell whether the API here, as master, takes a user's password."""
        up = self.role == "master" and machine.API in self.running
        return up and self.users.get(user) == password

    def tick(self, network: Network, now: float) -> list[str]:
        """Take one step; gives the notices to send."""
        if not self.ending:
            self._service(now)
        notices = self._fetch()
        if self.state is None:
            return notices
        self._write(now)
        try:
            notices += self._step(self.state, network, now)
            self._put_back(network, now)
        except Killed:
            self.end("killed")
            self.run = 0  # Pebble starts the service again
            return notices
        self._serve_keys(now)
        self._replicate(network, now)
        return notices + self._report()

    def _step(self, state: machine.State, network: Network, now: float) -> list[str]:
        """Take one step of the machine and carry out what it wants."""
        self._read()
        self._watch(state)
        seen = self._look(network, now)
        desired = self.order.desired if self.order else None
        self.state, actions = machine.step(state, desired, seen, now, self.times)
        return [key for action in actions for key in self._do(action, network, now)]

    def _watch(self, state: machine.State) -> None:
        """Follow what this unit alone writes, as master."""
        before, serves = self.watched, machine.writes(state, self.role)
        if serves and before[0] == serves and before[1] != self.disk.keys:
            self.disk.deleted = self.disk.deleted.follow(before[1], self.disk.keys)
        self.watched = (serves, self.disk.keys)

    def end(self, reason: str) -> None:
        """Have the supervisor and all daemons end at once."""
        self._drop(reason)
        self.state, self.running, self.role, self.source = None, frozenset(), None, None
        self.answers, self.gathered = {}, {}

    def _drop(self, reason: str) -> None:
        """Lose what authd has not written: it writes nothing when it ends."""
        self.disk.ledger.dropped(self.pending, reason)
        self.pending = []

    def _pass(self, effect: str) -> None:
        """Let the gate look at an effect before it happens."""
        if self.gate is not None:
            self.gate(f"{self.node} {effect}")

    def part(self, now: float) -> None:
        """Take SIGTERM for good: all daemons are down in their order, authd when it is quiet."""
        if self.state is not None:
            self.write_at = now
            self._write(now)
        self.ending, self.running, self.role, self.source = True, frozenset(), None, None

    def has_to_give(self) -> bool:
        """Tell whether the supervisor stays for the next master to take the keys over."""
        leaves = f"{ORDERS}/leaving" in self.box.files
        return leaves and self.state is not None and machine.has_to_give(self.state)

    # -- agents that only this volume keeps --------------------------------------------------

    def has_to_return(self) -> bool:
        """Tell whether keys are kept here of which it is not settled that the master has them."""
        return bool(self.disk.aside) and self.keeper is not None and bool(self.keeper.due())

    def _put_back(self, network: Network, now: float) -> None:
        """Look after them now and then, as the supervisor's own thread does."""
        if self.state is None or self.keeper is None or now < self.looked + returners.LOOK:
            return
        self.looked = now
        if not returners.is_open(self.state):
            return
        answers = self.answers.values()
        sure = returners.has_masters_keys(self.state, answers)
        if not returners.has_masters_deletions(self.state, answers, self.disk.deleted.digest):
            return
        with contextlib.suppress(users.UsersError):
            self.keeper.look(Api(lambda call: self._pass_on(call, network), now), now, sure=sure)

    def _pass_on(self, call: str, network: Network) -> "Workload | None":
        """Have this unit's API pass a call on to the master's authd; None: it reaches none."""
        self._pass(call)
        return self if self.role == "master" else self.master(network.neighbours(self.node))

    @property
    def lets_in(self) -> bool:
        """Tell whether authd answers here as master's."""
        return self.serves and machine.ENROLMENT in self.running

    def insert(self, line: keys.Line, now: float) -> bool:
        """Add an agent with its id and key here as master; False when it is refused."""
        known = [*keys.parse(self.disk.keys), *keys.parse("\n".join(self.pending))]
        if any(one.id == line.id or (one.name == line.name and not one.removed) for one in known):
            return False
        self._acknowledge(line.text, now)
        return True

    # -- what Pebble runs ------------------------------------------------------------------

    def _service(self, now: float) -> None:
        """Start with Pebble's service, or start anew with it; end with it."""
        if "wazuh" not in self.box.running:
            self.end("stopped")
            return
        if self.box.runs["wazuh"] == self.run:
            return
        self.end("stopped")
        self.run, self.starts = self.box.runs["wazuh"], self.starts + 1
        self.state = machine.begin(self.node, now)
        deleted = Deleted(self.disk)
        self.keeper = returners.Returners(Shelf(self.disk), deleted, lambda: self.looked)
        self.looked, self.watched = now, ("", "")
        self.follows, self.merged = "", 0
        self.taken = Taken()

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
        password = self.box.read(f"{ORDERS}/files/etc/authd.pass") or ""
        wanted = parts.of(_generations(content))
        secrets = Secrets(wanted, self._key(), password.strip())
        self.order = Order(_desired(content), secrets, _commit(content))

    def _key(self) -> str:
        text = self.box.read(f"{ORDERS}/files/etc/ossec.conf") or ""
        return hashlib.sha256(
            text.partition("<key>")[2].partition("</key>")[0].encode()
        ).hexdigest()

    # -- what the machine sees and wants ---------------------------------------------------

    def _look(self, network: Network, now: float) -> machine.Seen:
        others = network.neighbours(self.node)
        self._ask(others, network, now)
        self._gossip(others, network)
        complete = self.role is not None and now >= self.since + START
        given = self._given()
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
            answers=tuple(self.answers.values()),
            gathered={node: _summary(text) for node, text in self.gathered.items()},
            returns=self.keeper.many() if self.keeper else "",
            forgotten=bool(self.disk.deleted.digest) and self.disk.deleted.covers(self.disk.keys),
            merged=self.merged,
            kubernetes=network.kubernetes(self.node),
            api=complete and machine.API in self.running,
            rbac=self.disk.people.edition,
            restored=None if given is None else _summary(given.keys or ""),
            known=given.highest if given else 0,
            token=f"{self.node}-{self.box.boot}-{self.starts}",
            wake=self.woken,
            leaving=f"{ORDERS}/leaving" in self.box.files,
            parts=self.taken.in_force(self.running),
        )

    def _ask(self, others: Iterable["Workload"], network: Network, now: float) -> None:
        """Ask every peer for its status; what gets no answer leaves the last one standing."""
        for other in others:
            if other.state is not None and network.delivered():
                answer = machine.status(other.state)
                deleted = other.disk.deleted.digest
                self.answers[other.node] = machine.replace(answer, heard=now, deleted=deleted)

    def _gossip(self, others: Iterable["Workload"], network: Network) -> None:
        """Copy what people made here as master; keep the newest copy of anybody's."""
        people = self.disk.people
        people.take(self.disk.memory, self.node)
        for other in others:
            if other.state is not None and network.delivered():
                people.keep(other.disk.people.copy)
                if other.disk.deleted.digest not in ("", self.disk.deleted.digest):
                    self.disk.deleted = self.disk.deleted.unite(other.disk.deleted)

    def _given(self) -> master_state.State | None:
        """Read what the charm gave of `master-state`; None as long as it did not."""
        text = self.box.read(GIVEN)
        if text is None:
            return None
        content = json.loads(text)["content"]
        found = master_state.State() if content is None else master_state.load(content)
        self.disk.people.load(found.people)
        return found

    def _prepare(self, state: machine.State) -> str:
        """Prepare what `master-state` is to hold; gives its digest."""
        if state.phase == "serving" and state.memory.synchronised:
            text = self.disk.keys
            found = master_state.State(_summary(text).highest, text, self.disk.people.dump())
            self.box.write(PREPARED, master_state.dump(found))
            if self.role == "master":
                self.box.files.pop(GIVEN, None)
        prepared = self.box.read(PREPARED)
        return hashlib.sha256(prepared.encode()).hexdigest() if prepared else ""

    def master(self, others: Iterable["Workload"]) -> "Workload | None":
        """Give the node this one is connected to, which accepts it: same key, a master."""
        if self.role != "worker" or machine.CLUSTER not in self.running or not self.order:
            return None
        for other in others:
            if other.node == self.follows and other.serves and other.order:
                return other if other.key == self.key else None
        return None

    def _connected(self, others: Iterable["Workload"]) -> bool:
        return self.master(others) is not None

    def _do(self, action: machine.Action, network: Network, now: float) -> list[str]:
        match action:
            case machine.Remember(memory):
                self._pass("remember")
                self.disk.memory = memory
            case machine.Ask(nodes, epoch):
                self._gather(nodes, epoch, network)
            case machine.Merge(attempt, reserve):
                if attempt != self.merged:
                    self._pass("merge")
                    self._merge(attempt, reserve, now)
            case machine.Wake(value):
                self._pass("wake")
                self.woken = value
                return [WAKE_NOTICE]
            case machine.Run():
                self._run(action, now)
        return []

    def _gather(self, nodes: frozenset[str], epoch: int, network: Network) -> None:
        """Fetch keys from those who answer; another epoch's are forgotten."""
        if epoch != self.gathered_for:
            self.gathered, self.kept, self.gathered_for = {}, {}, epoch
        for other in network.neighbours(self.node):
            if other.node in nodes and other.alive and network.delivered():
                self._pass(f"gather {other.node}")
                self.gathered[other.node] = other.disk.keys
                self.kept[other.node] = other.keeper.todo() if other.keeper else ""

    def _merge(self, attempt: int, reserve: int | None, now: float) -> None:
        """Unite as the supervisor does: the old master's copy first, then by name."""
        memory = self.disk.memory
        if memory.serving.master == self.node:
            texts = [self.disk.keys, *(self.gathered[node] for node in sorted(self.gathered))]
        else:
            old = memory.serving.master
            ranked = sorted(self.gathered, key=lambda node: (node != old, node))
            texts = [*(self.gathered[node] for node in ranked), self.disk.keys]
        given = self._given() or master_state.State()
        self.disk.people.inherit(memory, self.node)
        text = self.disk.deleted.without(keys.merge([*texts, given.keys or ""]).text)
        own = self.keeper.todo() if self.keeper else ""
        kept = [own, *(self.kept[node] for node in sorted(self.kept))]
        text = returners.fold(text, kept, self.disk.deleted)
        if reserve is not None:
            text = keys.reserve(text, reserve)
        self.disk.store(text, now)
        self.merged = attempt

    def _run(self, wanted: machine.Run, now: float) -> None:
        """Bring the daemons to what shall run."""
        if self.ending:
            return
        before = self.role, self.follows, self.running
        if wanted.role is None:
            self._keep(self.running - wanted.without)
            return
        if wanted.role == "worker" and self.state:
            self.disk.aside.setdefault(self.state.memory.term.epoch, self.disk.keys)
        away = self.taken.away(now)
        if before != (wanted.role, wanted.master, DAEMONS - wanted.without - away):
            self._pass(f"run {wanted.role} {sorted(wanted.without)}")
        if self.role != wanted.role:
            self._drop("stopped")
            self.role, self.follows, self.since = wanted.role, wanted.master, now
            self.restarts += 1
            self.taken = Taken(self.order.secrets) if self.order else Taken()
        elif self.follows != wanted.master:
            self.follows = wanted.master
            self.cluster_restarts += 1
        self._take_up(wanted, now)
        self._keep(DAEMONS - wanted.without - self.taken.away(now))

    def _take_up(self, wanted: machine.Run, now: float) -> None:
        """Have the order in force as far as it is this unit's turn; users by the API."""
        if self.order is None:
            return
        for name in self.taken.due(self.order.secrets, wanted.hold):
            self._pass(f"change {name} alone")
            self.taken = self.taken.after(self.order.secrets, name, now)
            self.cluster_restarts += name == machine.CLUSTER
            if name == USERS:
                self._set_users()

    def _keep(self, daemons: frozenset[str]) -> None:
        """Have these daemons run; before its API starts a unit's users are set."""
        if machine.ENROLMENT not in daemons:
            self._drop("stopped")
        if machine.API in daemons and machine.API not in self.running:
            self._set_users()
        self.running = daemons

    def _set_users(self) -> None:
        text = self.box.read(f"{ORDERS}/users.json")
        if text:
            self.users = {name: one["password"] for name, one in json.loads(text).items()}

    def _serve_keys(self, now: float) -> None:
        """Have a master's cluster daemon look at its files every few seconds."""
        if not self.serves:
            self.hashed = 0.0
        elif not self.hashed or now >= self.hashed + HASH:
            self.offered, self.hashed = self.disk.keys, now

    def _replicate(self, network: Network, now: float) -> None:
        """Have the master's keys in place of a worker's: what the master lacks is deleted."""
        master = self.master(network.neighbours(self.node))
        source = (master.node, master.box.boot, master.starts) if master else None
        if master is None or source != self.source:
            self.source, self.copy_at = source, now + COPY
            return
        if now >= self.copy_at and master.hashed:
            self.copy_at = now + COPY
            self.disk.store(master.offered, now)

    # -- what agents and people ask for ------------------------------------------------------

    def enrol(self, name: str, now: float) -> int | None:
        """Enrol an agent here as master; gives its id, None when enrolment is closed."""
        if not self.serves or machine.ENROLMENT not in self.running:
            return None
        texts = [self.disk.keys, *(f"{line}\n" for line in self.pending)]
        number = max(_summary(text).highest for text in texts) + 1
        key = hashlib.sha256(f"{name} {number}".encode()).hexdigest()
        self._acknowledge(f"{number:03d} {name} any {key}", now)
        return number

    def lines(self) -> list[str]:
        """Give the lines of agents in use."""
        return [one.text for one in keys.parse(self.disk.keys) if not one.removed]

    def enrol_through(self, network: Network, name: str, now: float) -> int | None:
        """Enrol an agent that asks this unit: a worker passes it on to its master."""
        if machine.ENROLMENT not in self.running or now < self.since + START:
            return None
        master = self if self.role == "master" else self.master(network.neighbours(self.node))
        return master.enrol(name, now) if master else None

    def make_user(self, name: str) -> bool:
        """Make an API user here as master; False when the API is closed."""
        if not self.serves or machine.API not in self.running:
            return False
        self.disk.people.made |= {name}
        return True

    def purge(self, line: str, now: float) -> bool:
        """Delete an agent for good here as master: no line of it stays."""
        if not self.lets_in or self.pending or line not in self.disk.keys.splitlines():
            return False
        self.disk.ledger.purged(line, now, self.node)
        self.disk.store(self.disk.keys.replace(f"{line}\n", ""), now)
        return True

    def remove(self, line: str, now: float) -> bool:
        """Remove an agent here as master; its line stays, marked."""
        if not self.lets_in or self.pending:
            return False
        if line not in self.disk.keys.splitlines():
            return False
        gone = removed(line)
        self.disk.ledger.acknowledged(gone, now, self.node, removal=True)
        self.disk.store(self.disk.keys.replace(f"{line}\n", f"{gone}\n"), now)
        return True

    def _acknowledge(self, line: str, now: float) -> None:
        if not self.pending:
            self.write_at = now + WRITE
        self.pending.append(line)
        self.disk.ledger.acknowledged(line, now, self.node)

    def _write(self, now: float) -> None:
        """Have authd write what it acknowledged some time ago."""
        if self.pending and now >= self.write_at and "wazuh-db" in self.running:
            text = "".join(f"{line}\n" for line in self.pending)
            self.pending = []
            self.disk.store(self.disk.keys + text, now)

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
            "orphaned": state.orphaned,
            "conflicts": self.keeper.conflicts() if self.keeper else [],
            "asks": state.asks,
            "prepared": self._prepare(state),
            "keys-prepared": True,
            "serving": state.memory.serving.epoch,
            "answering": list(state.answering),
            "version": "v4.14.7",
            "ruleset": {"commit": self.order.ruleset if self.order else None, "error": None},
            "in-force": state.in_force.by_name(),
            "wake": self.woken,
        }
        news = (state.phase, state.asks, state.ready, state.orphaned, report["epoch"])
        in_force = tuple(state.in_force.by_name().items())
        told = (*news, self.box.boot, self.starts, in_force)
        self.box.write("/run/wazuh-server/state.json", json.dumps(report))
        if told == self.told:
            return []
        self.told = told
        return [STATE_NOTICE]


@functools.lru_cache(maxsize=256)
def _summary(text: str) -> machine.Keys:
    return keys.summary(text)


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
        regardless=content.get("regardless") is True,
        wake=int(str(content.get("wake", 0))),
        parts=parts.of(_generations(content)),
    )


def _generations(content: Mapping[str, object]) -> Mapping[str, object]:
    found = content.get("generations")
    return found if isinstance(found, dict) else {}
