"""Kill at every step: `python -m sandbox.inprocess.kills [--scenario TEXT] [--every N]`.

A scenario is run once and every effect of the charms (hook tools, Pebble requests, files), every
step of a commit and every effect of the supervisors is numbered. Then it is run again for each of
them, killed before it; killed after it is killed before the next. Between two effects that only
read nothing differs, so that only those that change something are points. After each run the
cluster has to become whole and all invariants are checked.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sandbox.inprocess import rotations
from sandbox.inprocess.cluster import Cluster
from sandbox.inprocess.dispatch import Charm
from sandbox.inprocess.effects import Killed
from sandbox.inprocess.faults import GOOD_REPOSITORY, REPOSITORY
from sandbox.inprocess.hunt import EMULATED, revisions
from sandbox.inprocess.invariants import BrokenError, Watch
from sandbox.model import CommitMode, Hook

Kind = Literal["process", "agent", "node", "commit", "supervisor"]
CHARM_KINDS: tuple[Kind, ...] = ("process", "agent", "node")
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
GONE_SECONDS = 100.0
"""How long a lost node stays away: longer than a lease."""
AGENTS = 5
MODES: tuple[CommitMode, ...] = ("3.6", "4")


def _nothing(_cluster: Cluster) -> None:
    """Have a deployment happen by itself."""


def _planned(cluster: Cluster) -> None:
    """Have leadership go from a master that lives on."""
    cluster.model.pause("wazuh-server/0", kubelet=False)
    cluster.run(75)
    cluster.model.unpause("wazuh-server/0")


def _unplanned(cluster: Cluster) -> None:
    cluster.model.node_lost("wazuh-server/0")
    cluster.run(GONE_SECONDS + 60)
    cluster.model.node_back("wazuh-server/0")


def _promote(cluster: Cluster) -> None:
    parameters = {"unit": "wazuh-server/2"}
    cluster.model.run_action(f"{cluster.app}/leader", "promote", parameters)


def _scale(units: int) -> Callable[[Cluster], None]:
    return lambda cluster: cluster.model.scale(cluster.app, units)


def _rotate(secret: str) -> Callable[[Cluster], None]:
    def act(cluster: Cluster) -> None:
        rotations.rotate(cluster, secret)

    return act


def _configure(cluster: Cluster) -> None:
    uri = cluster.model.add_secret("mine", {"password": "operators-choice"})
    cluster.model.grant_secret("mine", cluster.app)
    values = {REPOSITORY: GOOD_REPOSITORY, "agent-password": uri}
    cluster.model.set_config(cluster.app, values)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens to a cluster that is whole (or new); `order`: who starts first, and leads."""

    name: str
    act: Callable[[Cluster], None]
    order: tuple[int, ...] = (0, 1, 2)
    new: bool = False


SCENARIOS = (
    Scenario("first deployment", _nothing, new=True),
    Scenario("planned move", _planned),
    Scenario("unplanned move", _unplanned),
    Scenario("promote", _promote),
    Scenario("leaving leader", _scale(2), order=(2, 1, 0)),
    Scenario("scale-down to one, the leader among those removed", _scale(1), order=(2, 1, 0)),
    *(Scenario(f"rotation of {secret}", _rotate(secret)) for secret in rotations.SECRETS),
    Scenario("configuration change", _configure),
)


@dataclass(slots=True)
class Points:
    """The effects of one run, in their order; kills before one of them."""

    kind: Kind | None = None
    number: int = -1
    effects: int = 0
    """All of them, reads too."""
    charm: int = 0
    commit: int = 0
    supervisor: int = 0
    lost: list[str] = field(default_factory=list)
    where: str = ""

    def arm(self, cluster: Cluster) -> None:
        """Begin to count."""

        def charm(effect: str) -> None:
            self.effects += 1
            if effect.partition(": ")[2].startswith(READS):
                return
            self.charm += 1
            if self.kind in CHARM_KINDS and self.charm - 1 == self.number:
                self._die(cluster, effect)

        def supervisor(effect: str) -> None:
            self.effects += 1
            self.supervisor += 1
            if self.kind == "supervisor" and self.supervisor - 1 == self.number:
                self.where = effect
                raise Killed

        def commit(hook: Hook, steps: int) -> int | None:
            self.effects += steps
            first, self.commit = self.commit, self.commit + steps
            if self.kind != "commit" or not first <= self.number < self.commit:
                return None
            self.where = f"commit of {hook.spec.name} on {hook.unit}"
            return self.number - first

        cluster.gate, cluster.supervisor_gate, cluster.commit_gate = charm, supervisor, commit

    def _die(self, cluster: Cluster, effect: str) -> None:
        self.where = effect
        unit = effect.split(" ", 1)[0]
        if self.kind == "agent":
            cluster.model.charm_container_restarted(unit)
        elif self.kind == "node":
            cluster.model.node_lost(unit)
            self.lost.append(unit)
        raise Killed


def play(charm: Charm, scenario: Scenario, mode: CommitMode, points: Points) -> Watch:
    """Run a scenario with what `points` kills, to its end. Raises BrokenError."""
    cluster = Cluster(charm, order=scenario.order, seed=5, commit_mode=mode)
    if not scenario.new:
        if not cluster.settle():
            raise BrokenError("not whole at the beginning")
        for number in range(AGENTS):
            cluster.enrol(f"agent-{number}", f"wazuh-server/{scenario.order[0]}")
        cluster.run(2)
    points.arm(cluster)
    scenario.act(cluster)
    cluster.settle(GONE_SECONDS + 100)
    cluster.gate = cluster.supervisor_gate = cluster.commit_gate = None
    for unit in points.lost:
        if unit in cluster.model.units(cluster.app) and unit not in cluster.model.pods():
            cluster.model.node_back(unit)
    watch = Watch(cluster)
    watch.end()
    if watch.losses and points.kind != "node":
        raise BrokenError(f"I1 broken: {dict(watch.losses)}")
    return watch


def points_of(charm: Charm, scenario: Scenario, mode: CommitMode) -> tuple[int, list[Points]]:
    """Run once; give the number of all effects, and a point for each kill."""
    seen = Points()
    play(charm, scenario, mode, seen)
    made = [Points(kind, number) for kind in CHARM_KINDS for number in range(seen.charm)]
    made += [Points("commit", number) for number in range(seen.commit)]
    made += [Points("supervisor", number) for number in range(seen.supervisor)]
    return seen.effects, made


@dataclass(slots=True)
class Result:
    """What came of a scenario's points."""

    effects: int
    points: int
    passed: int = 0
    broken: list[str] = field(default_factory=list)


def run(
    charm: Charm, scenario: Scenario, mode: CommitMode, every: int = 1, first: int = 0
) -> Iterator[Result]:
    """Kill at every n-th point; gives the result as it grows."""
    effects, found = points_of(charm, scenario, mode)
    chosen = found[first % every :: every]
    result = Result(effects, len(chosen))
    yield result
    for points in chosen:
        try:
            play(charm, scenario, mode, points)
            result.passed += 1
        except BrokenError as error:
            where = f"{points.kind} {points.number} ({points.where})"
            result.broken.append(f"{scenario.name}, Juju {mode}, {where}: {error}")
        yield result


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill at every point of the scenarios and print a table; 1 when one did not pass."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.inprocess.kills", description=__doc__)
    parser.add_argument("--scenario", default="", help="those whose name contains this")
    parser.add_argument("--every", type=int, default=1, help="only every n-th point")
    parser.add_argument("--mode", choices=MODES, action="append", help="Juju's commits")
    asked = parser.parse_args(arguments)
    logging.getLogger().setLevel(logging.CRITICAL)
    console, charm = Console(), revisions()[0]
    table = Table("scenario", "Juju", "effects", "points", "passed", title="Killed at every step")
    broken: list[str] = []
    with Progress(console=console, transient=True) as told:
        for scenario in [one for one in SCENARIOS if asked.scenario in one.name]:
            for mode in asked.mode or MODES:
                task = told.add_task(f"{scenario.name}, {mode}", total=None)
                result = Result(0, 0)
                for result in run(charm, scenario, mode, asked.every):
                    done = result.passed + len(result.broken)
                    told.update(task, total=result.points, completed=done)
                broken += result.broken
                cells = (result.effects, result.points, result.passed)
                table.add_row(scenario.name, mode, *map(str, cells))
    console.print(table)
    for text in broken:
        console.print(text, markup=False, highlight=False)
    console.print(f"{len(broken)} broken. {EMULATED}.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
