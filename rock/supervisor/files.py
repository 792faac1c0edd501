"""Files that are there whole or not at all."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    """User and group by name, and the mode."""

    user: str = "root"
    group: str = "root"
    mode: int = 0o600


WAZUH = Owner("wazuh", "wazuh", 0o640)
_DRAFT = re.compile(r"\..+\.[0-9]+\.tmp")

#: Inode, size, time of the last change (ns).
Stamp = tuple[int, int, int]


def write(path: Path, content: bytes, owner: Owner) -> None:
    """Replace a file at once and for good (fsync). Raises OSError, and leaves the old then."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            give(descriptor, owner)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    _sync(path.parent)


def sweep(folder: Path, name: str = "*") -> None:
    """Remove what a writer that was killed has left; nobody may be writing there."""
    for path in folder.rglob(f".{name}.tmp"):
        if _DRAFT.fullmatch(path.name):
            path.unlink(missing_ok=True)


def rewrite(path: Path, content: bytes, new: Owner) -> None:
    """Replace a file, keeping owner and mode; `new` counts where there was none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        write(path, content, new)
        return
    owner = Owner(_user(status.st_uid), _group(status.st_gid), stat.S_IMODE(status.st_mode))
    write(path, content, owner)


def stamp(path: Path) -> Stamp | None:
    """Tell one content of a file from the next without reading it; None when there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def give(descriptor: int, owner: Owner) -> None:
    """Set owner and mode. Names may share a number; without root only the mode is set."""
    os.fchmod(descriptor, owner.mode)
    if os.geteuid() == 0:
        os.fchown(descriptor, _uid(owner.user), _gid(owner.group))


def give_folder(path: Path, owner: Owner) -> None:
    """Set a folder's owner and mode."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        give(descriptor, owner)
    finally:
        os.close(descriptor)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _uid(name: str) -> int:
    with suppress(KeyError):
        return pwd.getpwnam(name).pw_uid
    return int(name) if name.isdigit() else -1


def _gid(name: str) -> int:
    with suppress(KeyError):
        return grp.getgrnam(name).gr_gid
    return int(name) if name.isdigit() else -1


def _user(uid: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _group(gid: int) -> str:
    with suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)
