"""Faults at random, several at once, from a seed; then all is undone and the books are held."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from sandbox.driver import APPLICATION, CommandFailedError
from sandbox.moves.books import Agent, Held, missing
from sandbox.moves.events import Event, Series

KIND = "chaos"
_PAUSE = 20.0
"""Seconds of the model's clock between two faults, at most."""
_FAULTS = (4, 8)
_CUTS = (
    ("controller",),
    ("peers",),
    ("controller", "peers"),
    ("controller", "peers", "kubernetes", "clients"),
)


class Chaos:
    """One round: what it did, to whom, and who may be lost of it."""

    def __init__(self, series: Series, seed: int) -> None:
        self._series = series
        self._chance = random.Random(seed)
        self._driver = series.cluster.driver
        self._undo: dict[str, str] = {}
        """Unit to the command that ends its fault; empty when it ends by itself."""
        self.allowed: set[Agent] = set()
        self.done: list[str] = []

    def play(self, event: Event) -> set[Agent]:
        """Do some faults, undo them all, and return who may be lost."""
        event.touched = list(self._series.cluster.units())
        self._type("volumes", "kept")
        for _ in range(self._chance.randint(*_FAULTS)):
            fault = self._chance.choice(self._faults())
            fault()
            self._series.sleep(self._chance.uniform(0, _PAUSE))
        for unit in list(self._undo):
            self._end(unit)
        self._type("scale-application", APPLICATION, "3")
        self._series.until("three units active", lambda: self._series.cluster.is_whole(3))
        self._type("volumes", "lost")
        return self.allowed

    def _faults(self) -> list[Callable[[], None]]:
        faults = [self._promote, self._configure, self._refresh]
        if self._undo:
            faults += [self._end_one] * 3
        if self._free():
            faults += [self._freeze, self._cut, self._delete, self._end_agent]
            faults += [self._end_workload, self._lose_node]
        return faults if self._undo else [*faults, self._scale]

    def _freeze(self) -> None:
        self._on(self._pick(), "resume", "pause")

    def _cut(self) -> None:
        away = [word for name in self._chance.choice(_CUTS) for word in ("--from", name)]
        self._on(self._pick(), "heal", "partition", *away)

    def _delete(self) -> None:
        self._on(self._pick(), "", "kill")

    def _end_agent(self) -> None:
        self._on(self._pick(), "", "kill", "--container", "charm")

    def _end_workload(self) -> None:
        unit = self._pick()
        self._freeze_and_look(unit)
        self._on(unit, "resume", "kill", "--container", APPLICATION)
        self._end(unit)

    def _lose_node(self) -> None:
        unit = self._pick()
        self._freeze_and_look(unit)
        self._on(unit, "", "lose-node", "--keep-volume")

    def _promote(self) -> None:
        target = self._chance.choice(sorted(self._series.cluster.units()))
        self._type("run", f"{APPLICATION}/leader", "promote", f"unit={target}")

    def _configure(self) -> None:
        level = self._chance.choice(["3", "4", "5"])
        self._type("config", APPLICATION, f"log-alert-level={level}")

    def _refresh(self) -> None:
        self._type("refresh", APPLICATION)

    def _scale(self) -> None:
        self._type("scale-application", APPLICATION, self._chance.choice(["1", "2", "3", "4"]))

    def _end_one(self) -> None:
        self._end(self._chance.choice(sorted(self._undo)))

    # -- parts ---------------------------------------------------------------------------------

    def _free(self) -> list[str]:
        return sorted(set(self._series.cluster.units()) - set(self._undo))

    def _pick(self) -> str:
        return self._chance.choice(self._free())

    def _on(self, unit: str, undo: str, command: str, *options: str) -> None:
        if self._type(command, unit, *options) and undo:
            self._undo[unit] = undo

    def _end(self, unit: str) -> None:
        self._type(self._undo.pop(unit), unit)

    def _freeze_and_look(self, unit: str) -> None:
        """Note who was acknowledged and is in nobody's keys, when this unit is about to die."""
        self._type("pause", unit)
        time.sleep(1)
        held = [self._keys(one) for one in self._series.cluster.units()]
        for agent in self._series.promised():
            if all(missing([agent], keys) for keys in held):
                self.allowed.add(agent)

    def _keys(self, unit: str) -> Held:
        try:
            return self._series.cluster.keys(unit)
        except CommandFailedError:
            return {}

    def _type(self, *command: str) -> bool:
        """Type a command; what a unit without a pod refuses is no fault of ours."""
        self.done.append(" ".join(command))
        try:
            self._driver.juju(*command)
        except CommandFailedError as reason:
            self.done[-1] += f" (refused: {str(reason).splitlines()[0]})"
            return False
        return True


def play(series: Series, seed: int) -> Event:
    """Play one round, and say what it was."""
    chaos = Chaos(series, seed)
    try:
        event = series.disturb(KIND, chaos.play)
    finally:
        print(f"seed {seed}: {'; '.join(chaos.done)}", flush=True)
    return event
