"""The peer channel: each unit asks every other, over TLS on the pods' addresses.

Peers are the addresses that the headless name resolves to: nobody tells who has left. A unit
says how it is; to a claimant it also gives its client.keys once it has released.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from . import deletions, identity, keys, rbac, wire
from .bundle import BundleError
from .configuration import Exchange
from .machine import Answer, Keys, Term, Times
from .places import Places

_SECONDS = 5.0  # for connecting and for one message
_KEYS_SECONDS = 60.0  # for all keys of a large cluster
_IDLE_SECONDS = 30.0  # a connection nobody asks on
_STRANGERS = 64  # connections that have not shown the certificate yet
_CONNECTIONS = 512
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gathered:
    """One unit's keys, held whole for one epoch."""

    keys: Keys
    text: str
    kept: str = ""  # what it keeps for the master beside them


@dataclass(frozen=True, slots=True)
class Agents:
    """What is known of agents beside client.keys: the deleted ones, and those that are kept."""

    deleted: deletions.Keeper
    kept: Callable[[], str]


class Peers:
    """Hears and answers the other units until stopped; everything is in threads."""

    def __init__(
        self,
        places: Places,
        times: Times,
        own: Callable[[], Answer],
        people: rbac.Keeper,
        configuration: Exchange,
        agents: Agents,
    ) -> None:
        self._places = places
        self._people = people
        self._configuration = configuration
        self._deleted, self._kept = agents.deleted, agents.kept
        self._heard_deleted: dict[str, str] = {}
        self._times = times
        self._own = own
        self._host, self._port = places.address, places.ports.peers
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._answers: dict[str, Answer] = {}
        self._gathered: dict[str, Gathered] = {}
        self._asked: tuple[frozenset[str], int] = (frozenset(), 0)
        self._pollers: dict[str, threading.Event] = {}
        self._identity: identity.Identity | None = None
        self._stamp: tuple[int, ...] = ()
        self._resolved: frozenset[str] | None = None
        self._nodes: dict[str, str] = {}
        self._strangers = threading.BoundedSemaphore(_STRANGERS)
        self._connections = threading.BoundedSemaphore(_CONNECTIONS)
        self._name = ""

    def start(self) -> None:
        """Listen, resolve and ask, as soon as there are a name and a certificate."""
        for target in (self._listen, self._follow_name):
            threading.Thread(target=target, name=target.__name__, daemon=True).start()

    def stop(self) -> None:
        """End every thread at its next look."""
        self._stop.set()

    def locate(self, name: str) -> None:
        """Set the name whose addresses are the units."""
        self._name = name

    def resolved(self) -> int | None:
        """Count the other units there are; None while the name does not resolve.

        A unit that has two addresses is one as soon as it has answered on both.
        """
        found = self._resolved
        if found is None:
            return None
        return len({self._nodes.get(a, a) for a in found} - {self._own().node})

    def answers(self) -> tuple[Answer, ...]:
        """Return what was last heard of each unit."""
        with self._lock:
            return tuple(self._answers.values())

    def ask(self, nodes: frozenset[str], epoch: int) -> None:
        """Have these nodes' keys fetched for this epoch."""
        with self._lock:
            if epoch != self._asked[1]:
                self._gathered.clear()
            self._asked = (nodes, epoch)

    def gathered(self, epoch: int) -> Mapping[str, Gathered]:
        """Return the keys held for this epoch, by node, with what the node says it keeps."""
        with self._lock:
            if epoch != self._asked[1]:
                return {}
            return {n: g for n, g in self._gathered.items() if _is_whole(g, self._answers.get(n))}

    # Identity -----------------------------------------------------------------------------

    def _current(self) -> identity.Identity | None:
        """Return the certificate in force, read again when its files changed."""
        stamp = identity.stamp(self._places.orders)
        if stamp and stamp != self._stamp:
            try:
                self._identity = identity.load(self._places.orders)
                self._stamp = stamp
            except identity.IdentityError as error:
                _log.warning("%s", error)
        return self._identity

    # Asking -------------------------------------------------------------------------------

    def _follow_name(self) -> None:
        while not self._stop.wait(self._pause()):
            if self._name:
                self._resolve()

    def _pause(self) -> float:
        """Look often until the others are known, then spare the name server."""
        return self._times.tick if self._resolved is None else self._times.resolve

    def _resolve(self) -> None:
        """Keep one asking thread for each address of another unit."""
        try:
            found = socket.getaddrinfo(self._name, None, type=socket.SOCK_STREAM)
        except OSError:
            self._resolved = None
            return
        others = {str(item[4][0]) for item in found if not _is_own(item[0], str(item[4][0]))}
        for address in others - set(self._pollers):
            end = self._pollers[address] = threading.Event()
            arguments = (address, end)
            thread = threading.Thread(
                target=self._ask_on, args=arguments, name=f"peer {address}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                _log.warning("%s cannot be asked yet: %s", address, error)
                self._pollers.pop(address)
        for address in set(self._pollers) - others:
            self._pollers.pop(address).set()
        self._resolved = frozenset(others)

    def _ask_on(self, address: str, end: threading.Event) -> None:
        """Ask one address for as long as the name resolves to it."""
        while not (end.is_set() or self._stop.is_set()):
            current = self._current()
            if current is not None:
                with suppress(OSError, wire.FormError):
                    self._converse(address, current, end)
            end.wait(self._times.poll)

    def _converse(self, address: str, current: identity.Identity, end: threading.Event) -> None:
        """Ask again and again on one connection, until it breaks or says something wrong."""
        with (
            socket.create_connection((address, self._port), _SECONDS) as plain,
            current.client.wrap_socket(plain, server_hostname=identity.NAME) as stream,
        ):
            if not current.recognises(stream):
                raise wire.FormError("another certificate")
            answer: Answer | None = None
            while not (end.is_set() or self._stop.is_set()):
                answer = self._question(stream, answer)
                self._nodes[address] = answer.node
                if not self._newer(answer):
                    end.wait(self._times.poll)

    def _question(self, stream: ssl.SSLSocket, before: Answer | None) -> Answer:
        """Ask once, for what the last answer showed to be wanted; returns the answer."""
        nodes, epoch = self._asked
        wants = before is not None and before.node in nodes
        newer = before is not None and self._newer(before)
        tree = self._configuration.lacks(before) if before is not None else ""
        stream.settimeout(_KEYS_SECONDS if wants or newer or tree else _SECONDS)
        lacks = before is not None and self._lacks_deleted(before)
        question = wire.Message(
            self._own(),
            wants_keys=wants,
            wants_rbac=newer,
            wants_tree=tree,
            wants_deleted=lacks,
        )
        wire.send(stream, question)
        message = wire.receive(stream, wire.ANSWER, time.monotonic())
        self._hear(message.answer)
        if wants and message.keys is not None:
            self._gather(message, epoch)
        if newer and message.rbac is not None:
            self._keep(message.rbac)
        if tree and message.tree is not None:
            self._take(message.tree, tree)
        if lacks and message.deleted is not None:
            self._learn(message)
        if newer and message.rbac is None:
            raise wire.FormError("an edition that is not given")
        return message.answer

    def _lacks_deleted(self, answer: Answer) -> bool:
        """Tell whether a unit's record of deleted agents is another, and was not read yet."""
        known = (self._heard_deleted.get(answer.node), self._deleted.record().digest)
        return bool(answer.deleted) and answer.deleted not in known

    def _learn(self, message: wire.Message) -> None:
        """Know what another unit knows of deleted agents."""
        try:
            self._deleted.offer(message.deleted or "")
        except deletions.RecordError as error:
            raise wire.FormError(str(error)) from None
        self._heard_deleted[message.answer.node] = message.answer.deleted

    def _newer(self, answer: Answer) -> bool:
        """Tell whether a unit has a newer copy of what people made than this one."""
        return answer.rbac > self._people.edition()

    def _keep(self, text: str) -> None:
        """Keep a newer copy. A damaged one ends the connection, and is asked for again."""
        try:
            self._people.offer(text)
        except rbac.CopyError as error:
            raise wire.FormError(str(error)) from None

    def _take(self, text: str, wanted: str) -> None:
        """Keep the configuration that the master offers; a damaged one is asked for again."""
        try:
            self._configuration.take(text, wanted)
        except BundleError as error:
            raise wire.FormError(str(error)) from None

    def _hear(self, answer: Answer) -> None:
        if answer.node != self._own().node:
            with self._lock:
                self._answers[answer.node] = answer

    def _gather(self, message: wire.Message, epoch: int) -> None:
        """Keep the keys if they are the ones that the node says it has."""
        text = message.keys or ""
        summary = keys.summary(text)
        answer = message.answer
        if summary != answer.keys or answer.released != epoch or answer.term.epoch != epoch:
            return
        with self._lock:
            if self._asked[1] == epoch:
                self._gathered[answer.node] = Gathered(summary, text, message.kept or "")

    # Answering ----------------------------------------------------------------------------

    def _listen(self) -> None:
        server = None
        while server is None and not self._stop.wait(self._times.tick):
            if self._current() is not None:
                server = self._bind()
        if server is None:
            return
        with server:
            server.settimeout(1.0)
            while not self._stop.is_set():
                self._accept(server)

    def _bind(self) -> socket.socket | None:
        both = not self._host and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        try:
            where = (self._host, self._port)
            return socket.create_server(where, family=family, dualstack_ipv6=both)
        except OSError as error:
            _log.warning("port %d cannot be had: %s", self._port, error.strerror)
            return None

    def _accept(self, server: socket.socket) -> None:
        """Take one connection; where the machine has no room for one, wait until it may."""
        try:
            self._admit(server.accept()[0])
        except TimeoutError:
            return
        except (OSError, RuntimeError) as error:
            _log.warning("a connection could not be taken: %s", error)
            self._stop.wait(self._times.tick)

    def _admit(self, plain: socket.socket) -> None:
        """Give a connection a thread, within bounds. Raises RuntimeError where there is none."""
        if not self._strangers.acquire(blocking=False):
            plain.close()
            return
        try:
            threading.Thread(target=self._answer_on, args=(plain,), daemon=True).start()
        except RuntimeError:
            self._strangers.release()
            plain.close()
            raise

    def _answer_on(self, plain: socket.socket) -> None:
        try:
            stream = self._handshake(plain)
        finally:
            self._strangers.release()
        if stream is None:
            return
        if not self._connections.acquire(blocking=False):
            stream.close()
            return
        try:
            self._answer_all(stream)
        finally:
            self._connections.release()

    def _handshake(self, plain: socket.socket) -> ssl.SSLSocket | None:
        """Let in whoever shows our certificate; everything else is closed."""
        current = self._current()
        stream = None
        try:
            if current is not None:
                plain.settimeout(_SECONDS)
                stream = current.server.wrap_socket(plain, server_side=True)
                if current.recognises(stream):
                    return stream
        except OSError as error:
            _log.debug("refused a connection: %s", type(error).__name__)
        (stream or plain).close()
        return None

    def _answer_all(self, stream: ssl.SSLSocket) -> None:
        with stream, suppress(OSError, wire.FormError):
            while not self._stop.is_set():
                stream.settimeout(_IDLE_SECONDS)
                question = wire.receive(stream, wire.QUESTION, time.monotonic())
                self._hear(question.answer)
                stream.settimeout(_KEYS_SECONDS)
                wire.send(stream, self._reply(question))

    def _reply(self, question: wire.Message) -> wire.Message:
        """Say how we are, and give the keys to a claimant we have released for."""
        answer = self._own()
        copy = self._people.newest() if question.wants_rbac else None
        text = self._keys_for(question, answer)
        return wire.Message(
            answer,
            keys=text,
            kept=self._kept() if text is not None else None,
            deleted=deletions.dump(self._deleted.record()) if question.wants_deleted else None,
            rbac=rbac.dump(copy) if copy else None,
            tree=self._configuration.give(question.wants_tree) if question.wants_tree else None,
        )

    def _keys_for(self, question: wire.Message, answer: Answer) -> str | None:
        """Give client.keys to whom this unit has released for, if they are as it says."""
        claimant = question.answer
        theirs = Term(claimant.term.epoch, claimant.node)
        if not (question.wants_keys and answer.term == theirs and answer.released == theirs.epoch):
            return None
        text = keys.load(self._places.client_keys)
        return text if keys.summary(text) == answer.keys else None


def _is_whole(gathered: Gathered, answer: Answer | None) -> bool:
    """Tell whether what a unit announced for the master is there too."""
    if answer is None or not answer.returns:
        return True
    return hashlib.sha256(gathered.kept.encode()).hexdigest() == answer.returns


def _is_own(family: int, address: str) -> bool:
    """Tell whether an address is this machine's: a packet to it would come from it."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return probe.getsockname()[0] == address
    except OSError:
        return False
