"""Agents of a leaving unit: told by the API, else by remoted's socket, and never for long."""

from __future__ import annotations

import json
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from supervisor.drain import Drain
from supervisor.places import Places, Ports
from supervisor.times import Times

from tests.unit.supervisor import certificates

_TIMES = Times(tick=0.01, drain=0.05)
_EVERYBODY = b"(msg_to_agent) [] A!N (null) force_reconnect"


class Unit(ThreadingHTTPServer):
    """A unit's API with agents on some nodes, and its remoted's socket."""

    daemon_threads = True

    def __init__(self, root: Path, agents: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.agents = agents
        self.told: list[list[str]] = []
        self.refuses: set[str] = set()
        self.moves = True
        self.places = Places(
            home=root / "ossec", orders=root / "orders", ports=Ports(api=self.server_port)
        )
        for folder in ("ossec/api/configuration/ssl", "ossec/queue/alerts", "orders"):
            (root / folder).mkdir(parents=True)
        users = {"wazuh-charm": {"password": "A-secret-1", "roles": [1]}}
        (self.places.orders / "users.json").write_text(json.dumps(users))
        self._serve(self.places.home / "api/configuration/ssl")
        self.orders = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.orders.bind(str(self.places.home / "queue/alerts/ar"))
        self.orders.settimeout(0.2)

    def _serve(self, folder: Path) -> None:
        pair = certificates.issue("localhost")
        (folder / "server.crt").write_bytes(pair.pem())
        (folder / "server.key").write_bytes(pair.key_pem())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def ordered(self) -> list[bytes]:
        """Return what remoted was told."""
        found = []
        while True:
            try:
                found.append(self.orders.recv(1000))
            except TimeoutError:
                return found

    def answer(self, method: str, path: str, query: dict[str, list[str]]) -> tuple[int, dict]:
        if path in self.refuses:
            return 500, {"error": 3023}
        if path == "/security/user/authenticate":
            return 200, {"data": {"token": "token"}}
        if method == "GET":
            node, first, limit = (query[n][0] for n in ("node_name", "offset", "limit"))
            assert query["status"] == ["active"]
            assert query["select"] == ["id"]
            found = sorted(number for number, where in self.agents.items() if where == node)
            page = found[int(first) : int(first) + int(limit)]
            return 200, {"data": {"affected_items": [{"id": number} for number in page]}}
        assert (method, path) == ("PUT", "/agents/reconnect")
        wanted = query["agents_list"][0].split(",")
        self.told.append(wanted)
        if self.moves:
            self.agents.update(dict.fromkeys(wanted, "other"))
        return 200, {"data": {"affected_items": wanted}}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        unit, parts = self.server, urlsplit(self.path)
        assert isinstance(unit, Unit)
        status, content = unit.answer(self.command, parts.path, parse_qs(parts.query))
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@pytest.fixture
def unit() -> Iterator[Unit]:
    """Serve one unit with agents here and elsewhere; a local socket's path has to be short."""
    here = {f"{number:03d}": "here" for number in range(1, 1203)}
    with tempfile.TemporaryDirectory(prefix="drain-") as folder:
        made = Unit(Path(folder), here | {"5000": "other"})
        yield made
        made.shutdown()
        made.server_close()
        made.orders.close()


def _keep(unit: Unit, stop: threading.Event | None = None) -> Drain:
    drain = Drain(unit.places, _TIMES)
    drain.keep(lambda: True, lambda: "here", stop or threading.Event())
    return drain


def test_given_agents_here_when_the_unit_leaves_then_these_alone_are_told_in_portions(unit: Unit):
    drain = _keep(unit)

    assert [len(portion) for portion in unit.told] == [500, 500, 202]
    assert "5000" not in {number for portion in unit.told for number in portion}
    assert unit.ordered() == []
    assert drain.sentence == (
        "being removed: 1202 of its 1202 agents were told to connect to another unit"
    )


def test_given_agents_that_come_back_when_the_unit_leaves_then_it_ends_after_three_rounds(
    unit: Unit,
):
    unit.moves = False
    _keep(unit)
    assert len(unit.told) == 9


def test_given_nobody_here_when_the_unit_leaves_then_nobody_is_told(unit: Unit):
    unit.agents.clear()
    assert _keep(unit).sentence is None
    assert (unit.told, unit.ordered()) == ([], [])


@pytest.mark.parametrize("path", ["/security/user/authenticate", "/agents", "/agents/reconnect"])
def test_given_an_api_without_its_master_when_the_unit_leaves_then_remoted_tells_everybody(
    unit: Unit, path: str
):
    unit.refuses = {path}
    assert "were told to connect" in str(_keep(unit).sentence)
    assert unit.ordered() == [_EVERYBODY] * 3


def test_given_an_api_that_is_closed_when_the_unit_leaves_then_remoted_tells_everybody(unit: Unit):
    unit.shutdown()
    unit.server_close()
    _keep(unit)
    assert _EVERYBODY in unit.ordered()


def test_given_neither_api_nor_remoted_when_the_unit_leaves_then_it_says_so_and_ends(unit: Unit):
    unit.refuses = {"/security/user/authenticate"}
    (unit.places.home / "queue/alerts/ar").unlink()
    assert "could not be told (No such file or directory)" in str(_keep(unit).sentence)


def test_given_an_api_that_hangs_when_the_unit_is_stopped_then_the_stop_waits_for_nothing(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
):
    ended = threading.Event()
    monkeypatch.setattr(unit, "answer", lambda *_: (ended.wait(60), (500, {}))[1])
    monkeypatch.setattr("supervisor.drain._PATIENCE", 0.5)
    stop = threading.Event()
    thread = threading.Thread(target=_keep, args=(unit, stop), daemon=True)
    thread.start()
    stop.set()
    thread.join(20)
    ended.set()
    assert not thread.is_alive()
    assert unit.ordered() == []


def test_given_a_stop_before_the_service_took_notice_when_leaving_then_nobody_is_told(unit: Unit):
    stop = threading.Event()
    stop.set()
    _keep(unit, stop)
    assert (unit.told, unit.ordered()) == ([], [])


def test_given_a_unit_that_stays_when_it_is_stopped_then_nobody_is_told(unit: Unit):
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    Drain(unit.places, _TIMES).keep(lambda: False, lambda: "here", stop)
    assert (unit.told, unit.ordered()) == ([], [])
