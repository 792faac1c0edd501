"""What people made themselves through the API: users, roles, policies, how long tokens last.

Wazuh keeps it on the master alone (`rbac.db`, `security.yaml`) and carries it nowhere. So the
master makes a consistent copy whenever it changed, every other unit keeps the newest on its
volume, and a new master begins from that: what a killed master whose volume is lost leaves
behind is some seconds old at most. Its editions are ordered: by the master's epoch, then by a
counter of that master.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import threading
import urllib.parse
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from . import files, values
from .machine import Edition
from .places import Places

_SCHEMA = 1
_HEADER = b"SQLite format 3\0"
#: Of the text of one copy, and of what it unpacks to (bytes).
LIMIT = 16 * 1024 * 1024
_UNPACKED = 64 * 1024 * 1024
_BUSY_SECONDS = 0.25
#: What SQLite itself leaves beside a database whose user was killed.
_BESIDE = ("-journal", "-wal", "-shm")
_log = logging.getLogger(__name__)


class CopyError(Exception):
    """No copy could be made or read; the text holds nothing of its content."""


@dataclass(frozen=True, slots=True)
class Copy:
    """The whole database and the tokens' settings (None: Wazuh's defaults), of one moment."""

    edition: Edition
    database: bytes = field(repr=False)
    settings: bytes | None = field(repr=False)

    def same(self, other: Copy | None) -> bool:
        """Tell whether the other holds the same, whatever its edition."""
        return other is not None and (self.database, self.settings) == (
            other.database,
            other.settings,
        )


def dump(copy: Copy) -> str:
    """Write a copy as one line of text."""
    content = {
        "schema": _SCHEMA,
        "epoch": copy.edition.epoch,
        "counter": copy.edition.counter,
        "database": values.pack(copy.database),
        "settings": None if copy.settings is None else values.pack(copy.settings),
        "sha256": _digest(copy.database, copy.settings),
    }
    return json.dumps(content)


def load(text: str) -> Copy:
    """Read what `dump` wrote, whole and unchanged. Raises CopyError."""
    try:
        content = json.loads(text)
        if content["schema"] != _SCHEMA:
            raise CopyError("a copy of another schema")
        edition = Edition(values.number(content["epoch"]), values.number(content["counter"]))
        settings = content["settings"]
        copy = Copy(
            edition,
            values.unpack(content["database"], _UNPACKED),
            None if settings is None else values.unpack(settings, _UNPACKED),
        )
        digest = content["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CopyError(f"not a copy: {type(error).__name__}") from None
    if digest != _digest(copy.database, copy.settings) or not copy.database.startswith(_HEADER):
        raise CopyError("a damaged copy")
    return copy


def _digest(database: bytes, settings: bytes | None) -> str:
    parts = (database, b"" if settings is None else b"1" + settings)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


class Keeper:
    """Holds the newest copy that this unit knows of, in memory and on its volume."""

    def __init__(self, places: Places) -> None:
        self._folder = places.home / "api/configuration/security"
        self._own = places.own
        self._path = places.own / "rbac.json"
        self._lock = threading.Lock()
        self._read = False
        self._newest: Copy | None = None
        self._stamp: tuple[object, ...] = ()
        self._complaint = ""

    def newest(self) -> Copy | None:
        """Return the newest copy; None when there never was one."""
        with self._lock:
            return self._known()

    def edition(self) -> Edition:
        """Return which one the newest is."""
        copy = self.newest()
        return copy.edition if copy else Edition()

    def offer(self, text: str) -> bool:
        """Keep another unit's copy if it is newer. Raises CopyError, OSError."""
        if len(text) > LIMIT:
            raise CopyError("a copy that is too large")
        copy = load(text)
        with self._lock:
            known = self._known()
            if known is not None and known.edition >= copy.edition:
                return False
            self._keep(copy)
        return True

    def take(self, epoch: int) -> None:
        """Copy this master's own, if it changed since; `epoch` is the one it took over in.

        What cannot be copied now is copied at the next call.
        """
        stamp = (epoch, *_stamp(self._folder))
        if stamp == self._stamp or not self.holds():
            return
        try:
            database, settings = self._back_up(), _settings(self._folder)
            self._adopt(epoch, database, settings)
        except (CopyError, OSError) as error:
            self._complain(f"what people made through the API could not be copied: {error}")
        else:
            self._stamp, self._complaint = stamp, ""

    def holds(self) -> bool:
        """Tell whether this unit has a database at all."""
        return (self._folder / "rbac.db").is_file()

    def _adopt(self, epoch: int, database: bytes, settings: bytes | None) -> None:
        with self._lock:
            known = self._known()
            if known is not None and known.edition.epoch > epoch:
                return
            before = known.edition.counter if known and known.edition.epoch == epoch else 0
            copy = Copy(Edition(epoch, before + 1), database, settings)
            if not (before and copy.same(known)):
                self._keep(copy)

    def _known(self) -> Copy | None:
        """Read the volume's once, as soon as there is a volume."""
        if not self._read and self._own.is_dir():
            self._read = True
            try:
                self._newest = load(self._path.read_text()) if self._path.exists() else None
            except (CopyError, OSError, ValueError) as error:
                self._complain(f"the copy of what people made cannot be read: {error}")
        return self._newest

    def _keep(self, copy: Copy) -> None:
        self._own.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(self._path, dump(copy).encode(), files.Owner())
        self._newest = copy

    def _back_up(self) -> bytes:
        """Copy the database while others use it. Raises CopyError, OSError."""
        self._own.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._own / ".rbac.draft"
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            with _open(self._folder / "rbac.db") as source, _open(draft) as target:
                target.execute("PRAGMA synchronous = OFF")
                # Under a read lock, which is had soon or not at all: `backup` would wait for ever.
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()
                source.backup(target)
                if target.execute("PRAGMA quick_check").fetchone() != ("ok",):
                    raise CopyError("the database is damaged")
                if target.execute("SELECT count(*) FROM users").fetchone() == (0,):
                    raise CopyError("the database is not complete yet")
            content = draft.read_bytes()
        except sqlite3.Error as error:
            raise CopyError(type(error).__name__) from None
        finally:
            draft.unlink(missing_ok=True)
        if len(content) > _UNPACKED:
            raise CopyError("the database is too large")
        return content

    def _complain(self, text: str) -> None:
        """Log what repeats at every step only once."""
        if text != self._complaint:
            _log.warning("%s", text)
        self._complaint = text


def install(places: Places, copy: Copy) -> None:
    """Put a copy where Wazuh uses it; the API and the cluster daemon must not run.

    Both keep the database open on a master. Raises OSError.
    """
    folder = places.home / "api/configuration/security"
    folder.mkdir(parents=True, exist_ok=True)
    database, settings = folder / "rbac.db", folder / "security.yaml"
    for ending in _BESIDE:
        database.with_name(database.name + ending).unlink(missing_ok=True)
    files.rewrite(database, copy.database, files.WAZUH)
    if copy.settings is None:
        settings.unlink(missing_ok=True)
    else:
        files.rewrite(settings, copy.settings, files.WAZUH)


def _open(path: Path) -> closing[sqlite3.Connection]:
    """Open a database that is there."""
    address = f"file:{urllib.parse.quote(str(path))}?mode=rw"
    return closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS))


def _settings(folder: Path) -> bytes | None:
    try:
        return (folder / "security.yaml").read_bytes()
    except FileNotFoundError:
        return None


def _stamp(folder: Path) -> tuple[object, ...]:
    """Tell one state of the files from the next, without reading them."""
    names = ("rbac.db", "rbac.db-journal", "rbac.db-wal", "security.yaml")
    return tuple(files.stamp(folder / name) for name in names)
