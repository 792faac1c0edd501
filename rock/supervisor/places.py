"""Where everything lies, so that tests can put it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ports:
    """Where this unit listens: API, cluster, peers, Pebble's check on the loopback, 1515."""

    api: int = 55000
    cluster: int = 1516
    peers: int = 8514
    health: int = 8515
    enrolment: int = 1515


@dataclass(frozen=True, slots=True)
class Places:
    """The roots; everything else is below them.

    `image` is also how our own processes are told from Wazuh's, which share a Python.
    """

    home: Path = Path("/var/ossec")
    orders: Path = Path("/etc/wazuh-server")
    run: Path = Path("/run/wazuh-server")
    image: Path = Path("/opt/wazuh-server")
    repository: Path = Path("/var/lib/wazuh-repository")
    pebble: Path = Path("/charm/container/pebble.socket")
    address: str = ""  # where peers are answered; empty: on all addresses
    ports: Ports = field(default_factory=Ports)

    @property
    def volume(self) -> Path:
        """The mount point of the one volume."""
        return self.home / "queue"

    @property
    def keep(self) -> Path:
        """Where the links of etc, logs and the others lead."""
        return self.volume / "keep"

    @property
    def own(self) -> Path:
        """The supervisor's own files on the volume."""
        return self.keep / "supervisor"

    @property
    def client_keys(self) -> Path:
        """The agents' keys."""
        return self.home / "etc/client.keys"

    @property
    def pids(self) -> Path:
        """Where Wazuh's daemons leave their pid files."""
        return self.home / "var/run"

    @property
    def report(self) -> Path:
        """What the charm reads."""
        return self.run / "state.json"


def from_environment(environment: Mapping[str, str]) -> Places:
    """Return the image's places; only Pebble's socket is told by the environment."""
    socket = environment.get("PEBBLE_SOCKET")
    return Places(pebble=Path(socket)) if socket else Places()
