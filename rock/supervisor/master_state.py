"""What the charm keeps in the Juju secret `master-state`, for when no volume is left.

The supervisor prepares it as one text in a file that only root reads; the leader's charm fetches
it now and then. When a new master knows of no predecessor, or finds fewer keys than there were,
its charm hands the secret's content back, and that counts as one more unit's keys.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

from . import files, keys, rbac, values
from .machine import Edition, Keys
from .places import Places

_SCHEMA = 1
#: Of the secret's one value (characters). Juju refuses more than 1 MB.
LIMIT = 700_000
_UNPACKED = 64 * 1024 * 1024
_EVERY = 10.0  # seconds between two preparations
_log = logging.getLogger(__name__)


class StateError(Exception):
    """It is not what `dump` writes; the text holds nothing of it."""


@dataclass(frozen=True, slots=True)
class State:
    """Keys (None: too many to be held), the highest id known, the copy of rbac.db."""

    highest: int = 0
    keys: str | None = field(default=None, repr=False)
    people: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What lies ready for the charm: its digest, and whether the keys are in it."""

    digest: str = ""
    whole: bool = True


def dump(state: State) -> str:
    """Write it as a text that a secret takes; equal states give equal texts."""
    content = {
        "schema": _SCHEMA,
        "highest-id": state.highest,
        "keys": state.keys,
        "rbac": state.people,
    }
    return values.pack(json.dumps(content).encode())


def load(text: str) -> State:
    """Read what `dump` wrote. Raises StateError."""
    try:
        content = json.loads(values.unpack(text, _UNPACKED))
        if content["schema"] != _SCHEMA:
            raise StateError("of another schema")
        highest = values.number(content["highest-id"])
        found, people = content["keys"], content["rbac"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateError(type(error).__name__) from None
    if not (isinstance(found, str | None) and isinstance(people, str | None)):
        raise StateError("a value of another type")
    return State(highest, found, people)


class Store:
    """Keeps the file for the charm up to date."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._path = places.run / "master-state"
        self._made_of: tuple[str, Edition] | None = None
        self._next = 0.0
        self.prepared = Prepared()

    def look(self, held: Keys, people: rbac.Keeper, now: float) -> None:
        """Prepare it anew when keys or users changed, but not too often. Raises OSError."""
        of = (held.digest, people.edition())
        if of == self._made_of or now < self._next:
            return
        text = keys.load(self._places.client_keys)
        if keys.summary(text) != held:
            return
        copy = people.newest()
        state = State(held.highest, text, rbac.dump(copy) if copy else None)
        packed, whole = dump(state), True
        if len(packed) > LIMIT:
            packed, whole = dump(State(held.highest, None, state.people)), False
        files.write(self._path, packed.encode(), files.Owner())
        self.prepared = Prepared(hashlib.sha256(packed.encode()).hexdigest(), whole)
        self._made_of, self._next = of, now + _EVERY


class Answer:
    """What the charm gave back when it was asked for it."""

    def __init__(self, places: Places) -> None:
        self._path = places.orders / "master-state.json"
        self._stamp: files.Stamp | None = None
        self._state: State | None = None
        self._summary = Keys()

    def look(self) -> State | None:
        """Return it; None as long as there is no answer. Nothing to be had is an empty one."""
        stamp = files.stamp(self._path)
        if stamp != self._stamp:
            self._state = None if stamp is None else _read(self._path)
            self._summary = keys.summary(self._state.keys or "") if self._state else Keys()
            self._stamp = stamp
        return self._state

    def summary(self) -> Keys | None:
        """Sum up the keys in it; None as long as there is no answer."""
        return None if self.look() is None else self._summary

    def drop(self) -> None:
        """Remove it: it has served. Raises OSError."""
        self._path.unlink(missing_ok=True)


def _read(path: Path) -> State:
    try:
        text = json.loads(path.read_text())["content"]
        return State() if text is None else load(str(text))
    except (StateError, OSError, ValueError, KeyError, TypeError) as error:
        _log.error("master-state cannot be used: %s", type(error).__name__)
        return State()
