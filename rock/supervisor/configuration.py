"""The configuration from a repository on this unit: swapped whole, and taken back when bad.

What goes before is written down first, so that a swap that was cut off is undone before anything
of Wazuh starts. The part for ossec.conf is merged by `merged`.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from . import bundle, files, fragment, shadow
from .bundle import Bundle
from .machine import Answer
from .places import Places

#: Held while ossec.conf or placed files are written: two threads do.
LOCK = threading.RLock()
_MARK = b"\n<!-- From the configuration repository -->\n"
_CONF = "etc/ossec.conf"
_log = logging.getLogger(__name__)


class RefusedError(Exception):
    """The configuration cannot be in force; one sentence for the status."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What is in place, as the volume remembers it. The empty name: never anything."""

    name: str = ""
    master: bool = False  # with what the cluster copies to workers
    previous: str = ""
    proven: bool = True  # Wazuh has started with it
    refused: str = ""  # the name of what Wazuh did not start with


def applied(places: Places) -> Applied:
    """Read what was placed; nothing readable counts as nothing placed."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(_memory(places).read_text())
        return Applied(
            str(content["name"]),
            content["master"] is True,
            str(content["previous"]),
            content["proven"] is True,
            str(content["refused"]),
        )
    return Applied()


def current(places: Places) -> Bundle:
    """Return the bundle in place; an empty one where there is none."""
    name = applied(places).name
    return (bundle.load(places, name) if name else None) or Bundle(name or bundle.NONE)


def needs_restart(old: Bundle, new: Bundle) -> bool:
    """Tell whether a daemon has to be started again for it."""
    return whole(old) != whole(new) or generations(old) != generations(new)


def whole(held: Bundle) -> str:
    """Digest what all daemons have to be started again for."""
    return bundle.digest({bundle.FRAGMENT: fragment.parts(held.fragment()).get(fragment.ALL, b"")})


def generations(held: Bundle) -> dict[str, str]:
    """Digest what each daemon alone has to be started again for."""
    parts: dict[str, dict[str, bytes]] = {
        daemon: {bundle.FRAGMENT: text}
        for daemon, text in fragment.parts(held.fragment()).items()
        if daemon != fragment.ALL
    }
    for path, data in held.files.items():
        daemon = bundle.kind(path).daemon if path != bundle.FRAGMENT else ""
        if daemon:
            parts.setdefault(daemon, {})[path] = data
    return {daemon: bundle.digest(found) for daemon, found in parts.items()}


def merged(conf: bytes, held: Bundle) -> bytes:
    """Add to the charm's ossec.conf what the repository has, as further roots of their own."""
    base = conf.partition(_MARK)[0]
    lists = sorted(path for path in held.files if path.startswith("lists/"))
    text = held.fragment()
    if lists:
        lines = "".join(f"    <list>etc/{path}</list>\n" for path in lists)
        block = f"<ossec_config>\n  <ruleset>\n{lines}  </ruleset>\n</ossec_config>\n"
        text = block.encode() + text
    return base + _MARK + text.rstrip() + b"\n" if text else base


def complaint(
    places: Places, old: Bundle, new: Bundle, environment: Mapping[str, str], *, master: bool
) -> str | None:
    """Return what Wazuh's own daemons have against it; nothing is changed. Raises OSError."""
    wanted = _wanted(places, old, new, master=master)
    return shadow.complaint(places, wanted, environment)


def apply(
    places: Places, new: Bundle, *, master: bool, load: Callable[[], list[str]] | None
) -> None:
    """Swap what is in place for `new`; on any refusal everything is as it was.

    `load` has analysisd read its rules again and returns its errors; without it nothing is
    loaded. Raises RefusedError, OSError.
    """
    with LOCK:
        old, before = current(places), applied(places)
        bundle.keep(places, new)
        wanted = _wanted(places, old, new, master=master)
        present = {path: _content(places.home / path) for path in wanted}
        _note(places, new.name, master, present)
        try:
            _put(places, wanted)
            errors = load() if load is not None else []
        except (OSError, RefusedError):
            _take_back(places, present)
            raise
        if errors:
            _take_back(places, present)
            raise RefusedError(f"Wazuh refuses the rules: {errors[0][:200]}")
        proven = not needs_restart(old, new)
        _remember(places, Applied(new.name, master, before.name, proven))
        _journal(places).unlink(missing_ok=True)
        bundle.forget(places, {new.name, before.name})


def _wanted(places: Places, old: Bundle, new: Bundle, *, master: bool) -> dict[str, bytes | None]:
    """Say for every file of either what is to be there; None: nothing."""
    fresh, gone = new.placed(master=master), old.placed(master=master)
    wanted: dict[str, bytes | None] = {path: _original(places, path) for path in gone}
    wanted.update(fresh)
    for path in set(fresh) - set(gone):
        present = None if path.startswith("etc/") else _content(places.home / path)
        if present not in (None, fresh[path]):
            raise RefusedError(f"{path} is there already and is Wazuh's own")
    conf = _content(places.home / _CONF)
    if conf is not None:
        wanted[_CONF] = merged(conf, new)
    return wanted


def recover(places: Places) -> None:
    """Take back a swap that was cut off: with what Wazuh refuses it would not even start."""
    with LOCK:
        for where in (bundle.folder(places), *_targets(places)):
            files.sweep(where)
        files.sweep(places.home / "etc", "ossec.conf.*")
        journal = _journal(places)
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            content = json.loads(journal.read_text())
            present = {
                str(path): None if text is None else base64.b64decode(text)
                for path, text in content["before"].items()
            }
            held = applied(places)
            if (held.name, held.master) != (content["name"], content["master"]):
                _log.warning("a configuration that was not seen through is taken back")
                _put(places, present)
        journal.unlink(missing_ok=True)


def _targets(places: Places) -> list[Path]:
    return [places.home / kind.target for kind in bundle.KINDS.values()]


def restore(places: Places, *, master: bool) -> None:
    """Put in place what is applied: not everything of it lies on the volume."""
    with LOCK:
        held = current(places)
        _put(places, held.placed(master=master))


def prove(places: Places) -> None:
    """Note that Wazuh has started with what is in place."""
    found = applied(places)
    if not found.proven:
        _remember(places, replace(found, proven=True))


def revert(places: Places) -> bool:
    """Go back to what was before, where Wazuh does not start with what is in place."""
    with LOCK:
        found = applied(places)
        if found.proven:
            return False
        before = (bundle.load(places, found.previous) if found.previous else None) or Bundle()
        wanted = _wanted(places, current(places), before, master=found.master)
        _put(places, wanted)
        _remember(places, Applied(before.name, found.master, "", True, found.name))
        _log.warning("Wazuh does not start with commit %s: it is taken back", found.name[:12])
        return True


def drifted(places: Places, held: Bundle, *, master: bool) -> list[str]:
    """Name the placed files that somebody changed or removed."""
    wanted = held.placed(master=master)
    return sorted(path for path, data in wanted.items() if _content(places.home / path) != data)


def _content(path: Path) -> bytes | None:
    with suppress(FileNotFoundError, NotADirectoryError):
        return path.read_bytes()
    return None


def _original(places: Places, path: str) -> bytes | None:
    """Return what the image had at a place that a repository no longer fills."""
    return _content(places.image / "seed" / path)


def _owner(path: str) -> files.Owner:
    kinds = [kind for kind in bundle.KINDS.values() if path.startswith(f"{kind.target}/")]
    return kinds[0].owner if kinds else files.Owner("root", "wazuh", 0o640)


def _put(places: Places, contents: Mapping[str, bytes | None] | Mapping[str, bytes]) -> None:
    """Write and remove files, each at once; those that are right already are left alone."""
    for path, content in sorted(contents.items()):
        there = places.home / path
        if content is None:
            there.unlink(missing_ok=True)
            _tidy(places, path)
        elif _content(there) != content:
            _make_folder(there.parent)
            files.write(there, content, _owner(path))


def _make_folder(path: Path) -> None:
    """Make a group's folder as Wazuh makes it."""
    if not path.is_dir():
        path.mkdir(parents=True)
        files.give_folder(path, files.Owner("wazuh", "wazuh", 0o770))


def _tidy(places: Places, path: str) -> None:
    """Remove the folder of a group whose last file went."""
    if path.startswith("etc/shared/") and not path.startswith("etc/shared/default/"):
        with suppress(OSError):
            (places.home / path).parent.rmdir()


def _memory(places: Places) -> Path:
    return bundle.folder(places) / "applied.json"


def _journal(places: Places) -> Path:
    return bundle.folder(places) / "unfinished.json"


def _note(places: Places, name: str, master: bool, before: Mapping[str, bytes | None]) -> None:
    """Write down how to go back, before anything is changed."""
    coded = {
        path: None if content is None else base64.b64encode(content).decode()
        for path, content in before.items()
    }
    content = {"name": name, "master": master, "before": coded}
    bundle.folder(places).mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(_journal(places), json.dumps(content).encode(), files.Owner())


def _take_back(places: Places, before: Mapping[str, bytes | None]) -> None:
    _put(places, before)
    _journal(places).unlink(missing_ok=True)


def _remember(places: Places, value: Applied) -> None:
    content = {
        "name": value.name,
        "master": value.master,
        "previous": value.previous,
        "proven": value.proven,
        "refused": value.refused,
    }
    bundle.folder(places).mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(_memory(places), json.dumps(content).encode(), files.Owner())


class Exchange:
    """What units hand to each other: a worker takes the bundle that its master offers."""

    def __init__(self, places: Places, master: Callable[[], str]) -> None:
        self._places = places
        self._master = master

    def lacks(self, answer: Answer) -> str:
        """Name the bundle to ask this unit for; nothing when there is none to take."""
        wanted = answer.offer
        if answer.node != self._master() or wanted in ("", bundle.NONE):
            return ""
        return "" if bundle.has(self._places, wanted) else wanted

    def take(self, text: str, wanted: str) -> None:
        """Keep what was asked for. Raises BundleError, OSError."""
        found = bundle.parse(text)
        if found.name != wanted:
            raise bundle.BundleError("another configuration than was asked for")
        with LOCK:
            bundle.keep(self._places, found)
        _log.info("the configuration of commit %s came from the master", wanted[:12])

    def give(self, name: str) -> str | None:
        """Return a bundle as text, if it is here."""
        found = bundle.load(self._places, name)
        return bundle.dump(found) if found is not None else None
