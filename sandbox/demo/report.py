"""What a run showed: lines of a table, the same as JSON, and whether all of them hold."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One thing shown: the claim, what was measured, and whether it held."""

    shown: str
    measured: str
    holds: bool
    figures: dict[str, float | int | str | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    title: str
    notes: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def holds(self) -> bool:
        """Whether something was shown and every line of it held."""
        return bool(self.lines) and all(line.holds for line in self.lines)

    def print_to(self, console: Console) -> None:
        """The table, with what stood in for what under it."""
        table = Table(title=self.title, box=box.ROUNDED, title_justify="left")
        table.add_column("shown")
        table.add_column("measured")
        table.add_column("", justify="center")
        for line in self.lines:
            mark = "[green]✔[/]" if line.holds else "[bold red]✘[/]"
            table.add_row(line.shown, line.measured, mark)
        console.print(table)
        for note in self.notes:
            console.print(f"[dim]{note}[/]")

    def write_json(self, path: Path) -> None:
        """The same for machines."""
        path.write_text(json.dumps(dataclasses.asdict(self) | {"holds": self.holds}, indent=2))


def seconds_without(tries: Sequence[tuple[float, bool]]) -> float:
    """The longest time between a success and the next, where a failure lies between them.

    Each try is (when it began, whether it succeeded). Failures after the last success count up
    to the last try known.
    """
    longest, last_good, failed = 0.0, None, False
    for when, good in sorted(tries):
        if not good:
            failed = True
        elif failed and last_good is not None:
            longest = max(longest, when - last_good)
        if good:
            last_good, failed = when, False
    if failed and last_good is not None:
        longest = max(longest, max(when for when, _ in tries) - last_good)
    return longest
