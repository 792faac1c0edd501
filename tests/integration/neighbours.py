"""Who is related to the application on the sandbox: a stand-in for each neighbour's charm.

Each tells what the charm that it stands for tells, and serves what that charm's workload serves
as far as ours can see it. Certificates are issued by the published library's own code.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sandbox.driver import APPLICATION, Driver
from sandbox.indexer_stand_in.neighbour import Indexer
from sandbox.network import FIRST_CLIENT
from tests.unit.charm.provider import Authority, authority, provide

# Passes bytes on from each port to a server, as Traefik does for raw TCP.
_PASS_ON = """
import asyncio, json, sys
async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
async def serve(port, server):
    host, _, there = server.rpartition(":")
    async def meet(reader, writer):
        try:
            out_reader, out_writer = await asyncio.open_connection(host, int(there))
        except OSError:
            return writer.close()
        await asyncio.gather(pump(reader, out_writer), pump(out_reader, writer))
    async with await asyncio.start_server(meet, "0.0.0.0", port) as listening:
        await listening.serve_forever()
async def main():
    await asyncio.gather(*(serve(int(p), s) for p, s in json.loads(sys.argv[1]).items()))
asyncio.run(main())
"""


class Neighbour(Protocol):
    """One application beside ours that runs no charm."""

    name: str

    def relate(self) -> None:
        """Relate it."""

    def follow(self) -> None:
        """Answer what ours tells, when that is something new."""

    def part(self) -> None:
        """Remove the relation, and end what served."""


@dataclass
class _Scripted:
    """What all of them are: an application with one endpoint."""

    driver: Driver
    endpoint: str
    name: str
    theirs: str
    interface: str
    role: str
    followed: Mapping[str, str] = field(default_factory=dict, init=False)

    def relate(self) -> None:
        self.driver.neighbour(self.name, self.theirs, self.interface, self.role)
        self.driver.juju("integrate", f"{APPLICATION}:{self.endpoint}", self.name)

    def follow(self) -> None:
        told = self.driver.told(self.name)
        if told and told != self.followed:
            self.answer(told)
        self.followed = told

    def answer(self, told: Mapping[str, str]) -> None:
        """Tell ours something once it has told us its side."""

    def part(self) -> None:
        self.driver.juju("remove-relation", f"{APPLICATION}:{self.endpoint}", self.name)


@dataclass
class _Certificates(_Scripted):
    """A provider of certificates; what it issues is made by the published library's provider."""

    root: Authority = field(default_factory=authority, init=False)

    def answer(self, told: Mapping[str, str]) -> None:
        self.driver.tell(self.name, provide(told, self.root))


@dataclass
class _Traefik(_Scripted):
    """A Traefik that passes on the entry points that it is told, from an address of its own."""

    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    def answer(self, told: Mapping[str, str]) -> None:
        assert self._process is None, "what Traefik is told has changed"
        tcp, points = json.loads(told["config"])["tcp"], json.loads(told["static"])["entryPoints"]
        servers = {
            points[name]["address"].lstrip(":"): service["loadBalancer"]["servers"][0]["address"]
            for name, service in tcp["services"].items()
        }
        command = [sys.executable, "-c", _PASS_ON, json.dumps(servers)]
        self._process = self.driver.start_client(command)
        for port in map(int, servers):
            self.driver.wait(f"listens on {port}", lambda p=port: self.driver.listens(p), 30)
        self.driver.tell(self.name, {"external_host": FIRST_CLIENT, "scheme": "http"})

    def part(self) -> None:
        super().part()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)


@dataclass
class _OpenCti(_Scripted):
    """An OpenCTI that is told of; nothing is asked of it unless an alert names something."""

    def answer(self, told: Mapping[str, str]) -> None:
        assert told["connector_type"]
        token = self.driver.lend("opencti-token", {"token": "a-token-of-the-stand-in"})
        url = f"http://{self.name}.{self.driver.model}.svc.cluster.local:8080"
        self.driver.tell(self.name, {"opencti_url": url, "opencti_token": token})


@dataclass
class _OpenSearch:
    """The stand-in for OpenSearch, which listens while it is related."""

    indexer: Indexer
    name: str = "opensearch"

    def relate(self) -> None:
        self.indexer.come()
        self.indexer.relate()

    def follow(self) -> None:
        """Everything was told at once."""

    def part(self) -> None:
        self.indexer.part()
        self.indexer.go()


_PLAYED: dict[str, tuple[type[_Scripted], str, str, str, str]] = {
    "certificates": (
        _Certificates,
        *("self-signed-certificates", "certificates", "tls-certificates", "provides"),
    ),
    "ingress": (_Traefik, "traefik-k8s", "traefik-route", "traefik_route", "provides"),
    "opencti-connector": (
        _OpenCti,
        *("opencti", "opencti-connector", "opencti_connector", "requires"),
    ),
    "wazuh-api": (_Scripted, "wazuh-dashboard", "wazuh-api", "wazuh_api_client", "requires"),
}


def neighbour(driver: Driver, endpoint: str) -> Neighbour:
    """Return who stands at the other side of an endpoint."""
    if endpoint == "opensearch-client":
        return _OpenSearch(Indexer(driver))
    kind, *about = _PLAYED[endpoint]
    return kind(driver, endpoint, *about)
