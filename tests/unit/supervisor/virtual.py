"""N units' state machines on one virtual clock, with a network that loses what it likes.

Each unit carries out its machine's orders with delays; a `Juju` hands out who is master. What a
cut takes away is everything: peers and the Kubernetes API alike.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from supervisor.machine import (
    API,
    CLUSTER,
    ENROLMENT,
    FRONT,
    SESSIONS,
    WRITERS,
    Answer,
    Ask,
    Desired,
    Keys,
    Memory,
    Merge,
    Remember,
    Run,
    Seen,
    State,
    begin,
    status,
    step,
)
from supervisor.times import REAL

TICK = 0.5
START_SECONDS = 12.0
STOP_SECONDS = 2.0
SYNCHRONISED_EVERY = 9.0
ALL = frozenset({*SESSIONS, *FRONT})


@dataclass
class Unit:
    """One machine: a volume that stays, and a process that comes and goes."""

    node: str
    memory: Memory = field(default_factory=Memory)
    keys: dict[int, str] = field(default_factory=dict)
    desired: Desired | None = None
    state: State | None = None
    running: set[str] = field(default_factory=set)
    role: str | None = None
    points_to: str = ""
    ready_at: float = 0.0
    stopping: dict[str, float] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()
    gathered: dict[str, tuple[Keys, dict[int, str]]] = field(default_factory=dict)
    merged: int = 0
    changed: float = 0.0
    synchronised: float = 0.0
    last: Run = field(default_factory=Run)
    generation: int = 0
    leaving: bool = False
    version: str = "v4.14.7"
    history: list[str] = field(default_factory=list)

    @property
    def enrols(self) -> bool:
        """Hands out ids: the one thing only one unit may do."""
        return self.role == "master" and ENROLMENT in self.running

    def summary(self) -> Keys:
        """Sum the keys up as the real file is."""
        active = sum(not name.startswith("!") for name in self.keys.values())
        return Keys(active, max(self.keys, default=0), str(sorted(self.keys.items())))


class Cluster:
    """The units, the network and the clock."""

    def __init__(self, count: int, seed: int = 0, loss: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.loss = loss
        self.now = 1000.0
        self.units = {f"u{i}": Unit(f"u{i}") for i in range(count)}
        self.cut: set[str] = set()
        self.secluded: set[str] = set()  # reach no other unit, but the Kubernetes API
        self.frozen: set[str] = set()
        self.kubernetes = True
        self.high = 0
        self.enrolled: dict[int, str] = {}
        self.twice: list[str] = []
        self.overlaps: list[str] = []

    def __getitem__(self, node: str) -> Unit:
        return self.units[node]

    # Juju and faults

    def publish(self, epoch: int, master: str, nodes: Iterable[str] | None = None) -> None:
        """Give these units' charms a decision; a role that changes restarts the process."""
        self.high = max(self.high, self[master].summary().highest)
        for node in self.units if nodes is None else nodes:
            unit = self[node]
            role = "master" if node == master else "worker"
            replan = unit.desired is not None and unit.desired.role != role
            unit.desired = Desired(epoch, role, node, master, high_water=self.high)
            if unit.state is None or replan:
                self.restart(node)

    def restart(self, node: str) -> None:
        """End the process with everything it started, and begin it again."""
        self.kill(node)
        self[node].generation += 1
        self[node].state = begin(node, self.now)

    def kill(self, node: str) -> None:
        """The container ends; only the volume stays."""
        unit = self[node]
        unit.state, unit.role, unit.points_to = None, None, ""
        unit.running, unit.stopping = set(), {}
        unit.answers, unit.gathered, unit.wanted, unit.merged = {}, {}, frozenset(), 0

    def lose_volume(self, node: str) -> None:
        """The pod comes back on an empty volume."""
        self.kill(node)
        self[node].memory, self[node].keys = Memory(), {}

    # The clock

    def run(self, seconds: float, *, enrol_every: float = 0.0) -> None:
        """Let time pass."""
        end = self.now + seconds
        due = self.now + enrol_every
        while self.now < end:
            self.now += TICK
            self._talk()
            for unit in self.units.values():
                self._live(unit)
            self._synchronise()
            if enrol_every and self.now >= due:
                self.enrol()
                due += enrol_every
            masters = self.masters()
            if len(masters) > 1:
                self.overlaps.append(f"{self.now - 1000:.1f}: {masters}")

    def enrol(self) -> int | None:
        """Have one agent enrolled by whoever does."""
        masters = [u for u in self.units.values() if u.enrols and u.node not in self.frozen]
        if not masters:
            return None
        unit = self.random.choice(masters)
        number = unit.summary().highest + 1
        if number in self.enrolled:
            self.twice.append(f"{number} by {unit.node}")
        self.enrolled[number] = unit.keys[number] = f"agent-{number}-{unit.node}"
        unit.changed = self.now
        return number

    def reaches(self, one: str, other: str) -> bool:
        """Tell whether a message gets through now."""
        if {one, other} & (self.cut | self.secluded | self.frozen):
            return False
        return self.random.random() >= self.loss

    def _talk(self) -> None:
        for unit in self.units.values():
            for peer in self.units.values():
                asks = unit is not peer and unit.state and peer.state and peer.desired
                if asks and unit.desired and self.reaches(unit.node, peer.node):
                    self._exchange(unit, peer)

    def _exchange(self, unit: Unit, peer: Unit) -> None:
        assert unit.state and peer.state
        mine = replace(status(unit.state), heard=self.now)
        theirs = replace(status(peer.state), heard=self.now)
        peer.answers[unit.node] = mine
        if not self.reaches(peer.node, unit.node):
            return
        unit.answers[peer.node] = theirs
        gives = theirs.term == mine.term and mine.term.master == mine.node
        gives = gives and theirs.released == mine.term.epoch and peer.summary() == theirs.keys
        if peer.node in unit.wanted and gives:
            unit.gathered[peer.node] = (theirs.keys, dict(peer.keys))

    def _live(self, unit: Unit) -> None:
        if unit.state is None or unit.node in self.frozen:
            return
        self._progress(unit)
        starting = unit.role is not None and self.now < unit.ready_at
        seen = Seen(
            memory=unit.memory,
            keys=unit.summary(),
            quiet=self.now - unit.changed,
            database="wazuh-db" in unit.running,
            running=frozenset(
                unit.running | (FRONT if starting and unit.role == "master" else set())
            ),
            role=unit.role,  # type: ignore[arg-type]
            complete=unit.role is not None and not starting,
            connected=self._connected(unit),
            peers=self._addresses(unit),
            answers=tuple(unit.answers.values()),
            gathered={node: keys for node, (keys, _) in unit.gathered.items()},
            merged=unit.merged,
            kubernetes=self.kubernetes and unit.node not in self.cut,
            api=API in unit.running,
            leaving=unit.leaving,
            version=unit.version if unit.role else "",
            token=f"{unit.node}-{unit.generation}",
        )
        before = unit.state.phase
        unit.state, actions = step(unit.state, unit.desired, seen, self.now)
        if unit.state.phase != before:
            unit.history.append(unit.state.phase)
        for action in actions:
            self._do(unit, action)

    def _addresses(self, unit: Unit) -> int | None:
        """Count what resolves: a lost node's pod still does, nothing does for whom is cut off."""
        return None if unit.node in self.cut else len(self.units) - 1

    def _connected(self, unit: Unit) -> bool | None:
        if unit.role != "worker":
            return None
        master = self.units.get(unit.points_to)
        if CLUSTER not in unit.running or master is None or not self._linked(unit, master):
            return False
        same = unit.version == master.version
        return same and master.role == "master" and CLUSTER in master.running

    def _linked(self, unit: Unit, master: Unit) -> bool:
        return not {unit.node, master.node} & (self.cut | self.secluded | self.frozen)

    def _do(self, unit: Unit, action: object) -> None:
        if isinstance(action, Remember):
            unit.memory = action.memory
        elif isinstance(action, Ask):
            unit.wanted = action.nodes
        elif isinstance(action, Merge):
            self._merge(unit, action)
        elif isinstance(action, Run):
            self._run(unit, action)

    def _merge(self, unit: Unit, action: Merge) -> None:
        assert not unit.running & WRITERS, "merged under authd or clusterd"
        for _, keys in unit.gathered.values():
            unit.keys = {**keys, **unit.keys}
        if action.reserve is not None:
            unit.keys[action.reserve] = "!reserved"
        unit.merged = action.attempt

    def _run(self, unit: Unit, action: Run) -> None:
        unit.last = action
        starting = unit.role is not None and self.now < unit.ready_at
        closed = action.role == "master" and action.without >= FRONT
        if starting and (action.role != unit.role or closed):
            unit.role, unit.running = None, set()
        for name in action.without & unit.running:
            unit.stopping.setdefault(name, self.now + STOP_SECONDS * self.random.random())
        if action.role is None or closed:
            return
        if unit.role != action.role:
            unit.role, unit.running, unit.stopping = action.role, set(), {}
            unit.ready_at = self.now + START_SECONDS * (0.5 + self.random.random())
            unit.points_to = action.master
        elif self.now >= unit.ready_at:
            unit.running |= ALL - action.without
            for name in set(unit.stopping) - action.without:
                del unit.stopping[name]
            unit.points_to = action.master

    def _progress(self, unit: Unit) -> None:
        for name, due in list(unit.stopping.items()):
            if self.now >= due:
                del unit.stopping[name]
                unit.running.discard(name)
        if unit.role is not None and not unit.running and self.now >= unit.ready_at:
            unit.running = set(ALL)

    def _synchronise(self) -> None:
        for unit in self.units.values():
            due = self.now - unit.synchronised >= SYNCHRONISED_EVERY
            if unit.role == "worker" and due and self._connected(unit):
                unit.synchronised = self.now
                keys = dict(self[unit.points_to].keys)
                if keys != unit.keys:
                    unit.keys, unit.changed = keys, self.now

    # Looking

    def masters(self) -> list[str]:
        """Name the units that enrol right now."""
        return [u.node for u in self.units.values() if u.enrols and u.node not in self.frozen]

    def phases(self) -> dict[str, str]:
        """Give each unit's phase."""
        return {n: u.state.phase if u.state else "gone" for n, u in self.units.items()}

    def until(self, seconds: float, condition, *, enrol_every: float = 0.0) -> float:
        """Let time pass until the condition holds; returns how long it took."""
        begun = self.now
        while not condition():
            assert self.now - begun < seconds, (self.phases(), self.sentences())
            self.run(TICK, enrol_every=enrol_every)
        return self.now - begun

    def sentences(self) -> dict[str, str | None]:
        """Give each unit's sentence."""
        return {n: u.state.sentence if u.state else None for n, u in self.units.items()}

    def settled(self, master: str) -> bool:
        """Tell whether all serve, this one as master."""
        return self.masters() == [master] and set(self.phases().values()) == {"serving"}


def deployed(count: int, seed: int = 0, loss: float = 0.0) -> Cluster:
    """Make a cluster that serves, u0 as its master."""
    cluster = Cluster(count, seed, loss)
    cluster.publish(1, "u0")
    cluster.until(90, lambda: cluster.settled("u0"))
    return cluster


__all__ = ["REAL", "Cluster", "Unit", "deployed"]
