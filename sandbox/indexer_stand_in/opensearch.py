"""A stand-in OpenSearch: takes bulk requests over TLS from one user, and counts what it holds.

`python -m sandbox.indexer_stand_in.opensearch SETTINGS` with a JSON file of port, certificate,
key (paths), username, password and store (a file of one document per line, which outlives it).
As OpenSearch 2 it refuses a bulk request that names a document's type, and presents itself as
7.10.2 once the cluster's setting `compatibility.override_main_response_version` is true.
"""

import base64
import json
import ssl
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VERSION, OVERRIDDEN = "2.19.4", "7.10.2"
SETTING = "compatibility.override_main_response_version"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where it listens, who it is, and whom it lets in."""

    certificate: str
    key: str
    username: str
    password: str
    store: str
    port: int = 0
    host: str = "127.0.0.1"

    @property
    def authorization(self) -> str:
        """The header of those who are let in."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


class Index:
    """Documents in the order in which they came, kept on disk before they are acknowledged."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._lock = threading.Lock()

    def add(self, documents: list[dict[str, Any]]) -> None:
        """Keep documents."""
        text = "".join(json.dumps(one) + "\n" for one in documents)
        # In one call: who is killed here leaves no half document.
        with self._lock, self._store.open("ab", buffering=0) as file:
            file.write(text.encode())

    def all(self) -> list[dict[str, Any]]:
        """Return what is there."""
        return [*documents(self._store)]

    @property
    def _mark(self) -> Path:
        return self._store.with_suffix(".overridden")

    @property
    def banner(self) -> dict[str, Any]:
        """Who it says it is; as another it does not tell its distribution (OpenSearch#898)."""
        if self._mark.exists():
            return {"name": "stand-in", "version": {"number": OVERRIDDEN}}
        return {"name": "stand-in", "version": {"distribution": "opensearch", "number": VERSION}}

    def override(self, wanted: bool) -> None:
        """Keep the setting, as a persistent one."""
        if wanted:
            self._mark.touch()
        else:
            self._mark.unlink(missing_ok=True)


def documents(store: Path) -> Iterator[dict[str, Any]]:
    """Read the documents of a store: `_index` and `_source` each."""
    if store.exists():
        yield from map(json.loads, store.read_text().splitlines())


class _Handler(BaseHTTPRequestHandler):
    index: Index
    settings: Settings

    def do_GET(self) -> None:
        """Answer who it is, or how many documents it holds."""
        if not self._is_let_in():
            return
        if self.path == "/_count":
            self._answer(200, {"count": len(self.index.all())})
        else:
            self._answer(200 if self.path == "/" else 404, self.index.banner)

    def do_PUT(self) -> None:
        """Take the one setting, as the documentation writes it: flat or nested."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self._is_let_in():
            return
        persistent = json.loads(body).get("persistent", {})
        group, _, name = SETTING.partition(".")
        wanted = persistent.get(SETTING, persistent.get(group, {}).get(name))
        if self.path != "/_cluster/settings" or not isinstance(wanted, bool):
            self._answer(400, {"error": "stand-in: not known here"})
            return
        self.index.override(wanted)
        self._answer(200, {"acknowledged": True})

    def do_POST(self) -> None:
        """Take a bulk request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self._is_let_in():
            return
        lines = [json.loads(line) for line in body.decode().splitlines() if line.strip()]
        actions = [next(iter(action.items())) for action in lines[::2]]
        for number, (_, meta) in enumerate(actions):
            if "_type" in meta:
                # The whole request, as RestBulkAction does.
                line = f"Action/metadata line [{2 * number + 1}]"
                self._answer(400, {"error": f"{line} contains an unknown parameter [_type]"})
                return
        self.index.add(
            [
                {"_index": meta["_index"], "_source": source}
                for (_, meta), source in zip(actions, lines[1::2], strict=True)
            ]
        )
        items = [{kind: {"status": 201}} for kind, _ in actions]
        self._answer(200, {"errors": False, "items": items})

    def _is_let_in(self) -> bool:
        if self.headers.get("Authorization") == self.settings.authorization:
            return True
        self._answer(401, {"error": "stand-in: Unauthorized"})
        return False

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Say nothing of each request."""


def serve(settings: Settings) -> ThreadingHTTPServer:
    """Listen, in a thread, until `shutdown`."""
    handler = type("Handler", (_Handler,), {"index": Index(Path(settings.store))})
    handler.settings = settings
    server = ThreadingHTTPServer((settings.host, settings.port), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings.certificate, settings.key)
    # The handshake belongs to each connection's own thread: nobody holds up the others.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main(arguments: list[str]) -> int:
    """Serve until killed."""
    settings = Settings(**json.loads(Path(arguments[0]).read_text()))
    server = serve(settings)
    print(f"OpenSearch stand-in: listening on {server.server_port}", flush=True)
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
