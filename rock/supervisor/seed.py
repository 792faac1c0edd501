"""Fills a new volume with what the installation brought, and renews it with a newer image."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from . import files
from .places import Places

#: Never taken from a newer image: the charm's, or the agents'.
_OURS = ("keep/etc/ossec.conf", "keep/etc/client.keys", "keep/etc/authd.pass")
#: Always the image's, even if somebody changed them.
_IMAGES = ("keep/etc/internal_options.conf", "keep/etc/lists/malicious-ioc/")
#: Renewed unless somebody changed them.
_DEFAULTS = ("keep/etc/shared/", "keep/etc/rules/", "keep/etc/decoders/", "keep/etc/lists/")
_log = logging.getLogger(__name__)


def plant(places: Places) -> None:
    """Bring the volume to this image. Interrupted anywhere, the next run completes it.

    A file that is there already is left alone, but for what a newer image owns.
    """
    record = places.own / "seeded.json"
    known = _load(record)
    version = _version(places)
    first = known is None
    if known is not None and known.get("version") == version:
        _directories(places, planted=True)
        return
    _directories(places, planted=False)
    digests: dict[str, str] = dict(known["files"]) if known else {}
    for source, relative in _files(places):
        target = places.volume / relative
        digest = _digest(source)
        if _wanted(relative, target, digests.get(relative), first=first):
            _copy(source, target)
            digests[relative] = digest
    # What the record says is planted must be there after a loss of power too.
    os.sync()
    content = {"version": version, "files": digests}
    files.write(record, json.dumps(content).encode(), files.Owner())
    _log.info("volume %s, image %s", "seeded" if first else "renewed", version)


def _load(record: Path) -> dict | None:
    with suppress(OSError, ValueError):
        content = json.loads(record.read_text())
        if isinstance(content, dict) and isinstance(content.get("files"), dict):
            return content
    return None


def _version(places: Places) -> str:
    with suppress(OSError):
        return (places.image / "version").read_text().strip()
    return ""


def _wanted(relative: str, target: Path, planted: str | None, *, first: bool) -> bool:
    if not target.exists():
        return first or planted is None
    if first or relative in _OURS:
        return False
    if relative.startswith(_IMAGES):
        return True
    return relative.startswith(_DEFAULTS) and planted == _digest(target)


def _files(places: Places) -> Iterator[tuple[Path, str]]:
    """Yield each file of the seed and its path on the volume."""
    for source, relative in _walk(places):
        if source.is_file() and not source.is_symlink():
            yield source, relative


def _directories(places: Places, *, planted: bool) -> None:
    """Make every directory of the seed, with its owner and mode; the daemons do not.

    Until the volume is known to be planted, one that is there may still lack owner and mode.
    """
    for source, relative in _walk(places):
        target = places.volume / relative
        if source.is_dir() and not source.is_symlink() and not (planted and target.is_dir()):
            target.mkdir(parents=True, exist_ok=True)
            _like(source, target)
    root = places.image / "seed/queue"
    if root.is_dir():
        _like(root, places.volume)
    places.own.mkdir(mode=0o700, parents=True, exist_ok=True)


def _walk(places: Places) -> Iterator[tuple[Path, str]]:
    seed = places.image / "seed"
    for source in sorted(seed.rglob("*")):
        relative = source.relative_to(seed)
        if relative.parts[0] == "queue":
            if len(relative.parts) > 1:
                yield source, str(relative.relative_to("queue"))
        else:
            yield source, f"keep/{relative}"


def _copy(source: Path, target: Path) -> None:
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.copyfile(source, draft)
    _like(source, draft)
    draft.replace(target)


def _like(source: Path, target: Path) -> None:
    """Give owner and mode as the image has them."""
    status = source.stat()
    if os.geteuid() == 0:
        os.chown(target, status.st_uid, status.st_gid)
    target.chmod(status.st_mode & 0o7777)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
