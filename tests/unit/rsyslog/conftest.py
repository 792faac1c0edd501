"""A real rsyslogd under the charm's configuration, and senders with certificates."""

import datetime
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pytest

from src import certificates
from tests.unit.ports import free_port

TEMPLATES = Path(__file__).parents[3] / "templates"
NOW = datetime.datetime.now(datetime.UTC)


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Poll for something that comes about by itself; the bound is far beyond its time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.02)


@dataclass
class Authority:
    """An authority of certificates, and what it issued, as files."""

    pair: certificates.Pair
    directory: Path

    def issue(self, name: str, *, expired: bool = False) -> Path:
        """Issue a sender's certificate; return the file with it and its key."""
        life = datetime.timedelta(days=30)
        usages = (certificates.CLIENT, certificates.SERVER)
        born = NOW - 2 * life if expired else NOW
        leaf = certificates.issue(
            self.pair, name, hosts=("localhost",), usages=usages, now=born, life=life
        )
        path = self.directory / f"{name}.pem"
        path.write_text(f"{leaf.certificate}\n{leaf.private_key}\n")
        return path


def make_authority(directory: Path) -> Authority:
    directory.mkdir()
    return Authority(certificates.make_authority("authority", NOW), directory)


@dataclass
class Receiver:
    """rsyslogd as Pebble runs it."""

    directory: Path
    authority: Authority
    port: int
    process: subprocess.Popen | None = None

    @property
    def logs(self) -> Path:
        return self.directory / "logs" / "senders"

    @property
    def pid_file(self) -> Path:
        return self.directory / "rsyslogd.pid"

    def configure(self, name: str = "server") -> None:
        """Write what the charm pushes, with a new certificate for the server."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
        )
        template = environment.get_template("rsyslog.conf.j2")
        text = template.render(folder=self.directory, logs=self.logs, port=self.port)
        (self.directory / "rsyslog.conf").write_text(text)
        (self.directory / "ca.crt").write_text(self.authority.pair.certificate)
        shutil.copy(self.authority.issue(name), self.directory / "server.new")
        (self.directory / "server.new").rename(self.directory / "server.pem")

    def start(self) -> None:
        program = shutil.which("rsyslogd", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None, "rsyslog is not installed"
        configuration = str(self.directory / "rsyslog.conf")
        with (self.directory / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [program, "-n", "-f", configuration, "-i", str(self.pid_file)],
                stdout=output,
                stderr=output,
            )
        until(self._listens)

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0

    def output(self) -> str:
        return (self.directory / "output").read_text()

    def connect(self, certificate: Path | None) -> ssl.SSLSocket:
        """Connect as a sender does, and check the server's name and certificate."""
        context = ssl.create_default_context(cadata=self.authority.pair.certificate)
        if certificate is not None:
            context.load_cert_chain(certificate)
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return context.wrap_socket(connection, server_hostname="localhost")

    def send(self, certificate: Path, *messages: bytes) -> None:
        """Send messages framed by their length (RFC 6587), then close."""
        with self.connect(certificate) as connection:
            connection.sendall(b"".join(b"%d %s" % (len(text), text) for text in messages))
            # Says goodbye; rsyslog closes without an answer.
            with suppress(ssl.SSLError, ConnectionError):
                connection.unwrap()

    def lines(self, sender: str = "_all") -> list[str]:
        """Return every line filed for a sender so far."""
        paths = sorted((self.logs / sender).glob("*.log"))
        return [line for path in paths for line in path.read_text().splitlines()]

    def files(self) -> set[str]:
        """Name every file below the output directory, without its day."""
        return {str(path.parent.relative_to(self.logs)) for path in self.logs.rglob("*.log")}

    def settle(self, certificate: Path) -> None:
        """Send one more message and wait for its files: what came before it is then filed too."""
        self.send(certificate, b"<13>Oct  1 10:00:00 marker test: settled")
        until(lambda: all(self._settled(one) for one in ("_all", "marker")))

    def _settled(self, sender: str) -> bool:
        return any("settled" in line for line in self.lines(sender))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path / "authority")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return make_authority(tmp_path / "stranger")


@pytest.fixture
def receiver(tmp_path: Path, authority: Authority) -> Iterator[Receiver]:
    directory = tmp_path / "rsyslog"
    directory.mkdir()
    (directory / "logs").mkdir()
    receiver = Receiver(directory, authority, free_port())
    receiver.configure()
    receiver.start()
    yield receiver
    if receiver.process is not None and receiver.process.poll() is None:
        receiver.process.kill()
        receiver.process.wait()


@pytest.fixture
def sender(authority: Authority) -> Path:
    return authority.issue("web-1")
