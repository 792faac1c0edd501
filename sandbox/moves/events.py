"""One move of the master after the other: made, waited for, and held against the books."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sandbox.demo.cluster import Cluster
from sandbox.driver import APPLICATION, CommandFailedError, NeverHappenedError
from sandbox.moves import books
from sandbox.moves.books import Agent, Books, Held

PERSON = "auditor"
PLANNED = "planned"
PROCESS = "workload killed"
KEPT = "node lost, volume kept"
GONE = "node lost, volume lost"
KILLS = (GONE, PROCESS, KEPT)
"""Kills come in this order, over and over."""
_CONNECTING = 120
"""Seconds in which a worker may still say that it has no connection to its master."""
_SLOW = 900
"""Seconds for what takes all units one after the other."""
_RETURNING = 600
"""Seconds for agents to come back that only one unit knew: some 60 a minute."""
_READER = 2
"""The API's role `readonly`."""


@dataclasses.dataclass(slots=True)
class Event:
    """One move or kill, and what came of it; seconds, unless it says otherwise."""

    kind: str
    old: str
    new: str = ""
    moved: float = 0.0
    without_enrolment: float = 0.0
    without_api: float = 0.0
    without_sessions: float = 0.0
    """On units that were neither the old master nor the new one."""
    without_sessions_moved: float = 0.0
    """On the new master, whose daemons start anew."""
    touched: list[str] = dataclasses.field(default_factory=list)
    """Units whose pods go in it, beside these two."""
    acknowledged: int = 0
    """Agents acknowledged since the event before."""
    unwritten: int = 0
    """Acknowledged, and not in client.keys when the master was killed."""
    uncopied: int = 0
    """Written, and on no other unit, when the master was killed with its volume."""
    lost: int = 0
    excess: int = 0
    """Lost although they were written, and copied where the volume was lost."""
    contradictions: int = 0
    credentials: dict[str, bool] = dataclasses.field(default_factory=dict)
    trouble: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing was lost that may not be, and everything works afterwards."""
        strict = self.kind in KILLS or self.without_sessions == 0
        strict = strict and (self.kind != PLANNED or self.lost == 0)
        kept = not (self.excess or self.contradictions or self.trouble)
        return strict and kept and all(self.credentials.values())

    def describe(self) -> str:
        """One line for people."""
        words = [
            f"{self.kind}: {self.old} → {self.new} after {self.moved:.0f} s",
            f"without enrolment {self.without_enrolment:.1f} s, API {self.without_api:.1f} s, "
            f"1514 elsewhere {self.without_sessions:.1f} s",
            f"{self.lost} of {self.acknowledged} lost",
        ]
        if self.kind != PLANNED:
            words.append(f"not written {self.unwritten}, not copied {self.uncopied}")
        if bad := [name for name, works in self.credentials.items() if not works]:
            words.append(f"no longer works: {', '.join(bad)}")
        return "; ".join([*words, self.trouble] if self.trouble else words)


@dataclasses.dataclass(slots=True)
class Series:
    """Moves of one cluster, with traffic all the while."""

    cluster: Cluster
    books: Books
    factor: float
    person: str
    """The password of a user that was made through the API."""
    events: list[Event] = dataclasses.field(default_factory=list)
    lost: set[Agent] = dataclasses.field(default_factory=set)
    """Everybody lost so far."""
    since: float = dataclasses.field(default_factory=time.time)

    def move(self) -> Event:
        """Have the next unit become master, by the action."""
        units, old = sorted(self.cluster.units()), self._master()
        target = units[(units.index(old) + 1) % len(units)]
        event = self._begin(PLANNED, old)
        began = time.time()
        leader = next(unit for unit, value in self.cluster.units().items() if value["leader"])
        self.cluster.driver.juju("run", leader, "promote", f"unit={target}")
        self._arrive(event, began, target)
        return self._judge(event, began, set(), patience=0)

    def kill(self, kind: str) -> Event:
        """Freeze the master, look at what it has written, and kill it."""
        event = self._begin(kind, self._master())
        began = time.time()
        driver = self.cluster.driver
        driver.juju("pause", event.old)
        allowed = self._look(event)
        if kind == PROCESS:
            driver.juju("kill", event.old, "--container", APPLICATION)
            driver.juju("resume", event.old)
            self._arrive(event, began, event.old)
        else:
            driver.juju("lose-node", event.old, *(["--keep-volume"] if kind == KEPT else []))
            self._arrive(event, began, None)
        return self._judge(event, began, allowed, patience=120)

    def disturb(self, kind: str, play: Callable[[Event], set[Agent]]) -> Event:
        """Play anything else, which gives who may be lost; `moved` lasts until all is whole."""
        event = self._begin(kind, self._master())
        began = time.time()
        allowed = play(event)
        self._arrive(event, began, event.old)
        return self._judge(event, began, allowed, patience=_RETURNING)

    def promised(self) -> list[Agent]:
        """Everybody who was acknowledged until now and is not lost."""
        self.books.read()
        return [a for a in self.books.acknowledged(time.time()) if a not in self.lost]

    def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait for something. Raises NeverHappenedError."""
        self.cluster.wait(what, condition, _SLOW)

    def sleep(self, seconds: float) -> None:
        """Let seconds of the model's clock pass."""
        time.sleep(seconds / self.factor)

    # -- parts ---------------------------------------------------------------------------------

    def _master(self) -> str:
        if (master := self.cluster.master()) is None:
            raise CommandFailedError("there is no one master to move")
        return master

    def _begin(self, kind: str, old: str) -> Event:
        event = Event(kind, old)
        self.events.append(event)
        self._keep_token()
        return event

    def _look(self, event: Event) -> set[Agent]:
        """Who may be lost: not written by the frozen master, or gone with its volume."""
        held = {unit: self.cluster.keys(unit) for unit in sorted(self.cluster.units())}
        time.sleep(1)  # for answers on their way when it was frozen
        promised = self.promised()
        unwritten = set(books.missing(promised, held[event.old]))
        event.unwritten = len(unwritten)
        if event.kind != GONE:
            return unwritten
        copies: list[Held] = [keys for unit, keys in held.items() if unit != event.old]
        uncopied = {a for a in promised if not any(a.is_in(keys) for keys in copies)}
        event.uncopied = len(uncopied - unwritten)
        return unwritten | uncopied

    def _arrive(self, event: Event, began: float, target: str | None) -> None:
        """Wait for the master, for the cluster to be whole, and for enrolment to go on."""
        cluster = self.cluster

        def there() -> bool:
            master = cluster.master()
            return master == target if target else master not in (None, event.old)

        if target != event.old:
            cluster.wait("another master", there, 420)
        event.new = cluster.master() or ""
        event.moved = time.time() - began
        cluster.wait("three units active", lambda: cluster.is_whole(3), _SLOW)
        event.new = cluster.master() or event.new
        if target == event.old:
            event.moved = time.time() - began
        now = time.time()
        cluster.wait("enrolment goes on", lambda: self._goes_on(now), 120)

    def _goes_on(self, since: float) -> bool:
        self.books.read()
        return all(
            any(good and began > since for began, _, good in self.books.calls.get(kind, []))
            for kind in ("enrolment", "login")
        )

    def _judge(self, event: Event, began: float, allowed: set[Agent], patience: float) -> Event:
        """Hold the new master's keys against the books, everywhere they have to be."""
        end = time.time()
        promised = [a for a in self.books.acknowledged(end) if a not in self.lost]
        gone: set[Agent] = set()
        held: dict[str, Held] = {}

        def settled() -> bool:
            nonlocal gone
            held.update((unit, self.cluster.keys(unit)) for unit in self.cluster.units())
            gone = set(books.missing(promised, held[event.new]))
            return gone <= allowed and _same(promised, gone, held)

        with contextlib.suppress(NeverHappenedError):
            driver = self.cluster.driver
            driver.wait("each key on every unit", settled, max(60, patience), every=2)
        event.lost, event.excess = len(gone), len(gone - allowed)
        event.contradictions = books.contradictions(held.values())
        if not _same(promised, gone, held):
            event.trouble = "keys are not on every unit"
        event.acknowledged = sum(1 for a in promised if a.at > self.since)
        self.lost |= gone
        self.since = end
        event.credentials = self._credentials()
        self._times(event, began, end)
        return event

    def _times(self, event: Event, began: float, end: float) -> None:
        self.books.read()
        event.without_enrolment = self.books.gap("enrolment", began, end)
        event.without_api = self.books.gap("login", began, end)
        others = set(self.cluster.units()) - {event.old, event.new, *event.touched}
        cut = {unit: self.books.without_session(unit, began, end) for unit in others | {event.new}}
        event.without_sessions = max((cut[unit] for unit in others), default=0.0)
        event.without_sessions_moved = cut[event.new]

    # -- what people have in their hands -------------------------------------------------------

    def _login(self) -> dict[str, Any]:
        secret = self.cluster.secret
        return {
            "user": "wazuh",
            "password": secret("api-users")["wazuh"],
            "ca": secret("certificate-authority")["certificate"],
        }

    def _token(self) -> dict[str, Any]:
        return {"file": f"{self.cluster.driver.scratch}/token", "ca": self._login()["ca"]}

    def _keep_token(self) -> None:
        request = self._token() | self._login()
        self.cluster.ask("tokens", **request, keep=True, host=APPLICATION)

    def _credentials(self) -> dict[str, bool]:
        """Whether each still works on every unit: token, passwords, a hand-made user's."""
        hosts, login = self.cluster.hosts(), self._login()
        works = {"old token": True, "API password": True, "user made by hand": True}
        answers = self.cluster.ask("tokens", **self._token(), hosts=hosts)
        works["old token"] = all(a["status"] == 200 for a in answers)
        for host in hosts:
            for name, who in (("API password", {}), ("user made by hand", self._by_hand())):
                answers = self.cluster.ask(
                    "logins", host=host, others=[host], count=1, **(login | who)
                )
                works[name] &= all(a["login"] == 200 for a in answers)
        works["enrolment password"] = all(self._lets_in(host) for host in hosts)
        return works

    def _lets_in(self, host: str) -> bool:
        """Whether one unit lets an agent in; whoever it lets in may not be lost later either."""
        end = time.time() + _CONNECTING / self.factor
        while True:
            name = f"checked-{len(self.events)}-{time.time_ns()}"
            password = self.cluster.secret("enrolment-password")["password"]
            request = {"names": [name], "password": password, "ca": self._login()["ca"]}
            (answer,) = self.cluster.ask("agents", host=host, **request)
            if answer["id"]:
                done = answer["began"] + answer["took"]
                agent = Agent(answer["id"], name, answer["key_sha256"], done)
                self.books.agents.append(agent)
                return True
            if time.time() > end:
                return False
            time.sleep(1)

    def _by_hand(self) -> dict[str, Any]:
        return {"user": PERSON, "password": self.person}


def _same(promised: list[Agent], gone: set[Agent], everywhere: dict[str, Held]) -> bool:
    """Whether every unit has everybody who is not lost."""
    kept = [agent for agent in promised if agent not in gone]
    return not any(books.missing(kept, held) for held in everywhere.values())


def make_person(cluster: Cluster, password: str) -> None:
    """Make a user through the API, as an administrator would."""
    answer = cluster.ask(
        "person",
        host=APPLICATION,
        user="wazuh",
        password=cluster.secret("api-users")["wazuh"],
        ca=cluster.secret("certificate-authority")["certificate"],
        new=PERSON,
        **{"new-password": password},
        granted=_READER,
    )[0]
    if answer["status"] != 200 or answer["role"] != 200:
        raise CommandFailedError(f"the API made no user: {answer}")


@contextlib.contextmanager
def traffic(cluster: Cluster, rate: float) -> Iterator[Books]:
    """Enrolments, logins and sessions until the end of the block."""
    scratch = Path(cluster.driver.scratch)
    record, stop = scratch / "record", scratch / "traffic-ends"
    record.touch()
    hosts = dict(zip(cluster.units(), cluster.hosts(), strict=True))
    request = {
        "host": APPLICATION,
        "password": cluster.secret("enrolment-password")["password"],
        "ca": cluster.secret("certificate-authority")["certificate"],
        "user": "wazuh",
        "user-password": cluster.secret("api-users")["wazuh"],
        "prefix": "agent-",
        "rate": rate,
        "logins": 2,
        "wait": 12,
        "sessions": hosts,
        "record": str(record),
        "stop": str(stop),
    }
    process = cluster.driver.client_module("sandbox.moves.traffic", request)
    try:
        yield Books(record)
    finally:
        stop.touch()
        process.wait(timeout=60)


def write(path: Path, series: Series, notes: tuple[str, ...]) -> None:
    """All figures for machines, also of a series that goes on."""
    events = [dataclasses.asdict(event) | {"holds": event.holds} for event in series.events]
    given_twice = books.given_twice(series.books.agents)
    total = {"acknowledged": len(series.books.agents), "ids given twice": given_twice}
    path.write_text(json.dumps({"notes": notes, "events": events, "total": total}, indent=1))
