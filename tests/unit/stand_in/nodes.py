"""Nodes of the stand-in on loopback, each with ports of its own."""

import base64
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from pathlib import Path

from sandbox.wazuh_stand_in.framework.wazuh.stand_in import cluster_control, frames
from sandbox.wazuh_stand_in.framework.wazuh.stand_in.home import Home
from tests.unit.ports import free_port

SCALE = 40
KEY = "0123456789abcdef" * 2
FOR_API = ("wazuh-db", "wazuh-execd", "wazuh-analysisd", "wazuh-remoted", "wazuh-modulesd")
PATIENCE = 40
# The word is misspelt in the real answer.
MASTER_AWAY = "ERROR: Cannot comunicate with master. Unable to add agent"  # codespell:ignore

OSSEC = """<ossec_config>
  <global>
    <jsonout_output>yes</jsonout_output>
    <logall>yes</logall>
    <email_notification>no</email_notification>
  </global>
  {remote}
  {ruleset}
  <auth>
    <disabled>no</disabled>
    <port>{auth}</port>
    <purge>{purge}</purge>
    <use_password>{use_password}</use_password>
    <force>
      <enabled>yes</enabled>
      <after_registration_time>{registered}</after_registration_time>
    </force>
  </auth>
  {extra}
{cluster}
</ossec_config>
"""
CLUSTER = """  <cluster>
    <name>{cluster_name}</name>
    <node_name>{name}</node_name>
    <node_type>{kind}</node_type>
    <key>{key}</key>
    <port>{cluster_port}</port>
    <bind_addr>127.0.0.1</bind_addr>
    <nodes>
      <node>{master}</node>
    </nodes>
    <disabled>no</disabled>
  </cluster>"""
REMOTE = """<remote>
    <connection>secure</connection>
    <port>{remote_port}</port>
  </remote>"""
RULESET = """<ruleset>
    <decoder_dir>etc/decoders</decoder_dir>
    <rule_dir>ruleset/rules</rule_dir>
    <rule_dir>etc/rules</rule_dir>
  </ruleset>"""


def unverified() -> ssl.SSLContext:
    """Return a client's context that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


UNVERIFIED = unverified()


def until(condition: Callable[[], object], what: str = "the condition") -> object:
    """Poll until a condition holds and return its value; fail after long."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come true in {PATIENCE} s")


@dataclass
class Node:
    """One node: its tree, its ports, what its ossec.conf says."""

    home: Path
    name: str
    kind: str = "master"
    auth: int = field(default_factory=free_port)
    api: int = field(default_factory=free_port)
    remote_port: int = field(default_factory=free_port)
    cluster_port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)

    def configure(self, **changes: str) -> None:
        """Write ossec.conf and api.yaml."""
        values: dict[str, object] = {
            "purge": "no",
            "use_password": "no",
            "registered": "1h",
            "key": KEY,
            "extra": "",
            "master": "127.0.0.1",
            "cluster_name": "wazuh",
            "remote": REMOTE,
            "ruleset": RULESET,
            "cluster": CLUSTER,
            "name": self.name,
            "kind": self.kind,
            "auth": self.auth,
            "remote_port": self.remote_port,
            "cluster_port": self.cluster_port,
            **changes,
        }
        for part in ("cluster", "remote"):
            values[part] = str(values[part]).format(**values)
        (self.home / "etc/ossec.conf").write_text(OSSEC.format(**values))
        (self.home / "api/configuration/api.yaml").write_text(
            f"host:\n  - 127.0.0.1\nport: {self.api}\n"
        )

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of bin/ to its end."""
        environment = {
            "PATH": os.environ["PATH"],
            "WAZUH_SERVER_TIME_SCALE": str(SCALE),
            **self.environment,
        }
        # Files, not pipes: what a daemon leaves behind would hold a pipe open.
        with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
            done = subprocess.run(
                [self.home / "bin" / program, *arguments],
                env=environment,
                stdout=said,
                stderr=complained,
                check=False,
                timeout=120,
            )
            said.seek(0)
            complained.seek(0)
            return subprocess.CompletedProcess(
                done.args, done.returncode, said.read(), complained.read()
            )

    def up(self, *daemons: str) -> None:
        """Start daemons and wait for their pid files."""
        for daemon in daemons:
            done = self.run(daemon)
            assert done.returncode == 0, done.stderr
        for daemon in daemons:
            until(lambda name=daemon: self.pid(name), f"{daemon} starting")

    def pid(self, daemon: str) -> int | None:
        """Return a living daemon's process id."""
        for path in (self.home / "var/run").glob(f"{daemon}-*.pid"):
            with suppress(ValueError, OSError):
                number = int(path.read_text())
                if Path(f"/proc/{number}").exists():
                    return number
        return None

    def tell(self, daemon: str, number: signal.Signals) -> None:
        """Send a daemon's main process a signal and wait for its end."""
        pid = self.pid(daemon)
        assert pid is not None
        os.kill(pid, number)
        until(lambda: not running(pid), f"{daemon} ending")

    def end(self) -> None:
        """Kill everything this node started, helpers in the daemons' groups too."""
        until(lambda: not self._killed(), "the node's end")

    def _killed(self) -> int:
        """Kill what is there now and say how much that was: some may have been starting."""
        found = 0
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if f"{self.home}/bin/".encode() in path.read_bytes():
                    found += 1
                    pid = int(path.parent.name)
                    group = os.getpgid(pid)
                    os.kill(pid, signal.SIGKILL)
                    if group != os.getpgid(0):
                        os.killpg(group, signal.SIGKILL)
        return found

    def key_file(self) -> str:
        """Return client.keys."""
        return (self.home / "etc/client.keys").read_text()

    def log(self, name: str = "ossec") -> str:
        """Return a log."""
        path = self.home / f"logs/{name}.log"
        return path.read_text() if path.exists() else ""

    def enrol(self, line: str) -> str:
        """Ask for a key as an agent does."""
        until(lambda: answers(self.auth), "port 1515")
        with (
            socket.create_connection(("127.0.0.1", self.auth), timeout=30) as connection,
            UNVERIFIED.wrap_socket(connection) as channel,
        ):
            channel.sendall(f"{line}\n".encode())
            return channel.recv(4096).decode()

    def agent(self, name: str) -> str:
        """Enrol an agent and return its id."""
        answer = self.enrol(f"OSSEC A:'{name}'")
        assert answer.startswith("OSSEC K:'"), answer
        return answer.removeprefix("OSSEC K:'").split()[0]

    def ask(self, command: str, data: dict[str, object]) -> dict:
        """Ask the cluster daemon's local socket."""
        home = Home(str(self.home / "bin/test"))
        return json.loads(
            cluster_control.ask(home, command.encode(), json.dumps(data).encode(), 20)
        )

    def local(self, path: str, message: dict[str, object]) -> dict:
        """Ask another local socket."""
        return frames.ask_json(self.home / path, message, 20)

    def call(
        self, method: str, path: str, *, token: str = "", basic: str = "", body: object = None
    ) -> tuple[int, dict]:
        """Call the API; return status and decoded body."""
        headers = {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if basic:
            headers["Authorization"] = "Basic " + base64.b64encode(basic.encode()).decode()
        connection = HTTPSConnection("127.0.0.1", self.api, context=UNVERIFIED, timeout=60)
        with closing(connection):
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def login(self, basic: str = "wazuh:wazuh") -> str:
        """Return a token."""
        status, body = self.call("POST", "/security/user/authenticate", basic=basic)
        assert status == 200, body
        return body["data"]["token"]

    def listening(self) -> bool:
        """Return whether the API's port answers."""
        return answers(self.api)


def answers(port: int) -> bool:
    """Return whether somebody listens on a port of this machine."""
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    return False


def running(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


class Yard:
    """Makes nodes from one built tree, and ends them."""

    def __init__(self, tree: Path, folder: Path):
        self.tree = tree
        self.folder = folder
        self.nodes: list[Node] = []

    def node(self, name: str = "node-0", kind: str = "master", **changes: str) -> Node:
        """Make a configured node."""
        home = self.folder / name
        shutil.copytree(self.tree, home, symlinks=True)
        node = Node(home, name, kind)
        node.configure(**changes)
        self.nodes.append(node)
        return node

    def worker(self, master: Node, folder: str, /, **changes: str) -> Node:
        """Make a worker of a master."""
        node = self.node(folder, "worker")
        node.cluster_port = master.cluster_port
        node.configure(**changes)
        return node


@contextmanager
def yard(tree: Path, folder: Path) -> Iterator[Yard]:
    """Yield a yard whose nodes are ended afterwards."""
    made = Yard(tree, folder)
    try:
        yield made
    finally:
        for node in made.nodes:
            node.end()
