"""The master: lets workers in, gives them its files, and does what they forward."""

import json
import re
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from . import agents, frames, integrity
from .clusterlocal import LocalServer, Node, Peer
from .home import VERSION, scaled
from .link import ClusterError, Link
from .process import fork_child, stopping

if TYPE_CHECKING:
    from .calls import Performer

RECALCULATE_SECONDS = 8
GROUPS_SECONDS = 10
KEEP_ALIVE_CHECK_SECONDS, KEEP_ALIVE_LIMIT_SECONDS = 60, 120
CONNECTIONS_PER_ADDRESS = 10
GROUPS = 'global sql SELECT id, name, "group" FROM agent WHERE "group" IS NOT NULL'


class Client:
    """A worker that said hello."""

    def __init__(self, link: Link, name: str, version: str, address: str):
        self.link = link
        self.info = {"name": name, "type": "worker", "version": version.lstrip("v"), "ip": address}
        self.seen = time.monotonic()


class Master(Node):
    """The master's end of the cluster."""

    title = "Master"

    def start(self) -> None:
        """Listen; raise OSError where the port is taken."""
        self.clients: dict[str, Client] = {}
        self.addresses: dict[str, int] = {}
        self.lock = threading.Lock()
        self.digests = integrity.digests(self.home.path)
        self.performer: Performer | None = None
        self.server = socket.create_server((self.settings.bind, self.settings.port), backlog=64)
        # Pool workers of the real one inherit the listening port: where only the main process
        # is killed they keep it, and the next cluster daemon cannot have it.
        for _ in range(2):
            fork_child(self.home, "wazuh-apid_auth")
        self.log("INFO", "Main", f"Serving on {self.server.getsockname()}")
        self.local = LocalServer(self)
        for work in (self._accept, self._recalculate, self._watch, self._send_groups):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        """Let every worker go."""
        super().close()
        self.server.close()
        for client in list(self.clients.values()):
            client.link.close()

    def _accept(self) -> None:
        while not stopping.is_set():
            try:
                connection, peer = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, peer[0]), daemon=True).start()

    def _serve(self, connection: socket.socket, address: str) -> None:
        with self.lock:
            count = self.addresses.get(address, 0)
            if count >= CONNECTIONS_PER_ADDRESS:
                self.log("WARNING", "Main", f"Too many connections from {address}, rejecting.")
                connection.close()
                return
            self.addresses[address] = count + 1
        self.log("INFO", "Main", f"Connection from {address}")
        link = Link(connection, self.settings.key, self._asked)
        link.serve()
        if link.error:
            self.log("ERROR", "Main", str(link.error))
        with self.lock:
            self.addresses[address] -= 1
            for name, client in list(self.clients.items()):
                if client.link is link:
                    del self.clients[name]
                    self.log("INFO", "Main", f"Worker {name} disconnected")

    def _asked(self, link: Link, message: dict) -> dict:
        kind = message["kind"]
        if kind == "hello":
            return self._hello(link, message)
        client = next((one for one in self.clients.values() if one.link is link), None)
        if client is None:
            raise ClusterError(3022)
        if kind == "keepalive":
            client.seen = time.monotonic()
            return {}
        if kind == "agents":
            agents.take(self.home, message["agents"])
            return {}
        if kind == "integrity":
            changed, surplus = integrity.compare(self.digests, message["digests"])
            return {"files": integrity.contents(self.home.path, changed), "surplus": surplus}
        return {"answer": self._perform(kind, message["data"])}

    def _perform(self, kind: str, data: str) -> str:
        if kind == "get_nodes":
            return json.dumps(self.nodes(json.loads(data)))
        if kind == "get_health":
            return json.dumps(self.health())
        if kind == "sendsync":
            message = json.loads(data)["message"]
            try:
                return json.dumps(
                    frames.ask_json(self.home / "queue/sockets/auth", message, scaled(15))
                )
            except OSError as error:
                raise ClusterError(1014, str(error)) from None
        if kind == "dapi":
            return self._forwarded(data)
        raise ClusterError(3027)

    def _forwarded(self, data: str) -> str:
        import sqlite3

        try:
            return self._api().forwarded(data)
        except sqlite3.Error as error:
            return json.dumps({"status": 500, "code": 2008, "detail": str(error)})

    def _api(self) -> "Performer":
        # Opened at the first request and kept open: users replaced in the file meanwhile are
        # not seen by requests that come through workers.
        with self.lock:
            if self.performer is None:
                from .calls import Performer

                self.performer = Performer(self.home)
            return self.performer

    def _hello(self, link: Link, message: dict) -> dict:
        name = message["node"]
        with self.lock:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                self._refuse(ClusterError(3060, name))
            if name in self.clients:
                self._refuse(ClusterError(3028, name))
            if name == self.settings.node:
                self._refuse(ClusterError(3029))
            if message["cluster"] != self.settings.name:
                self._refuse(ClusterError(3030))
            if message["version"] != VERSION:
                self._refuse(ClusterError(3031))
            address = link.connection.getpeername()[0]
            self.clients[name] = Client(link, name, message["version"], address)
        return {}

    def _refuse(self, error: ClusterError) -> None:
        # The worker ends the connection when it reads this.
        self.log("ERROR", "Main", f"Internal error processing request 'hello': {error}")
        raise error

    def nodes(self, arguments: dict) -> dict:
        """Return the connected nodes, the master among them, as `get_nodes` answers."""
        wanted = arguments.get("filter_node")
        wanted = [wanted] if isinstance(wanted, str) else wanted
        kind = arguments.get("filter_type", "all")
        items = [
            info
            for info in (self.info(), *self._infos())
            if (not wanted or info["name"] in wanted) and kind in ("all", info["type"])
        ]
        return {"items": items, "totalItems": len(items)}

    def info(self) -> "dict[str, str]":
        """Return the master's own entry."""
        return {
            "name": self.settings.node,
            "type": "master",
            "version": VERSION.lstrip("v"),
            "ip": self.settings.nodes[0],
        }

    def _infos(self) -> "list[dict[str, str]]":
        with self.lock:
            return [client.info for client in self.clients.values()]

    def health(self) -> dict:
        """Return what `get_health` answers."""
        nodes = {info["name"]: {"info": info, "status": {}} for info in self._infos()}
        count = {"info": {**self.info(), "n_connected_nodes": len(nodes)}}
        return {"n_connected_nodes": len(nodes), "nodes": {self.settings.node: count, **nodes}}

    def ask_workers(self, kind: str) -> "dict[str, dict]":
        """Ask every worker, one after the other; those lost meanwhile are left out."""
        answers = {}
        for name, client in list(self.clients.items()):
            with suppress(ClusterError):
                answers[name] = client.link.ask(kind)
        return answers

    def _reconnect(self, by_node: "dict[str, list[str]]") -> "dict[str, int]":
        """Have each node tell its agents; those of a node that is not there fail with 3022."""
        failed: dict[str, int] = {}
        for node, numbers in by_node.items():
            client = self.clients.get(node)
            if node in (self.settings.node, "unknown"):
                failed |= agents.reconnect(self.home, numbers)
            elif client is None:
                failed |= dict.fromkeys(numbers, 3022)
            else:
                try:
                    failed |= client.link.ask("reconnect", agents=numbers)["failed"]
                except ClusterError as error:
                    failed |= dict.fromkeys(numbers, error.code)
        return failed

    def _reload(self) -> "dict[str, dict]":
        from .ruleset import ask_reload

        answers = self.ask_workers("reload").items()
        return {
            self.settings.node: ask_reload(self.home),
            **{name: answer["answer"] for name, answer in answers},
        }

    def _recalculate(self) -> None:
        while not stopping.wait(scaled(RECALCULATE_SECONDS)):
            self.digests = integrity.digests(self.home.path)

    def _watch(self) -> None:
        while not stopping.wait(scaled(KEEP_ALIVE_CHECK_SECONDS)):
            for name, client in list(self.clients.items()):
                if time.monotonic() - client.seen > scaled(KEEP_ALIVE_LIMIT_SECONDS):
                    self.log(
                        "ERROR",
                        "Keep alive",
                        f"No keep alives have been received from "
                        f"{name} in the last minute. Disconnecting",
                    )
                    client.link.close()

    def _send_groups(self) -> None:
        while not stopping.wait(scaled(GROUPS_SECONDS)):
            with suppress(OSError, ValueError):
                answer = frames.ask(self.home / "queue/db/wdb", GROUPS.encode(), scaled(10))
                groups = json.loads(answer.partition(b" ")[2])
                for client in list(self.clients.values()):
                    with suppress(ClusterError):
                        client.link.ask("groups", groups=groups)

    def answer(self, peer: Peer, command: bytes, data: bytes) -> "tuple[bytes, bytes] | None":
        """Answer at once what a worker would have to forward."""
        if command in (b"get_nodes", b"get_health"):
            return b"ok", self._perform(command.decode(), data.decode()).encode()
        if command == b"reconnect":
            return b"ok", json.dumps(self._reconnect(json.loads(data))).encode()
        if command == b"reload":
            return b"ok", json.dumps(self._reload()).encode()
        return super().answer(peer, command, data)
