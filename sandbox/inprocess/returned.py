"""What a volume keeps from before each master, and an API, for the supervisor's `Returners`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor import deletions, users

if TYPE_CHECKING:
    from supervisor.keys import Line

    from sandbox.inprocess.workload import Disk, Workload


class Shelf:
    """`client.keys.<epoch>` and the record of what was put back, on one volume."""

    def __init__(self, disk: "Disk") -> None:
        self._disk = disk

    def names(self) -> list[str]:
        """Name the files of kept keys."""
        return [f"client.keys.{epoch}" for epoch in sorted(self._disk.aside)]

    def kept(self, name: str) -> str:
        """Give what one of them holds."""
        return self._disk.aside[int(name.rpartition(".")[2])]

    def current(self) -> str:
        """Give client.keys."""
        return self._disk.keys

    def record(self) -> str:
        """Give what was recorded last."""
        return self._disk.returned

    def write(self, record: str) -> None:
        """Record something else."""
        self._disk.returned = record

    def remove(self, name: str) -> None:
        """Remove one of the files."""
        self._disk.aside.pop(int(name.rpartition(".")[2]), None)


class Deleted:
    """The record of agents that were deleted for good, on one volume."""

    def __init__(self, disk: "Disk") -> None:
        self._disk = disk

    def record(self) -> deletions.Record:
        """Return what is known."""
        return self._disk.deleted

    def delete(self, lines: "Iterable[Line]") -> None:
        """Note that these are deleted."""
        self._disk.deleted = self._disk.deleted.delete(lines)


@dataclass(frozen=True, slots=True)
class Api:
    """One unit's API at one moment; `reach` names the call and gives the master's workload."""

    reach: "Callable[[str], Workload | None]"
    now: float

    def insert(self, line: "Line") -> None:
        """Add an agent under its old id and key. Raises UsersError."""
        if not self._door(f"put back {line.id:03d}").insert(line, self.now):
            raise users.RefusedError("the API did not add the agent")

    def remove(self, line: "Line") -> None:
        """Remove an agent. Raises UsersError."""
        if not self._door(f"remove {line.id:03d}").remove(line.text, self.now):
            raise users.RefusedError("the API did not remove the agent")

    def _door(self, call: str) -> "Workload":
        master = self.reach(call)
        if master is None or not master.lets_in:
            raise users.UsersError("no master takes it now")
        return master
