"""Agents that only a returning unit knows: put back into the master through the API.

A unit that was master keeps its keys of then beside `client.keys`, which the cluster overwrites.
Once it follows the next master, those whose id and name are free there are enrolled again under
their old id and key, so that the agents themselves notice nothing. An id or a name that was given
to another meanwhile stays with that one, and is reported: the agent has to enrol anew. Whom the
master knows as removed stays removed.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from . import files, keys, users
from .keys import Line
from .places import Places

#: The API takes 300 calls a minute from everybody together; people want some of them.
_PAUSE = 0.4
_BATCH = 50
_ATTEMPTS = 5
_AGAIN = 20.0  # seconds: longer than the master's keys take to arrive here
_SHOWN = 100
#: May add agents, by its role (src/files.py).
_USER = "wazuh-charm"
_log = logging.getLogger(__name__)

Insert = Callable[[Line], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """Agents to put back, and in one line each (never a key) those that cannot be."""

    missing: tuple[Line, ...] = ()
    conflicts: tuple[str, ...] = ()


def plan(kept: str, current: str) -> Plan:
    """Compare the keys kept aside with the master's as they are now."""
    there = {line.id: line for line in keys.parse(current)}
    names = {line.name: line for line in there.values() if not line.removed}
    missing: list[Line] = []
    conflicts: list[str] = []
    for line in keys.parse(kept):
        if line.removed:
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
    return Plan(tuple(missing), tuple(conflicts))


def _was_removed(line: Line, other: Line) -> bool:
    return other.removed and not other.gap and other.name == line.name


@dataclass(slots=True)
class Progress:
    """How far one file of kept keys is."""

    attempts: dict[int, int] = field(default_factory=dict)
    again: float = 0.0


class Returners:
    """Looks after the files of kept keys until each is settled."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._record = places.own / "returned.json"
        self._progress: dict[str, Progress] = {}
        self._known: dict[str, list[str]] | None = None

    def conflicts(self) -> list[str]:
        """Name the agents that could not be put back (no keys)."""
        return self._load()["conflicts"]

    def keep(self, serves: Callable[[], bool], stop: threading.Event) -> None:
        """Work until stopped, while this unit has the master's keys and a running API."""
        while not stop.wait(5.0):
            if serves():
                try:
                    self.look(self._insert(), time.monotonic(), stop)
                except (OSError, users.UsersError) as error:
                    _log.warning("agents cannot be put back yet: %s", error)

    def look(self, insert: Insert, now: float, stop: threading.Event | None = None) -> None:
        """Take the next step for each file. Raises OSError, UsersError."""
        done = self._load()["done"]
        for path in sorted(self._places.own.glob("client.keys.*")):
            progress = self._progress.setdefault(path.name, Progress())
            if path.name not in done and now >= progress.again:
                progress.again = now + _AGAIN
                self._settle(path, progress, insert, stop)

    def _settle(
        self, path: Path, progress: Progress, insert: Insert, stop: threading.Event | None
    ) -> None:
        found = plan(keys.load(path), keys.load(self._places.client_keys))
        refused = [one for one in found.missing if progress.attempts.get(one.id, 0) >= _ATTEMPTS]
        due = [one for one in found.missing if one not in refused]
        if due:
            self._put_back(due[:_BATCH], progress, insert, stop)
            return
        said = [f"{one.id:03d} {one.name} was refused by the API" for one in refused]
        self._finish(path.name, [*found.conflicts, *said])

    def _put_back(
        self,
        lines: Iterable[Line],
        progress: Progress,
        insert: Insert,
        stop: threading.Event | None,
    ) -> None:
        for line in lines:
            progress.attempts[line.id] = progress.attempts.get(line.id, 0) + 1
            insert(line)
            progress.attempts[line.id] -= 1
            _log.info("put agent %03d %s back, whom only this unit knew", line.id, line.name)
            if stop is not None and stop.wait(_PAUSE):
                return

    def _finish(self, name: str, conflicts: list[str]) -> None:
        for text in conflicts:
            _log.warning("not put back, it has to enrol anew: %s", text)
        known = self._load()
        content = {
            "done": [*known["done"], name],
            "conflicts": sorted({*known["conflicts"], *conflicts})[:_SHOWN],
        }
        files.write(self._record, json.dumps(content, indent=1).encode(), files.Owner())
        self._known = content

    def _load(self) -> dict[str, list[str]]:
        if self._known is None:
            self._known = _read(self._record)
        return self._known

    def _insert(self) -> Insert:
        """Give a caller that logs in when it is first used: mostly there is nothing to do."""
        session: list[users.Session] = []

        def insert(line: Line) -> None:
            if not session:
                known = users.load(self._places.orders)[_USER]
                fresh = users.Session(self._places)
                fresh.log_in(_USER, known.password)
                session.append(fresh)
            number, name, ip, key = line.text.split(" ")
            session[0].insert({"id": number, "name": name, "ip": ip, "key": key})

        return insert


def _read(record: Path) -> dict[str, list[str]]:
    try:
        content = json.loads(record.read_text())
        return {name: [str(one) for one in content[name]] for name in ("done", "conflicts")}
    except (OSError, ValueError, KeyError, TypeError):
        return {"done": [], "conflicts": []}
