"""The readiness that Pebble's check asks for, on the loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Ready or not, and why in one short phrase.
Readiness = Callable[[], tuple[bool, str]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    readiness: Readiness


class _Handler(BaseHTTPRequestHandler):
    timeout = 5

    def do_GET(self) -> None:
        """Answer 200 when ready, 503 otherwise, 404 elsewhere."""
        if self.path != "/ready" or not isinstance(self.server, _Server):
            self._answer(404, {"error": "only /ready"})
            return
        ready, reason = self.server.readiness()
        self._answer(200 if ready else 503, {"ready": ready, "reason": reason})

    def _answer(self, status: int, content: dict) -> None:
        body = (json.dumps(content) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: Pebble asks every other second."""


def serve(readiness: Readiness, port: int) -> ThreadingHTTPServer:
    """Answer in threads until `shutdown`. Raises OSError when the port is taken."""
    server = _Server(("127.0.0.1", port), _Handler)
    server.readiness = readiness
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
