"""Questions to Wazuh's own daemons, over their local sockets, and to ports."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_LIMIT = 16 * 1024 * 1024
_COMMAND = struct.Struct("!2I12s")
_SIZE = struct.Struct("<I")


class NoAnswerError(Exception):
    """The daemon did not answer, or not what it should; the text says which."""


def database_answers(home: Path, seconds: float = 2.0) -> bool:
    """Ask wazuh-db anything: any answer, an error too, shows that it works through its queue."""
    try:
        return bool(_exchange(home / "queue/db/wdb", b"global sql SELECT 1", seconds))
    except NoAnswerError:
        return False


def reload_rules(home: Path, seconds: float = 30.0) -> list[str]:
    """Make analysisd read its rules again (src/analysisd/asyscom.c).

    Returns its errors, empty when the new rules are in force; the old ones stay otherwise.
    Raises NoAnswerError.
    """
    message = {"version": 1, "origin": {"module": "supervisor"}, "command": "reload-ruleset"}
    text = _exchange(home / "queue/sockets/analysis", json.dumps(message).encode(), seconds)
    try:
        answer = json.loads(text)
        failed, data = answer["error"] != 0, answer.get("data")
    except (ValueError, KeyError, TypeError) as error:
        raise NoAnswerError("analysisd answered something else") from error
    if not failed:
        return []
    return [str(line) for line in data] if isinstance(data, list) and data else ["refused"]


def connected_to_master(home: Path, seconds: float = 4.0) -> bool:
    """Ask a worker's cluster daemon for the nodes: the master answers, or nobody does.

    A true round trip (framework/wazuh/core/cluster/local_server.py): refused for 10 s after a
    loss, error 3023 then, silence when the link is silently down. The answer is acknowledged,
    or the daemon logs error 3020.
    """
    arguments = {
        "filter_node": None,
        "offset": 0,
        "limit": 500,
        "sort": None,
        "search": None,
        "select": None,
        "filter_type": "all",
        "distinct": False,
    }
    try:
        with _connect(home / "queue/cluster/c-internal.sock", seconds) as stream:
            stream.sendall(_command(1, b"get_nodes", json.dumps(arguments).encode()))
            return _nodes(stream)
    except (OSError, NoAnswerError):
        return False


def _nodes(stream: socket.socket) -> bool:
    """Wait for the answer, which comes as a request of the daemon's own after its `ok`."""
    for _ in range(3):
        counter, length, name = _COMMAND.unpack(_read(stream, _COMMAND.size))
        if length > _LIMIT:
            raise NoAnswerError("too large")
        command, data = name[:-1].split(b" ")[0], _read(stream, length)
        if command == b"err" or data.startswith(b"Error"):
            return False
        if command == b"control_res":
            stream.sendall(_command(counter, b"ok", b"Response received"))
            return _lists_nodes(data)
    return False


def _lists_nodes(data: bytes) -> bool:
    try:
        content = json.loads(data)
    except ValueError:
        return False
    return isinstance(content, Mapping) and bool(content.get("items"))


def _command(counter: int, name: bytes, data: bytes) -> bytes:
    """Frame a message as the cluster does: 11 characters of command, padded with dashes."""
    padded = name + b" " + b"-" * (11 - len(name))
    return _COMMAND.pack(counter, len(data), padded) + data


def reaches(host: str, port: int, seconds: float = 2.0) -> bool:
    """Tell whether something takes a TCP connection."""
    try:
        with socket.create_connection((host, port), seconds):
            return True
    except OSError:
        return False


def listens(port: int, proc: Path = Path("/proc")) -> bool:
    """Tell whether something listens on a port here, without bothering it."""
    wanted = f":{port:04X}"
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (proc / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == "0A":
                    return True
    return False


def _exchange(path: Path, message: bytes, seconds: float) -> bytes:
    """Send one message and read one, each after its length (little endian)."""
    try:
        with _connect(path, seconds) as stream:
            stream.sendall(_SIZE.pack(len(message)) + message)
            (length,) = _SIZE.unpack(_read(stream, _SIZE.size))
            return _read(stream, min(length, _LIMIT))
    except OSError as error:
        raise NoAnswerError(f"{path.name}: {type(error).__name__}") from error


def _connect(path: Path, seconds: float) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.settimeout(seconds)
    try:
        stream.connect(str(path))
    except OSError:
        stream.close()
        raise
    return stream


def _read(stream: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = stream.recv(min(count - len(data), 65536))
        if not chunk:
            raise NoAnswerError("ended early")
        data += chunk
    return data
