"""What this unit's volume remembers, and the room that is kept free on it."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from . import files, values
from .machine import Memory, Term

_SCHEMA = 1
_MIB = 1024 * 1024
_log = logging.getLogger(__name__)


class UnreadableError(Exception):
    """The file is there but is not what this program writes."""


def load(path: Path) -> Memory:
    """Read the memory; a volume without one is new. Raises OSError, UnreadableError."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return Memory()
    except ValueError as error:
        raise UnreadableError(f"{path} is not JSON") from error
    try:
        return _memory(content)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"{path} is of another version or damaged") from error


class Ballast:
    """A file that takes up room until there is none, so that agents' keys can be written then.

    Once given up it comes back when the volume has room again.
    """

    def __init__(self, path: Path, size: int = 32 * _MIB, short: int = 8 * _MIB) -> None:
        self._path = path
        self._size = size
        self._short = short  # bytes free below which it is given up

    def tend(self, free: int) -> None:
        """Hold it or give it up, by what is free on the volume (bytes)."""
        there = self._path.exists()
        if there and free < self._short:
            self.give_up()
        elif not there and free > 8 * self._size:
            self._take()

    def give_up(self) -> None:
        """Make room at once."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            _log.error("no room can be made on the volume: %s", error.strerror)
            return
        _log.error(
            "the volume is full: %d MiB that were kept free are given up", self._size // _MIB
        )

    def _take(self) -> None:
        """Take the room up really; where that is impossible there is no ballast."""
        draft = self._path.with_name(f".{self._path.name}.tmp")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            finally:
                os.close(descriptor)
            draft.rename(self._path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            if error.errno not in (errno.ENOSPC, errno.EOPNOTSUPP, errno.EINVAL):
                raise


def is_full(error: OSError) -> bool:
    """Tell whether a write failed for want of room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def store(path: Path, memory: Memory) -> None:
    """Write the memory so that it outlives a crash (fsync). Raises OSError."""
    content = {
        "schema": _SCHEMA,
        "epoch": memory.term.epoch,
        "master": memory.term.master,
        "served": memory.served,
        "serving": [memory.serving.epoch, memory.serving.master],
        "incarnation": memory.incarnation,
        "synchronised": memory.synchronised,
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(path, json.dumps(content).encode(), files.Owner())


def _memory(content: Mapping[str, object]) -> Memory:
    if content["schema"] != _SCHEMA:
        raise ValueError
    serving = content["serving"]
    if not isinstance(serving, list):
        raise TypeError
    return Memory(
        term=Term(values.number(content["epoch"]), str(content["master"])),
        served=values.number(content["served"]),
        serving=Term(values.number(serving[0]), str(serving[1])),
        incarnation=str(content["incarnation"]),
        synchronised=content["synchronised"] is True,
    )
