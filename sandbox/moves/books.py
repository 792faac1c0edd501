"""Books of what was promised to agents, and what a run's record says. Pure, but for reading it."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.moves.traffic import lines

#: Agent's id → (name, digest of its key), as one unit's client.keys has them.
Held = Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent that was told its id and key."""

    id: str
    name: str
    key: str
    at: float

    def is_in(self, held: Held) -> bool:
        """Whether these keys have it, under this id, name and key."""
        return held.get(self.id) == (self.name, self.key)


@dataclass(slots=True)
class Books:
    """Everything the traffic wrote down."""

    record: Path
    agents: list[Agent] = field(default_factory=list)
    calls: dict[str, list[tuple[float, float, bool]]] = field(default_factory=dict)
    """`enrolment` and `login` → (began, ended, good) of each."""
    sessions: list[tuple[float, str, str]] = field(default_factory=list)
    """(when, unit, `open` or `cut`) of the sessions on 1514."""
    _offset: int = 0

    def read(self) -> None:
        """Take in what was written since the last time."""
        for offset, line in lines(self.record, self._offset):
            self._offset = offset
            self._enter(line)

    def _enter(self, line: Mapping[str, Any]) -> None:
        if line["kind"] in ("open", "cut"):
            self.sessions.append((line["at"], line["unit"], line["kind"]))
            return
        self.calls.setdefault(line["kind"], []).append(
            (line["began"], line["ended"], line["good"])
        )
        if line.get("id"):
            self.agents.append(Agent(line["id"], line["name"], line["key"], line["ended"]))

    def acknowledged(self, until: float) -> list[Agent]:
        """Agents that had their key by then."""
        return [agent for agent in self.agents if agent.at <= until]

    def gap(self, kind: str, begin: float, end: float) -> float:
        """The longest time within these without a success."""
        good = sorted(e for _, e, ok in self.calls.get(kind, []) if ok and begin <= e <= end)
        marks = [begin, *good, end]
        return max(later - earlier for earlier, later in itertools.pairwise(marks))

    def without_session(self, unit: str, begin: float, end: float) -> float:
        """Seconds within these in which a unit's session on 1514 was cut."""
        total, since = 0.0, None
        for at, who, what in sorted(self.sessions):
            if who != unit:
                continue
            if what == "cut":
                since = at
            elif since is not None:
                total += max(0.0, min(at, end) - max(since, begin))
                since = None
        return total + (max(0.0, end - max(since, begin)) if since is not None else 0.0)


def missing(agents: Iterable[Agent], held: Held) -> list[Agent]:
    """Those whom these keys do not have."""
    return [agent for agent in agents if not agent.is_in(held)]


def contradictions(everywhere: Iterable[Held]) -> int:
    """How many ids have different keys on two units."""
    keys: dict[str, set[str]] = {}
    for held in everywhere:
        for number, (_, key) in held.items():
            keys.setdefault(number, set()).add(key)
    return sum(1 for found in keys.values() if len(found) > 1)


def given_twice(agents: Iterable[Agent]) -> int:
    """How many ids were promised to more than one agent (of whom all but one are lost)."""
    count = Counter(agent.id for agent in agents)
    return sum(1 for number in count.values() if number > 1)


def middle_and_worst(values: Sequence[float]) -> str:
    """Median and worst as they are printed."""
    if not values:
        return "–"
    return f"{statistics.median(values):.1f} / {max(values):.1f} s"
