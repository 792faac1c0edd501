"""The peer channel on loopback addresses, over real TLS; strangers and nonsense too."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import bundle, configuration, deletions, identity, keys, peers, rbac, wire
from supervisor.machine import Answer, Edition, Keys, Term
from supervisor.places import Places, Ports
from supervisor.times import REAL

from tests.unit.ports import free_port
from tests.unit.supervisor import certificates, people

_HALF = struct.pack("!I", 100) + b"{"
_KEYS = "001 web any " + "ab" * 32 + "\n"
_NAME = "endpoints.test"


@dataclass
class Peer:
    """One unit's channel, and what it says."""

    places: Places
    answer: Answer
    channel: peers.Peers
    people: rbac.Keeper
    deleted: deletions.Keeper
    kept: str = ""

    def until(self, condition: Callable[[], object], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.channel.answers()
            time.sleep(0.05)


class Net:
    """Units at 127.0.0.2, .3 and so on, all on one port."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.port = free_port()
        self.authority = certificates.issue("authority")
        self.pair = certificates.issue(authority=self.authority)
        self.addresses: list[str] = []
        self.units: list[Peer] = []
        real = socket.getaddrinfo

        def resolve(name: str, *rest: object, **more: object) -> list:
            if name != _NAME:
                return real(name, *rest, **more)  # type: ignore[arg-type]
            if not self.addresses:
                raise socket.gaierror(socket.EAI_AGAIN, "try again")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 0)) for a in self.addresses]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)

    def add(self, node: str, pair: certificates.Pair | None = None) -> Peer:
        """Start a unit's channel."""
        address = f"127.0.0.{len(self.units) + 2}"
        root = self.root / node
        places = Places(
            home=root / "ossec",
            orders=root / "orders",
            address=address,
            ports=Ports(peers=self.port),
        )
        (places.home / "etc").mkdir(parents=True)
        places.client_keys.write_text(_KEYS)
        certificates.place(places.orders, self.authority, pair or self.pair)
        answer = Answer(node, Term(1, "u0"), keys=keys.summary(_KEYS))
        gone = deletions.Keeper(places.own / "deleted.json")
        peer = Peer(places, answer, None, rbac.Keeper(places), gone)  # type: ignore[arg-type]
        exchange = configuration.Exchange(places, lambda: peer.answer.term.master)
        agents = peers.Agents(peer.deleted, lambda: peer.kept)
        peer.channel = peers.Peers(
            places, REAL.scaled(10), lambda: peer.answer, peer.people, exchange, agents
        )
        peer.channel.locate(_NAME)
        peer.channel.start()
        self.addresses.append(address)
        self.units.append(peer)
        return peer

    def client(self, pair: certificates.Pair | None) -> ssl.SSLSocket:
        """Connect to the first unit with another certificate, or none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if pair:
            folder = self.root / "client"
            certificates.place(folder, self.authority, pair)
            context.load_cert_chain(folder / "peer/peer.crt", folder / "peer/peer.key")
        plain = socket.create_connection((self.addresses[0], self.port), 5)
        return context.wrap_socket(plain, server_hostname=identity.NAME)


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Net]:
    """Give a network that ends with the test."""
    made = Net(tmp_path, monkeypatch)
    yield made
    for unit in made.units:
        unit.channel.stop()


def test_given_three_units_when_started_then_each_hears_the_others(net: Net):
    units = [net.add(f"u{i}") for i in range(3)]
    for unit in units:
        others = {u.answer.node for u in units} - {unit.answer.node}
        unit.until(lambda u=unit, o=others: {a.node for a in u.channel.answers()} == o)
        unit.until(lambda u=unit: u.channel.resolved() == 2)


def test_given_a_claimant_when_a_unit_has_released_then_it_gives_its_keys(net: Net):
    claimant, other = net.add("u1"), net.add("u0")
    claimant.answer = replace(claimant.answer, term=Term(2, "u1"), phase="claiming")
    claimant.channel.ask(frozenset({"u0"}), 2)
    claimant.until(lambda: claimant.channel.answers())
    other.answer = replace(other.answer, term=Term(2, "u1"), released=2)
    claimant.until(lambda: claimant.channel.gathered(2))
    gathered = claimant.channel.gathered(2)["u0"]
    assert gathered == peers.Gathered(keys.summary(_KEYS), _KEYS)
    assert claimant.channel.gathered(3) == {}


def test_given_a_unit_that_keeps_agents_when_it_gives_its_keys_then_they_come_along(net: Net):
    claimant, other = net.add("u1"), net.add("u0")
    kept = f"007 late any {'cd' * 32}\n"
    digest = hashlib.sha256(kept.encode()).hexdigest()
    claimant.answer = replace(claimant.answer, term=Term(2, "u1"), phase="claiming")
    claimant.channel.ask(frozenset({"u0"}), 2)
    other.answer = replace(other.answer, term=Term(2, "u1"), released=2)
    claimant.until(lambda: claimant.channel.gathered(2))
    other.answer = replace(other.answer, returns=digest)
    claimant.until(lambda: not claimant.channel.gathered(2))  # what was told is not there yet
    other.kept = kept
    claimant.until(lambda: claimant.channel.gathered(2))
    assert claimant.channel.gathered(2)["u0"].kept == kept


def test_given_agents_deleted_at_two_units_when_they_hear_then_all_know_both(net: Net):
    units = [net.add(f"u{i}") for i in range(3)]
    for number, unit in enumerate(units[:2]):
        unit.deleted.delete(keys.parse(f"00{number} gone any {'ab' * 32}\n"))

    def tell() -> bool:
        for unit in units:
            unit.answer = replace(unit.answer, deleted=unit.deleted.record().digest)
        return all(len(unit.deleted.record().counts) == 2 for unit in units)

    units[0].until(tell)


def test_given_a_unit_with_a_newer_copy_when_asked_then_every_other_keeps_it(net: Net):
    units = [net.add(f"u{i}") for i in range(3)]
    for counter in (1, 2):
        made = rbac.Copy(Edition(4, counter), people.database(f"user-{counter}"), b"x: 1")
        units[0].people.offer(rbac.dump(made))
        units[0].answer = replace(units[0].answer, rbac=made.edition)
        for unit in units[1:]:
            unit.until(lambda u=unit, m=made: u.people.newest() == m)


def test_given_a_unit_that_says_more_than_it_has_when_asked_then_nothing_is_taken(net: Net):
    one, other = net.add("u0"), net.add("u1")
    one.answer = replace(one.answer, rbac=Edition(9, 9))
    other.until(lambda: other.channel.answers())
    time.sleep(1)
    assert other.people.newest() is None
    other.until(lambda: any(a.rbac == Edition(9, 9) for a in other.channel.answers()))


def test_given_a_master_with_a_configuration_when_offered_then_workers_take_it_whole(net: Net):
    master, *workers = [net.add(f"u{n}") for n in range(3)]
    wanted = bundle.Bundle("ab" * 20, {"sca/mine.yml": b"x" * 3_000_000, "ossec.conf": b"<o/>"})
    bundle.keep(master.places, wanted)
    workers[0].answer = replace(workers[0].answer, offer="cd" * 20)
    master.answer = replace(master.answer, offer=wanted.name)
    for worker in workers:
        worker.until(lambda w=worker: bundle.load(w.places, wanted.name) == wanted)
    assert bundle.folder(workers[0].places).stat().st_mode & 0o777 == 0o700
    assert not bundle.has(master.places, "cd" * 20), "a worker offers nothing"


@pytest.mark.parametrize(
    "changes",
    [
        {"released": 0},
        {"term": Term(3, "u2"), "released": 3},
        {"keys": Keys(5, 5, "ab"), "released": 2, "term": Term(2, "u1")},
    ],
    ids=["not released", "for another epoch", "file differs from what it says"],
)
def test_given_a_unit_that_has_not_released_when_asked_then_it_gives_no_keys(net: Net, changes):
    claimant, other = net.add("u1"), net.add("u0")
    claimant.answer = replace(claimant.answer, term=Term(2, "u1"), phase="claiming")
    other.answer = replace(other.answer, **changes)
    claimant.channel.ask(frozenset({"u0"}), 2)
    claimant.until(lambda: claimant.channel.answers())
    heard = claimant.channel.answers()[0].heard
    claimant.until(lambda: claimant.channel.answers()[0].heard > heard + 1)
    assert claimant.channel.gathered(2) == {}


def test_given_a_peer_that_wants_keys_when_nothing_is_released_for_it_then_it_gets_none(net: Net):
    unit = net.add("u0")
    unit.until(lambda: _listens(net))
    claim = wire.Message(Answer("u1", Term(2, "u1"), phase="claiming"), wants_keys=True)
    for answer, gives in (
        (unit.answer, False),
        (replace(unit.answer, term=Term(2, "u1")), False),
        (replace(unit.answer, term=Term(2, "u2"), released=2), False),
        (replace(unit.answer, term=Term(2, "u1"), released=2), True),
    ):
        unit.answer = answer
        with net.client(net.pair) as stream:
            wire.send(stream, claim)
            assert (wire.receive(stream, wire.ANSWER, 0.0).keys is not None) is gives


def test_given_a_name_that_fails_when_it_resolved_before_then_it_is_not_taken_for_nobody(
    net: Net,
):
    unit = net.add("u0")
    net.add("u1")
    unit.until(lambda: unit.channel.resolved() == 1)
    net.addresses.clear()
    unit.until(lambda: unit.channel.resolved() is None)


def test_given_a_certificate_for_another_name_when_the_authority_issued_it_then_it_is_refused(
    net: Net,
):
    unit = net.add("u0")
    stranger = net.add("u9", certificates.issue("web-1", authority=net.authority))
    friend = net.add("u1")
    unit.until(lambda: unit.channel.answers())
    friend.until(lambda: friend.channel.answers())
    heard = unit.channel.answers()[0].heard
    unit.until(lambda: unit.channel.answers()[0].heard > heard + 1)
    assert {a.node for a in unit.channel.answers()} == {"u1"}
    assert stranger.channel.answers() == ()


def test_given_a_unit_with_a_renewed_certificate_when_the_others_have_the_old_then_they_talk(
    net: Net,
):
    unit = net.add("u0")
    renewed = net.add("u1", certificates.issue(authority=net.authority))
    unit.until(lambda: [a.node for a in unit.channel.answers()] == ["u1"])
    renewed.until(lambda: [a.node for a in renewed.channel.answers()] == ["u0"])


def test_given_no_thread_to_be_had_when_others_connect_then_the_channel_goes_on_later(
    net: Net, monkeypatch: pytest.MonkeyPatch
):
    unit = net.add("u0")
    unit.until(lambda: _listens(net))
    start, refused = threading.Thread.start, []

    def refuse(thread: threading.Thread) -> None:
        if "_answer_on" in repr(thread._target):  # type: ignore[attr-defined]
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    friend = net.add("u1")
    unit.until(lambda: len(refused) > 70)  # more than may be strangers at a time
    assert friend.channel.answers() == () or unit.channel.answers() == ()
    monkeypatch.setattr(threading.Thread, "start", start)
    unit.until(lambda: [a.node for a in unit.channel.answers()] == ["u1"])


@pytest.mark.parametrize("shown", ["none", "of the same authority"])
def test_given_a_stranger_when_it_asks_then_it_gets_nothing(net: Net, shown: str):
    unit = net.add("u0")
    unit.until(lambda: _listens(net))
    pair = None if shown == "none" else certificates.issue("web-1", authority=net.authority)
    try:
        with net.client(pair) as stream:
            wire.send(stream, wire.Message(Answer("u9", Term(9, "u9")), wants_keys=True))
            assert stream.recv(1) == b""
    except OSError:
        pass
    assert unit.channel.answers() == ()


def _listens(net: Net) -> bool:
    try:
        with socket.create_connection((net.addresses[0], net.port), 1):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\0\0",
        b"\xff\xff\xff\xff",
        struct.pack("!I", 2) + b"[]",
        struct.pack("!I", 3) + b"\xff\xfe\x00",
        _HALF,
        struct.pack("!I", 8000) + b"[" * 8000,
    ],
    ids=["nothing", "half a length", "huge", "a list", "no text", "half", "deep"],
)
def test_given_nonsense_from_a_known_peer_when_it_comes_then_only_that_connection_ends(
    net: Net, sent: bytes
):
    unit = net.add("u0")
    unit.until(lambda: _listens(net))
    with net.client(net.pair) as stream:
        stream.sendall(sent)
        if len(sent) >= 4 and sent != _HALF:
            stream.settimeout(20)
            assert stream.recv(1) == b"", "the connection ends without an answer"
    friend = net.add("u1")
    friend.until(lambda: friend.channel.answers())


def test_given_many_silent_connections_when_a_peer_asks_then_it_is_answered_in_time(net: Net):
    unit = net.add("u0")
    unit.until(lambda: _listens(net))
    silent = [socket.create_connection((net.addresses[0], net.port), 5) for _ in range(200)]
    friend = net.add("u1")
    friend.until(lambda: friend.channel.answers(), 60)
    for stream in silent:
        stream.close()


_ANSWERS = st.builds(
    Answer,
    node=st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True),
    term=st.builds(Term, st.integers(1, 2**40), st.just("u1")),
    served=st.integers(0, 2**40),
    serving=st.builds(Term, st.integers(1, 2**40), st.just("u0")),
    phase=st.sampled_from(["serving", "claiming", "released", "refused"]),
    released=st.integers(0, 2**40),
    keys=st.builds(Keys, st.integers(0, 9), st.integers(0, 9), st.just("ab")),
    incarnation=st.just("2-ab-1"),
)


@given(_ANSWERS, st.booleans(), st.none() | st.text())
def test_given_any_message_when_sent_then_the_same_is_received(answer, wants, text):
    one, other = socket.socketpair()
    with one, other:
        wire.send(one, wire.Message(answer, wants, text))
        assert wire.receive(other, wire.ANSWER, 0.0) == wire.Message(answer, wants, text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
_FIELDS = st.sampled_from(
    ["schema", "node", "epoch", "master", "served", "phase", "released", "digest", "keys"]
)


@given(_FIELDS, _JSON, _ANSWERS)
def test_given_any_value_in_any_field_when_received_then_it_is_taken_or_refused(
    name, value, answer
):
    one, other = socket.socketpair()
    with one, other:
        wire.send(one, wire.Message(answer))
        (length,) = struct.unpack("!I", other.recv(4))
        content = json.loads(other.recv(length)) | {name: value}
        text = json.dumps(content).encode()
        one.sendall(struct.pack("!I", len(text)) + text)
        try:
            message = wire.receive(other, wire.ANSWER, 0.0)
        except wire.FormError as error:
            assert len(str(error)) < 60, "what came is never repeated"
        else:
            assert message.answer.node.isascii() and "/" not in message.answer.node
