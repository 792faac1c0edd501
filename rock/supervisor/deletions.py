"""Which agents were deleted for good, so that no older copy of client.keys brings one back.

Deleted with `purge=true`, an agent leaves no line in client.keys (src/os_crypto/shared/keys.c,
OS_DeleteKey), and nothing tells it from one that was lost with a master. So the master's
supervisor notes whose line goes while it serves, and every unit keeps that and passes it on. Each
agent has a count, which is odd while it is deleted and even when it was put back on purpose; two
records unite to the higher counts, so that all units come to the same in any order.

An agent is known by a digest of its id, name and key: neither key nor name is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import files, keys, values
from .keys import Line

_SCHEMA = 1
_MARK_CHARACTERS = 32
#: Deleted agents that are remembered; above it some are forgotten, the same ones everywhere.
LIMIT = 50_000
_log = logging.getLogger(__name__)


class RecordError(Exception):
    """It is not what `dump` writes."""


def mark(line: Line) -> str:
    """Name an agent by what no other ever has: id, name and key. authd may rewrite an address."""
    text = f"{line.id} {line.name} {line.text.rpartition(' ')[2]}"
    return hashlib.sha256(text.encode()).hexdigest()[:_MARK_CHARACTERS]


@dataclass(frozen=True)
class Record:
    """How often each agent was deleted and put back."""

    counts: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""  # empty: nobody was ever deleted

    def gone(self, line: Line) -> bool:
        """Tell whether this agent was deleted for good."""
        return bool(self.counts) and self.counts.get(mark(line), 0) % 2 == 1

    def unite(self, other: Record) -> Record:
        """Know what either knows."""
        return _record(self.counts, other.counts)

    def delete(self, lines: Iterable[Line]) -> Record:
        """Note that these are deleted."""
        return self._count(lines, gone=False)

    def follow(self, before: str, after: str) -> Record:
        """Note what became of agents in one change of a serving master's client.keys.

        A file that is lost says nothing of agents, and neither does one that is empty at once.
        """
        old, new = set(before.split("\n")), set(after.split("\n"))
        vanished, came = keys.parse("\n".join(old - new)), keys.parse("\n".join(new - old))
        used = [line for line in vanished if not line.removed]
        if used and not keys.parse(after) and len(used) > 1:
            return self
        there = {mark(line) for line in keys.parse(after)} if used else set()
        purged = [line for line in used if mark(line) not in there]
        found = self.delete(purged) if purged else self
        return found._count([one for one in came if not one.removed], gone=True)

    def without(self, text: str) -> str:
        """Leave the deleted ones out of a client.keys; removals' lines stay."""
        if not self.digest:
            return text
        deleted = {one.text for one in keys.parse(text) if not one.removed and self.gone(one)}
        if not deleted:
            return text
        return "".join(f"{one}\n" for one in text.splitlines() if one not in deleted)

    def covers(self, text: str) -> bool:
        """Tell whether a client.keys has nobody in use but who was deleted."""
        used = [line for line in keys.parse(text) if not line.removed]
        return bool(used) and all(map(self.gone, used))

    def _count(self, lines: Iterable[Line], *, gone: bool) -> Record:
        """Count those up that are as told."""
        marks = {mark(line) for line in lines if self.gone(line) == gone}
        if not marks:
            return self
        return _record(self.counts, {one: self.counts.get(one, 0) + 1 for one in marks})


def _record(*parts: Mapping[str, int]) -> Record:
    counts: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            counts[name] = max(count, counts.get(name, 0))
    kept = dict(sorted(counts.items())[:LIMIT])
    text = json.dumps(kept)
    return Record(kept, hashlib.sha256(text.encode()).hexdigest() if kept else "")


def dump(record: Record) -> str:
    """Write it as one line of text."""
    return json.dumps({"schema": _SCHEMA, "counts": dict(record.counts)})


def load(text: str) -> Record:
    """Read what `dump` wrote. Raises RecordError."""
    try:
        content = json.loads(text)
        if content["schema"] != _SCHEMA:
            raise RecordError("of another schema")
        counts = {_name(name): values.number(n) for name, n in content["counts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordError(type(error).__name__) from None
    return _record(counts)


def _name(value: str) -> str:
    if len(value) != _MARK_CHARACTERS or not set(value) <= set("0123456789abcdef"):
        raise ValueError("mark")
    return value


class Keeper:
    """The record on this unit's volume, which several threads add to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._record: Record | None = None
        self._watched: tuple[str, str] | None = None
        self._asked, self._covers = ("", ""), False

    def record(self) -> Record:
        """Return what is known. A damaged file counts as none: the other units have it too."""
        with self._lock:
            return self._known()

    def watch(self, serves: str, text: str) -> None:
        """Follow a serving master's client.keys; `serves` names its takeover, empty: none.

        Raises OSError when it cannot be written down: then the same change comes again.
        """
        before = self._watched
        if before is not None and serves and before[0] == serves and before[1] != text:
            with self._lock:
                self._replace(self._known().follow(before[1], text))
        self._watched = (serves, text)

    def covers(self, digest: str, path: Path) -> bool:
        """Tell whether client.keys, of this digest, has nobody but who was deleted for good."""
        record = self.record()
        asked = (digest, record.digest)
        if record.digest and asked != self._asked:
            self._asked, self._covers = asked, record.covers(keys.load(path))
        return bool(record.digest) and self._covers

    def serve(self, serves: str) -> None:
        """Say whose client.keys the last one is, which did not change since."""
        if self._watched is not None and self._watched[0] != serves:
            self._watched = (serves, self._watched[1])

    def offer(self, text: str) -> None:
        """Take in what another unit knows. Raises RecordError, OSError."""
        found = load(text)
        with self._lock:
            self._replace(self._known().unite(found))

    def delete(self, lines: Iterable[Line]) -> None:
        """Note that these are deleted. Raises OSError."""
        with self._lock:
            self._replace(self._known().delete(lines))

    def _replace(self, record: Record) -> None:
        if record.digest != self._known().digest:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write(self._path, dump(record).encode(), files.Owner())
            self._record = record

    def _known(self) -> Record:
        """Read the volume's once, as soon as there is a volume."""
        if self._record is not None:
            return self._record
        if not self._path.parent.is_dir():
            return Record()
        try:
            self._record = load(self._path.read_text()) if self._path.exists() else Record()
        except (RecordError, OSError, ValueError) as error:
            _log.error("the record of deleted agents cannot be read: %s", type(error).__name__)
            self._record = Record()
        return self._record
