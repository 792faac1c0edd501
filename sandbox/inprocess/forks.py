"""Forks of one process: each says what it is before it goes on, and equal ones go on once."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import NoReturn, TypeVar
from unittest import mock

End = TypeVar("End")
GO, STOP = "go", "stop"


class Child:
    """The side of a fork that was made: tells its marks, and its end last."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def goes_on(self, mark: str) -> None:
        """Say all that is to come depends on; ends this process when another goes on from that."""
        self._line.send(mark)
        if self._line.recv() == STOP:
            os._exit(0)

    def ends(self, end: object) -> NoReturn:
        """Say what came of it, and end."""
        self._line.send((end,))
        os._exit(0)


@dataclass(slots=True)
class Forks:
    """The forks of this process. `places`: how many are played side by side.

    With `share` those of a mark that is known are not played.
    """

    places: int = 2
    share: bool = True
    marks: list[str | None] = field(default_factory=list)
    """What each fork said of itself first, in their order; None when it ended before it did."""
    ends: dict[int, object] = field(default_factory=dict)
    """Fork to what came of it; None when it died without a word."""
    told: Callable[[], None] | None = None
    """Called when one has ended."""
    joined: dict[int, int] = field(default_factory=dict)
    """Fork to the one that goes on in its place."""
    _known: dict[str, int] = field(default_factory=dict)
    _running: dict[Connection, tuple[int, int]] = field(default_factory=dict)

    def fork(self) -> Child | None:
        """Fork when there is a place; gives a `Child` in the new process, None in this one."""
        while len(self._running) >= self.places:
            self._hear()
        here, there = Pipe()
        process = os.fork()
        if process == 0:
            here.close()
            _part_from_parent()
            return Child(there)
        there.close()
        self._running[here] = process, len(self.marks)
        self.marks.append(None)
        self._hear_from(here)
        return None

    def end_of(self, number: int) -> object:
        """Give what came of a fork, or of the one that went on in its place."""
        while number in self.joined:
            number = self.joined[number]
        return self.ends[number]

    def finish(self) -> None:
        """Wait for all of them."""
        while self._running:
            self._hear()

    def _hear(self) -> None:
        for line in wait(list(self._running)):
            if isinstance(line, Connection):
                self._hear_from(line)

    def _hear_from(self, line: Connection) -> None:
        """Take a fork's mark, or its end (no word: it died)."""
        _, number = self._running[line]
        try:
            said = line.recv()
        except EOFError:
            said = (None,)
        if isinstance(said, tuple):
            self._ended(line, said[0])
            return
        self.marks[number] = self.marks[number] or said
        other = self._known.setdefault(said, number)
        if other == number or not self.share:
            line.send(GO)
            return
        self.joined[number] = other
        line.send(STOP)
        self._forget(line)

    def _ended(self, line: Connection, end: object) -> None:
        self.ends[self._running[line][1]] = end
        self._forget(line)
        if self.told is not None:
            self.told()

    def _forget(self, line: Connection) -> None:
        process, _ = self._running.pop(line)
        line.close()
        os.waitpid(process, 0)
        shutil.rmtree(_folder(process), ignore_errors=True)


def _part_from_parent() -> None:
    """Have temporary files of this process's own, and leave the parent's alone.

    A hook that is killed here ends its temporary folders, in which the parent's hook goes on: one
    with a secret's content was gone before `secret-add` could read it.
    """
    folder = _folder(os.getpid())
    folder.mkdir(exist_ok=True)  # another run that was killed may have left one
    tempfile.tempdir = str(folder)
    mock.patch.object(shutil, "rmtree", _leave).start()


def _leave(*_: object, **__: object) -> None:
    """Remove nothing; the parent removes the folder of a fork that has ended."""


def _folder(process: int) -> Path:
    """Name where a fork has its temporary files: it ends without tidying up after itself."""
    return Path(tempfile.gettempdir()) / f"fork-{process}"
