"""What only a returning unit knows, agents and removals: told to the master through the API.

A unit keeps its keys from before each master that it follows beside `client.keys`, which the
cluster overwrites: as the last master, or as the only worker that had a copy. Once it follows,
those whose id and name are free there are enrolled again under their old id and key, so that the
agents themselves notice nothing. An id or a name that was given to another meanwhile stays with
that one, and is reported: the agent has to enrol anew. Whom the master knows as removed stays
removed; whom only the kept keys know as removed is removed there too.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from . import files, keys, users
from .keys import Line
from .machine import Answer, State
from .places import Places

#: Seconds between two looks.
LOOK = 5.0
#: The API takes 300 calls a minute from everybody together; people want some of them.
_PAUSE = 0.4
_BATCH = 50
_ATTEMPTS = 5
_AGAIN = 20.0  # seconds: longer than the master's keys take to arrive here
_SHOWN = 100
_log = logging.getLogger(__name__)


class Master(Protocol):
    """The master's keys, as this unit's API passes calls on to it."""

    def insert(self, line: Line) -> None:
        """Add an agent under its old id and key. Raises OSError, UsersError."""
        ...

    def remove(self, line: Line) -> None:
        """Remove an agent. Raises OSError, UsersError."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """Agents to put back, to remove, and in one line each (no key) those that can be neither."""

    missing: tuple[Line, ...] = ()
    removed: tuple[Line, ...] = ()
    conflicts: tuple[str, ...] = ()


def gone(text: str) -> set[str]:
    """Name the agents that a client.keys has as removed."""
    return {line.agent for line in keys.standing(text) if line.removed and not line.gap}


def plan(kept: str, current: str, elsewhere: Collection[str] = ()) -> Plan:
    """Compare the keys kept aside with the master's as they are now.

    `elsewhere`: agents that other kept keys have as removed; they are not put back.
    """
    there = {line.id: line for line in keys.standing(current)}
    names = {line.name: line for line in there.values() if not line.removed}
    left = gone(kept)
    missing: list[Line] = []
    conflicts: list[str] = []
    for line in keys.parse(kept):
        if line.removed or line.agent in left or line.agent in elsewhere:
            continue
        other, namesake = there.get(line.id), names.get(line.name)
        if other is not None and (other.text == line.text or _was_removed(line, other)):
            continue
        if other is not None:
            conflicts.append(f"id {line.id:03d} of {line.name} now belongs to {other.name}")
        elif namesake is not None:
            conflicts.append(f"the name of {line.id:03d} {line.name} now has id {namesake.id:03d}")
        else:
            missing.append(line)
    removed = (line for line in there.values() if not line.removed and line.agent in left)
    return Plan(tuple(missing), tuple(removed), tuple(conflicts))


def is_open(state: State) -> bool:
    """Tell whether the API is open here, and passes on to a master."""
    return state.phase == "serving" and state.ready


def has_masters_keys(state: State, answers: Iterable[Answer]) -> bool:
    """Tell whether client.keys here is the master's of this moment.

    While agents enrol all the time it never is, outside the master: it is some seconds old.
    """
    term = state.memory.term
    if term.master == state.node:
        return True
    found = (a for a in answers if a.node == term.master and a.serves)
    return any(a.keys.digest == state.keys.digest for a in found)


def _was_removed(line: Line, other: Line) -> bool:
    return other.removed and not other.gap and other.name == line.name


@dataclass(frozen=True, slots=True)
class Step:
    """One call to the master, and its name."""

    line: Line
    call: Callable[[Line], None]
    what: str

    @property
    def agent(self) -> str:
        """Say which agent, never its key."""
        return f"{self.line.id:03d} {self.line.name}"


@dataclass(slots=True)
class Progress:
    """How far one file of kept keys is."""

    attempts: dict[int, int] = field(default_factory=dict)
    again: float = 0.0


class Shelf(Protocol):
    """Where kept keys and what became of them lie: a volume."""

    def names(self) -> list[str]:
        """Name the files of kept keys. Raises OSError."""
        ...

    def kept(self, name: str) -> str:
        """Give what one of them holds. Raises OSError."""
        ...

    def current(self) -> str:
        """Give client.keys as it is here now. Raises OSError."""
        ...

    def record(self) -> str:
        """Give what was recorded last; empty when nothing was. Raises OSError."""
        ...

    def write(self, record: str) -> None:
        """Record something else. Raises OSError."""
        ...


class Volume:
    """The shelf on this unit's own volume."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._record = places.own / "returned.json"

    def names(self) -> list[str]:
        """Name the files that `tree.keepsake` wrote."""
        return sorted(path.name for path in self._places.own.glob("client.keys.*"))

    def kept(self, name: str) -> str:
        """Read one of them."""
        return keys.load(self._places.own / name)

    def current(self) -> str:
        """Read client.keys."""
        return keys.load(self._places.client_keys)

    def record(self) -> str:
        """Read the record."""
        return self._record.read_text() if self._record.exists() else ""

    def write(self, record: str) -> None:
        """Replace the record."""
        files.write(self._record, record.encode(), files.Owner())


class Returners:
    """Looks after the files of kept keys until each is settled."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._progress: dict[str, Progress] = {}
        self._known: dict[str, list[str]] | None = None

    def conflicts(self) -> list[str]:
        """Name the agents that could not be put back (no keys)."""
        return self._load()["conflicts"]

    def due(self) -> list[str]:
        """Name the files that are not settled yet. Raises OSError."""
        done = self._load()["done"]
        return [name for name in self._shelf.names() if name not in done]

    def keep(
        self,
        master: Callable[[], Master],
        state: Callable[[], State],
        answers: Callable[[], Iterable[Answer]],
        stop: threading.Event,
    ) -> None:
        """Work until stopped, while this unit has a running API."""
        while not stop.wait(LOOK):
            if is_open(state()):
                sure = has_masters_keys(state(), answers())
                try:
                    self.look(master(), time.monotonic(), sure=sure, stop=stop)
                except users.UsersError as error:
                    _log.warning("what was kept cannot be told to the master yet: %s", error)
                except users.FAULTS as error:
                    _log.warning("the master was not told yet: %s", type(error).__name__)

    def look(
        self, master: Master, now: float, *, sure: bool, stop: threading.Event | None = None
    ) -> None:
        """Take the next step for each file. Raises OSError, UsersError and users.FAULTS.

        `sure`: client.keys is the master's of this moment. Only then a file is done with: before
        the master's first copy comes, nothing is missing here either. Whoever is missing was
        not in the copy that came, so that is known without being sure.
        """
        for name in self.due():
            progress = self._progress.setdefault(name, Progress())
            if now >= progress.again:
                progress.again = now + _AGAIN
                told = self._settle(name, progress, master, sure=sure, stop=stop)
                progress.again += told * _PAUSE

    def _settle(
        self,
        name: str,
        progress: Progress,
        master: Master,
        *,
        sure: bool,
        stop: threading.Event | None,
    ) -> int:
        """Tell the master what is due, or be done with the file; gives how much was told."""
        others = [self._shelf.kept(other) for other in self._shelf.names() if other != name]
        elsewhere = {agent for text in others for agent in gone(text)}
        found = plan(self._shelf.kept(name), self._shelf.current(), elsewhere)
        steps = [
            *(Step(line, master.remove, "removed") for line in found.removed),
            *(Step(line, master.insert, "put back") for line in found.missing),
        ]
        refused = [one for one in steps if progress.attempts.get(one.line.id, 0) >= _ATTEMPTS]
        due = [one for one in steps if one not in refused]
        if batch := due[:_BATCH]:
            _tell(batch, progress, stop)
            return len(batch)
        if sure:
            said = [f"{one.agent} could not be {one.what}: the API refuses" for one in refused]
            self._finish(name, [*found.conflicts, *said])
        return 0

    def _finish(self, name: str, conflicts: list[str]) -> None:
        for text in conflicts:
            _log.warning("the master does not have what this unit kept: %s", text)
        known = self._load()
        content = {
            "done": [*known["done"], name],
            "conflicts": sorted({*known["conflicts"], *conflicts})[:_SHOWN],
        }
        self._shelf.write(json.dumps(content, indent=1))
        self._known = content

    def _load(self) -> dict[str, list[str]]:
        if self._known is None:
            self._known = _read(self._shelf)
        return self._known


@dataclass(slots=True)
class Api:
    """The API of this unit, as the charm's own user; logs in when first used, which is seldom."""

    places: Places
    _session: users.Session | None = None

    def insert(self, line: Line) -> None:
        """Add an agent under its old id and key. Raises OSError, UsersError."""
        number, name, ip, key = line.text.split(" ")
        self._open().insert({"id": number, "name": name, "ip": ip, "key": key})

    def remove(self, line: Line) -> None:
        """Remove an agent. Raises OSError, UsersError."""
        self._open().remove(line.text.partition(" ")[0])

    def _open(self) -> users.Session:
        if self._session is None:
            self._session = users.as_charm(self.places)
        return self._session


def _tell(steps: Iterable[Step], progress: Progress, stop: threading.Event | None) -> None:
    for step in steps:
        number = step.line.id
        try:
            step.call(step.line)
            _log.info("agent %s was %s: only this unit knew", step.agent, step.what)
        except users.RefusedError as error:
            progress.attempts[number] = progress.attempts.get(number, 0) + 1
            _log.info("agent %s was not %s: %s", step.agent, step.what, error)
        if stop is not None and stop.wait(_PAUSE):
            return


def _read(shelf: Shelf) -> dict[str, list[str]]:
    try:
        content = json.loads(shelf.record())
        return {name: [str(one) for one in content[name]] for name in ("done", "conflicts")}
    except (OSError, ValueError, KeyError, TypeError):
        return {"done": [], "conflicts": []}
