"""The supervisor: looks, steps the state machine, carries out, reports; twice a second."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import replace

from . import (
    bundle,
    configuration,
    deletions,
    desired,
    drain,
    files,
    health,
    indexer,
    keys,
    machine,
    master_state,
    overview,
    parts,
    pebble,
    peers,
    places,
    processes,
    rbac,
    report,
    returners,
    ruleset,
    senders,
    senses,
    signals,
    times,
    tree,
    volume,
)

#: Everything is down after so long; Pebble kills after 25 s, Kubernetes after 30 s.
_STOP_SECONDS = 20.0
#: A master that is being removed answers for so long; it is down within 16 s.
_PART_SECONDS = 23.0
_log = logging.getLogger("supervisor")


class Supervisor:
    """Everything of one process, put together."""

    def __init__(self, where: places.Places, pace: times.Times) -> None:
        self.stopping = threading.Event()
        self._places = where
        self._times = pace
        self._orders = desired.Reader(where.orders, where.run / "order")
        self._order: desired.Order | None = None
        self._state = machine.begin("", time.monotonic())
        self._memory: machine.Memory | None = None
        self._keys = machine.Keys()
        self._stamp: files.Stamp | None = (-1, -1, -1)
        self._changed = time.monotonic()
        self._merged = 0
        self._ballast = volume.Ballast(where.own / "ballast")
        self._token = secrets.token_hex(4)
        self._woken = report.load_wake(where)
        self._complaint = ""
        self._report = report.Report(where)
        self._overview = overview.Overview(where, pace.hearing)
        self._notices = pebble.Notices(where.pebble)
        self._tree = tree.Tree(where, pace)
        self._senses = senses.Senses(where, pace, os.environ)
        self._people = rbac.Keeper(where)
        self._rules = ruleset.Keeper(where, tree.environment())
        self._exchange = configuration.Exchange(where, lambda: self._state.memory.term.master)
        self._deleted = deletions.Keeper(where.own / "deleted.json")
        self._returners = returners.Returners(returners.Volume(where), self._deleted)
        agents = peers.Agents(self._deleted, self._returners.todo)
        self._peers = peers.Peers(where, pace, self._answer, self._people, self._exchange, agents)
        self._store = master_state.Store(where)
        self._given = master_state.Answer(where)
        self._taken: master_state.State | None = None
        self._indexer = indexer.Watch(where)
        self._drain = drain.Drain(where, pace)

    def run(self) -> int:
        """Work until told to stop; 1 when there is no hope left in this process."""
        self._places.run.mkdir(mode=0o755, parents=True, exist_ok=True)
        server = health.serve(self._readiness, self._places.ports.health)
        for part in (self._notices, self._tree, self._senses, self._peers):
            part.start()
        threading.Thread(target=self._look_after_rules, name="rules", daemon=True).start()
        threading.Thread(target=self._look_after_returners, name="returners", daemon=True).start()
        threading.Thread(target=self._indexer.keep, args=(self.stopping,), daemon=True).start()
        threading.Thread(target=self._look_after_agents, name="drain", daemon=True).start()
        threading.Thread(target=self._look_after_senders, name="senders", daemon=True).start()
        try:
            hopeless = self._loop()
        finally:
            self.stopping.set()
            end = time.monotonic() + _PART_SECONDS
            stopped = self._tree.stop(_STOP_SECONDS)
            self._part(end)
            for part in (self._peers, self._senses, self._notices):
                part.stop()
            server.shutdown()
        _log.info("stopped" if stopped else "stopped, but not everything ended in time")
        return 1 if hopeless or not stopped else 0

    def _loop(self) -> bool:
        while not self.stopping.wait(self._times.tick):
            self._once()
            facts = self._tree.facts()
            if facts.hopeless or not self._tree.alive():
                _log.error("giving up, for Pebble to start anew: %s", facts.failure)
                return True
        return False

    def _part(self, end: float) -> None:
        """Give the keys to the next master before a unit that was master goes for good."""
        leaves = desired.leaving(self._places.orders)
        while leaves and time.monotonic() < end and machine.has_to_give(self._state):
            self._once()
            time.sleep(self._times.tick)

    def _once(self) -> None:
        order = self._order = self._orders.current()
        wanted = order.desired if order else None
        if order is not None:
            self._peers.locate(order.endpoints)
        now = time.monotonic()
        seen = self._look(now)
        state, actions = machine.step(self._state, wanted, seen, now, self._times)
        if (state.phase, state.sentence) != (self._state.phase, self._state.sentence):
            _log.info("%s%s", state.phase, f": {state.sentence}" if state.sentence else "")
        self._state = state
        self._carry_out(actions, order)
        self._need(wanted)
        self._prepare(wanted)
        self._tell(wanted)

    # Looking --------------------------------------------------------------------------------

    def _look(self, now: float) -> machine.Seen:
        if self._memory is None:
            self._recall()
        self._read_keys(now)
        facts = self._tree.facts()
        # After the look at the processes: an API that is seen stopped changes nothing any more.
        if self._has_people():
            self._people.take(self._state.memory.served)
        epoch = self._state.memory.term.epoch
        api = self._senses.api()
        return machine.Seen(
            memory=self._memory,
            keys=self._keys,
            quiet=now - self._changed,
            database=self._senses.database.value() is True,
            running=facts.running,
            role=facts.role,
            complete=facts.complete,
            connected=self._senses.connected.value(),
            peers=self._peers.resolved(),
            answers=self._peers.answers(),
            gathered={node: g.keys for node, g in self._peers.gathered(epoch).items()},
            merged=self._merged,
            rbac=self._people.edition(),
            restored=self._given.summary(),
            known=self._restored().highest,
            kubernetes=self._senses.kubernetes.value() is True,
            api=api,
            disk=self._room(),
            leaving=desired.leaving(self._places.orders),
            version=facts.version,
            token=self._token,
            wake=self._last_wake(),
            parts=self._parts(facts, api=api),
            returns=self._returners.many(),
            forgotten=self._deleted.covers(self._keys.digest, self._places.client_keys),
            failure=facts.failure,
        )

    def _has_people(self) -> bool:
        """Tell whether what people made is here and not only a copy of it."""
        memory, own = self._state.memory, self._state.node
        is_newest = memory.served > 0 and memory.serving == machine.Term(memory.served, own)
        return is_newest and self._people.holds()

    def _inheritance(self) -> rbac.Copy | None:
        """Return the copy that a new master begins from; the last master has it all itself."""
        taking_over = machine.status(self._state).claims and not self._has_people()
        return self._people.newest() if taking_over else None

    def _parts(self, facts: tree.Facts, *, api: bool) -> parts.Parts:
        """Say what is in force: a daemon that does not listen yet has nothing in force."""
        found = facts.parts
        if not api:
            found = replace(found, api="", users="")
        if facts.role == "master" and not self._senses.cluster():
            found = replace(found, cluster="")
        return found

    def _room(self) -> bool:
        """Tell whether the volume has room enough, and keep some of it back."""
        free = self._senses.free()
        if free is None:
            return False
        try:
            self._ballast.tend(free)
        except OSError as error:
            self._complain(f"no room can be kept on the volume: {error.strerror}")
        return free >= senses.ENOUGH

    def _restored(self) -> master_state.State:
        """Return what the charm gave back of `master-state`, and keep the users in it once."""
        state = self._given.look() or master_state.State()
        if state.people is not None and state is not self._taken:
            try:
                self._people.offer(state.people)
                self._taken = state
            except (rbac.CopyError, OSError) as error:
                self._complain(f"the users in master-state cannot be used: {error}")
        return state

    def _recall(self) -> None:
        try:
            self._memory = volume.load(self._places.own / "memory.json")
        except (OSError, volume.UnreadableError) as error:
            self._complain(f"the volume's memory cannot be read: {error}")

    def _read_keys(self, now: float) -> None:
        stamp = files.stamp(self._places.client_keys)
        if stamp == self._stamp:
            self._deleted.serve(self._served())
            return
        try:
            text = keys.load(self._places.client_keys)
            self._deleted.watch(self._served(), text)
            self._keys = keys.summary(text)
            self._stamp, self._changed = stamp, now
        except OSError as error:
            self._complain(f"client.keys cannot be read: {error.strerror}")

    def _served(self) -> str:
        """Name the takeover since which only authd here writes client.keys; empty: others do."""
        return machine.writes(self._state, self._tree.facts().role)

    def _complain(self, text: str) -> None:
        """Log what repeats at every step only once."""
        if text != self._complaint:
            _log.error("%s", text)
        self._complaint = text

    # Acting ---------------------------------------------------------------------------------

    def _carry_out(self, actions: Iterable[machine.Action], order: desired.Order | None) -> None:
        self._tree.inherit(self._inheritance())
        for action in actions:
            self._try(action, order)

    def _try(self, action: machine.Action, order: desired.Order | None) -> None:
        """Do it; what fails comes again with the next step."""
        try:
            self._do(action, order)
        except OSError as error:
            self._complain(f"{type(action).__name__} failed: {error.strerror}")
            if volume.is_full(error):
                self._ballast.give_up()

    def _do(self, action: machine.Action, order: desired.Order | None) -> None:
        if isinstance(action, machine.Remember):
            volume.store(self._places.own / "memory.json", action.memory)
            self._memory = action.memory
        elif isinstance(action, machine.Ask):
            self._peers.ask(action.nodes, action.epoch)
        elif isinstance(action, machine.Merge):
            self._merge(action)
        elif isinstance(action, machine.Wake):
            self._notices.send(pebble.WAKE, action.value)
        else:
            if action.role == "worker":
                tree.keepsake(self._places, self._state.memory.term.epoch)
            self._tree.want(action, order)

    def _merge(self, action: machine.Merge) -> None:
        """Unite what was gathered with our own; the old master's copy first, then by name."""
        inheritance = self._inheritance()
        arrived = inheritance is None or self._tree.inherited() == inheritance.edition
        if action.attempt == self._merged or not arrived:
            return
        memory = self._state.memory
        gathered = self._peers.gathered(memory.term.epoch)
        own = keys.load(self._places.client_keys)
        if memory.serving.master == self._state.node:
            texts = [own, *(gathered[node].text for node in sorted(gathered))]
        else:
            ranked = sorted(gathered, key=lambda node: (node != memory.serving.master, node))
            texts = [*(gathered[node].text for node in ranked), own]
        merged = keys.merge([*texts, self._restored().keys or ""])
        self._note_conflicts(merged.conflicts)
        deleted = self._deleted.record()
        kept = [self._returners.todo(), *(gathered[node].kept for node in sorted(gathered))]
        text = returners.fold(deleted.without(merged.text), kept, deleted)
        if action.reserve is not None:
            text = keys.reserve(text, action.reserve)
        if text != own:
            keys.store(self._places.client_keys, text)
        self._read_keys(time.monotonic())
        self._merged = action.attempt
        self._tree.renew()
        _log.info("merged the keys of %d units: %d agents", len(texts), self._keys.agents)

    def _note_conflicts(self, conflicts: Iterable[keys.Conflict]) -> None:
        """Have them looked at; a takeover never waits for that."""
        for line in keys.describe(conflicts):
            _log.warning("merging keys: %s", line)
        try:
            self._returners.report(conflicts)
        except OSError as error:
            self._complain(f"conflicts cannot be written down: {error.strerror}")

    def _prepare(self, wanted: machine.Desired | None) -> None:
        """Have what `master-state` is to hold ready, once this unit has the cluster's keys."""
        if self._state.phase != "serving" or not self._state.memory.synchronised:
            return
        try:
            self._store.look(self._keys, self._people, time.monotonic())
            if wanted is not None and wanted.role == "master":
                self._given.drop()
        except OSError as error:
            self._complain(f"what master-state is to hold cannot be written: {error.strerror}")

    def _need(self, wanted: machine.Desired | None) -> None:
        role = wanted.role if wanted else None
        self._senses.need = senses.Need(
            database=self._state.phase == "releasing",
            master=role == "worker",
            kubernetes=role == "master" or not self._state.hears_master,
        )

    def _look_after_returners(self) -> None:
        master = functools.partial(returners.Api, self._places)
        self._returners.keep(master, lambda: self._state, self._peers.answers, self.stopping)

    def _look_after_agents(self) -> None:
        self._drain.keep(self._leaves_others, lambda: self._state.node, self.stopping)

    def _leaves_others(self) -> bool:
        """Tell whether this unit is being removed while another one stays."""
        stay = any(not a.leaving for a in self._peers.answers())
        return stay and desired.leaving(self._places.orders)

    def _look_after_senders(self) -> None:
        root, pid_file = self._places.home / "logs/senders", self._places.run / "rsyslogd.pid"
        senders.keep(root, pid_file, self.stopping, senders.Bounds())

    def _look_after_rules(self) -> None:
        while not self.stopping.wait(2 * self._times.tick):
            facts, order = self._tree.facts(), self._order
            running = facts.complete and "wazuh-analysisd" in facts.running
            duty = self._duty(facts, order)
            self._rules.look(duty, time.monotonic(), running=running)

    def _duty(self, facts: tree.Facts, order: desired.Order | None) -> ruleset.Duty:
        """Say which commit this unit is to have: the charm tells the master, the master tells."""
        if order is None or facts.role is None:
            return ruleset.Duty()
        if facts.role == "master":
            told = order.ruleset
            wanted = (told.commit or bundle.NONE) if told else self._rules.offer
            return ruleset.Duty(True, wanted, lambda: self._is_turn(wanted, first=False))
        master = self._state.memory.term.master
        offers = [a.offer for a in self._peers.answers() if a.node == master and a.serves]
        wanted = offers[0] if offers else ""
        here = wanted == bundle.NONE or (bool(wanted) and bundle.has(self._places, wanted))
        return ruleset.Duty(
            False, wanted if here else "", lambda: self._is_turn(wanted, first=True)
        )

    def _is_turn(self, wanted: str, *, first: bool) -> bool:
        """Tell whether a restart for this commit disturbs no other unit's.

        Workers go in the order of their names and the master last: each waits until those before
        it run with the commit, or have refused it. Units that are not heard do not count.
        """
        since = time.monotonic() - self._times.hearing
        others = [a for a in self._peers.answers() if a.heard >= since]
        master, own = self._state.memory.term.master, self._state.node
        before = [a for a in others if a.node != master and (not first or a.node < own)]
        if any(a.phase == "starting" for a in others):
            return False
        return all(a.tree == wanted for a in before)

    def _answer(self) -> machine.Answer:
        """Say what peers are told of this unit."""
        facts, tried = self._tree.facts(), self._rules.tried
        refused = self._rules.report.error is not None
        runs = facts.complete and (facts.configuration or bundle.NONE) == (tried or bundle.NONE)
        own = machine.status(self._state)
        name = tried if refused or runs else ""
        deleted = self._deleted.record().digest
        return dataclasses.replace(own, tree=name, offer=self._rules.offer, deleted=deleted)

    # Telling --------------------------------------------------------------------------------

    def _tell(self, wanted: machine.Desired | None) -> None:
        version = self._tree.facts().version
        content = report.content(self._state, wanted, version, self._rules.report)
        content["sentence"] = content["sentence"] or self._drain.sentence
        content["wake"] = self._last_wake()
        content["fetched"] = report.fetched(self._places)
        content["conflicts"] = self._returners.conflicts()
        content["prepared"] = self._store.prepared.digest
        content["keys-prepared"] = self._store.prepared.whole
        content["indexer"] = dataclasses.asdict(self._indexer.absence or indexer.Absence("", ""))
        try:
            if self._report.write(content):
                self._notices.send(pebble.STATE)
            self._overview.write(self._answer(), self._peers.answers(), time.monotonic())
        except OSError as error:
            self._complain(f"state.json cannot be written: {error.strerror}")

    def _last_wake(self) -> int:
        """Return the last one sent. The charm may ask for a lower one: its hook was killed."""
        return self._notices.taken(pebble.WAKE) or self._woken

    def _readiness(self) -> tuple[bool, str]:
        state = self._state
        if self.stopping.is_set():
            return False, "stopping"
        return state.ready, state.sentence or state.phase


def main() -> int:
    """Run with the image's places until SIGTERM. Returns the exit status."""
    return run(places.from_environment(os.environ), times.from_environment(os.environ))


def run(where: places.Places, pace: times.Times) -> int:
    """Run until SIGTERM. Returns the exit status."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    supervisor = Supervisor(where, pace)
    signals.on_end(supervisor.stopping.set)
    with contextlib.suppress(OSError):
        processes.become_subreaper()
    return supervisor.run()
