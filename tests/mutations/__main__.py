"""Plant each bug in a copy of the tree, run its tests, and print which found it.

`python -m tests.mutations [--only TEXT] [--quick]`; 1 when one was not found.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mutations.bugs import BUGS, QUICK, Bug

ROOT = Path(__file__).parents[2]
PARTS = ("src", "rock", "sandbox", "templates", "tests", "charmcraft.yaml", "pyproject.toml")
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*", "node_modules")
SECONDS = 600
FAILED = 1
"""What pytest exits with when tests failed; anything else is no finding."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one bug. `by` names the test that found it."""

    bug: Bug
    found: bool
    by: str
    seconds: float


def try_out(bug: Bug) -> Finding:
    """Plant a bug in a copy of the tree and run its tests there."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder)
        for part in PARTS:
            _copy(ROOT / part, copy / part)
        place = copy / bug.file
        place.write_text(bug.plant(place.read_text()))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "--show-capture=no"]
        command += ["--tb=no", "-p", "no:cacheprovider", *bug.tests]
        run = subprocess.run(
            command, cwd=copy, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    failed = [line for line in run.stdout.splitlines() if line.startswith("FAILED ")]
    by = failed[0].split(" ")[1].rpartition("/")[2] if failed else run.stdout.strip()[-200:]
    found = run.returncode == FAILED and bool(failed)
    return Finding(bug, found, by, time.monotonic() - begun)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=LEFT_OUT)
    else:
        shutil.copy2(source, target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the bugs that were asked for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--only", default="", help="bugs whose name contains this")
    parser.add_argument("--quick", action="store_true", help="the share of CI")
    asked = parser.parse_args(arguments)
    bugs = [bug for bug in BUGS if asked.only in bug.name]
    if asked.quick:
        bugs = [bug for bug in bugs if bug.name in QUICK]
    console = Console()
    table = Table("bug", "found by", "seconds", title="Planted bugs", title_justify="left")
    findings = []
    for bug in bugs:
        with console.status(bug.name):
            finding = try_out(bug)
        findings.append(finding)
        found = finding.by if finding.found else f"NOT FOUND: {finding.by}"
        table.add_row(bug.name, found, f"{finding.seconds:.0f}")
    console.print(table)
    missed = [finding.bug.name for finding in findings if not finding.found]
    console.print(f"{len(findings) - len(missed)} of {len(findings)} found (Juju is emulated).")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
