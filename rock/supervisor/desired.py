"""The charm's order: `desired.json` and the files it lists, taken whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from . import files, parts, values
from .files import Owner
from .machine import Desired, Role

_SCHEMA = 1
_NODE = re.compile(r"[A-Za-z0-9_-]{1,100}")  # what Wazuh takes as a worker's name (error 3060)
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_COMMIT = re.compile(
    r"[0-9a-f]{7,64}(-[0-9a-f]{8})?"
)  # the second part tells subdirectories apart
_ALLOWED = ("etc/", "api/configuration/")
_log = logging.getLogger(__name__)
_LIMIT = 16 * 1024 * 1024


class IncompleteError(Exception):
    """The order is not there, or not whole; the text says what is missing, never a content."""


@dataclass(frozen=True, slots=True)
class File:
    """A file's content with whom it is to belong to."""

    content: bytes
    owner: Owner


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The fetched commit to serve; None: no more files of a repository."""

    commit: str | None


@dataclass(frozen=True, slots=True)
class Order:
    """Everything the charm wants of this unit."""

    desired: Desired
    endpoints: str
    files: Mapping[str, File]
    generations: Mapping[str, str] = field(default_factory=dict)
    ruleset: Ruleset | None = None  # None: leave rules alone
    text: bytes = field(default=b"", repr=False, compare=False)  # desired.json itself

    def address(self, node: str) -> str:
        """Name a unit's pod as the cluster's DNS does."""
        return f"{node}.{self.endpoints}"


def read(orders: Path) -> Order:
    """Read the order with every file it lists. Raises IncompleteError."""
    text = _bytes(orders / "desired.json")
    try:
        content = json.loads(text)
    except ValueError as error:
        raise IncompleteError("desired.json is not JSON") from error
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        raise IncompleteError("desired.json is not of schema 1")
    try:
        return replace(_order(orders, content), text=text)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IncompleteError(f"desired.json is malformed: {type(error).__name__}") from error


class Reader:
    """Keeps the last order that was whole, for a successor in the same container too.

    The charm pushes file after file; a supervisor that starts in between finds nothing whole.
    """

    def __init__(self, orders: Path, kept: Path) -> None:
        self._orders = orders
        self._kept = kept
        self._stamp: files.Stamp | None = None
        self._complaint = ""
        self._last: Order | None = None

    def current(self) -> Order | None:
        """Return the newest whole order; None until there is one."""
        stamp = files.stamp(self._orders / "desired.json")
        if stamp is None or stamp == self._stamp:
            return self._last
        try:
            self._last, self._stamp, complaint = read(self._orders), stamp, ""
            self._keep(self._last)
        except IncompleteError as error:
            complaint = str(error)
            self._last = self._last or self._recall()
        if complaint and complaint != self._complaint:
            _log.warning("the charm's order is not whole: %s", complaint)
        self._complaint = complaint
        return self._last

    def _keep(self, order: Order) -> None:
        """Copy the order whole; without a copy there is only less to fall back on."""
        draft = self._kept.with_name(f".{self._kept.name}.tmp")
        try:
            for old in (draft, self._kept):
                if old.exists():
                    shutil.rmtree(old)
            draft.mkdir(mode=0o700, parents=True)
            for path, file in order.files.items():
                target = draft / "files" / path
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _store(target, file.content)
            _store(draft / "desired.json", order.text)
            draft.rename(self._kept)
        except OSError as error:
            _log.warning("the charm's order cannot be kept: %s", error.strerror)

    def _recall(self) -> Order | None:
        try:
            return read(self._kept)
        except IncompleteError:
            return None


def _store(path: Path, content: bytes) -> None:
    """Write a file that only root reads."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def leaving(orders: Path) -> bool:
    """Tell whether the charm has said that this unit is being removed for good."""
    return (orders / "leaving").exists()


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT)
    except OSError as error:
        raise IncompleteError(f"{path.name} cannot be read: {error.strerror}") from error


def _order(orders: Path, content: Mapping[str, object]) -> Order:
    return Order(
        desired=_desired(content),
        endpoints=values.text(content, "endpoints", _HOST),
        files={path: _file(orders, path, entry) for path, entry in _table(content["files"])},
        generations={name: str(value) for name, value in _table(content.get("generations", {}))},
        ruleset=_ruleset(content.get("ruleset")),
    )


def _desired(content: Mapping[str, object]) -> Desired:
    role = content["role"]
    if role not in ("master", "worker"):
        raise ValueError("role")
    desired = Desired(
        epoch=values.number(content["epoch"]),
        role=_role(role),
        node=values.text(content, "node", _NODE),
        master=values.text(content, "master", _NODE),
        enrolment=content.get("enrolment", True) is True,
        high_water=values.number(content.get("high-water", 0)),
        regardless=content.get("regardless", False) is True,
        wake=values.number(content.get("wake", 0)),
        parts=parts.of(dict(_table(content.get("generations", {})))),
    )
    if desired.epoch < 1 or (desired.role == "master") != (desired.node == desired.master):
        raise ValueError("epoch or master")
    return desired


def _role(value: object) -> Role:
    return "master" if value == "master" else "worker"


def _file(orders: Path, path: str, entry: object) -> File:
    table = dict(_table(entry))
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not path.startswith(_ALLOWED):
        raise ValueError("path")
    content = _bytes(orders / "files" / pure)
    if hashlib.sha256(content).hexdigest() != table["sha256"]:
        raise IncompleteError(f"{path} is not yet the one that desired.json means")
    mode = int(str(table["mode"]), 8)
    return File(content, Owner(str(table["owner"]), str(table["group"]), mode & 0o777))


def _ruleset(content: object) -> Ruleset | None:
    if content is None:
        return None
    commit = dict(_table(content))["commit"]
    if commit is not None and not (isinstance(commit, str) and _COMMIT.fullmatch(commit)):
        raise ValueError("commit")
    return Ruleset(commit)


def _table(value: object) -> list[tuple[str, object]]:
    if not isinstance(value, dict):
        raise TypeError("table")
    return [(str(key), item) for key, item in value.items()]
