"""Hunt for broken invariants: `python -m sandbox.inprocess.hunt --seed 7 --events 10000 --mode 4`.

The events are played in rounds; after each one the faults stop, the cluster has to become whole,
and every invariant is checked. What is broken is printed with the command that does it again.
"""

import argparse
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from sandbox.inprocess.cluster import Cluster
from sandbox.inprocess.dispatch import Charm
from sandbox.inprocess.faults import LARGEST, Storm
from sandbox.inprocess.invariants import BrokenError, describe
from sandbox.model import CommitMode
from src.charm import WazuhOperatorCharm

ROOT = Path(__file__).parents[2]
ROUND = 400
"""Events between two ends of all faults."""
ROUNDS = 5
"""Rounds on one cluster, before another one is deployed."""
EMULATED = "Juju is emulated (sandbox.model), Wazuh's daemons are (sandbox.inprocess.workload)"


def revisions() -> tuple[Charm, Charm]:
    """Give this charm as two revisions: the second writes a newer schema into the databag."""
    first = Charm.load(WazuhOperatorCharm, ROOT)
    newer = {"src.cluster.SCHEMA": 2}
    return first, Charm(WazuhOperatorCharm, first.metadata, differs=newer)


@dataclass
class Tally:
    """What was done in all rounds so far, and what was lost."""

    events: int = 0
    hooks: int = 0
    ticks: int = 0
    clusters: int = 0
    rounds: int = 0
    epochs: int = 0
    agents: int = 0
    refusals: int = 0
    rollouts: int = 0
    virtual: float = 0.0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)

    def add(self, storm: Storm) -> None:
        """Add a cluster's whole life."""
        self.hooks += len(storm.cluster.history)
        self.ticks += storm.ticks
        self.epochs += len(storm.watch.accepted)
        self.agents += storm.agents
        self.refusals += storm.watch.refusals
        self.rollouts += storm.watch.rollouts
        self.virtual += storm.cluster.model.now
        self.kinds.update(storm.kinds)
        self.losses.update(storm.watch.losses)


def hunt(seed: int, events: int, mode: CommitMode, told: Progress | None = None) -> Tally:
    """Play so many events; raises BrokenError."""
    charms, tally = revisions(), Tally()
    task = told.add_task(f"Juju {mode}", total=events) if told else None
    begun = time.process_time()
    while tally.events < events:
        number = seed + tally.clusters
        units = random.Random(f"units {number}").randint(1, LARGEST)
        storm = Storm(
            Cluster(charms[0], units=units, seed=number, commit_mode=mode), number, charms
        )
        tally.clusters += 1
        for _ in range(ROUNDS):
            _play(storm, min(ROUND, events - tally.events), mode)
            tally.events += min(ROUND, events - tally.events)
            tally.rounds += 1
            if told and task is not None:
                told.update(task, completed=tally.events)
            if tally.events >= events:
                break
        tally.add(storm)
        if told:
            told.console.print(f"seed {number}: whole, {tally.events} events so far")
    tally.seconds = time.process_time() - begun
    return tally


def _play(storm: Storm, events: int, mode: CommitMode) -> None:
    """Play one round; what it breaks is told with the command that plays this cluster alone."""
    try:
        storm.run(events)
    except BrokenError as error:
        again = f"--seed {storm.seed} --events {ROUND * ROUNDS} --mode {mode}"
        raise BrokenError(f"{error}\nagain: python -m sandbox.inprocess.hunt {again}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Hunt and print a table; 1 when something is broken."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.inprocess.hunt", description=EMULATED)
    parser.add_argument("--seed", type=int, default=0, help="of the first cluster")
    parser.add_argument("--events", type=int, default=10_000, help="hooks, faults and ticks")
    parser.add_argument("--mode", choices=["3.6", "4"], default="4", help="Juju's commits")
    asked = parser.parse_args(arguments)
    logging.getLogger().setLevel(logging.CRITICAL)
    console = Console()
    console.print(f"seed {asked.seed}, {asked.events} events, commits of Juju {asked.mode}")
    try:
        with _progress(console) as told:
            tally = hunt(asked.seed, asked.events, asked.mode, told)
    except BrokenError as error:
        console.print(str(error), markup=False, highlight=False)
        console.print(EMULATED)
        return 1
    console.print(_table(tally))
    console.print(f"No invariant broken. {EMULATED}.")
    return 0


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True)


def _table(tally: Tally) -> Table:
    table = Table("what", "how much", title="Random commands and faults", title_justify="left")
    faults = ", ".join(f"{kind} {number}" for kind, number in sorted(tally.kinds.items()))
    rows = {
        "events": tally.events,
        "events a second of one core": f"{tally.events / max(0.001, tally.seconds):.0f}",
        "hooks in all": tally.hooks,
        "clusters, rounds": f"{tally.clusters}, {tally.rounds}",
        "hours of the virtual clock": f"{tally.virtual / 3600:.1f}",
        "masters that workers accepted": tally.epochs,
        "agents enrolled": tally.agents,
        "agents and removals lost": describe(tally.losses),
        "ends with nothing left, gone on by force": tally.refusals,
        "refreshes held up by a charm older than the databag": tally.rollouts,
        "commands and faults": faults,
    }
    for what, much in rows.items():
        table.add_row(what, str(much))
    return table


if __name__ == "__main__":
    sys.exit(main())
