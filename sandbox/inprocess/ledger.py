"""What was promised to agents, and what became of it: the books of I1.

Every acknowledged enrolment and removal is entered. At the end each one is looked for in the
master's client.keys. One that is missing must have a cause that no cluster of Wazuh can help:
authd had acknowledged it but not written it when it ended, or every volume that ever held it is
gone (the last copying interval, when it had not yet been copied). Anything else is a loss, also
what a living unit only keeps beside client.keys: it is to be put back.
"""

import functools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Loss = Literal["unwritten", "not copied yet", "scale-down", "all volumes", "parked", "unexplained"]
"""`parked`: only on the kept volume of a removed unit, from where it comes back with the unit."""


@dataclass(slots=True)
class Entry:
    """One line of client.keys that somebody was told is there. `volumes`: who ever held it."""

    line: str
    name: str
    at: float
    where: str
    removal: bool = False
    written: float | None = None
    dropped: str | None = None
    """Why it was never written."""
    volumes: set[str] = field(default_factory=set)


class Ledger:
    """All entries of one run."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.gone: set[str] = set()
        """Names of volumes that are lost for good."""
        self.removed: set[str] = set()
        """Those of them that went with a unit that was removed."""

    def acknowledged(self, line: str, at: float, where: str, *, removal: bool = False) -> None:
        """Enter what authd answered."""
        if line in self.entries:  # put back: what it was promised before still counts
            return
        name = line.split(" ")[1].lstrip("!")
        self.entries[line] = Entry(line, name, at, where, removal)

    def purged(self, line: str, at: float, where: str) -> None:
        """Enter that an agent was deleted for good: nothing of it is to be there."""
        self.entries.pop(line, None)
        self.acknowledged(removed(line), at, where, removal=True)

    def dropped(self, lines: Iterable[str], reason: str) -> None:
        """Note what authd had not written when it ended."""
        for line in lines:
            self.entries[line].dropped = reason

    def held(self, before: str, after: str, volume: str, at: float) -> None:
        """Note what a volume holds that it did not hold before."""
        if before == after:
            return
        for line in lines(after) - lines(before):
            entry = self.entries.get(line)
            if entry is not None:
                entry.volumes.add(volume)
                entry.written = at if entry.written is None else entry.written

    def lost(self, volume: str, *, removed: bool = False) -> None:
        """Note that a volume is gone for good, by a fault or since its unit was removed."""
        self.gone.add(volume)
        if removed:
            self.removed.add(volume)

    def missing(self, text: str) -> list[Entry]:
        """Give the entries that a client.keys does not honour.

        A removal is honoured as long as the agent is not there: an agent that nobody but a lost
        master knew has no line at all.
        """
        there = lines(text)
        return [entry for entry in self.entries.values() if not _honoured(entry, there)]

    def losses(self, text: str, parked: Collection[str] = ()) -> dict[str, Loss]:
        """Say why each missing line is missing; `parked`: volumes that no unit has now."""
        return {entry.line: self._why(entry, parked) for entry in self.missing(text)}

    def _why(self, entry: Entry, parked: Collection[str]) -> Loss:
        if not entry.volumes:
            return "unwritten" if entry.dropped else "unexplained"
        if entry.volumes <= self.gone and entry.volumes & self.removed:
            return "scale-down"
        if entry.volumes <= self.gone:
            return "not copied yet" if len(entry.volumes) == 1 else "all volumes"
        return "parked" if entry.volumes <= self.gone | set(parked) else "unexplained"

    def forgive(self, losses: Mapping[str, Loss]) -> None:
        """Close the entries that are lost for good, so that they are counted once."""
        for line, cause in losses.items():
            if cause != "parked":
                self.entries.pop(line, None)


def _honoured(entry: Entry, there: Collection[str]) -> bool:
    if entry.removal:
        return entry.line.replace(" !", " ", 1) not in there
    return entry.line in there or removed(entry.line) in there


def removed(line: str) -> str:
    """Give the line of an agent as it is once the agent was removed."""
    return line.replace(" ", " !", 1)


@functools.lru_cache(maxsize=128)
def lines(text: str) -> frozenset[str]:
    """Give the lines of a client.keys."""
    return frozenset(text.splitlines())
