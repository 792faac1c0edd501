"""Puts fetched files where the supervisor finds them: whole, or not at all."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from repository.places import Places, RefusedError

_TREE = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?(?:-[0-9a-f]{8})?")
_UNFINISHED = ".unfinished-"


def name(commit: str, subdirectory: str | None) -> str:
    """Name a tree: the commit, and a short digest of the subdirectory where one is set.

    Two subdirectories of one commit hold different files, so they are different trees.
    """
    if subdirectory is None:
        return commit
    return f"{commit}-{hashlib.sha256(subdirectory.encode()).hexdigest()[:8]}"


def workspace(places: Places) -> Path:
    """Make an empty directory beside the trees, on the same file system."""
    return Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=places.home))


def clean(places: Places) -> None:
    """Remove what a run that was killed has left."""
    for leftover in places.home.glob(f"{_UNFINISHED}*"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def has(places: Places, tree: str) -> bool:
    """Tell whether a tree is there; it gets its name only when it is complete."""
    return (places.home / tree).is_dir()


def place(places: Places, space: Path, tree: str, files: dict[str, bytes]) -> None:
    """Write the files into `space`, then give them their name in one step."""
    built = space / "tree"
    built.mkdir()
    for path, data in sorted(files.items()):
        target = built / path
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, data)
    for directory in (*(path for path in built.rglob("*") if path.is_dir()), built):
        _sync(directory)
    built.rename(places.home / tree)
    _sync(places.home)


def keep(places: Places, trees: set[str]) -> None:
    """Remove every tree but those named."""
    for path in places.home.iterdir():
        if _TREE.fullmatch(path.name) and path.name not in trees:
            # Renamed first: a tree that has its name is always complete.
            doomed = places.home / f"{_UNFINISHED}{path.name}"
            path.rename(doomed)
            shutil.rmtree(doomed)


def last(places: Places) -> str | None:
    """Return the tree of the last result, if it is still there."""
    try:
        tree = json.loads(places.result.read_bytes())["commit"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return tree if isinstance(tree, str) and _TREE.fullmatch(tree) and has(places, tree) else None


def report(places: Places, request: str, tree: str | None, error: RefusedError | None) -> None:
    """Replace the result as one step."""
    result = {"request": request, "commit": tree, "error": str(error) if error else None}
    if error:
        result["option"] = error.option
    path = places.home / f"{_UNFINISHED}result"
    _write(path, json.dumps(result).encode() + b"\n")
    path.replace(places.result)
    _sync(places.home)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
