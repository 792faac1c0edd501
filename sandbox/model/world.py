"""The whole state of one model, its clock, its timers and its log."""

import datetime
import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sandbox.model.entities import Action, Application, Relation, Secret, Timings, Unit, Volume
from sandbox.model.errors import CommandError
from sandbox.model.values import Event

if TYPE_CHECKING:
    from sandbox.model.hook import Hook

CommitMode = Literal["3.6", "4"]
Teardown = Literal["source", "docs"]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What differs between versions of Juju, or is not known for certain."""

    commit_mode: CommitMode = "4"
    """3.6 applies secrets one by one before the databags; 4 does all in one transaction."""
    leader_hears_itself: bool = True
    """Whether the leader gets relation-changed for its own write (seen on 4.0.15)."""
    peers_break: bool = True
    """Whether relation-broken of peers follows stop (seen on 4.0.15; 3.6 never, R4)."""
    teardown: Teardown = "source"
    """`docs`: a dying unit's stop comes first; sources and documentation differ (R5)."""
    departures: Literal["one", "all"] = "one"
    """Of several units removed at once survivors hear of one only (seen on 4.0.15)."""
    volumes: Literal["lost", "kept"] = "lost"
    """What becomes of a removed unit's volumes: gone (seen on 4.0.15), or there again when a unit
    of that number comes, which is Kubernetes' own default (R31)."""

    @classmethod
    def of(cls, commit_mode: CommitMode) -> "Behaviour":
        """Give the behaviour of a version of Juju."""
        if commit_mode == "4":
            return cls()
        return cls(commit_mode="3.6", leader_hears_itself=False, peers_break=False)


@dataclass(slots=True)
class World:
    """Records and the few questions that every rule asks of them."""

    name: str
    uuid: str
    behaviour: Behaviour
    timings: Timings
    random: random.Random
    epoch: float = 0.0
    """Unix time at which the virtual clock began, for what Juju prints as a date."""
    now: float = 0.0
    apps: dict[str, Application] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    relations: dict[int, Relation] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    kept_volumes: dict[str, dict[str, Volume]] = field(default_factory=dict)
    """Volumes of removed units, by the unit's name."""
    hooks: dict[int, "Hook"] = field(default_factory=dict)
    timers: list[tuple[float, int, str, tuple[Any, ...]]] = field(default_factory=list)
    log: list[Event] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)

    def date(self, at: float) -> str:
        """Give a time of the virtual clock as Juju prints it."""
        moment = datetime.datetime.fromtimestamp(self.epoch + at, datetime.UTC)
        return moment.isoformat(timespec="seconds").replace("+00:00", "Z")

    def count(self, what: str) -> int:
        """Give the next number of a kind, from 0."""
        number = self.counters.get(what, 0)
        self.counters[what] = number + 1
        return number

    def after(self, seconds: float, rule: str, *args: Any) -> None:
        """Have a rule of `sandbox.model.rules` applied later."""
        heapq.heappush(
            self.timers, (self.now + max(0.0, seconds), self.count("timer"), rule, args)
        )

    def note(self, unit: str, text: str, level: str = "INFO", module: str = "juju.model") -> None:
        """Add a line to the log."""
        self.log.append(Event(len(self.log), self.now, unit, level, text, module))

    def app(self, name: str) -> Application:
        """Find an application; `CommandError` when there is none."""
        if name not in self.apps:
            raise CommandError(f'application "{name}" not found')
        return self.apps[name]

    def unit(self, name: str) -> Unit:
        """Find a unit; `CommandError` when there is none."""
        if name not in self.units:
            raise CommandError(f'unit "{name}" not found')
        return self.units[name]

    def units_of(self, app: str) -> list[Unit]:
        """Give an application's units by number, dead ones too while their pods are there."""
        found = [unit for unit in self.units.values() if unit.app == app]
        return sorted(found, key=lambda unit: unit.number)

    def relations_of(self, app: str) -> Iterator[Relation]:
        """Give the relations of an application in the order of their making."""
        return (relation for relation in self.relations.values() if app in relation.endpoints)
