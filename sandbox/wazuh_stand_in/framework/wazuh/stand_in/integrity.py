"""Which files workers take from the master, and how they take them (cluster.json)."""

import base64
import hashlib
from contextlib import suppress
from pathlib import Path

from .home import belongs_to_wazuh

TREES = (
    ("etc/shared", 0o660),
    ("var/multigroups", 0o660),
    ("etc/rules", 0o660),
    ("etc/decoders", 0o660),
    ("etc/lists", 0o660),
)
KEYS = "etc/client.keys"
KEYS_MODE = 0o640
EXCLUDED = ("ar.conf", "ossec.conf")
EXCLUDED_ENDINGS = ("~", ".tmp", ".lock", ".swp")


class PathNotAllowedError(Exception):
    """queue/cluster is not really where it seems to be: a linked queue is refused."""


def digests(home: Path) -> "dict[str, str]":
    """Return the digest of every file the master gives out."""
    found = {}
    for path in _files(home):
        with suppress(OSError):
            data = path.read_bytes()
            found[str(path.relative_to(home))] = hashlib.sha256(data).hexdigest()
    return found


def _files(home: Path) -> "list[Path]":
    files = [home / KEYS] if (home / KEYS).is_file() else []
    for tree, _ in TREES:
        files += [
            path
            for path in sorted((home / tree).rglob("*"))
            if path.is_file() and _wanted(tree, path)
        ]
    return files


def _wanted(tree: str, path: Path) -> bool:
    if path.name in EXCLUDED or path.name.endswith(EXCLUDED_ENDINGS):
        return False
    return tree != "var/multigroups" or path.name == "merged.mg"


def contents(home: Path, names: "list[str]") -> "dict[str, str]":
    """Return files of the master, base64; those gone meanwhile are left out."""
    found = {}
    for name in names:
        with suppress(OSError):
            found[name] = base64.b64encode((home / name).read_bytes()).decode()
    return found


def compare(master: "dict[str, str]", worker: "dict[str, str]") -> "tuple[list[str], list[str]]":
    """Return what the worker misses or has otherwise, and what it has too much."""
    changed = [name for name, digest in master.items() if worker.get(name) != digest]
    return changed, [name for name in worker if name not in master]


def apply(home: Path, files: "dict[str, str]", surplus: "list[str]") -> None:
    """Take the master's files and delete what it lacks; raise PathNotAllowedError or OSError."""
    allowed = home / "queue/cluster"
    if (allowed / "incoming").resolve().parent != allowed:
        raise PathNotAllowedError("Write path not allowed")
    for name, data in files.items():
        draft = allowed / f"incoming-{hashlib.sha256(name.encode()).hexdigest()}"
        draft.write_bytes(base64.b64decode(data))
        target = home / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _move(draft, target)
    for name in surplus:
        with suppress(FileNotFoundError):
            (home / name).unlink()
    for tree in ("etc/shared", "var/multigroups"):
        _drop_empty(home / tree)


def _move(draft: Path, target: Path) -> None:
    mode = KEYS_MODE if target.name == "client.keys" else TREES[0][1]
    beside = target.with_name(f".{target.name}.tmp")
    beside.write_bytes(draft.read_bytes())
    draft.unlink()
    belongs_to_wazuh(beside, mode)
    beside.replace(target)


def _drop_empty(tree: Path) -> None:
    for path in sorted(tree.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
