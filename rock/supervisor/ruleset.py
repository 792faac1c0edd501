"""Rules, decoders and lists: put a fetched commit in place, and reload on any change.

Each unit watches its own files, so workers reload after the cluster's copying too. No restart.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from . import files
from .desired import Ruleset
from .places import Places
from .probes import NoAnswerError, reload_rules

_KINDS = ("rules", "decoders", "lists")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
#: Written by each node itself, or in passing.
_PASSING = (".cdb", ".tmp", ".swp", "~")
_OWNER = files.Owner("wazuh", "wazuh", 0o660)
_RETRY_SECONDS = 60.0
_LARGEST = 32 * 1024 * 1024
_log = logging.getLogger(__name__)


class RulesetError(Exception):
    """The commit cannot be served; one sentence for the status."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What of a repository is in place: the commit, its files, and what they replaced."""

    commit: str | None = None
    files: tuple[str, ...] = ()


def load(places: Places) -> Placed:
    """Read what was placed; nothing readable counts as nothing placed."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads((places.keep / "ruleset.json").read_text())
        return Placed(content["commit"], tuple(map(str, content["files"])))
    return Placed()


def place(places: Places, commit: str | None) -> Placed:
    """Bring the fetched files in place and reload; on any refusal everything is as it was.

    Raises RulesetError, also when analysisd cannot say whether it takes the rules.
    """
    placed = load(places)
    fresh = _read(places, commit) if commit else {}
    affected = {*placed.files, *fresh}
    before = {relative: _content(places.home / "etc" / relative) for relative in affected}
    wanted = {relative: fresh.get(relative, _original(places, relative)) for relative in affected}
    try:
        _note(places, commit, before)
        _put(places, wanted)
        errors = reload_rules(places.home)
    except (OSError, NoAnswerError) as error:
        _take_back(places, before)
        raise RulesetError(f"the rules could not be loaded: {error}") from error
    if errors:
        _take_back(places, before)
        _reload_quietly(places)
        raise RulesetError(f"Wazuh refuses the rules: {errors[0][:200]}")
    result = Placed(commit, tuple(sorted(fresh)))
    _remember(places, result)
    _unfinished(places).unlink(missing_ok=True)
    return result


def recover(places: Places) -> None:
    """Take back what was placed by a process that ended before it knew whether Wazuh takes it.

    With rules that Wazuh refuses it would not even start.
    """
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        content = json.loads(_unfinished(places).read_text())
        before = {
            str(relative): None if text is None else base64.b64decode(text)
            for relative, text in content["before"].items()
        }
        if load(places).commit != content["commit"]:
            _log.warning("rules that were not seen through are taken back")
            _put(places, before)
    _unfinished(places).unlink(missing_ok=True)


def _unfinished(places: Places) -> Path:
    return places.keep / "ruleset.unfinished.json"


def _note(places: Places, commit: str | None, before: dict[str, bytes | None]) -> None:
    """Write down how to go back, before anything is changed."""
    coded = {
        relative: None if content is None else base64.b64encode(content).decode()
        for relative, content in before.items()
    }
    text = json.dumps({"commit": commit, "before": coded}).encode()
    files.write(_unfinished(places), text, files.Owner())


def _take_back(places: Places, before: dict[str, bytes | None]) -> None:
    _put(places, before)
    _unfinished(places).unlink(missing_ok=True)


def _read(places: Places, commit: str) -> dict[str, bytes | None]:
    """Read the fetched commit's files, regular ones with plain names only."""
    root = places.repository / commit
    if not root.is_dir():
        raise RulesetError(f"the fetched commit {commit[:12]} is not in the container")
    found: dict[str, bytes | None] = {}
    for kind in _KINDS:
        folder = root / kind
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        for entry in entries:
            if _fit(kind, entry):
                found[f"{kind}/{entry.name}"] = entry.read_bytes()
    return found


def _fit(kind: str, entry: Path) -> bool:
    suffix = kind == "lists" or entry.suffix == ".xml"
    plain = entry.is_file() and not entry.is_symlink() and _NAME.fullmatch(entry.name)
    passing = entry.name.endswith(_PASSING)
    return bool(plain and suffix and not passing and entry.stat().st_size <= _LARGEST)


def _content(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _original(places: Places, relative: str) -> bytes | None:
    """Return what the image had at a place that a repository no longer fills."""
    return _content(places.image / "seed/etc" / relative)


def _put(places: Places, contents: dict[str, bytes | None]) -> None:
    for relative, content in sorted(contents.items()):
        path = places.home / "etc" / relative
        if content is None:
            path.unlink(missing_ok=True)
        elif _content(path) != content:
            path.parent.mkdir(exist_ok=True)
            files.write(path, content, _OWNER)


def _reload_quietly(places: Places) -> None:
    with suppress(NoAnswerError):
        reload_rules(places.home)


def _remember(places: Places, placed: Placed) -> None:
    content = {"commit": placed.commit, "files": placed.files}
    text = json.dumps(content).encode()
    files.write(places.keep / "ruleset.json", text, files.Owner(mode=0o644))


@dataclass(frozen=True, slots=True)
class Report:
    """What the charm is told: the commit in place, and why a wanted one is not."""

    commit: str | None = None
    error: str | None = None


class Keeper:
    """Keeps the rules in force the ones that are there; look about once a second."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._watch = Watch(places)
        self._refused: str | None = None  # what was tried last in vain
        self._again = 0.0
        self.report = Report(load(places).commit)

    def look(self, wanted: Ruleset | None, now: float, *, running: bool) -> None:
        """Place a wanted commit (the master's), and have any change loaded."""
        if not running:
            self._watch.started()
            return
        try:
            if wanted is not None:
                self._place(wanted.commit, now)
            if self._watch.changed():
                self._reload()
        except (OSError, NoAnswerError) as error:
            _log.warning("the rules could not be looked after: %s", error)

    def _place(self, commit: str | None, now: float) -> None:
        placed = load(self._places)
        if placed.commit == commit:
            self.report = Report(commit)
            return
        if (commit or "") == self._refused and now < self._again:
            return
        try:
            self.report = Report(place(self._places, commit).commit)
            self._refused = None
            _log.info("rules of commit %s are in force", (commit or "none")[:12])
        except RulesetError as error:
            self.report = Report(placed.commit, str(error))
            self._refused, self._again = commit or "", now + _RETRY_SECONDS
            _log.warning("%s", error)
        self._watch.started()

    def _reload(self) -> None:
        errors = self._watch.reload()
        for error in errors:
            _log.warning("rules: %s", error)
        if not errors:
            _log.info("rules reloaded: they had changed")


@dataclass(slots=True)
class Watch:
    """Tells when the unit's own rules differ from those that analysisd last read."""

    places: Places
    loaded: str | None = None
    last: str = field(default="")

    def started(self) -> None:
        """Note that analysisd has just read what is there."""
        self.loaded = self._digest()

    def changed(self) -> bool:
        """Tell whether to reload: different, and no longer being written to."""
        current, last = self._digest(), self.last
        self.last = current
        if self.loaded is None:
            self.loaded = current
        return current != self.loaded and current == last

    def reload(self) -> list[str]:
        """Reload, and return analysisd's errors. Raises NoAnswerError; then ask again."""
        current = self._digest()
        errors = reload_rules(self.places.home)
        self.loaded = current
        return errors

    def _digest(self) -> str:
        text = "\n".join(sorted(self._entries()))
        return hashlib.sha256(text.encode()).hexdigest()

    def _entries(self) -> Iterator[str]:
        for kind in _KINDS:
            for root, _, names in os.walk(self.places.home / "etc" / kind):
                for name in names:
                    if not name.endswith(_PASSING):
                        yield from self._entry(Path(root, name))

    def _entry(self, path: Path) -> Iterator[str]:
        with suppress(OSError):
            status = path.stat()
            yield f"{path} {status.st_size} {status.st_mtime_ns}"
