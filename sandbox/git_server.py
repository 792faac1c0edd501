"""Serves one Git repository over HTTP as a hosting service does: `git http-backend` behind CGI.

    python -m sandbox.git_server --repository DIR --address 127.0.0.1 --port 8080

gives `http://127.0.0.1:8080/<name of DIR>`, read only. Needs nothing but Git and Python.
"""

import argparse
import io
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_PASSED_HEADERS = {
    "Content-Encoding": "HTTP_CONTENT_ENCODING",
    "Content-Length": "CONTENT_LENGTH",
    "Content-Type": "CONTENT_TYPE",
    "Git-Protocol": "GIT_PROTOCOL",
}
# The repository's owner may be somebody else than who serves it; configuration that Git takes
# from its environment counts as trusted for this setting (git-config, safe.directory).
_TRUST = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}


class GitServer(ThreadingHTTPServer):
    """Serves `repository` (bare, or with a work tree) at `/<its name>`."""

    daemon_threads = True

    def __init__(self, repository: Path, address: str = "127.0.0.1", port: int = 0):
        self.repository = repository.resolve()
        super().__init__((address, port), partial(_Handler, self.repository))

    @property
    def url(self) -> str:
        """Where the repository is to be had."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}/{self.repository.name}"


@contextmanager
def serving(repository: Path, address: str = "127.0.0.1", port: int = 0) -> Iterator[GitServer]:
    """Serve in a thread of its own; port 0 takes a free one."""
    with GitServer(repository, address, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One CGI request (RFC 3875) per HTTP request."""

    def __init__(self, repository: Path, *arguments: Any):
        self.repository = repository
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._run_backend()

    def do_POST(self) -> None:
        self._run_backend()

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing: who runs the server says what matters."""

    def _run_backend(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        name = f"/{self.repository.name}"
        if path.removesuffix(".git") != name and not path.startswith((f"{name}/", f"{name}.git/")):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        # The two names of a hosting service (with and without .git) are one repository.
        path = name + path.removeprefix(name).removeprefix(".git")
        answer = subprocess.run(
            ["git", "http-backend"],
            check=False,
            env=self._environment(path, parts.query),
            input=body,
            stdout=subprocess.PIPE,
        )
        self._relay(io.BytesIO(answer.stdout))

    def _environment(self, path: str, query: str) -> dict[str, str]:
        headers = {
            name: value
            for header, name in _PASSED_HEADERS.items()
            if (value := self.headers.get(header)) is not None
        }
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_PROJECT_ROOT": str(self.repository.parent),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_ADDR": str(self.client_address[0]),
            **_TRUST,
            **headers,
        }

    def _relay(self, answer: io.BytesIO) -> None:
        headers = []
        status = 200
        while line := answer.readline().strip():
            name, _, value = line.decode("latin-1").partition(": ")
            if name == "Status":
                status = int(value.split()[0])
            else:
                headers.append((name, value))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(answer.read())


def main() -> None:
    """Serve until interrupted, after printing the address."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    with GitServer(arguments.repository, arguments.address, arguments.port) as server:
        print(server.url, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
