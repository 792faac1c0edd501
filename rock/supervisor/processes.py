"""The processes of one machine, read from /proc, and which of them are Wazuh's."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .places import Places

_PR_SET_CHILD_SUBREAPER = 36
_MOURNING_SECONDS = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Process:
    """One process; `name` is its program as a daemon is called (`wazuh-authd`), or ''."""

    pid: int
    parent: int
    group: int
    zombie: bool
    name: str
    inside: bool  # its program lies below the Wazuh home


@dataclass(frozen=True, slots=True)
class Table:
    """All processes at one moment."""

    processes: Mapping[int, Process]
    own: int  # our pid
    tree: Mapping[int, Process]  # Wazuh's programs wherever they hang, and all our descendants

    def dead(self) -> set[int]:
        """Name our children that have ended and that nobody has waited for."""
        return {p.pid for p in self.processes.values() if p.zombie and p.parent == self.own}


def become_subreaper() -> None:
    """Make daemons our children once `wazuh-control` has ended. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def scan(places: Places, proc: Path = Path("/proc")) -> Table:
    """Read every process that can be read."""
    found = {}
    for entry in proc.iterdir():
        if entry.name.isdigit():
            process = _read(entry, places)
            if process is not None:
                found[process.pid] = process
    own = os.getpid()
    tree = {
        pid: process
        for pid, process in found.items()
        if pid != own and not process.zombie and (process.inside or _descends(process, own, found))
    }
    return Table(found, own, tree)


def _descends(process: Process, own: int, found: Mapping[int, Process]) -> bool:
    seen = set()
    parent = process.parent
    while parent and parent not in seen:
        if parent == own:
            return True
        seen.add(parent)
        above = found.get(parent)
        parent = above.parent if above else 0
    return False


def _read(entry: Path, places: Places) -> Process | None:
    try:
        # The program's name in brackets may hold anything, spaces and brackets too.
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
        words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        parent, group = int(fields[1]), int(fields[2])
    except (OSError, IndexError, ValueError):
        return None
    program = ""
    with suppress(OSError):
        program = str((entry / "exe").readlink())
    inside, name = _belongs(program, words[:4], places)
    zombie = fields[0] in "ZX"
    return Process(int(entry.name), parent, group, zombie, name, inside)


def _belongs(program: str, words: list[str], places: Places) -> tuple[bool, str]:
    """Tell whether a program is Wazuh's, and its name.

    Scripts of ours run on Wazuh's Python too, so a word below our own directory rules.
    """
    home, image = f"{places.home}/", f"{places.image}/"
    if any(word.startswith(image) for word in words):
        return False, ""
    within = [word for word in words if word.startswith(home)]
    if program.startswith(home):
        within.append(program)
    names = [_daemon(word) for word in within]
    return bool(within), next((name for name in names if name.startswith("wazuh-")), "")


def _daemon(word: str) -> str:
    """Name the daemon of a program: the Python ones are called `wazuh_clusterd.py`."""
    return Path(word.removesuffix(" (deleted)")).name.removesuffix(".py").replace("_", "-")


class Graveyard:
    """Buries the orphans that came to us as subreaper.

    Whoever starts a child waits for it at once: what stays dead for a while is no such child.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def tend(self, table: Table, kept: Collection[int], now: float) -> None:
        """Look at the dead, `kept` ones aside; bury those that nobody asks for."""
        dead = table.dead() - set(kept)
        self._since = {pid: self._since.get(pid, now) for pid in dead}
        for pid, since in self._since.items():
            if now - since >= _MOURNING_SECONDS:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal each; those that are gone already do not matter."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def pid_file_of(places: Places, daemon: str) -> list[int]:
    """Read the pids a daemon wrote down (`wazuh-authd-123.pid`)."""
    pids = []
    for path in places.pids.glob(f"{daemon}-*.pid"):
        number = path.name.removeprefix(f"{daemon}-").removesuffix(".pid")
        if number.isdigit():
            pids.append(int(number))
    return pids


def mains(places: Places, table: Table, daemon: str) -> set[int]:
    """Find the process that a daemon's pid file names, if it lives and is that daemon."""
    return {
        pid
        for pid in pid_file_of(places, daemon)
        if pid in table.tree and table.tree[pid].name in ("", daemon)
    }


def living(places: Places, table: Table, daemon: str) -> set[int]:
    """Find everything that a daemon is: what its pid file names, and all of its name.

    Children that outlive their parent have its name; they are no daemon that works.
    """
    named = {p.pid for p in table.tree.values() if p.name == daemon}
    return named | mains(places, table, daemon)


def groups_of(places: Places, table: Table, daemon: str) -> set[int]:
    """Find the process groups that are this daemon's, so that they can be ended whole."""
    return {table.processes[pid].group for pid in living(places, table, daemon)}


def remains(places: Places, table: Table, daemon: str, groups: Collection[int]) -> set[int]:
    """Find what is left in a daemon's groups, but for groups that it shares with others."""
    mine = living(places, table, daemon)
    own = table.processes[table.own].group if table.own in table.processes else os.getpgrp()
    shared = {
        p.group for p in table.tree.values() if p.pid not in mine and p.name not in ("", daemon)
    }
    lone = set(groups) - shared - {own, 0, 1}
    return {p.pid for p in table.tree.values() if p.group in lone}


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.1) -> bool:
    """Wait for a condition, looking at it again and again; False when time ran out."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
    return True
