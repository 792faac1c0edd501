"""What else happens to a master, with traffic all the while: cuts, pauses, scaling, a refresh.

Each takes an event that has begun and the series it belongs to, does what its name says, undoes
it, and returns who may be lost. Waiting until everything is whole again, and holding it against
the books, is the series' part.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
import zlib
from collections.abc import Callable

from sandbox.driver import APPLICATION, NeverHappenedError
from sandbox.moves.books import Agent
from sandbox.moves.events import Event, Series

FIRST = f"{APPLICATION}/0"
"""The unit that stays when Juju scales to one."""
_FENCE = 45.0
"""Seconds: longer than a master that reaches nobody serves on."""
_STAYS = 10.0
"""Seconds for which the old master stays cut off when there is another."""
_SHOTS = 60
_PLAYED = {"secret-rotation": ("monthly", "never")}
"""An option whose change runs a hook and changes no process."""

Play = Callable[[Series, Event], set[Agent]]


def cut_from_controller(series: Series, event: Event) -> set[Agent]:
    """Its agent runs no hook and its lease ends; its workload goes on and stays in the Service."""
    return _cut(series, event, "controller")


def cut_from_peers(series: Series, event: Event) -> set[Agent]:
    """It leads on, and clients reach it; the workers miss it."""
    return _cut(series, event, "peers")


def cut_from_both(series: Series, event: Event) -> set[Agent]:
    """Another becomes master and cannot tell it; clients and Kubernetes still reach it."""
    return _cut(series, event, "controller", "peers")


def cut_from_all(series: Series, event: Event) -> set[Agent]:
    """It reaches nobody at all and has to fence itself."""
    return _cut(series, event)


def frozen(series: Series, event: Event) -> set[Agent]:
    """All its processes stand still past its lease, and then go on where they were."""
    driver = series.cluster.driver
    driver.juju("pause", event.old)
    series.until("another master", lambda: _another(series, event))
    series.sleep(_STAYS)
    driver.juju("resume", event.old)
    return set()


def paused_in_a_hook(series: Series, event: Event) -> set[Agent]:
    """Its charm stands still in the middle of a hook past its lease; its workload goes on."""
    driver = series.cluster.driver
    for (option, values), shot in itertools.product(_PLAYED.items(), range(_SHOTS)):
        driver.juju("config", APPLICATION, f"{option}={values[shot % len(values)]}")
        time.sleep(shot % 10 * 0.05)
        if "in a hook" in driver.juju("pause", event.old, "--agent"):
            break
        driver.juju("resume", event.old)
    else:
        raise NeverHappenedError("no hook of the master was met")
    series.until("another master", lambda: _another(series, event))
    driver.juju("resume", event.old)
    return set()


def scaled_to_one(series: Series, event: Event) -> set[Agent]:
    """The leader, who is master, is among those removed, and Juju deletes their volumes."""
    event.touched = [unit for unit in series.cluster.units() if unit != FIRST]
    _scale(series, 1)
    series.until("one unit active", lambda: series.cluster.is_whole(1))
    series.sleep(_STAYS)
    _scale(series, 3)
    return set()


def scaled_to_none(series: Series, event: Event) -> set[Agent]:
    """No volume is left: what comes back is what the secret `master-state` holds.

    When somebody enrolled after it was kept last, a unit says so, and goes on when it is told to.
    """
    event.touched = list(series.cluster.units())
    _scale(series, 0)
    series.until("no unit", lambda: not series.cluster.units())
    time.sleep(1)
    held = _kept(series)
    gone = {a for a in series.promised() if held.get(a.id) != a.name}
    event.uncopied = len(gone)
    _scale(series, 3)
    series.until("three units active", lambda: series.cluster.is_whole(3) or bool(_asks(series)))
    if master := _asks(series):
        series.cluster.driver.juju(
            "run", f"{APPLICATION}/leader", "promote", f"unit={master}", "force=true"
        )
    return gone


def scaled_to_none_with_volumes(series: Series, event: Event) -> set[Agent]:
    """The volumes stay, as with another storage class."""
    event.touched = list(series.cluster.units())
    driver = series.cluster.driver
    driver.juju("volumes", "kept")
    _scale(series, 0)
    series.until("no unit", lambda: not series.cluster.units())
    _scale(series, 3)
    series.until("three units active", lambda: series.cluster.is_whole(3))
    driver.juju("volumes", "lost")
    return set()


def refreshed(series: Series, event: Event) -> set[Agent]:
    """Another revision is rolled out, one unit after the other, the master among them."""
    cluster, units = series.cluster, series.cluster.units()
    event.touched = list(units)
    before = {unit: value["address"] for unit, value in units.items()}
    cluster.driver.juju("refresh", APPLICATION)

    def anew() -> bool:
        now = cluster.units()
        return all(now[unit]["address"] not in {"", old} for unit, old in before.items())

    series.until("three new pods", anew)
    return set()


SCENARIOS: dict[str, tuple[str, Play]] = {
    "none": ("3→0→3, volumes deleted", scaled_to_none),
    "controller": ("cut off from the controller", cut_from_controller),
    "scale-down": ("3→1→3, leader removed", scaled_to_one),
    "peers": ("cut off from its peers", cut_from_peers),
    "both": ("cut off from controller and peers", cut_from_both),
    "all": ("cut off from everything", cut_from_all),
    "frozen": ("frozen past its lease", frozen),
    "hook": ("paused in a hook past its lease", paused_in_a_hook),
    "refresh": ("refreshed", refreshed),
    "none-kept": ("3→0→3, volumes kept", scaled_to_none_with_volumes),
}
"""Name → what it is called in tables, and what it does, in the order in which they are played.

The volumes are deleted first: `master-state` holds some 10,000 agents.
"""


def play(series: Series, name: str) -> Event:
    """Have the leader be master, and play one."""
    kind, body = SCENARIOS[name]
    if name == "scale-down" and _leader(series) == FIRST:
        _hand_on_leadership(series)
    bring_together(series)
    return series.disturb(kind, lambda event: body(series, event))


def bring_together(series: Series) -> None:
    """Have the leader be master: only then its lease decides who is."""
    cluster, leader = series.cluster, _leader(series)
    if cluster.master() != leader:
        cluster.driver.juju("run", leader, "promote", f"unit={leader}")
        series.until(
            "the leader is master", lambda: cluster.master() == leader and cluster.is_whole(3)
        )


def _hand_on_leadership(series: Series) -> None:
    leader = _leader(series)
    series.cluster.driver.juju("partition", leader, "--from", "controller")
    series.until("another leader", lambda: _leader(series) != leader)
    series.cluster.driver.juju("heal", leader)
    series.until("three units active", lambda: series.cluster.is_whole(3))


def _leader(series: Series) -> str:
    return next((unit for unit, value in series.cluster.units().items() if value["leader"]), "")


def _cut(series: Series, event: Event, *names: str) -> set[Agent]:
    driver = series.cluster.driver
    driver.juju("partition", event.old, *(word for n in names for word in ("--from", n)))
    if names == ("peers",):
        series.sleep(_FENCE)
    else:
        series.until("another master", lambda: _another(series, event))
        series.sleep(_STAYS)
    driver.juju("heal", event.old)
    return set()


def _another(series: Series, event: Event) -> bool:
    """Whether another unit says that it is master; what Juju knows of the old one is old."""
    said = series.cluster.messages()
    return any(text.startswith("master") for unit, text in said.items() if unit != event.old)


def _asks(series: Series) -> str:
    """Return who refuses to be master with fewer agents than were known, if there is one."""
    said = series.cluster.messages()
    return next((unit for unit, text in said.items() if "force=true" in text), "")


def _kept(series: Series) -> dict[str, str]:
    """Agent's id → name, as the secret `master-state` has them."""
    text = series.cluster.secret("master-state")["content"]
    content = json.loads(zlib.decompress(base64.b64decode(text)))
    lines = [line.split() for line in (content["keys"] or "").splitlines()]
    return {parts[0]: parts[1] for parts in lines if len(parts) == 4}


def _scale(series: Series, units: int) -> None:
    series.cluster.driver.juju("scale-application", APPLICATION, str(units))
