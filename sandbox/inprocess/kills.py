"""Kill at every step: `python -m sandbox.inprocess.kills [--scenario TEXT] [--every N]`.

A scenario is walked through once. Before every effect of the charms (hook tools, Pebble requests,
files), every step of a commit and every effect of the supervisors the walk is forked: the child
dies there, lets Juju's rules try again, has the cluster become whole, and checks the invariants
after every step and at the end. Killed after an effect is killed before the next one; between two
effects that only read nothing differs, so only those that change something are points.

Where two kills leave the same behind (`survivors.digest`), at once or later, one of them is played
to its end: a hook that is killed before its commit leaves little but what it did to its container,
and when it has run again not even that. A point is done
again by `--scenario NAME --mode MODE --point 'KIND NUMBER'`, which plays it whole and never forks.
"""

import argparse
import contextlib
import hashlib
import itertools
import logging
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.table import Table

from sandbox.inprocess.cluster import Cluster
from sandbox.inprocess.dispatch import Charm
from sandbox.inprocess.effects import Killed
from sandbox.inprocess.forks import Child, Forks
from sandbox.inprocess.hunt import EMULATED, revisions
from sandbox.inprocess.invariants import BrokenError, Watch, describe
from sandbox.inprocess.scenarios import GONE_SECONDS, SCENARIOS, Scenario
from sandbox.inprocess.survivors import digest
from sandbox.model import CommitMode, Hook

Kind = Literal["process", "agent", "node", "commit", "supervisor"]
CHARM_KINDS: tuple[Kind, ...] = ("process", "agent", "node")
KINDS: tuple[Kind, ...] = (*CHARM_KINDS, "commit", "supervisor")
READS = (
    "config-get",
    "goal-state",
    "is-leader",
    "juju-log",
    "leader-get",
    "network-get",
    "opened-ports",
    "relation-get",
    "relation-ids",
    "relation-list",
    "secret-ids",
    "secret-info-get",
    "pebble pull",
    "pebble plan",
    "pebble services",
    "pebble system-info",
)
"""Effects that change nothing."""
AGENTS = 5
MARK_SECONDS = 10.0
"""How often a fork looks whether another one goes on from where it is."""
MODES: tuple[CommitMode, ...] = ("3.6", "4")


@dataclass(frozen=True, slots=True)
class Point:
    """A kill: of what, before its effect of which number."""

    kind: Kind
    number: int
    where: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


Dies = Callable[[Point], bool]


@dataclass(slots=True)
class Points:
    """Numbers the effects of one run, and asks `dies` at each whether to be killed there."""

    dies: Dies
    effects: int = 0
    """All of them, reads too."""
    counts: Counter[Kind] = field(default_factory=Counter)
    died: Point | None = None
    lost: list[str] = field(default_factory=list)
    """Units whose nodes are away."""

    def arm(self, cluster: Cluster) -> None:
        """Begin to count."""

        def charm(effect: str) -> None:
            self.effects += 1
            if not effect.partition(": ")[2].startswith(READS):
                self._die(cluster, effect.split(" ", 1)[0], effect)

        def supervisor(effect: str) -> None:
            self.effects += 1
            if self._reached("supervisor", effect):
                raise Killed

        def commit(hook: Hook, steps: int) -> int | None:
            where = f"{hook.unit} {hook.spec.name}"
            self._die(cluster, hook.unit, f"{where}: exit")
            self.effects += steps
            reached = [self._reached("commit", f"{where}: step {n}") for n in range(steps)]
            return reached.index(True) if True in reached else None

        cluster.gate, cluster.supervisor_gate, cluster.commit_gate = charm, supervisor, commit

    def _reached(self, kind: Kind, where: str) -> bool:
        point = Point(kind, self.counts[kind], where)
        self.counts[kind] += 1
        if self.died is not None or not self.dies(point):
            return False
        self.died = point
        return True

    def _die(self, cluster: Cluster, unit: str, effect: str) -> None:
        """End the hook's process, alone or with its agent or its node."""
        for kind in CHARM_KINDS:
            if not self._reached(kind, effect):
                continue
            if kind == "agent":
                cluster.model.charm_container_restarted(unit)
            elif kind == "node":
                cluster.model.node_lost(unit)
                self.lost.append(unit)
            raise Killed


@dataclass(frozen=True, slots=True)
class End:
    """What came of one run: what broke, if anything did, what was lost, and how it went."""

    broken: str = ""
    losses: Counter[str] = field(default_factory=Counter)
    course: str = ""
    """A digest of all hooks since the kill, and of what all units are at the end."""


class Run:
    """One run of a scenario, killed where `points` says. `child`: who does it, if forked."""

    def __init__(self, charm: Charm, scenario: Scenario, mode: CommitMode, dies: Dies) -> None:
        self._scenario = scenario
        self._cluster = Cluster(charm, order=scenario.order, seed=5, commit_mode=mode)
        self._watch = Watch(self._cluster)
        self._stage = "beginning"
        self._hooks: int | None = None
        self.points = Points(dies)
        self.child: Child | None = None

    def play(self) -> End:
        """Play it to its end."""
        try:
            self._begin()
            self._go_on()
            self._watch.end()
        except BrokenError as error:
            return End(str(error))
        losses = self._watch.losses
        broken = "" if not losses or self._may_lose() else f"I1 broken: {describe(losses)}"
        return End(broken, losses, self._course())

    def _may_lose(self) -> bool:
        died = self.points.died
        return died is not None and died.kind == "node"

    def _begin(self) -> None:
        cluster = self._cluster
        if self._scenario.new:
            return
        if not cluster.settle():
            raise BrokenError("not whole at the beginning")
        for number in range(AGENTS):
            cluster.enrol(f"agent-{number}", f"wazuh-server/{self._scenario.order[0]}")
        cluster.run(2)

    def _go_on(self) -> None:
        cluster = self._cluster
        self.points.arm(cluster)
        cluster.looker = self._look
        self._stage = "act"
        self._scenario.act(cluster)
        self._stage = "settling"
        cluster.settle(GONE_SECONDS + 100)
        self._stage = "end"
        cluster.gate = cluster.supervisor_gate = cluster.commit_gate = None
        for unit in self.points.lost:
            if unit in cluster.model.units(cluster.app) and unit not in cluster.model.pods():
                cluster.model.node_back(unit)

    def _look(self) -> None:
        """Check what holds at every moment; from the kill on tell now and then how things are."""
        self._watch.watch()
        if self.points.died is None:
            return
        first = self._hooks is None
        if first:
            self._hooks = len(self._cluster.history)
        if self.child is not None and (first or not self._cluster.model.now % MARK_SECONDS):
            self.child.goes_on(self._mark())

    def _mark(self) -> str:
        """Digest all that decides how this goes on: who was killed decides what may be lost."""
        seen = {name: value for name, value in vars(self._watch).items() if name not in UNREAD}
        return digest(self._cluster, seen, self._stage, self.points.lost, self._may_lose())

    def _course(self) -> str:
        cluster = self._cluster
        hooks = [effects.describe() for effects in cluster.since(self._hooks or 0)]
        units = [
            (one.node, one.role, one.disk.memory, one.disk.keys) for one in cluster.workloads()
        ]
        return hashlib.sha256(f"{hooks} {units}".encode()).hexdigest()


UNREAD = {"cluster", "_seen"}
"""What of a watch is the cluster's own, and the number of hooks it has looked at."""


@dataclass(slots=True)
class Result:
    """What came of a scenario's points."""

    effects: int = 0
    points: list[Point] = field(default_factory=list)
    marks: list[str | None] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    """Of each point; those of one mark are one."""
    played: int = 0
    """How many of them were played to the end: others became equal to one of these on the way."""
    seconds: float = 0.0
    """Of processor time, over all forks."""

    @property
    def distinct(self) -> int:
        """How many different states the kills left."""
        return len(set(self.marks))

    @property
    def passed(self) -> int:
        """How many points broke nothing."""
        return sum(not end.broken for end in self.ends)

    def losses(self) -> Counter[str]:
        """Give what was lost by its cause, in all that were played."""
        played = {id(end): end for end in self.ends}
        return sum((end.losses for end in played.values()), Counter[str]())

    def broken(self) -> Iterator[tuple[Point, int, str]]:
        """Give a point of each run that broke something, and of how many it is the first."""
        number = Counter(map(id, self.ends))
        both = zip(self.points, self.ends, strict=True)
        first = {id(end): point for point, end in reversed(list(both))}
        for end in {id(end): end for end in self.ends if end.broken}.values():
            yield first[id(end)], number[id(end)], end.broken


def run(
    charm: Charm,
    scenario: Scenario,
    mode: CommitMode,
    *,
    wanted: Callable[[Point], bool] = lambda _: True,
    forks: Forks | None = None,
) -> Result:
    """Walk through a scenario and kill at every point that is wanted. Raises BrokenError."""
    forks = forks or Forks()
    result = Result()
    begun = _processor()

    def dies(point: Point) -> bool:
        if not wanted(point):
            return False
        result.points.append(point)
        walk.child = forks.fork()
        return walk.child is not None

    walk = Run(charm, scenario, mode, dies)
    with _ending_with(walk):
        end = walk.play()
        if walk.child is not None:
            walk.child.ends(end)
    forks.finish()
    if end.broken:
        raise BrokenError(end.broken)
    result.effects, result.marks = walk.points.effects, forks.marks
    result.ends = [_end(forks.end_of(number)) for number in range(len(forks.marks))]
    result.played = len(forks.ends)
    result.seconds = _processor() - begun
    return result


def every(number: int, first: int = 0) -> Callable[[Point], bool]:
    """Want every n-th of the points that are reached, from one on."""
    reached = itertools.count()
    return lambda _: next(reached) % number == first % number


@contextlib.contextmanager
def _ending_with(walk: Run) -> Iterator[None]:
    """Have a forked process never come back from its run."""
    try:
        yield
    finally:
        if walk.child is not None:
            traceback.print_exc()
            os._exit(1)


def _end(end: object) -> End:
    return end if isinstance(end, End) else End("the run itself failed, see above")


def _processor() -> float:
    """Give the seconds of processor time of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def replay(charm: Charm, scenario: Scenario, mode: CommitMode, asked: Point) -> tuple[Points, End]:
    """Play one point from the beginning, without a fork."""
    walk = Run(charm, scenario, mode, lambda point: point == asked)
    end = walk.play()
    return walk.points, end


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill at every point of the scenarios and print a table; 1 when one did not pass."""
    asked = _parse(arguments)
    logging.getLogger().setLevel(logging.CRITICAL)
    console, charm = Console(), revisions()[0]
    scenarios = [one for one in SCENARIOS if asked.scenario in one.name]
    modes = asked.mode or MODES
    if asked.point is not None:
        return _again(console, charm, scenarios[0], modes[0], asked.point)
    table = Table(*COLUMNS, title="Killed at every step", title_justify="left")
    texts: list[str] = []
    begun, clock = _processor(), time.monotonic()
    for scenario in scenarios:
        for mode in modes:
            cells, broken = _row(charm, scenario, mode, asked)
            console.print(" · ".join(cells), *broken, sep="\n", markup=False, highlight=False)
            table.add_row(*cells)
            texts += broken
    console.print(table)
    spent = f"{_processor() - begun:.0f} s of processor time, {time.monotonic() - clock:.0f} s"
    console.print(f"{len(texts)} broken, {spent}. {EMULATED}.")
    return 1 if texts else 0


COLUMNS = ("scenario", "Juju", "effects", "points", "distinct", "played", "passed", "lost", "s")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.inprocess.kills", description=__doc__)
    parser.add_argument("--scenario", default="", help="those whose name contains this")
    parser.add_argument("--every", type=int, default=1, help="only every n-th point")
    parser.add_argument("--mode", choices=MODES, action="append", help="Juju's commits")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--point", help="one point alone, for instance 'process 17'")
    return parser.parse_args(arguments)


def _row(
    charm: Charm, scenario: Scenario, mode: CommitMode, asked: argparse.Namespace
) -> tuple[list[str], list[str]]:
    """Run a scenario; gives its row and what broke, each with the command that does it again."""
    try:
        wanted = every(asked.every)
        result = run(charm, scenario, mode, wanted=wanted, forks=Forks(asked.jobs))
    except BrokenError as error:
        return [scenario.name, mode, *"-------"], [f"{scenario.name}, no kill: {error}"]
    states = (len(result.points), result.distinct, result.played)
    numbers = (result.effects, *states, result.passed)
    seconds = f"{result.seconds:.0f}"
    cells = [scenario.name, mode, *map(str, numbers), describe(result.losses()), seconds]
    again = f"--scenario '{scenario.name}' --mode {mode} --point"
    broken = [
        f"{many} points: {text}\n    at {point.where}\n    again: {again} '{point}'"
        for point, many, text in result.broken()
    ]
    return cells, broken


def _again(console: Console, charm: Charm, scenario: Scenario, mode: CommitMode, text: str) -> int:
    """Play one point and say what came of it."""
    name, _, number = text.partition(" ")
    kinds: dict[str, Kind] = {one: one for one in KINDS}
    points, end = replay(charm, scenario, mode, Point(kinds[name], int(number)))
    where = points.died.where if points.died else "never reached"
    said = f"{scenario.name}, Juju {mode}, {text} ({where}): {end.broken or 'passed'}"
    console.print(said, f"lost: {describe(end.losses)}", sep="\n", markup=False, highlight=False)
    return 1 if end.broken or points.died is None else 0


if __name__ == "__main__":
    sys.exit(main())
