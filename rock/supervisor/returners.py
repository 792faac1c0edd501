"""What only a returning unit knows, agents and removals: told to the master through the API.

A unit keeps its keys from before each master that it follows beside `client.keys`, which the
cluster overwrites: as the last master, or as the only worker that had a copy. Once it follows,
those whose id and name are free there are enrolled again under their old id and key, so that the
agents themselves notice nothing. An id or a name that was given to another meanwhile stays with
that one, and is reported: the agent has to enrol anew. Whom the master knows as removed stays
removed, and so does whom it deleted for good (`deletions`); whom only the kept keys know as
removed is removed there too. Where there are too many for the API, the master is told how many
and takes them all in at once, as it would from a unit that it takes over from (`machine._fold`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

from . import deletions, files, keys, users, values
from .keys import Line
from .machine import Answer, State
from .places import Places

#: Seconds between two looks.
LOOK = 5.0
#: More agents than this are not told one by one: the API takes 300 calls a minute.
BULK = 500
#: Files of kept keys that stay when they are settled: the newest.
STAY = 3
#: Seconds for which an agent that could not be put back is reported, unless it is solved before.
REPORTED = 7 * 86400.0
#: The API takes 300 calls a minute from everybody together; people want some of them.
_PAUSE = 0.4
_BATCH = 50
_ATTEMPTS = 5
_AGAIN = 20.0  # seconds: longer than the master's keys take to arrive here
_PATIENCE = (
    900.0  # seconds for the master to take many in at once; one of an older image never does
)
_SHOWN = 100
_SCHEMA = 2
_NUMBER = re.compile(r"[0-9]+$")
_log = logging.getLogger(__name__)

Kind = Literal["id", "name", "removed", "refused", "stays", "doubt", "doubted"]
_SENTENCES: Mapping[str, str] = {
    "id": "its id belongs to {other} now: enrol it anew",
    "name": "its name belongs to {other} now: unless both are one agent, rename it and enrol it "
    "anew; or remove {other}, and it comes back",
    "removed": "another copy of the keys has it as removed: enrol it anew if it is wanted",
    "refused": "the API refuses to put it back: enrol it anew",
    "stays": "it was removed on a lost master, and the API refuses to: remove it",
    "doubt": "the record of what was put back is lost: enrol it anew if it is missing",
    "doubted": "it was removed on a lost master, the record of it is lost: remove it if unwanted",
}


@dataclass(frozen=True, slots=True)
class Conflict:
    """One agent that somebody has to look at: never its key, which `mark` only tells apart."""

    id: int
    name: str
    kind: Kind
    other: str = ""  # who has what it had
    mark: str = ""
    file: str = ""  # of the kept keys
    since: float = 0.0  # seconds since 1970

    def __str__(self) -> str:
        return f"{self.id:03d} {self.name}: {_SENTENCES[self.kind].format(other=self.other)}"

    def is_solved(self, here: Here, now: float) -> bool:
        """Tell whether it needs nobody any more: the agent is gone, or there."""
        if now - self.since > REPORTED or here.deleted.counts.get(self.mark, 0) % 2:
            return True
        if self.kind in ("stays", "doubted"):
            return here.sure and self.mark not in here.marks
        if self.mark in here.marks:
            return True
        namesake = here.names.get(self.name)
        if self.kind == "name":
            return self.is_free(here) or (namesake is not None and namesake != self.other)
        return namesake is not None or self.is_free(here)

    def is_free(self, here: Here) -> bool:
        """Tell whether who stood in the way is gone, so that it can be put back."""
        if not here.sure or not self.file:
            return False
        if self.kind == "name":
            return self.name not in here.names
        return self.kind == "id" and self.id not in here.ids


@dataclass(frozen=True, slots=True)
class Here:
    """The master's keys as they are known here, to hold conflicts against."""

    names: Mapping[str, str]  # of agents in use, to how they are called
    ids: frozenset[int]  # of any line
    marks: frozenset[str]
    deleted: deletions.Record
    sure: bool

    @classmethod
    def of(cls, current: str, deleted: deletions.Record, *, sure: bool) -> Here:
        """Read a client.keys."""
        lines = keys.standing(current)
        used = [line for line in lines if not line.removed]
        return cls(
            {line.name: _called(line) for line in used},
            frozenset(line.id for line in lines),
            frozenset(map(deletions.mark, used)),
            deleted,
            sure,
        )


def _called(line: Line) -> str:
    return f"{line.id:03d} {line.name}"


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
    """Agents to put back, to remove, and those that can be neither."""

    missing: tuple[Line, ...] = ()
    removed: tuple[Line, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


def gone(text: str) -> set[str]:
    """Name the agents that a client.keys has as removed."""
    return {line.agent for line in keys.standing(text) if line.removed and not line.gap}


def plan(
    kept: str,
    current: str,
    elsewhere: Collection[str] = (),
    deleted: deletions.Record | None = None,
) -> Plan:
    """Compare the keys kept aside with the master's as they are now.

    `elsewhere`: agents that other kept keys have as removed; they are not put back. `deleted`:
    agents that were deleted for good; nobody speaks of them again.
    """
    there = {line.id: line for line in keys.standing(current)}
    names = {line.name: line for line in there.values() if not line.removed}
    left = gone(kept)
    missing: list[Line] = []
    conflicts: list[Conflict] = []
    for line in keys.parse(kept):
        other = there.get(line.id)
        if line.removed or line.agent in left or (deleted is not None and deleted.gone(line)):
            continue
        if other is not None and (other.text == line.text or _was_removed(line, other)):
            continue
        conflict = _conflict(line, other, names.get(line.name), elsewhere)
        if conflict is None:
            missing.append(line)
            names[line.name] = line
        else:
            conflicts.append(conflict)
    removed = (line for line in there.values() if not line.removed and line.agent in left)
    return Plan(tuple(missing), tuple(removed), tuple(conflicts))


def _conflict(
    line: Line, other: Line | None, namesake: Line | None, elsewhere: Collection[str]
) -> Conflict | None:
    """Say what stands in the way of putting an agent back."""
    if line.agent in elsewhere:
        return _about(line, "removed")
    if other is not None:
        return _about(line, "id", "nobody else" if other.gap else other.name)
    return _about(line, "name", _called(namesake)) if namesake is not None else None


def _about(line: Line, kind: Kind, other: str = "") -> Conflict:
    return Conflict(line.id, line.name, kind, other, deletions.mark(line))


def fold(text: str, kept: Iterable[str], deleted: deletions.Record) -> str:
    """Take in what units keep, into a client.keys that nobody writes: whose id and name are free.

    What cannot be had stays with the unit that keeps it, which reports it.
    """
    for one in kept:
        found = plan(one, text, deleted=deleted)
        leaving = {line.text for line in found.removed}
        lines = [_removal(one) if one in leaving else one for one in text.splitlines()]
        text = "".join(f"{one}\n" for one in (*lines, *(line.text for line in found.missing)))
    return text


def _removal(text: str) -> str:
    return text.replace(" ", " !", 1)


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


def has_masters_deletions(state: State, answers: Iterable[Answer], digest: str) -> bool:
    """Tell whether this unit knows whom the master deleted. One of an older image knows nobody."""
    term = state.memory.term
    if term.master == state.node:
        return True
    found = (a for a in answers if a.node == term.master and a.serves)
    return any(a.deleted in ("", digest) for a in found)


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
    todo: str = ""  # lines that the master is to have, and removals' lines
    many: float | None = None  # since when they are too many for the API


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

    def remove(self, name: str) -> None:
        """Remove one of the files. Raises OSError."""
        ...


class Volume:
    """The shelf on this unit's own volume."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._record = places.own / "returned.json"

    def names(self) -> list[str]:
        """Name the files that `tree.keepsake` wrote."""
        return sorted((path.name for path in self._places.own.glob("client.keys.*")), key=_epoch)

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

    def remove(self, name: str) -> None:
        """Remove one of the files."""
        (self._places.own / name).unlink(missing_ok=True)


class Deleted(Protocol):
    """What is known of agents that were deleted for good: `deletions.Keeper`."""

    def record(self) -> deletions.Record:
        """Return what is known."""
        ...

    def delete(self, lines: Iterable[Line]) -> None:
        """Note that these are deleted. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """What became of the files: which are settled, and which agents are to be looked at."""

    done: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    doubtful: tuple[str, ...] = ()  # files of which nobody knows whether they were settled


class Returners:
    """Looks after the files of kept keys until each is settled."""

    def __init__(
        self, shelf: Shelf, deleted: Deleted, clock: Callable[[], float] = time.time
    ) -> None:
        self._shelf = shelf
        self._deleted = deleted
        self._clock = clock
        self._lock = threading.RLock()
        self._progress: dict[str, Progress] = {}
        self._known: Record | None = None

    def conflicts(self) -> list[str]:
        """Say which agents are to be looked at, and what to do (no keys)."""
        try:
            return [str(one) for one in self._load().conflicts]
        except OSError:
            return []

    def due(self) -> list[str]:
        """Name the files that are not settled yet. Raises OSError."""
        done = self._load().done
        return [name for name in self._shelf.names() if name not in done]

    def todo(self) -> str:
        """Give what the master is to have of here, for one that takes over."""
        with self._lock:
            return "".join(one.todo for one in self._progress.values())

    def many(self) -> str:
        """Name that by a digest, while it is too much for the API; else empty."""
        with self._lock:
            found = any(one.many is not None for one in self._progress.values())
        return hashlib.sha256(self.todo().encode()).hexdigest() if found else ""

    def report(self, found: Iterable[keys.Conflict]) -> None:
        """Have those looked at that a merge had to leave out. Raises OSError."""
        with self._lock:
            self._add(Conflict(one.id, one.lost, "id", one.kept) for one in found)

    def keep(
        self,
        master: Callable[[], Master],
        state: Callable[[], State],
        answers: Callable[[], Iterable[Answer]],
        stop: threading.Event,
    ) -> None:
        """Work until stopped, while this unit has a running API."""
        while not stop.wait(LOOK):
            if not is_open(state()):
                continue
            digest = self._deleted.record().digest
            if not has_masters_deletions(state(), answers(), digest):
                continue
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
        self._solve(sure=sure)
        for name in self.due():
            progress = self._progress.setdefault(name, Progress())
            if now >= progress.again:
                progress.again = now + _AGAIN
                told = self._settle(name, progress, master, now, sure=sure, stop=stop)
                progress.again += told * _PAUSE
        self._tidy()

    def _settle(
        self,
        name: str,
        progress: Progress,
        master: Master,
        now: float,
        *,
        sure: bool,
        stop: threading.Event | None,
    ) -> int:
        """Tell the master what is due, or be done with the file; gives how much was told."""
        found = self._plan(name)
        if name in self._load().doubtful:
            if sure:
                self._finish(name, [*found.conflicts, *_doubts(found)])
            return 0
        steps = [
            *(Step(line, master.remove, "removed") for line in found.removed),
            *(Step(line, master.insert, "put back") for line in found.missing),
        ]
        refused = [one for one in steps if progress.attempts.get(one.line.id, 0) >= _ATTEMPTS]
        due = [one for one in steps if one not in refused]
        with self._lock:
            _note(progress, found, len(due), now)
        if due and progress.many is not None and now < progress.many + _PATIENCE:
            return 0
        if batch := due[:_BATCH]:
            _tell(batch, progress, stop)
            return len(batch)
        if sure:
            self._finish(name, [*found.conflicts, *map(_refusal, refused)])
        return 0

    def _plan(self, name: str) -> Plan:
        others = [self._shelf.kept(other) for other in self._shelf.names() if other != name]
        elsewhere = {agent for text in others for agent in gone(text)}
        deleted = self._deleted.record()
        return plan(self._shelf.kept(name), self._shelf.current(), elsewhere, deleted)

    def _finish(self, name: str, conflicts: list[Conflict]) -> None:
        """Be done with a file: what it knows as removed is not put back from any other either."""
        self._deleted.delete(_unheard(self._shelf.kept(name), self._shelf.current()))
        with self._lock:
            known = self._load()
            doubtful = tuple(one for one in known.doubtful if one != name)
            self._write(dataclasses.replace(known, done=(*known.done, name), doubtful=doubtful))
            self._add(dataclasses.replace(one, file=name) for one in conflicts)
            self._progress.pop(name, None)

    def _add(self, conflicts: Iterable[Conflict]) -> None:
        known, now = self._load(), self._clock()
        there = {_who(one) for one in known.conflicts}
        new = [dataclasses.replace(c, since=now) for c in conflicts if _who(c) not in there]
        for one in new:
            _log.warning("the master does not have what this unit kept: %s", one)
        if new:
            found = sorted((*known.conflicts, *new), key=_who)
            self._write(dataclasses.replace(known, conflicts=tuple(found[:_SHOWN])))

    def _solve(self, *, sure: bool) -> None:
        """Forget what needs nobody any more; whom nobody stands in the way of comes back."""
        known = self._load()
        if not known.conflicts:
            return
        here = Here.of(self._shelf.current(), self._deleted.record(), sure=sure)
        now = self._clock()
        left = tuple(one for one in known.conflicts if not one.is_solved(here, now))
        again = {one.file for one in known.conflicts if one not in left and one.is_free(here)}
        if left != known.conflicts:
            with self._lock:
                done = tuple(name for name in known.done if name not in again)
                self._write(dataclasses.replace(self._load(), done=done, conflicts=left))

    def _tidy(self) -> None:
        """Remove settled files but the newest; the current epoch's is never taken again."""
        done = self._load().done
        for name in self._shelf.names()[:-STAY]:
            if name in done:
                self._shelf.remove(name)

    def _write(self, record: Record) -> None:
        there = set(self._shelf.names())
        record = dataclasses.replace(record, done=tuple(n for n in record.done if n in there))
        self._shelf.write(_dump(record))
        self._known = record

    def _load(self) -> Record:
        """Read the record once. Raises OSError: then nobody knows what is settled."""
        with self._lock:
            if self._known is None:
                self._known = _read(self._shelf)
            return self._known


def _who(conflict: Conflict) -> tuple[int, str, str]:
    return conflict.id, conflict.name, conflict.kind


def _epoch(name: str) -> int:
    found = _NUMBER.search(name)
    return int(found[0]) if found else 0


def _refusal(step: Step) -> Conflict:
    return _about(step.line, "refused" if step.what == "put back" else "stays")


def _doubts(found: Plan) -> list[Conflict]:
    put_back = [_about(line, "doubt") for line in found.missing]
    return [*put_back, *(_about(line, "doubted") for line in found.removed)]


def _note(progress: Progress, found: Plan, due: int, now: float) -> None:
    """Keep at hand what the master is to have, and since when it is too much for the API."""
    lines = [*(_removal(line.text) for line in found.removed), *(x.text for x in found.missing)]
    progress.todo = "".join(f"{line}\n" for line in lines)
    if due <= BULK:
        progress.many = None
    elif progress.many is None:
        progress.many = now
        _log.info("%d agents are for the master to take in at once", due)


def _unheard(kept: str, current: str) -> list[Line]:
    """Pick the removals of which the master's keys say nothing at all."""
    there = {deletions.mark(line) for line in keys.parse(current)}
    lines = (line for line in keys.standing(kept) if line.removed and not line.gap)
    return [line for line in lines if deletions.mark(line) not in there]


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


def _dump(record: Record) -> str:
    return json.dumps({"schema": _SCHEMA, **dataclasses.asdict(record)}, indent=1)


def _read(shelf: Shelf) -> Record:
    """Read the record. With a damaged one nothing is done again: what lies there is in doubt."""
    text = shelf.record()
    if not text:
        return Record()
    try:
        content = json.loads(text)
        if content["schema"] != _SCHEMA:
            raise ValueError("schema")
        done, doubtful = _names(content["done"]), _names(content["doubtful"])
        return Record(done, tuple(map(_load_conflict, content["conflicts"])), doubtful)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        _log.error("the record of what was put back is damaged: %s", type(error).__name__)
        return Record(doubtful=tuple(shelf.names()))


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError("names")
    return tuple(value)


def _load_conflict(content: dict) -> Conflict:
    if content["kind"] not in get_args(Kind):
        raise ValueError("kind")
    name, other, mark, file = (str(content[n]) for n in ("name", "other", "mark", "file"))
    number, since = values.number(content["id"]), float(content["since"])
    return Conflict(number, name, content["kind"], other, mark, file, since)
