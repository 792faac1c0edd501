"""`make moves`: planned moves and kills of the master under load, counted and timed."""

import argparse
import itertools
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sandbox.cluster import SandboxError
from sandbox.demo.cluster import Cluster
from sandbox.demo.report import Line, Report
from sandbox.driver import CommandFailedError, Driver, NeverHappenedError
from sandbox.moves import chaos, events, scenarios
from sandbox.moves.books import given_twice, middle_and_worst
from sandbox.moves.events import KILLS, PLANNED, Event, Series

_UNITS = 3


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The program's options."""
    parser = argparse.ArgumentParser(
        prog="make moves MOVES=…",
        description="Move and kill the master under load; no acknowledged agent may be lost.",
    )
    parser.add_argument("--moves", type=int, default=2, metavar="N", help="planned moves")
    parser.add_argument("--kills", type=int, default=2, metavar="N", help="kills of the master")
    parser.add_argument(
        "--scenarios",
        nargs="*",
        default=[],
        choices=[*scenarios.SCENARIOS, "each"],
        help="what else happens to the master: afterwards each agent has to be there",
    )
    parser.add_argument(
        "--chaos", type=int, default=0, metavar="N", help="rounds of random faults"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--rate", type=float, default=20, metavar="N", help="enrolments a second")
    parser.add_argument("--clock-factor", type=float, default=1.0, metavar="N")
    parser.add_argument("--wazuh", type=Path, metavar="DIR", help="a real Wazuh installation")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure as JSON")
    parser.add_argument("--model", default="moves", metavar="NAME")
    parser.add_argument("--juju-version", choices=["3.6", "4"], default="4")
    parser.add_argument("--keep", action="store_true", help="leave the model up afterwards")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, driver: Driver, console: Console) -> Report:
    """Deploy, then one event after the other; the table of all."""
    cluster, password = Cluster(driver), f"Aa1!{secrets.token_hex(12)}"
    driver.deploy(_UNITS, "--juju-version", options.juju_version)
    cluster.wait("three units active", lambda: cluster.is_whole(_UNITS), 300)
    notes = notes_on(driver, options)
    events.make_person(cluster, password)
    with events.traffic(cluster, options.rate) as books:
        cluster.wait("the first agents", lambda: bool(books.read() or len(books.agents) > 20), 60)
        series = Series(cluster, books, options.clock_factor, password)
        for _ in steps(series, options, console):
            if options.json:
                events.write(options.json, series, notes)
    return Report("The master's moves", notes, tuple(lines(series)))


def steps(series: Series, options: argparse.Namespace, console: Console) -> Iterator[Event]:
    """Make every event; one that does not come about ends the series."""
    kinds = itertools.islice(itertools.cycle(KILLS), options.kills)
    todo: list[tuple[str, Callable[[], Event]]] = [
        *(("a planned move", series.move) for _ in range(options.moves)),
        *((kind, lambda kind=kind: series.kill(kind)) for kind in kinds),
        *((name, lambda name=name: scenarios.play(series, name)) for name in asked(options)),
        *(
            (f"chaos {seed}", lambda seed=seed: chaos.play(series, seed))
            for seed in range(options.seed, options.seed + options.chaos)
        ),
    ]
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(todo))
        for text, one in todo:
            progress.update(task, description=text)
            try:
                event = one()
            except (NeverHappenedError, CommandFailedError, SandboxError, OSError) as reason:
                event = series.events[-1]
                event.trouble = f"{type(reason).__name__}: {reason}"
            progress.console.print(f"{'✔' if event.holds else '✘'} {event.describe()}")
            progress.advance(task)
            yield event
            if event.trouble:
                return


def asked(options: argparse.Namespace) -> list[str]:
    """Name the scenarios that are to be played, in their order."""
    return [name for name in scenarios.SCENARIOS if {name, "each"} & set(options.scenarios)]


def notes_on(driver: Driver, options: argparse.Namespace) -> tuple[str, ...]:
    """What stood in for what, said with every result."""
    own = driver.status()["sandbox"]
    return (
        f"Juju is emulated (as {options.juju_version}); the workload is {own['workload']}; every "
        f"delay passed {own['clock-factor']:g} times as fast as in reality.",
        f"{options.rate:g} enrolments and 2 logins a second through the Service all the while, "
        "and a session on 1514 of each unit. A master is frozen for some seconds before it is "
        "killed, to see what it had written: they count as time without it.",
    )


def lines(series: Series) -> Iterator[Line]:
    """The table: planned moves, each kind of kill, times, and what must hold at the end."""
    others = (kind for kind, _ in scenarios.SCENARIOS.values())
    for kind in (PLANNED, *KILLS, *others, chaos.KIND):
        if found := [event for event in series.events if event.kind == kind]:
            yield summary(kind, found)
    everybody = series.books.agents
    clashes = sum(event.contradictions for event in series.events)
    yield Line(
        "every acknowledged agent, held against the last master's keys",
        f"{len(everybody)} acknowledged, {len(series.lost)} lost, all counted above; ids given "
        f"again after a loss: {given_twice(everybody)}; ids with two keys: {clashes}",
        clashes == 0,
        {"acknowledged": len(everybody), "lost": len(series.lost), "two keys": clashes},
    )


def summary(kind: str, found: list[Event]) -> Line:
    """What all events of a kind came to: median and worst."""
    lost, excess = sum(e.lost for e in found), sum(e.excess for e in found)
    bound = (
        ""
        if kind == PLANNED
        else (
            f" (not yet written {sum(e.unwritten for e in found)}, "
            f"not yet copied {sum(e.uncopied for e in found)}; beyond these {excess})"
        )
    )
    broken = {name for e in found for name, works in e.credentials.items() if not works}
    elsewhere = max(e.without_sessions for e in found)
    return Line(
        f"{len(found)} × {kind}",
        f"lost {lost} of {sum(e.acknowledged for e in found)}{bound}; moved "
        f"{middle_and_worst([e.moved for e in found])}; without enrolment "
        f"{middle_and_worst([e.without_enrolment for e in found])}, API "
        f"{middle_and_worst([e.without_api for e in found])}, 1514 on the other units "
        f"{elsewhere:.1f} s; " + (f"no longer works: {broken}" if broken else "credentials work"),
        all(e.holds for e in found),
        {"events": len(found), "lost": lost, "excess": excess},
    )


def main() -> int:
    """Run it all; 1 when anything did not hold."""
    options, console = parse(), Console()
    driver = Driver(options.model, options.clock_factor, wazuh=options.wazuh)
    driver.destroy()
    try:
        report = run(options, driver, console)
    finally:
        if not options.keep:
            driver.destroy()
    report.print_to(console)
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
