"""What a volume keeps from before each master, for the supervisor's own `Returners`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.inprocess.workload import Disk


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
