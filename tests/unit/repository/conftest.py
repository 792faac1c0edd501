"""A real Git repository, a real HTTP server for it, and the places a run works in."""

import json
import os
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from repository.places import Limits, Places
from repository.run import run

from tests.unit.repository import servers

RULES = b'<group name="local,">\n  <rule id="100100" level="3"></rule>\n</group>\n'


@dataclass
class Origin:
    """A repository with a work tree, as somebody keeps it."""

    path: Path

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@example.com",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@example.com",
        }
        command = ["git", "-c", "protocol.file.allow=always", *arguments]
        output = subprocess.run(
            command, cwd=self.path, check=True, env=environment, input=stdin, capture_output=True
        )
        return output.stdout.decode().strip()

    def write(self, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def commit(self, files: dict[str, bytes] | None = None) -> str:
        """Commit the given files beside what is there; return the commit."""
        self.write(files or {})
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "--message=x")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    path = tmp_path / "origin"
    path.mkdir()
    repository = Origin(path)
    repository.git("init", "--quiet", "--initial-branch=main")
    return repository


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """One web server for all tests: its address, and the folder of what it serves."""
    root = tmp_path_factory.mktemp("served")
    with servers.web(root, tmp_path_factory.mktemp("lighttpd")) as address:
        yield address, root


@pytest.fixture
def url(origin: Origin, web: tuple[str, Path]) -> Iterator[str]:
    """The repository's address on the web server."""
    address, root = web
    link = root / f"{origin.path.parent.name}"
    link.symlink_to(origin.path / ".git")
    yield f"{address}/{link.name}"
    link.unlink()


@dataclass
class Charm:
    """The charm's side of a run: it asks, is woken, and reads the result."""

    places: Places
    notices: list[dict] = field(default_factory=list)
    proxies: dict[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=lambda: Limits(seconds=30))

    def ask(self, url: str, ref: str | None = None, subdirectory: str | None = None) -> None:
        """Write the file that the charm pushes."""
        request: dict = {"request": "r1", "url": url, "ref": ref, "subdirectory": subdirectory}
        request["proxies"] = self.proxies
        self.places.request.write_text(json.dumps(request))

    def result(self, url: str, ref: str | None = None, subdirectory: str | None = None) -> dict:
        """Ask, run and read the result."""
        self.ask(url, ref, subdirectory)
        self.run()
        return self.read()

    def run(self) -> bool:
        """Do what Pebble's service does."""
        return run(self.places, self.limits)

    def read(self) -> dict:
        return json.loads(self.places.result.read_text())

    def error(self, url: str, ref: str | None = None, subdirectory: str | None = None) -> str:
        """Ask for what must be refused; return the sentence."""
        result = self.result(url, ref, subdirectory)
        assert result["error"] is not None
        return result["error"]

    def tree(self, commit: str) -> dict[str, bytes]:
        """Read every file of a placed tree."""
        top = self.places.home / commit
        return {
            str(path.relative_to(top)): path.read_bytes()
            for path in top.rglob("*")
            if path.is_file()
        }

    def trees(self) -> set[str]:
        return {path.name for path in self.places.home.iterdir() if path.is_dir()}


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def _handler(notices: list[dict]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Pebble's answer to POST /v1/notices."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            notices.append({"path": self.path, **body})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"type":"sync","status-code":200,"result":{"id":"1"}}')

        def address_string(self) -> str:
            return "pebble"

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Say nothing."""

    return Handler


@pytest.fixture
def charm(tmp_path: Path) -> Iterator[Charm]:
    home = tmp_path / "home"
    home.mkdir()
    socket = tmp_path / "pebble.socket"
    charm = Charm(Places(tmp_path / "repository.json", home, socket))
    with _Server(str(socket), _handler(charm.notices)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield charm
        server.shutdown()
        thread.join()


@pytest.fixture
def rules() -> bytes:
    return RULES
