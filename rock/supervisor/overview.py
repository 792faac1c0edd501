"""How every unit is, as this one hears it: for people who ask, so no notice goes with it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from . import files
from .machine import Answer
from .places import Places

_SCHEMA = 1
_OWNER = files.Owner(mode=0o644)
#: Enrolments change the count of agents all the time.
_SECONDS = 2.0


class Overview:
    """Writes `overview.json` beside the report when something changed."""

    def __init__(self, places: Places, hearing: float) -> None:
        self._path = places.run / "overview.json"
        self._hearing = hearing
        self._written = ""
        self._again = 0.0

    def write(self, own: Answer, others: Iterable[Answer], now: float) -> None:
        """Write it, at most every two seconds. Raises OSError."""
        if now < self._again:
            return
        self._again = now + _SECONDS
        nodes = [_node(own, heard=True)]
        nodes += [_node(one, heard=now - one.heard <= self._hearing) for one in others]
        content = {"schema": _SCHEMA, "nodes": sorted(nodes, key=lambda one: str(one["node"]))}
        text = json.dumps(content)
        if text != self._written:
            files.write(self._path, text.encode() + b"\n", _OWNER)
            self._written = text


def _node(answer: Answer, *, heard: bool) -> dict[str, object]:
    return {
        "node": answer.node,
        "role": "master" if answer.term.master == answer.node else "worker",
        "epoch": answer.term.epoch,
        "phase": answer.phase,
        "heard": heard,
        "agents": answer.keys.agents,
        "commit": answer.tree,
        "version": answer.version,
    }
