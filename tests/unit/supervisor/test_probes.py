"""Questions to Wazuh's sockets, notices to Pebble, readiness: against real sockets."""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from supervisor import health, pebble, probes

from tests.unit.ports import free_port

_HEADER = struct.Struct("!2I12s")
Script = Callable[[socket.socket], None]


class Local:
    """A local socket whose answers a test writes."""

    def __init__(self, path: Path, script: Script) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.script = script
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self.server.accept()
            except OSError:
                return
            with stream:
                self.script(stream)


def _sized(reply: bytes) -> Script:
    def script(stream: socket.socket) -> None:
        (size,) = struct.unpack("<I", stream.recv(4))
        stream.recv(size)
        stream.sendall(struct.pack("<I", len(reply)) + reply)

    return script


def _frame(counter: int, command: bytes, data: bytes) -> bytes:
    return _HEADER.pack(counter, len(data), command + b" " + b"-" * (11 - len(command))) + data


def _request(stream: socket.socket) -> tuple[int, bytes, bytes]:
    counter, length, command = _HEADER.unpack(stream.recv(_HEADER.size))
    return counter, command.split(b" ")[0], stream.recv(length)


@pytest.mark.parametrize("reply", [b"ok []", b"err Invalid DB query"])
def test_given_wazuh_db_when_it_answers_anything_then_it_works(tmp_path: Path, reply):
    assert not probes.database_answers(tmp_path)
    Local(tmp_path / "queue/db/wdb", _sized(reply))
    assert probes.database_answers(tmp_path)


def test_given_wazuh_db_when_it_hangs_then_it_does_not_work(tmp_path: Path):
    Local(tmp_path / "queue/db/wdb", lambda _: time.sleep(2))
    assert not probes.database_answers(tmp_path, seconds=0.3)


def test_given_analysisd_when_it_refuses_then_its_errors_are_returned(tmp_path: Path):
    reply = json.dumps({"error": 1, "message": "due", "data": ["bad rule"]}).encode()
    local = Local(tmp_path / "queue/sockets/analysis", _sized(reply))
    assert probes.reload_rules(tmp_path) == ["bad rule"]
    local.script = _sized(b'{"error": 0, "message": "ok", "data": ["a warning"]}')
    assert probes.reload_rules(tmp_path) == []
    local.script = _sized(b"[]")
    with pytest.raises(probes.NoAnswerError):
        probes.reload_rules(tmp_path)


def test_given_a_worker_when_its_master_answers_then_it_is_connected_and_acknowledged(
    tmp_path: Path,
):
    acknowledged = []

    def script(stream: socket.socket) -> None:
        counter, command, data = _request(stream)
        assert command == b"get_nodes"
        assert json.loads(data)["filter_type"] == "all"
        stream.sendall(_frame(counter, b"ok", b"Sent request to master node"))
        nodes = json.dumps({"items": [{"name": "u0"}], "totalItems": 1}).encode()
        stream.sendall(_frame(77, b"control_res", nodes))
        acknowledged.append(_request(stream)[:2])

    Local(tmp_path / "queue/cluster/c-internal.sock", script)
    assert probes.connected_to_master(tmp_path)
    _until(lambda: acknowledged == [(77, b"ok")])


def _error(stream: socket.socket) -> None:
    counter, _, _ = _request(stream)
    stream.sendall(_frame(counter, b"err", b'{"__wazuh_exception__": {"code": 3023}}'))


def _silent(stream: socket.socket) -> None:
    counter, _, _ = _request(stream)
    stream.sendall(_frame(counter, b"ok", b"Sent request to master node"))
    time.sleep(1)


def _huge(stream: socket.socket) -> None:
    _request(stream)
    stream.sendall(struct.pack("!2I12s", 1, 2**31, b"control_res "))


@pytest.mark.parametrize("script", [_error, _silent, _huge])
def test_given_a_worker_when_its_master_does_not_answer_then_it_is_not_connected(
    tmp_path: Path, script
):
    Local(tmp_path / "queue/cluster/c-internal.sock", script)
    assert not probes.connected_to_master(tmp_path, seconds=0.4)


def test_given_no_cluster_daemon_when_asked_then_it_is_not_connected(tmp_path: Path):
    assert not probes.connected_to_master(tmp_path)


def test_given_a_port_when_something_listens_then_it_is_seen_without_a_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert probes.listens(port)
        assert probes.reaches("127.0.0.1", port)
        server.setblocking(False)
    assert not probes.listens(port)
    assert not probes.reaches("127.0.0.1", port)


def _until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


class _Pebble(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    bodies: list[dict]
    status: bytes


class _Notice(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Pebble)
        assert self.rfile.readline().startswith(b"POST /v1/notices ")
        length = 0
        while (line := self.rfile.readline()).strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        self.server.bodies.append(json.loads(self.rfile.read(length)))
        self.wfile.write(b"HTTP/1.1 " + self.server.status + b"\r\nContent-Length: 2\r\n\r\n{}")


def _pebble(path: Path) -> _Pebble:
    server = _Pebble(str(path), _Notice)
    server.bodies, server.status = [], b"200 OK"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def notices(tmp_path: Path) -> Iterator[pebble.Notices]:
    """Send notices for a test."""
    made = pebble.Notices(tmp_path / "pebble.socket")
    made.start()
    yield made
    made.stop()


def test_given_pebble_when_a_notice_is_sent_then_it_gets_a_custom_one(tmp_path: Path, notices):
    server = _pebble(tmp_path / "pebble.socket")
    notices.send(pebble.WAKE, 4)
    _until(lambda: notices.taken(pebble.WAKE) == 4)
    assert server.bodies == [{"action": "add", "type": "custom", "key": pebble.WAKE}]
    server.shutdown()


def test_given_no_pebble_when_it_comes_back_then_the_notice_is_sent_once(tmp_path: Path, notices):
    for _ in range(5):
        notices.send(pebble.STATE)
    assert notices.taken(pebble.WAKE) == 0
    server = _pebble(tmp_path / "pebble.socket")
    _until(lambda: bool(server.bodies))
    assert [body["key"] for body in server.bodies] == [pebble.STATE]
    server.shutdown()


def test_given_a_pebble_that_refuses_when_told_then_it_is_told_again(tmp_path: Path, notices):
    server = _pebble(tmp_path / "pebble.socket")
    server.status = b"500 Internal Server Error"
    notices.send(pebble.WAKE, 2)
    _until(lambda: len(server.bodies) >= 2)
    assert notices.taken(pebble.WAKE) == 0
    server.status = b"200 OK"
    _until(lambda: notices.taken(pebble.WAKE) == 2)
    server.shutdown()


def test_given_a_unit_when_pebble_asks_then_it_answers_in_one_line_with_the_reason():
    answer = [(False, "fenced")]
    port = free_port()
    server = health.serve(lambda: answer[0], port)
    try:
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5)
        assert error.value.code == 503
        text = error.value.read()
        assert json.loads(text) == {"ready": False, "reason": "fenced"}
        assert text.count(b"\n") == 1
        answer[0] = (True, "serving")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as response:
            assert response.status == 200
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/secrets", timeout=5)
    finally:
        server.shutdown()
        server.server_close()
