"""One call to Pebble: the notice that wakes the charm."""

import http.client
import json
import logging
import socket
from pathlib import Path

_log = logging.getLogger(__name__)

KEY = "wazuh-server.local/repository"
_SECONDS = 5


class _Connection(http.client.HTTPConnection):
    """HTTP over Pebble's socket."""

    def __init__(self, path: Path):
        super().__init__("localhost", timeout=_SECONDS)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self.path))


def notify(path: Path) -> None:
    """Record the custom notice; any local user may (Pebble, internals/daemon/api_notices.go).

    Failure is only logged: the charm finds the result at its next event.
    """
    body = json.dumps({"action": "add", "type": "custom", "key": KEY})
    connection = _Connection(path)
    try:
        connection.request("POST", "/v1/notices", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            _log.warning("Pebble refused the notice: status %s", response.status)
    except (OSError, http.client.HTTPException) as error:
        _log.warning("Pebble cannot be told: %s", error)
    finally:
        connection.close()
