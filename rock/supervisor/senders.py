"""Keeps what syslog senders reported within bounds, and the next days' files ready.

rsyslog writes each line twice: to `<sender>/<day>.log` for people, and to `_all/<day>.log` for
Wazuh. Wazuh's reader passes over what a file already holds when it first finds it by a pattern,
up to 64 seconds after it was made (src/logcollector/logcollector.c, check_pattern_expand and
w_set_to_last_line_read): so those files are made days before they are written to.
"""

from __future__ import annotations

import gzip
import logging
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

ALL = "_all"
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})\.log(\.gz)?")
_DAY_FILE_MODE = 0o640
_DIRECTORY_MODE = 0o750
_FILLING_SECONDS = 0.2
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept: in days, bytes and files. Wazuh's own copies stay two days longer."""

    days: int = 30
    days_for_wazuh: int = 2
    days_ahead: int = 2
    total_bytes: int = 2 * 1024**3
    files: int = 20_000
    quiet_seconds: float = 3600  # a day's file is packed when nothing came for so long
    pause_seconds: float = 60  # between two looks


@dataclass(frozen=True, slots=True)
class Report:
    """One file of a day: its path below the reports' root, size in bytes, age in seconds."""

    path: str
    day: date
    size: int
    age: float

    @property
    def for_wazuh(self) -> bool:
        """Tell whether it is the day's file of all senders."""
        return self.path.startswith(f"{ALL}/")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, as paths below the root; `reopen`: rsyslog has a removed file open."""

    make: tuple[str, ...] = ()
    pack: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    reopen: bool = False


def plan(reports: Iterable[Report], today: date, bounds: Bounds) -> Plan:
    """Decide what is made, packed and removed; the oldest days go first when space is short."""
    reports = sorted(reports, key=lambda report: (report.day, not report.for_wazuh, report.path))
    old = [report for report in reports if report.day < _oldest(report, today, bounds)]
    current = [report for report in reports if report.day >= _oldest(report, today, bounds)]
    surplus = _surplus(current, bounds)
    removed = tuple(report.path for report in (*old, *surplus))
    present = {report.path for report in reports}
    return Plan(
        make=tuple(path for path in _wanted(today, bounds) if path not in present),
        pack=tuple(
            report.path
            for report in current
            if report.path not in removed and _packable(report, today, bounds)
        ),
        remove=removed,
        reopen=any(report.day >= today for report in surplus),
    )


def _wanted(today: date, bounds: Bounds) -> Iterator[str]:
    for ahead in range(bounds.days_ahead + 1):
        yield f"{ALL}/{today + timedelta(days=ahead)}.log"


def _oldest(report: Report, today: date, bounds: Bounds) -> date:
    days = bounds.days_for_wazuh if report.for_wazuh else bounds.days
    return today - timedelta(days=days)


def _surplus(reports: list[Report], bounds: Bounds) -> list[Report]:
    """Return the oldest reports beyond the bounds, which come in the order they may go."""
    size = sum(report.size for report in reports)
    count = len(reports)
    surplus = []
    for report in reports:
        if size <= bounds.total_bytes and count <= bounds.files:
            break
        if report.size or count > bounds.files:
            surplus.append(report)
            size -= report.size
            count -= 1
    return surplus


def _packable(report: Report, today: date, bounds: Bounds) -> bool:
    return (
        not report.for_wazuh
        and report.day < today
        and report.age >= bounds.quiet_seconds
        and report.path.endswith(".log")
    )


def look(root: Path, now: float) -> Iterator[Report]:
    """List the files of all days (`now`: seconds since 1970); links and others are passed over."""
    for path in root.glob("*/*"):
        match = _NAME.fullmatch(path.name)
        if match is None or path.is_symlink() or path.parent.is_symlink():
            continue
        with suppress(OSError, ValueError):
            status = path.stat()
            relative = str(path.relative_to(root))
            day = date.fromisoformat(match[1])
            yield Report(relative, day, status.st_size, max(now - status.st_mtime, 0))


def apply(root: Path, decided: Plan, pid_file: Path) -> None:
    """Carry a plan out. What fails for one file is logged and tried again the next time."""
    steps = [(_make, path) for path in decided.make]
    steps += [(_remove, path) for path in decided.remove]
    steps += [(_pack, path) for path in decided.pack]
    for step, path in steps:
        _try(step, root / path)
    if decided.reopen:
        _reopen(pid_file)


def _try(step: Callable[[Path], None], path: Path) -> None:
    try:
        step(path)
    except OSError as error:
        _log.warning("reports of senders: %s: %s", path.name, error.strerror)


def _make(path: Path) -> None:
    for directory in (path.parent.parent, path.parent):
        directory.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _DAY_FILE_MODE))


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.name != ALL:
        # A sender's directory goes with its last file; rsyslog makes it again when needed.
        with suppress(OSError):
            path.parent.rmdir()


def _pack(path: Path) -> None:
    """Compress one file, after what was packed of its day before.

    Killed between the last two steps, the next time packs the same lines again: twice is
    better than never.
    """
    packed = path.with_name(f"{path.name}.gz")
    draft = path.with_name(f".{path.name}.gz.tmp")
    with draft.open("wb") as file:
        os.fchmod(file.fileno(), _DAY_FILE_MODE)
        with suppress(FileNotFoundError), packed.open("rb") as before:
            shutil.copyfileobj(before, file)
        with path.open("rb") as lines, gzip.open(file, "wb", compresslevel=6) as stream:
            shutil.copyfileobj(lines, stream)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(packed)
    path.unlink()


def _reopen(pid_file: Path) -> None:
    """Let rsyslog close the files it has open (SIGHUP); nobody else gets the signal."""
    with suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        if Path(f"/proc/{pid}/comm").read_text().strip() == "rsyslogd":
            os.kill(pid, signal.SIGHUP)


def tend(root: Path, pid_file: Path, bounds: Bounds, now: float) -> None:
    """Look, decide and act once. Days are in UTC, as rsyslog's template has them."""
    today = datetime.fromtimestamp(now, tz=timezone.utc).date()
    apply(root, plan(look(root, now), today, bounds), pid_file)


def keep(root: Path, pid_file: Path, stop: threading.Event, bounds: Bounds) -> None:
    """Tend until told to stop: for a thread of its own, since packing a day takes a while.

    Begins as soon as the volume has been filled, so that the first files are there before
    Wazuh looks for them.
    """
    while not root.parent.is_dir():
        if stop.wait(_FILLING_SECONDS):
            return
    while True:
        tend(root, pid_file, bounds, time.time())
        if stop.wait(bounds.pause_seconds):
            return
