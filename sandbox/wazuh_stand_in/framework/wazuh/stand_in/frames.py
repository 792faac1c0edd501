"""The framings of Wazuh's local sockets, as framework/wazuh/core has them."""

import json
import socket
import struct
from contextlib import suppress
from pathlib import Path

from .home import belongs_to_wazuh

LARGEST = 64 * 1024 * 1024
COMMAND_LENGTH = 12
HEADER = f"!2I{COMMAND_LENGTH}s"
HEADER_LENGTH = struct.calcsize(HEADER)


def receive_exactly(connection: socket.socket, length: int) -> bytes:
    """Return that many bytes; raise ConnectionError when the peer ends before."""
    parts = bytearray()
    while len(parts) < length:
        part = connection.recv(min(length - len(parts), 1 << 20))
        if not part:
            raise ConnectionError("the peer closed the connection")
        parts += part
    return bytes(parts)


def send_sized(connection: socket.socket, payload: bytes) -> None:
    """Send a message after its length, 4 bytes little-endian (wazuh_socket.py)."""
    connection.sendall(struct.pack("<I", len(payload)) + payload)


def receive_sized(connection: socket.socket) -> bytes:
    """Receive a message after its length; raise ConnectionError."""
    (length,) = struct.unpack("<I", receive_exactly(connection, 4))
    if length > LARGEST:
        raise ConnectionError("message too long")
    return receive_exactly(connection, length)


def ask(path: Path, payload: bytes, timeout: float) -> bytes:
    """Send one message to a local socket and return the answer; raise OSError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        send_sized(connection, payload)
        return receive_sized(connection)


def ask_json(path: Path, message: "dict[str, object]", timeout: float) -> "dict[str, object]":
    """Send a JSON message to a local socket and return the decoded answer; raise OSError."""
    return json.loads(ask(path, json.dumps(message).encode(), timeout))


def send_command(connection: socket.socket, counter: int, command: bytes, data: bytes) -> None:
    """Send a message of the cluster's local socket (cluster/common.py, msg_build)."""
    padded = command + b" " + b"-" * (COMMAND_LENGTH - len(command) - 1)
    connection.sendall(struct.pack(HEADER, counter, len(data), padded) + data)


def receive_command(connection: socket.socket) -> "tuple[int, bytes, bytes]":
    """Return counter, command and data of one message; raise ConnectionError."""
    counter, length, command = struct.unpack(HEADER, receive_exactly(connection, HEADER_LENGTH))
    if length > LARGEST:
        raise ConnectionError("message too long")
    data = receive_exactly(connection, length)
    return counter, command[:-1].split(b" ")[0], data


def listen_unix(path: Path) -> socket.socket:
    """Listen on a local socket; a stale one of an earlier run is replaced.

    It appears under its name only when it answers.
    """
    draft = path.with_name(f".{path.name}")
    with suppress(FileNotFoundError):
        draft.unlink()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(draft))
    belongs_to_wazuh(draft, 0o660)
    server.listen(64)
    draft.rename(path)
    return server
