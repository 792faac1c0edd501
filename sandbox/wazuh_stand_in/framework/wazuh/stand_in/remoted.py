"""remoted: port 1514, where <remote> asks for it; agents' connections stay open."""

import re
import socket
import threading
from contextlib import suppress

from . import agents, configuration
from .configuration import ConfigurationError
from .home import Home
from .process import stopping
from .serving import accept

HEADER = re.compile(rb"!(\d+)!")
"""What an agent's message begins with (secure_msg: `!id!`); the rest is not read here."""


def check(home: Home) -> bool:
    """Return whether there is a <remote>; raise ConfigurationError for a bad port."""
    blocks = configuration.read(home / "etc/ossec.conf").all("remote")
    for block in blocks:
        if not block.value("port", "1514").isdigit():
            raise ConfigurationError("(1235): Invalid value for element 'port'.")
    secure = [block for block in blocks if block.value("connection", "secure") == "secure"]
    if len(secure) > 1:
        raise ConfigurationError("(1207): Only one secure connection can be configured.")
    return True


def serve(home: Home) -> int:
    """Hold agents' connections until told to stop."""
    ossec = configuration.read(home / "etc/ossec.conf")
    cluster = ossec.find("cluster")
    sessions = Sessions(home, configuration.Cluster(cluster).node if cluster else "node01")
    servers = []
    for block in ossec.all("remote"):
        address = (block.value("local_ip"), int(block.value("port", "1514")))
        try:
            servers.append(socket.create_server(address, backlog=128))
        except OSError as error:
            home.log("CRITICAL", f"(1206): Unable to Bind port '{address[1]}' due to {error}")
            return 1
        accept(servers[-1], sessions.hold)
        home.log("INFO", f"(1410): Listening on port {address[1]}/TCP (secure).")
    if not servers:
        home.log("INFO", "Remoted connection is not configured. Exiting.")
        return 0
    orders = agents.listen(home)
    threading.Thread(target=sessions.obey, args=(orders,), daemon=True).start()
    stopping.wait()
    for server in (*servers, orders):
        server.close()
    return 0


class Sessions:
    """Agents' connections, each known by the id it has named."""

    def __init__(self, home: Home, node: str):
        self.home = home
        self.node = node
        self.lock = threading.Lock()
        self.open: dict[str, socket.socket] = {}

    def hold(self, connection: socket.socket) -> None:
        """Echo whatever comes: agents are answered, and what they say is not read.

        Only the id at the very beginning is. An agent whose key has not arrived is let go.
        """
        data = connection.recv(65536)
        named = HEADER.match(data)
        agent = named[1].decode() if named else ""
        if agent and not self._enter(agent, connection):
            return
        while data and not stopping.is_set():
            with suppress(OSError):
                connection.sendall(data)
            data = connection.recv(65536)
        with self.lock:
            if self.open.get(agent) is connection:
                del self.open[agent]

    def _enter(self, agent: str, connection: socket.socket) -> bool:
        if not any(
            line.startswith(f"{agent} ") and line.split()[1][:1] not in "!#"
            for line in _keys(self.home)
        ):
            self.home.log("WARNING", f"(1408): Invalid ID {agent} for the source ip.")
            return False
        with self.lock:
            self.open[agent] = connection
        agents.report(self.home, int(agent), self.node)
        return True

    def obey(self, orders: socket.socket) -> None:
        """Pass on what the API wants of agents, until the socket is closed."""
        while not stopping.is_set():
            try:
                text = orders.recv(65536).decode(errors="replace")
                agent, words = agents.order(text)
            except OSError:
                return
            except ValueError:
                self.home.log("WARNING", "(1310): Invalid active response (ar) message")
                continue
            with self.lock:
                meant = [one for name, one in self.open.items() if agent in (None, name)]
            for connection in meant:
                with suppress(OSError):
                    connection.sendall(words.encode() + b"\n")


def _keys(home: Home) -> "list[str]":
    try:
        return (home / "etc/client.keys").read_text().splitlines()
    except OSError:
        return []
