"""`make demo`: the main job in the sandbox, with a table of what was shown and measured."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from sandbox.cluster import SandboxError
from sandbox.demo import steps
from sandbox.demo.cluster import Cluster
from sandbox.demo.defaults import DefaultPasswords
from sandbox.demo.report import Line, Report
from sandbox.driver import Driver

FACTOR = 10.0


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The demo's options."""
    parser = argparse.ArgumentParser(
        prog="make demo DEMO=…", description="Run the main job of the charm in the sandbox."
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table as JSON too")
    parser.add_argument("--wazuh", type=Path, metavar="DIR", help="a real Wazuh installation")
    parser.add_argument(
        "--clock-factor",
        type=float,
        default=FACTOR,
        metavar="N",
        help=f"how much faster than real every delay runs (default {FACTOR:g})",
    )
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="lose the master's node once more with every delay as in reality (2 minutes longer)",
    )
    parser.add_argument("--model", default="demo", metavar="NAME", help="the model's name")
    parser.add_argument("--keep", action="store_true", help="leave the model up afterwards")
    parser.add_argument(
        "--watch-arguments", action="store_true", help="record every program's arguments"
    )
    return parser.parse_args(arguments)


def show(run: steps.Run, console: Console, *, scratch: Path) -> list[Line]:
    """All steps, one after the other; a step that fails is a line with its reason."""
    driver = run.cluster.driver
    defaults = DefaultPasswords(run.cluster)
    todo: list[tuple[str, Callable[[], Line]]] = [
        ("deploying three units", lambda: steps.deploy(run)),
        ("enrolling agents", lambda: steps.enrol_agents(run)),
        ("sending logs over TLS", lambda: steps.send_logs(run)),
        ("using the API", lambda: steps.use_the_api(run)),
        ("applying rules from Git", lambda: steps.apply_rules(run, scratch)),
        ("scaling to five and back", lambda: steps.scale(run)),
        ("changing the enrolment password", lambda: steps.change_the_password(run)),
        ("losing the master's node", lambda: steps.lose_the_master(run)),
    ]
    lines: list[Line] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with run.until_the_end, defaults, Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(todo))
        for text, step in todo:
            progress.update(task, description=text)
            line = steps.attempt(text, step)
            lines.append(line)
            progress.console.print(f"{'✔' if line.holds else '✘'} {line.shown}: {line.measured}")
            progress.advance(task)
            if step is todo[0][1] and not line.holds:
                return lines
            if step is todo[0][1]:
                table = Text.from_ansi(driver.juju("status"))
                progress.console.print(table, soft_wrap=True)
    return [*lines, defaults.line()]


def main() -> int:
    """Run the demo; 1 when a line did not hold."""
    options, console = parse(), Console()
    with tempfile.TemporaryDirectory(prefix="wazuh-demo-") as scratch:
        driver = Driver(options.model, options.clock_factor, wazuh=options.wazuh)
        driver.destroy()
        try:
            run = steps.Run(Cluster(driver), deploy_options(options))
            lines = show(run, console, scratch=Path(scratch))
            notes = notes_on(driver)
        finally:
            if not options.keep:
                driver.destroy()
        if options.real_time:
            lines.append(in_real_time(options, console))
    report = Report("What was shown", notes, tuple(lines))
    report.print_to(console)
    if options.json:
        report.write_json(options.json)
    return 0 if report.holds else 1


def deploy_options(options: argparse.Namespace) -> tuple[str, ...]:
    """What `deploy` is told beside the number of units."""
    return ("--watch-arguments",) if options.watch_arguments else ()


def notes_on(driver: Driver) -> tuple[str, ...]:
    """What stood in for what, said with every result."""
    try:
        own = driver.status()["sandbox"]
    except SandboxError as reason:
        return (f"The sandbox did not come up: {reason}",)
    return (
        f"Juju is emulated; the workload is {own['workload']}; "
        f"every delay passed {own['clock-factor']:g} times as fast as in reality.",
    )


def in_real_time(options: argparse.Namespace, console: Console) -> Line:
    """Lose the master's node with clock factor 1: these seconds are what a user would see."""
    driver = Driver(f"{options.model}-real-time", clock_factor=1.0, wazuh=options.wazuh)
    driver.destroy()
    run = steps.Run(Cluster(driver), deploy_options(options))
    try:
        console.print("once more with clock factor 1")
        first = steps.attempt("deploying three units", lambda: steps.deploy(run))
        if not first.holds:
            return first
        return steps.attempt("losing the master's node", lambda: steps.lose_the_master(run))
    finally:
        driver.destroy()


if __name__ == "__main__":
    sys.exit(main())
