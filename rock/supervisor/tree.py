"""Wazuh's processes on this unit: started whole, kept, stopped in order.

One thread does everything that takes time, so orders never wait for each other's end and the
state machine never waits for any. `wazuh-control start` brings the tree up; afterwards each
daemon is watched and started alone, its whole process group ended before: the cluster daemon's
children keep its port when only their parent dies, and the new one then ends with 0.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from . import bundle, configuration, files, indexer, keys, processes, rbac, seed, users
from .desired import Order
from .door import Door
from .machine import API, CLUSTER, ENROLMENT, FRONT, SESSIONS, Edition, Role, Run, Times
from .parts import NOTHING, Parts
from .places import Places
from .probes import database_answers

DATABASE = "wazuh-db"
#: What `wazuh-control start` waits for (src/init/wazuh-server.sh), but for authd.
_ALWAYS = frozenset(
    f"wazuh-{name}"
    for name in (
        "analysisd",
        "apid",
        "db",
        "execd",
        "logcollector",
        "modulesd",
        "monitord",
        "remoted",
        "syscheckd",
    )
)
#: Daemons that run only when this is in ossec.conf.
_OPTIONAL = {
    ENROLMENT: "auth",
    CLUSTER: "cluster",
    "wazuh-integratord": "integration",
    "wazuh-csyslogd": "syslog_output",
    "wazuh-agentlessd": "agentless",
    "wazuh-maild": "email_notification",
}
_CONTROL = "wazuh-control"
_NODE = re.compile(rb"<node>[^<]*</node>")
_KEY = re.compile(rb"<key>[^<]*</key>")
_START_SECONDS = 300.0
_FAILING, _HOPELESS = 3, 6  # times in a row
_ENVIRONMENT = ("TZ", "WAZUH_SERVER_TIME_SCALE", "http_proxy", "https_proxy", "no_proxy")
_log = logging.getLogger(__name__)


class StartError(Exception):
    """Wazuh could not be started; one sentence for the status."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the processes."""

    running: frozenset[str] = frozenset()
    role: Role | None = None
    complete: bool = False
    failure: str | None = None
    version: str = ""
    hopeless: bool = False
    parts: Parts = NOTHING  # what runs was started with
    configuration: str = ""  # the repository's commit that everything runs with


@dataclass(slots=True)
class Watched:
    """One daemon's record."""

    groups: set[int] = field(default_factory=set)
    generation: str = ""
    launch: subprocess.Popen[bytes] | None = None
    since: float = 0.0  # when it was last started alone
    lives: float | None = None  # since when it is seen to live
    failures: int = 0
    again: float = 0.0  # not before


class Tree:
    """Brings the processes to what is wanted, in a thread of its own."""

    def __init__(self, places: Places, times: Times) -> None:
        self._places = places
        self._times = times
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tree")
        self._wanted: tuple[Run, Order | None] = (Run(), None)
        self._facts = Facts()
        self._role: Role | None = None
        self._complete = False
        self._stale = False
        self._starting = False
        self._failure: str | None = None
        self._failures = 0
        self._again = 0.0
        self._version = ""
        self._hopeless = False
        self._watched: dict[str, Watched] = {}
        self._children: set[int] = set()
        self._applied: tuple[Order, str, frozenset[str], str] | None = None
        self._whole = ""
        self._restarts: Mapping[str, str] = {}
        self._trial: frozenset[str] = frozenset()  # have yet to live with their new part
        self._stamps: tuple[files.Stamp | None, ...] = ()
        self._users: dict[str, users.User] = {}
        self._preset = ""  # the users' generation that the database is known to have
        self._fresh = False  # and no start has used it yet
        self._inheritance: rbac.Copy | None = None
        self._inherited = Edition()
        self._graveyard = processes.Graveyard()
        self._door = Door(places.ports.enrolment)
        self._warned = ""

    def start(self) -> None:
        """Begin to work; nothing is started before `want` says so.

        The first look is taken here: what a killed predecessor left running is known at once.
        """
        self._look()
        try:
            configuration.recover(self._places)
        except OSError as error:
            self._warn(f"the configuration could not be taken back: {error}")
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """End everything in order; False when that took longer."""
        self._stop.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def want(self, run: Run, order: Order | None) -> None:
        """Set what shall run; the last call counts."""
        self._wanted = (run, order)

    def renew(self) -> None:
        """Have everything started anew: client.keys was changed under its readers."""
        self._stale = True

    def inherit(self, copy: rbac.Copy | None) -> None:
        """Set what people made under another master, to begin from while nothing serves it."""
        self._inheritance = copy

    def inherited(self) -> Edition:
        """Return which copy is in its place."""
        return self._inherited

    def alive(self) -> bool:
        """Tell whether the thread still works."""
        return self._thread.is_alive()

    def facts(self) -> Facts:
        """Return what the last look showed."""
        return self._facts

    # The thread -----------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                if self._complete and not self._hopeless:
                    self._failure = None
                self._act(self._look())
            except OSError as error:
                self._warn(f"what is wanted could not be done: {error}")
                self._failure = f"{error.strerror or type(error).__name__}: {error.filename}"
            self._stop.wait(self._times.tick)
        self._down()
        self._look()

    def _warn(self, text: str) -> None:
        """Log what may repeat at every step once."""
        if text != self._warned:
            _log.warning("%s", text)
        self._warned = text

    def _look(self) -> processes.Table:
        table = processes.scan(self._places)
        self._graveyard.tend(table, self._children, time.monotonic())
        alive = set()
        for daemon in (*_ALWAYS, *_OPTIONAL):
            record = self._watched.setdefault(daemon, Watched())
            if processes.mains(self._places, table, daemon):
                alive.add(daemon)
                record.groups = processes.groups_of(self._places, table, daemon)
            elif record.launch is not None:
                alive.add(daemon)
        # A start brings them up at any moment; only a master's matter to anybody else.
        coming = FRONT if self._starting and self._role == "master" else frozenset()
        running = frozenset(alive | coming)
        self._facts = Facts(
            running,
            self._role,
            self._complete,
            self._failure or self._trouble(),
            self._version,
            self._hopeless,
            self._parts(alive),
            self._applied[3] if self._applied and self._complete and not self._stale else "",
        )
        return table

    def _parts(self, alive: Collection[str]) -> Parts:
        """Say with which part of the order each living daemon was started."""

        def of(daemon: str) -> str:
            lives = self._complete and daemon in alive
            return self._watched[daemon].generation.partition(" ")[0] if lives else ""

        return Parts(self._preset, of(ENROLMENT), of(API), of(CLUSTER))

    def _trouble(self) -> str | None:
        """Name a daemon that was started again and again in vain."""
        failing = (d for d, record in self._watched.items() if record.failures >= _FAILING)
        return next((f"{daemon} does not stay up" for daemon in failing), None)

    def _act(self, table: processes.Table) -> None:
        run, order = self._wanted
        self._tend_door(run)
        if run.role is None or order is None:
            self._withhold(run.without, table)
            if run.without >= FRONT:
                self._install_inheritance()
            self._prepare(order)
            if self._role is not None:
                self._keep(run.without, table)
            return
        if self._role != run.role or self._stale:
            self._begin(run, order, table)
            return
        self._withhold(run.without, table)
        self._refresh(run, order)
        self._keep(run.without, table)

    def _tend_door(self, run: Run) -> None:
        """Keep everybody out of a master's enrolment for as long as that is wanted."""
        if run.shut and self._role == "master" and ENROLMENT in self._facts.running:
            self._door.shut(1.0)
        else:
            self._door.open()

    def _interrupted(self) -> bool:
        """Tell whether a start under way is no longer wanted."""
        run, _ = self._wanted
        return self._stop.is_set() or run.role != self._role or _front_closed(run)

    # Starting -------------------------------------------------------------------------------

    def _begin(self, run: Run, order: Order, table: processes.Table) -> None:
        """Start the whole tree in a role, from nothing."""
        if _front_closed(run):
            self._withhold(run.without, table)
            return
        if time.monotonic() < self._again:
            return
        self._down()
        self._role, self._complete, self._stale = run.role, False, False
        self._trial = frozenset()
        self._starting = True
        self._look()
        try:
            self._start(run, order)
        except (StartError, users.UsersError, OSError) as error:
            self._starting = False
            self._failed(error)
        else:
            self._starting = False
            self._complete, self._failure, self._failures = True, None, 0
            configuration.prove(self._places)
            _log.info("Wazuh %s runs as %s", self._version, run.role)

    def _start(self, run: Run, order: Order) -> None:
        _log.info("starting Wazuh as %s", run.role)
        clean(self._places)
        seed.plant(self._places)
        configuration.recover(self._places)
        configuration.restore(self._places, master=run.role == "master")
        self._install(run, order)
        self._set_users(order)
        self._give_credentials(order)
        self._fresh = False
        self._control("start")
        self._version = self._output("info", "-v").strip()
        now = time.monotonic()
        for daemon, record in self._watched.items():
            record.generation = self._generation(daemon, run, order)
            record.lives, record.failures, record.again = now, 0, 0.0

    def _failed(self, error: Exception) -> None:
        interrupted = self._interrupted()
        self._down()
        self._role = None
        if interrupted:
            _log.info("the start was given up: something else is wanted")
            return
        if configuration.revert(self._places):
            return
        self._failures += 1
        pause = min(self._times.pause, 2.0**self._failures)
        self._again = time.monotonic() + pause
        self._failure = str(error)
        self._hopeless = self._failures >= _HOPELESS
        _log.error("Wazuh does not start: %s; again in %.0f s", error, pause)

    def _prepare(self, order: Order | None) -> None:
        """Use the time a claim takes: the users are set before the start needs them."""
        if order is None or self._role is not None or self._fresh:
            return
        if order.desired.role != "master" or time.monotonic() < self._again:
            return
        try:
            seed.plant(self._places)
            self._set_users(order)
        except (users.UsersError, OSError) as error:
            self._again = time.monotonic() + 2.0
            self._warn(str(error))

    def _install_inheritance(self) -> None:
        """Put what people made into its place; the charm's users are set anew upon it."""
        copy = self._inheritance
        if copy is None or copy.edition == self._inherited:
            return
        self._preset, self._fresh = "", False
        rbac.install(self._places, copy)
        self._inherited = copy.edition
        _log.info("what people made through the API is here, as of epoch %d", copy.edition.epoch)

    def _set_users(self, order: Order) -> None:
        """Set the users while nothing serves them. Raises UsersError: then no API."""
        wanted = order.generations.get("users", "")
        if self._fresh and self._preset == wanted:
            return
        self._preset, self._fresh = "", False
        known = users.load(self._places.orders)
        users.preset(self._places, known, self._stop.is_set)
        self._users, self._preset, self._fresh = known, wanted, True
        _log.info("the API's users are set")

    def _give_credentials(self, order: Order | None) -> None:
        """Have Wazuh's store hold the indexer's credentials, while nobody reads it."""
        if order is not None:
            wanted = order.generations.get("indexer", "")
            indexer.give_credentials(self._places, wanted, environment())

    def _control(self, *words: str) -> None:
        """Run wazuh-control to its end. Raises StartError."""
        path = self._places.run / "wazuh-control.log"
        with path.open("wb") as output:
            program = self._places.home / "bin/wazuh-control"
            child = self._launch([str(program), *words], output.fileno())
        end = time.monotonic() + _START_SECONDS
        while child.poll() is None:
            if self._interrupted() or time.monotonic() > end:
                _kill_group(child)
                child.wait()
                break
            time.sleep(0.1)
        self._children.discard(child.pid)
        lines = _lines(path.read_bytes())
        for line in lines:
            _log.info("wazuh-control: %s", line)
        if child.returncode != 0:
            last = lines[-1][:200] if lines else f"status {child.returncode}"
            raise StartError(f"wazuh-control {words[0]} failed: {last}")

    def _output(self, *words: str) -> str:
        program = self._places.home / "bin/wazuh-control"
        with suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(
                [program, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment(),
                timeout=10,
                check=False,
            ).stdout.decode("utf-8", "replace")
        return ""

    def _launch(self, command: list[str], output: int) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self._places.home,
            env=environment(),
            start_new_session=True,
        )
        self._children.add(child.pid)
        return child

    # Files ----------------------------------------------------------------------------------

    def _install(self, run: Run, order: Order) -> None:
        """Put the charm's files where Wazuh reads them, where they differ."""
        with configuration.LOCK:
            held = configuration.current(self._places)
            for path, content in contents(run, order, self._held_key(run)).items():
                if not (API in run.hold and path.startswith("api/")):
                    self._put(order, path, content, held)
        self._applied = (order, run.master, run.hold, held.name)
        self._whole = configuration.whole(held)
        self._restarts = configuration.generations(held)
        self._stamps = self._stamp(order)

    def _put(self, order: Order, path: str, content: bytes, held: bundle.Bundle) -> None:
        """Write one file where it differs; ossec.conf with what the repository adds."""
        target = self._places.home / path
        if path == "etc/ossec.conf":
            content = configuration.merged(content, held)
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            files.write(target, content, order.files[path].owner)

    def _held_key(self, run: Run) -> bytes | None:
        """Return the element with the key in force, while the cluster daemon has to keep it."""
        path = self._places.home / "etc/ossec.conf"
        if CLUSTER not in run.hold or not path.is_file():
            return None
        match = _KEY.search(path.read_bytes())
        return match.group() if match else None

    def _stamp(self, order: Order) -> tuple[files.Stamp | None, ...]:
        """Tell whether somebody touched an installed file, without reading it."""
        return tuple(files.stamp(self._places.home / path) for path in sorted(order.files))

    def _refresh(self, run: Run, order: Order) -> None:
        """Follow a changed order of the same role: files, then the daemons that read them."""
        held = configuration.applied(self._places).name
        if self._applied == (order, run.master, run.hold, held or bundle.NONE):
            if self._stamps != self._stamp(order):
                self._install(run, order)
            return
        whole, parts = self._whole, self._restarts
        self._install(run, order)
        if self._whole != whole:
            _log.info("restarting: the repository's part of ossec.conf changed")
            self._stale = True
            return
        self._renew(run, order)
        self._trial |= {d for d, _ in set(parts.items()) ^ set(self._restarts.items())}
        if self._preset != order.generations.get("users", ""):
            self._change_users(order)

    def _renew(self, run: Run, order: Order) -> None:
        """End each daemon whose part changed; it is started again as one that is missing."""
        for daemon, record in self._watched.items():
            wanted = self._generation(daemon, run, order)
            if daemon in run.hold:
                wanted = _held(record.generation, wanted)
            if record.generation != wanted:
                record.generation = wanted
                record.again, record.failures, record.lives = 0.0, 0, None
                if daemon in self._facts.running:
                    _log.info("restarting %s alone: its part changed", daemon)
                    self._end([daemon])

    def _judge(self) -> None:
        """Take back what a daemon does not stay up with; it is good once they have all lived."""
        if not self._trial or self._applied is None:
            return
        records = [self._watched[daemon] for daemon in self._trial & self.needed()]
        failed = any(record.failures >= _FAILING for record in records)
        if not failed and not all(_has_lived(record, self._times.steady) for record in records):
            return
        self._trial = frozenset()
        with configuration.LOCK:
            # A newer one may be in place that nobody has been started with yet.
            if (configuration.applied(self._places).name or bundle.NONE) != self._applied[3]:
                return
            if failed:
                configuration.revert(self._places)
            else:
                configuration.prove(self._places)

    def _generation(self, daemon: str, run: Run, order: Order) -> str:
        found, part = generation(daemon, run, order), self._restarts.get(daemon)
        return f"{found} {part}" if part else found

    def _change_users(self, order: Order) -> None:
        """Set changed users: through the API where it answers, else with the API stopped."""
        self._fresh = False
        try:
            if self._role == "master" and not self._through_api(order):
                self._end([API, CLUSTER])
            if self._preset != order.generations.get("users", ""):
                self._set_users(order)
        except users.UsersError as error:
            self._applied, self._failure = None, str(error)
            self._warn(str(error))

    def _through_api(self, order: Order) -> bool:
        """Change the users of a master that serves; False when the API has to be stopped.

        A worker's own users are asked of nobody: it passes every login on to the master.
        """
        if API not in self._facts.running:
            return True
        known = users.load(self._places.orders)
        try:
            self._ask_api(self._users, known)
        except users.UsersError as error:
            self._warn(f"{error}; setting the users with the API stopped")
            return False
        self._users, self._preset = known, order.generations.get("users", "")
        _log.info("the API's users are changed")
        return True

    def _ask_api(self, old: Mapping[str, users.User], new: Mapping[str, users.User]) -> None:
        """Have the API change users, unless something else is wanted first. Raises UsersError.

        An API that hangs would hold up a move; what was asked of it may still be done, once.
        """
        result: list[users.UsersError | None] = []

        def ask() -> None:
            try:
                users.update(self._places, old, new)
                result.append(None)
            except users.UsersError as error:
                result.append(error)

        asking = threading.Thread(target=ask, name="users", daemon=True)
        asking.start()
        while asking.is_alive() and not self._interrupted():
            asking.join(0.25)
        error = result[0] if result else users.UsersError("changing the users was interrupted")
        if error is not None:
            raise error

    # Keeping --------------------------------------------------------------------------------

    def needed(self) -> frozenset[str]:
        """Name the daemons that this configuration runs, of those that are installed."""
        path = self._places.home / "etc/ossec.conf"
        text = path.read_text(errors="replace") if path.is_file() else ""
        optional = {d for d, block in _OPTIONAL.items() if _enabled(text, block)}
        binaries = self._places.home / "bin"
        return frozenset(d for d in _ALWAYS | optional if (binaries / d).exists())

    def _keep(self, without: Collection[str], table: processes.Table) -> None:
        """Start again what is missing, each alone; a restart by Wazuh itself is waited for.

        A daemon that was ended since the look counts as living until the next one.
        """
        if any(p.name == _CONTROL for p in table.tree.values()):
            return
        for daemon in sorted(self.needed() - set(without)):
            record = self._watched.setdefault(daemon, Watched())
            if processes.mains(self._places, table, daemon):
                self._lives(record)
            elif not self._pending(record):
                self._revive(daemon, record)
        self._judge()

    def _lives(self, record: Watched) -> None:
        if record.launch is not None and record.launch.poll() is not None:
            self._forget(record)
        now = time.monotonic()
        record.lives = now if record.lives is None else record.lives
        if now - record.lives > self._times.steady:
            record.failures = 0

    def _forget(self, record: Watched) -> None:
        if record.launch is not None:
            self._children.discard(record.launch.pid)
            record.launch = None

    def _drop(self, record: Watched) -> None:
        """End a start under way."""
        if record.launch is not None:
            _kill_group(record.launch)
            record.launch.wait()
            self._forget(record)

    def _pending(self, record: Watched) -> bool:
        """Tell whether a start is under way, or is not yet to be tried again."""
        now = time.monotonic()
        if record.launch is not None:
            trying = record.launch.poll() in (None, 0)
            if trying and now - record.since < self._times.grace:
                return True
            self._drop(record)
        return now < record.again

    def _revive(self, daemon: str, record: Watched) -> None:
        """Start one daemon alone, with nothing of the old one left."""
        now = time.monotonic()
        record.failures += 1
        record.since, record.lives = now, None
        record.again = now + min(self._times.pause, 2.0**record.failures)
        if record.failures >= _HOPELESS and daemon in SESSIONS:
            self._hopeless = True
        if daemon == API and not self._preset:
            return
        self._end([daemon])
        if daemon == indexer.READER:
            self._give_credentials(self._wanted[1])
        _log.info("starting %s alone", daemon)
        program = self._places.home / "bin" / daemon
        with (self._places.run / f"{daemon}.log").open("wb") as output:
            record.launch = self._launch([str(program)], output.fileno())

    # Ending ---------------------------------------------------------------------------------

    def _withhold(self, names: Collection[str], table: processes.Table) -> None:
        """Stop what must not run."""
        ending = [
            d
            for d in sorted(names)
            if processes.living(self._places, table, d) or self._watched[d].launch is not None
        ]
        if ending:
            _log.info("stopping %s", ", ".join(ending))
            self._end(ending)

    def _end(self, names: Iterable[str], seconds: float = 5.0) -> None:
        """Stop daemons: politely, then with everything of their groups."""
        names = list(names)
        table = processes.scan(self._places)
        mains = {p for d in names for p in processes.mains(self._places, table, d)}
        if self._role == "master" and processes.mains(self._places, table, ENROLMENT) & mains:
            self._quiet()
        processes.send(mains, signal.SIGTERM)
        self._gone(mains, seconds)
        self._kill(names)
        if ENROLMENT in names:
            # While others of a released master end, which takes the API seconds, it stays shut.
            self._door.open()

    def _gone(self, pids: Collection[int], seconds: float) -> bool:
        return processes.wait_until(lambda: not self._alive(pids), seconds)

    def _alive(self, pids: Collection[int]) -> bool:
        table = processes.scan(self._places)
        return any(pid in table.processes and not table.processes[pid].zombie for pid in pids)

    def _kill(self, names: Collection[str]) -> None:
        """Kill what is left of daemons, orphaned children too, and remove their pid files."""
        table = processes.scan(self._places)
        left: set[int] = set()
        for daemon in names:
            record = self._watched.setdefault(daemon, Watched())
            left |= processes.living(self._places, table, daemon)
            left |= processes.remains(self._places, table, daemon, record.groups)
            record.groups = set()
            self._drop(record)
        processes.send(left, signal.SIGKILL)
        self._gone(left, 2.0)
        for daemon in names:
            remove_pid_files(self._places, daemon)

    def _down(self) -> None:
        """End everything within 16 s: enrolment first, wazuh-db last, then by force."""
        self._complete = False
        table = processes.scan(self._places)
        control = {p.pid for p in table.tree.values() if p.name == _CONTROL}
        processes.send(control, signal.SIGKILL)
        for record in self._watched.values():
            self._drop(record)
        if not table.tree:
            return
        front = self._mains([API, CLUSTER])
        processes.send(front, signal.SIGTERM)
        enrolment = self._mains([ENROLMENT])
        if enrolment:
            self._quiet()
        self._finish(enrolment, 3.0)
        self._door.open()
        rest = self._mains({*_ALWAYS, *_OPTIONAL} - {DATABASE})
        self._finish(rest | front, 5.0)
        self._finish(self._mains([DATABASE]), 2.5)
        everything = {p.pid for p in processes.scan(self._places).tree.values()}
        processes.send(everything, signal.SIGKILL)
        self._gone(everything, 2.0)
        self._role = None

    def _mains(self, names: Iterable[str]) -> set[int]:
        table = processes.scan(self._places)
        return {p for d in names for p in processes.mains(self._places, table, d)}

    def _finish(self, pids: Collection[int], seconds: float) -> None:
        processes.send(pids, signal.SIGTERM)
        self._gone(pids, seconds)

    def _quiet(self) -> None:
        """Let authd write what it has acknowledged; a clean stop would drop it."""
        self._door.shut(1.0)
        since, before = time.monotonic(), files.stamp(self._places.client_keys)
        quiet = min(1.0, self._times.quiet)

        def settled() -> bool:
            nonlocal since, before
            now = files.stamp(self._places.client_keys)
            if now != before:
                since, before = time.monotonic(), now
            waited = time.monotonic() - since
            return waited >= quiet and database_answers(self._places.home, 0.5)

        processes.wait_until(settled, 3.0)


def environment() -> dict[str, str]:
    """Make the clean environment of Wazuh's processes."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8", **kept}


def contents(run: Run, order: Order, key: bytes | None = None) -> Mapping[str, bytes]:
    """Give each file's content; a master heard of from a peer goes into `<node>`.

    `key` is the element of a cluster key that is to stay for now.
    """
    result = {path: file.content for path, file in order.files.items()}
    path = "etc/ossec.conf"
    if path in result and run.master and run.master != order.desired.master:
        node = f"<node>{order.address(run.master)}</node>".encode()
        result[path] = _NODE.sub(node, result[path])
    if path in result and key is not None:
        result[path] = _KEY.sub(lambda _: key, result[path])
    return result


def clean(places: Places) -> None:
    """Remove what a killed predecessor left: pid files, marks of a restart, the lock."""
    for pattern in ("*.pid", "*.start", "*.failed", ".restart"):
        for path in places.pids.glob(pattern):
            path.unlink(missing_ok=True)
    lock = places.home / "var/start-script-lock"
    if lock.is_dir():
        shutil.rmtree(lock)
    else:
        lock.unlink(missing_ok=True)


def remove_pid_files(places: Places, daemon: str) -> None:
    """Remove the pid files of one daemon that was killed, its helpers' too."""
    for pattern in (f"{daemon}-*.pid", f"{daemon}_*.pid"):
        for path in places.pids.glob(pattern):
            path.unlink(missing_ok=True)


def keepsake(places: Places, epoch: int) -> None:
    """Put aside the keys of here, once, before those of that epoch's master replace them.

    A former master has what nobody copied; a worker may be the only one that did. An empty file
    says so too: keys taken later are the master's own, and whom it deletes is to stay deleted.
    """
    target = places.own / f"client.keys.{epoch}"
    if not target.exists():
        files.write(target, keys.load(places.client_keys).encode(), files.Owner())


def generation(daemon: str, run: Run, order: Order) -> str:
    """Tell when a daemon has to be started again to read its part of the order."""
    digest = order.generations.get(daemon, "")
    return f"{digest} {run.master}" if daemon == CLUSTER else digest


def _held(before: str, wanted: str) -> str:
    """Give the generation of a daemon whose part waits, though its master may be another."""
    return " ".join([before.partition(" ")[0], *wanted.split(" ")[1:]])


def _has_lived(record: Watched, seconds: float) -> bool:
    return record.lives is not None and time.monotonic() - record.lives > seconds


def _front_closed(run: Run) -> bool:
    return run.role == "master" and run.without >= FRONT


def _enabled(text: str, block: str) -> bool:
    """Tell whether a block is there and not disabled, by line as wazuh-control reads it."""
    match = re.search(rf"<{block}>(.*?)</{block}>", text, re.DOTALL)
    return match is not None and "<disabled>yes" not in match.group(1) and match.group(1) != "no"


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _lines(output: bytes) -> list[str]:
    return [line for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
