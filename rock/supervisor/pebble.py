"""Notices for the charm, through Pebble's socket, retried until Pebble takes them."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import subprocess
import threading
from pathlib import Path

STATE = "wazuh-server.local/state"
WAKE = "wazuh-server.local/wake"
#: The uid of hooks under `charm-user: non-root` (seen on Juju 4.0).
CHARM_USER = 170
_PEBBLE = "/charm/bin/pebble"
_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_log = logging.getLogger(__name__)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))


def notify(path: Path, key: str) -> bool:
    """Send one notice; False when Pebble did not take it.

    Older Jujus hear only the notices of their own agent's user (juju commit 08a5da6e9b), which
    for a charm that is not root is `CHARM_USER`: so that is who sends, where it may be.
    """
    return _as_charm(path, key) or _as_ourselves(path, key)


def _as_charm(path: Path, key: str) -> bool:
    try:
        sent = subprocess.run(
            [_PEBBLE, "notify", key],
            user=CHARM_USER,
            group=CHARM_USER,
            extra_groups=[],
            env={"PEBBLE_SOCKET": str(path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return sent.returncode == 0


def _as_ourselves(path: Path, key: str) -> bool:
    connection = _Connection(path)
    try:
        body = json.dumps({"action": "add", "type": "custom", "key": key})
        connection.request("POST", "/v1/notices", body, {"Content-Type": "application/json"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Notices:
    """Sends in a thread of its own: the supervisor never waits for Pebble."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: set[str] = set()
        self._taken: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin sending."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        self._wake.set()

    def send(self, key: str, number: int = 0) -> None:
        """Have a notice sent; several before it could be are one."""
        self._numbers[key] = number
        self._pending.add(key)
        self._wake.set()

    def taken(self, key: str) -> int:
        """Return the number of the last notice of this key that Pebble took."""
        return self._taken.get(key, 0)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            for key in sorted(self._pending):
                self._pending.discard(key)
                number = self._numbers[key]
                if notify(self._path, key):
                    self._taken[key] = number
                else:
                    self._pending.add(key)
            if self._pending and not self._stop.wait(_RETRY_SECONDS):
                self._wake.set()
