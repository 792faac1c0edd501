"""Plant each bug in a copy of the tree, run its tests, and print which found it.

`python -m tests.mutations [--only TEXT] [--quick]`; 1 when one was not found.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mutations.bugs import BUGS, QUICK, Bug

ROOT = Path(__file__).parents[2]
PARTS = ("src", "rock", "sandbox", "templates", "tests", "charmcraft.yaml", "pyproject.toml")
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*", "node_modules")
SECONDS = 1800
"""A bug that makes its tests run for longer is not found: tests name what is wrong."""
FAILED = 1
"""What pytest exits with when tests failed; anything else is no finding."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one bug. `by` names the test that found it; seconds of processor time."""

    bug: Bug
    found: bool
    by: str
    seconds: float

    def row(self) -> tuple[str, str, str]:
        """Give the row of the table."""
        return self.bug.name, self.by if self.found else f"NOT FOUND: {self.by}", self.spent

    @property
    def spent(self) -> str:
        """Seconds as they are printed."""
        return f"{self.seconds:.0f}"


def try_out(bug: Bug) -> Finding:
    """Plant a bug in a copy of the tree and run its tests there."""
    begun = _processor()
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder)
        for part in PARTS:
            _copy(ROOT / part, copy / part)
        place = copy / bug.file
        place.write_text(bug.plant(place.read_text()))
        found, by = _run(copy, bug.tests)
    return Finding(bug, found, by, _processor() - begun)


def _run(copy: Path, tests: Sequence[str]) -> tuple[bool, str]:
    """Run tests in a copy; tells whether one failed, and which, or what came instead."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "--show-capture=no"]
    command += ["--tb=no", "-p", "no:cacheprovider", *tests]
    try:
        run = subprocess.run(
            command, cwd=copy, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"nothing within {SECONDS} s"
    failed = [line for line in run.stdout.splitlines() if line.startswith("FAILED ")]
    if run.returncode == FAILED and failed:
        return True, failed[0].split(" ")[1].rpartition("/")[2]
    return False, run.stdout.strip()[-200:]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=LEFT_OUT)
    else:
        shutil.copy2(source, target)


def _processor() -> float:
    """Give the seconds of processor time of this process and of those that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the bugs that were asked for; print each row as it comes, and the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--only", default="", help="bugs whose name contains this")
    parser.add_argument("--quick", action="store_true", help="the share of CI")
    asked = parser.parse_args(arguments)
    bugs = [bug for bug in BUGS if asked.only in bug.name]
    if asked.quick:
        bugs = [bug for bug in bugs if bug.name in QUICK]
    console = Console()
    table = Table("bug", "found by", "seconds", title="Planted bugs", title_justify="left")
    findings: list[Finding] = []
    for bug in bugs:
        findings.append(try_out(bug))
        console.print(" · ".join(findings[-1].row()), markup=False, highlight=False)
        table.add_row(*findings[-1].row())
    console.print(table)
    missed = [finding.bug.name for finding in findings if not finding.found]
    console.print(f"{len(findings) - len(missed)} of {len(findings)} found (Juju is emulated).")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
