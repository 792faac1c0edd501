"""One run: read what the charm wants, fetch it, check it, place it, report it."""

import json
import logging
import os
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repository import content, pebble, remote, store, tree
from repository.git import Git, Ways
from repository.places import Limits, Places, RefusedError

_PROXIES = {"http_proxy", "https_proxy", "no_proxy"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What the charm asks for; `request` comes back in the result."""

    request: str
    url: str
    ref: str | None
    subdirectory: str | None
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_request(path: Path) -> Request:
    """Read the charm's file; raise ValueError or OSError where it is none of ours."""
    data = json.loads(path.read_bytes())
    if not isinstance(data, dict):
        raise ValueError("no object")
    request = Request(
        _text(data.get("request")),
        _text(data.get("url")),
        _text_or_none(data.get("ref")),
        _text_or_none(data.get("subdirectory")),
        _proxies(data.get("proxies", {})),
    )
    if not request.url.startswith(("https://", "http://", "ssh://")):
        raise ValueError("no address")
    if (request.ref or "").startswith("-"):
        raise ValueError("no ref")
    return request


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("a text is due")
    return value


def _proxies(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not set(value) <= _PROXIES:
        raise ValueError("no proxies")
    return {name: _text(text) for name, text in value.items()}


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def run(places: Places, limits: Limits) -> bool:
    """Do what the charm asks and tell it; return whether the wanted commit is there."""
    request = read_request(places.request)
    store.clean(places)
    before = store.last(places)
    try:
        now, error = fetch(places, limits, request), None
    except RefusedError as refusal:
        now, error = before, refusal
    store.report(places, request.request, now, error)
    if error is None:
        store.keep(places, {tree for tree in (before, now) if tree is not None})
    _log.info("%s", error or f"at {now}")
    pebble.notify(places.socket)
    return error is None


def fetch(places: Places, limits: Limits, request: Request) -> str:
    """Bring the wanted tree here unless it is here; return its name."""
    space = store.workspace(places)
    try:
        ways = Ways(request.proxies, places.key, places.known_hosts)
        git = Git(_directory(space), time.monotonic() + limits.seconds, limits, ways)
        wanted = remote.find(git, request.url, request.ref)
        name = store.name(wanted.commit, request.subdirectory)
        if store.has(places, name):
            return name
        # A branch may have moved since it was asked for: what came is what counts.
        commit = remote.fetch(git, request.url, wanted)
        name = store.name(commit, request.subdirectory)
        if not store.has(places, name):
            files = _files(git, commit, request.subdirectory, limits)
            store.place(places, space, name, files)
        return name
    except OSError as error:
        raise RefusedError(f"cannot be kept in the container: {error.strerror}") from error
    finally:
        shutil.rmtree(space)


def _directory(space: Path) -> Path:
    directory = space / "git"
    directory.mkdir()
    return directory


def _files(git: Git, commit: str, subdirectory: str | None, limits: Limits) -> dict[str, bytes]:
    entries = tree.select(tree.listing(git, commit, subdirectory, limits), limits)
    files = tree.contents(git, entries)
    for path, data in sorted(files.items()):
        content.check(path, data)
    return files


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(143)


def main() -> int:
    """Run as Pebble's service; the charm reads the result, not the exit status."""
    signal.signal(signal.SIGTERM, _stop)
    os.umask(0o022)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    places = Places(socket=Path(os.environ.get("PEBBLE_SOCKET", str(Places().socket))))
    try:
        return 0 if run(places, Limits()) else 1
    except (OSError, ValueError) as error:
        _log.error("cannot run: %s", error)
        return 2
