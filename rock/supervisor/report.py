"""What the charm reads: one small file, replaced at once, without any secret."""

from __future__ import annotations

import datetime
import json

from . import files
from .machine import Desired, State
from .places import Places
from .ruleset import Report as Ruleset

_SCHEMA = 1
_OWNER = files.Owner(mode=0o644)


def load_wake(places: Places) -> int:
    """Return the last wake-up that a predecessor in this container has sent."""
    try:
        value = json.loads(places.report.read_text())["wake"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return value if isinstance(value, int) else 0


class Report:
    """Writes the file when something changed, and tells what is worth a notice."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._written: dict | None = None
        self._told: tuple | None = None
        self._since = ""
        self._phase = ""

    def write(self, content: dict) -> bool:
        """Write; True when the charm should be told. Raises OSError."""
        if content["phase"] != self._phase:
            self._phase, self._since = content["phase"], _now()
        content = {"schema": _SCHEMA, **content, "since": self._since}
        if content != self._written:
            text = json.dumps(content).encode() + b"\n"
            files.write(self._places.report, text, _OWNER)
            self._written = content
        worth = _worth(content)
        changed, self._told = worth != self._told, worth
        return changed


def fetched(places: Places) -> int:
    """Tell one result of the fetching from the next (ns since 1970), so that each is told.

    The fetching sends a notice too, but as a user of its own, whom older Jujus do not hear.
    """
    try:
        return (places.repository / "result.json").stat().st_mtime_ns
    except OSError:
        return 0


def content(state: State, desired: Desired | None, version: str, rules: Ruleset) -> dict:
    """Say how this unit is, in the charm's terms.

    The highest id is that of the keys held here. What a master that has just gone said last
    would be a little more, and a move in the middle of enrolments would be refused for it.
    """
    return {
        "epoch": state.memory.term.epoch,
        "role": desired.role if desired else "",
        "phase": state.phase,
        "sentence": state.sentence,
        "ready": state.ready,
        "keys": state.keys.agents,
        "highest-id": state.keys.highest,
        "contested": state.contested,
        "orphaned": state.orphaned,
        "serving": state.memory.serving.epoch,
        "answering": list(state.answering),
        "asks": state.asks,
        "version": version,
        "ruleset": {"commit": rules.commit, "error": rules.error, "mended": rules.mended},
        "in-force": state.in_force.by_name(),
        "indexer": {"since": "", "reason": ""},
        "wake": 0,
        "fetched": 0,
    }


def _worth(content: dict) -> tuple:
    """Pick what a notice is for; enrolments and progress alone are not."""
    lasting = content["phase"] in ("failed", "refused", "fenced")
    sentence = content["sentence"] if lasting else None
    rules = content["ruleset"]
    where = ("epoch", "role", "phase", "contested", "orphaned")
    what = ("asks", "ready", "version", "fetched")
    in_force = tuple(sorted(content["in-force"].items()))
    said = tuple(content[n] for n in (*where, *what))
    return (*said, sentence, *rules.values(), in_force, content["indexer"]["reason"])


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
