"""The connection of a worker to its master: requests both ways, sealed with the shared key.

This is the stand-in's own wire format, not Wazuh's: JSON, encrypted and signed with the key by
what the standard library has (SHAKE-256 as key stream, HMAC-SHA256). A node with another key
cannot be understood, as with the real one (error 3025).
"""

import hashlib
import hmac
import itertools
import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from .frames import LARGEST, receive_exactly
from .home import scaled

NONCE, MARK = 16, 32
REQUEST_SECONDS = 20
"""How long an answer is waited for (cluster.json, timeout_cluster_request)."""

MESSAGES = {
    1014: "Error communicating with socket",
    3012: "Cluster is not running",
    3020: "Timeout sending request",
    3022: "Unknown node ID",
    3023: "Worker node is not connected to master",
    3025: "Could not decrypt message",
    3027: "Unknown received task name",
    3028: "Worker node ID already exists",
    3029: "Connected worker with same name as the master",
    3030: "Worker does not belong to the same cluster",
    3031: "Worker and master versions are not the same",
    3060: "Invalid node name format",
}


class ClusterError(Exception):
    """An error of the cluster, by its number."""

    def __init__(self, code: int, extra: str = ""):
        super().__init__(
            f"Error {code} - {MESSAGES.get(code, extra)}"
            + (f": {extra}" if extra and code in MESSAGES else "")
        )
        self.code = code
        self.extra = extra

    def encoded(self) -> bytes:
        """Return the error as Wazuh's JSON encoder writes it."""
        fields = {
            "type": "about:blank",
            "title": "WazuhClusterError",
            "code": self.code,
            "extra_message": self.extra or None,
            "extra_remediation": None,
            "cmd_error": False,
            "dapi_errors": {},
        }
        shown = {"__class__": "WazuhClusterError", "__object__": fields}
        return json.dumps({"__wazuh_exception__": shown}).encode()


def seal(key: bytes, payload: bytes) -> bytes:
    """Encrypt and sign a message."""
    nonce = os.urandom(NONCE)
    hidden = nonce + _stream(key, nonce, payload)
    return hidden + hmac.digest(key, hidden, "sha256")


def unseal(key: bytes, message: bytes) -> bytes:
    """Return a message's payload; raise ClusterError 3025 where the key is another."""
    hidden, mark = message[:-MARK], message[-MARK:]
    if not hmac.compare_digest(hmac.digest(key, hidden, "sha256"), mark):
        raise ClusterError(3025)
    return _stream(key, hidden[:NONCE], hidden[NONCE:])


def _stream(key: bytes, nonce: bytes, data: bytes) -> bytes:
    pad = hashlib.shake_256(key + nonce).digest(len(data))
    mixed = int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")
    return mixed.to_bytes(len(data), "big")


class Link:
    """One end of the connection. `handle` answers what the other end asks."""

    def __init__(
        self, connection: socket.socket, key: str, handle: "Callable[[Link, dict], dict]"
    ):
        self.connection = connection
        self.key = key.encode()
        self.handle = handle
        self.lost = threading.Event()
        self.error: ClusterError | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, dict] = {}
        self._arrived = threading.Condition()
        self._sending = threading.Lock()

    def ask(self, kind: str, **values: object) -> dict:
        """Send a request and return its answer; raise ClusterError, 3020 without one."""
        number = next(self._numbers)
        self._send({"ask": number, "kind": kind, **values})
        with self._arrived:
            self._arrived.wait_for(
                lambda: number in self._waiting or self.lost.is_set(), scaled(REQUEST_SECONDS)
            )
            answer = self._waiting.pop(number, None)
        if answer is None:
            raise ClusterError(3020, kind)
        if "error" in answer:
            raise ClusterError(answer["error"], answer.get("extra", ""))
        return answer

    def serve(self) -> None:
        """Read until the connection ends."""
        try:
            while True:
                self._take(self._receive())
        except ClusterError as error:
            self.error = error
        except (OSError, ValueError):
            pass
        finally:
            self.close()

    def close(self) -> None:
        """End the connection; whoever waits for an answer gets 3020."""
        self.lost.set()
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        with self._arrived:
            self._arrived.notify_all()

    def _take(self, message: dict) -> None:
        if "reply" in message:
            with self._arrived:
                self._waiting[message["reply"]] = message
                self._arrived.notify_all()
        else:
            threading.Thread(target=self._answer, args=(message,), daemon=True).start()

    def _answer(self, message: dict) -> None:
        try:
            answer = self.handle(self, message)
        except ClusterError as error:
            answer = {"error": error.code, "extra": error.extra}
        except (KeyError, ValueError) as error:
            answer = {"error": 3027, "extra": repr(error)}
        with suppress(ClusterError):
            self._send({"reply": message["ask"], **answer})

    def _send(self, message: dict) -> None:
        sealed = seal(self.key, json.dumps(message).encode())
        try:
            with self._sending:
                self.connection.sendall(struct.pack("<I", len(sealed)) + sealed)
        except OSError as error:
            raise ClusterError(3020, str(error)) from None

    def _receive(self) -> dict:
        (length,) = struct.unpack("<I", receive_exactly(self.connection, 4))
        if not NONCE + MARK < length <= LARGEST:
            raise ClusterError(3025)
        return json.loads(unseal(self.key, receive_exactly(self.connection, length)))
