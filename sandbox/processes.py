"""Processes as this namespace counts them: who shares one, who came from whom, signals."""

import os
import signal
from pathlib import Path


def signal_tree(first: int, number: signal.Signals) -> None:
    """Send a signal to a process and to all that came from it."""
    parents = {pid: _parent(pid) for pid in every()}
    tree = [first]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    for pid in tree:
        signal_one(pid, number)


def signal_sharing(pid: int, kind: str, number: signal.Signals) -> None:
    """Send a signal to every process in the same namespace of this kind as `pid`."""
    # Twice: a process may have been started while the first ones were being stopped.
    for _ in range(2):
        for other in sharing(pid, kind):
            signal_one(other, number)


def signal_one(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is gone is no fault."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def kill_others() -> None:
    """SIGKILL to all processes of this namespace but ours, our parent (strace) and the first."""
    own = {1, os.getpid(), os.getppid()}
    for pid in every():
        if pid not in own:
            signal_one(pid, signal.SIGKILL)


def every() -> list[int]:
    """Return the ids of all processes."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def sharing(pid: int, kind: str) -> list[int]:
    """Return the processes that are in the same namespace of this kind as `pid`."""
    own = _namespace(pid, kind)
    return [other for other in every() if own and _namespace(other, kind) == own]


def _namespace(pid: int, kind: str) -> Path | None:
    try:
        return Path(f"/proc/{pid}/ns/{kind}").readlink()
    except OSError:
        return None


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
