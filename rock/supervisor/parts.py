"""What changes while all runs: what each unit wants and has in force, and who goes when.

Every unit gets a new secret at a time of its own. Two changes need an order among the units:

* The cluster's key. A worker whose key is another than its master's is apart from it. So the
  master changes once every unit holds the new key, its workers as soon as its new daemon listens:
  a worker that asks earlier is refused, and asks again only after 10 s.
* The API's certificate and token keys. A unit leaves the Service while its API starts again, so
  one goes after the other, the master last.

No wait is endless: a unit that hears nothing goes on alone in the end. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from .times import Times

_DIGEST = re.compile(r"[A-Za-z0-9_.-]{0,100}")
#: What the charm calls each part in `generations`.
NAMES = {
    "users": "users",
    "enrolment": "wazuh-authd",
    "api": "wazuh-apid",
    "cluster": "wazuh-clusterd",
}


@dataclass(frozen=True, slots=True)
class Parts:
    """A digest of each part; empty: not known, or not running now."""

    users: str = ""
    enrolment: str = ""
    api: str = ""
    cluster: str = ""

    def by_name(self) -> dict[str, str]:
        """Return the known ones under the charm's names."""
        return {NAMES[name]: digest for name, digest in asdict(self).items() if digest}


NOTHING = Parts()


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit as far as its parts go."""

    node: str
    wanted: Parts = NOTHING
    have: Parts = NOTHING


@dataclass(frozen=True, slots=True)
class Scene:
    """What a unit knows when it asks whether it is its turn."""

    own: Unit
    master: str
    others: Sequence[Unit]  # those that have answered just now
    peers: int  # how many there are
    waited: float  # seconds since the own order changed
    times: Times

    def unit(self, node: str) -> Unit | None:
        """Return another unit by its node."""
        return next((unit for unit in self.others if unit.node == node), None)


def of(generations: Mapping[str, object]) -> Parts:
    """Read the charm's digests; what is no digest is left out."""
    found = {field: str(generations.get(name, "")) for field, name in NAMES.items()}
    return Parts(**{k: value for k, value in found.items() if _DIGEST.fullmatch(value)})


def known(before: Parts, heard: Parts) -> Parts:
    """Return what was heard last of each part: a daemon that starts again says nothing."""
    news = {name: digest for name, digest in asdict(heard).items() if digest}
    return replace(before, **news)


def cluster_waits(scene: Scene) -> bool:
    """Tell whether this unit is to keep the old cluster key for now."""
    own, times = scene.own, scene.times
    if scene.peers == 0 or own.have.cluster == own.wanted.cluster:
        return False
    patient = scene.waited < times.patience
    if own.node == scene.master:
        ready = sum(unit.wanted.cluster == own.wanted.cluster for unit in scene.others)
        return patient and ready < scene.peers
    master = scene.unit(scene.master)
    if master is not None and master.have.cluster:
        return master.have.cluster != own.wanted.cluster
    return patient


def cluster_stops(scene: Scene) -> bool:
    """Tell whether a worker may stop its daemon already: its master's is on the way to the key."""
    own, master = scene.own, scene.unit(scene.master)
    if master is None or not own.wanted.cluster or own.have.cluster == own.wanted.cluster:
        return False
    return not master.have.cluster and master.wanted.cluster == own.wanted.cluster


def api_waits(scene: Scene) -> bool:
    """Tell whether this unit is to keep its API as it is until others are through."""
    own, times = scene.own, scene.times
    if scene.peers == 0 or own.have.api == own.wanted.api:
        return False
    if scene.waited >= times.patience * (1 + scene.peers):
        return False
    return scene.waited < times.settle or any(_before(unit, scene) for unit in scene.others)


def _before(unit: Unit, scene: Scene) -> bool:
    """Tell whether another unit is at it, or is to go first."""
    if not unit.wanted.api:
        return False
    due = unit.wanted.api == scene.own.wanted.api != unit.have.api
    return not unit.have.api or (due and _rank(unit, scene) < _rank(scene.own, scene))


def _rank(unit: Unit, scene: Scene) -> tuple[bool, str]:
    return unit.node == scene.master, unit.node
