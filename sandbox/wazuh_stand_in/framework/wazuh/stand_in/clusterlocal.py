"""queue/cluster/c-internal.sock: what the cluster daemon answers on its own node."""

import itertools
import json
import socket
import threading
import time
from contextlib import suppress

from . import frames
from .configuration import Cluster
from .home import Home
from .link import ClusterError
from .process import stopping


class Node:
    """What master and worker have in common."""

    title = "Node"

    def __init__(self, home: Home, settings: Cluster):
        self.home = home
        self.settings = settings
        self.local: LocalServer | None = None

    def log(self, level: str, part: str, message: str) -> None:
        """Write a line to logs/cluster.log."""
        stamp = time.strftime("%Y/%m/%d %H:%M:%S")
        self.home.append(
            "logs/cluster.log", f"{stamp} {level}: [{self.title}] [{part}] stand-in: {message}\n"
        )

    def start(self) -> None:
        """Begin; raise OSError where the port cannot be had."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop serving."""
        if self.local:
            self.local.close()

    def answer(self, peer: "Peer", command: bytes, data: bytes) -> "tuple[bytes, bytes] | None":
        """Answer a command of the local socket; raise ClusterError."""
        if command == b"get_config":
            # With the key in clear, as the real one: nobody should ask.
            settings = {name: getattr(self.settings, name) for name in Cluster.__slots__}
            return b"ok", json.dumps(settings).encode()
        if command in (b"echo", b"echo-c"):
            return b"ok", data
        return b"err", f"unknown command '{command!r}'".encode()


class Peer:
    """One connection to the local socket."""

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self._counters = itertools.count(1 << 20)
        self._sending = threading.Lock()

    def send(self, counter: int, command: bytes, data: bytes) -> None:
        """Send an answer."""
        with suppress(OSError), self._sending:
            frames.send_command(self.connection, counter, command, data)

    def tell(self, command: bytes, data: bytes) -> None:
        """Send a message of our own, which the peer acknowledges with `ok`."""
        self.send(next(self._counters), command, data)


class LocalServer:
    """Listens on the socket until closed; closing ends its connections too."""

    def __init__(self, node: Node):
        self.node = node
        self.peers: set[Peer] = set()
        self.server = frames.listen_unix(node.home / "queue/cluster/c-internal.sock")
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Refuse connections from now on; the socket's file stays, as the real one's does."""
        for end in (self.server, *(peer.connection for peer in self.peers.copy())):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while not stopping.is_set():
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        peer = Peer(connection)
        self.peers.add(peer)
        try:
            while True:
                self._one(peer, *frames.receive_command(connection))
        except (OSError, ValueError):
            pass
        finally:
            self.peers.discard(peer)
            connection.close()

    def _one(self, peer: Peer, counter: int, command: bytes, data: bytes) -> None:
        if command in (b"ok", b"err"):
            return
        try:
            answer = self.node.answer(peer, command, data)
        except ClusterError as error:
            self.node.log(
                "ERROR",
                "Local Server",
                f"Internal error processing request '{command!r}': {error}",
            )
            answer = b"err", error.encoded()
        if answer:
            peer.send(counter, *answer)
