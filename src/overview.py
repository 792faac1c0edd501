"""What `show-cluster` tells of each unit, from what one unit hears of the others. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from src import values

_LONGEST = 100
_HEADS = ("unit", "role", "phase", "epoch", "agents", "configuration", "version")


@dataclass(frozen=True, slots=True)
class Node:
    """One unit as it said last."""

    unit: str
    role: str
    phase: str
    epoch: int
    agents: int
    configuration: str
    """The commit it runs with, shortened; `none` without a repository."""
    version: str

    @classmethod
    def read(cls, value: Mapping[str, Any], app: str) -> Self:
        """Take what has the right type; another version of the image may have written it."""
        commit = values.line(value.get("commit"), _LONGEST)
        return cls(
            unit=f"{app}/{values.line(value.get('node'), _LONGEST).removeprefix(f'{app}-')}",
            role=values.line(value.get("role"), _LONGEST),
            phase=values.line(value.get("phase"), _LONGEST)
            if value.get("heard") is True
            else "not heard",
            epoch=values.whole(value.get("epoch")),
            agents=values.whole(value.get("agents")),
            configuration=commit[:12] if commit else "none",
            version=values.line(value.get("version"), _LONGEST),
        )

    @property
    def number(self) -> int:
        """The unit's number; -1 where it has none."""
        number = self.unit.rpartition("/")[2]
        return int(number) if number.isdecimal() else -1

    def results(self) -> dict[str, str | int]:
        """Return what a program reads."""
        return {
            "role": self.role,
            "phase": self.phase,
            "epoch": self.epoch,
            "agents": self.agents,
            "configuration": self.configuration,
            "version": self.version,
        }

    def cells(self) -> tuple[str, ...]:
        """Return the table's cells."""
        epoch, agents = str(self.epoch), str(self.agents)
        found = (self.unit, self.role, self.phase, epoch, agents, self.configuration, self.version)
        return tuple(cell or "-" for cell in found)


def read(content: Mapping[str, Any], app: str, planned: int) -> list[Node]:
    """Read what the supervisor wrote; a unit that was scaled away is nobody's any more."""
    listed = content.get("nodes")
    found = listed if isinstance(listed, list) else []
    nodes = [Node.read(value, app) for value in found if isinstance(value, dict)]
    return sorted((one for one in nodes if 0 <= one.number < planned), key=lambda one: one.number)


def table(nodes: Sequence[Node]) -> str:
    """Set the nodes as a table for people."""
    rows = [_HEADS, *(node.cells() for node in nodes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
