"""remoted: port 1514, where <remote> asks for it; agents' connections stay open."""

import socket
from contextlib import suppress

from . import configuration
from .configuration import ConfigurationError
from .home import Home
from .process import stopping
from .serving import accept


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
    servers = []
    for block in configuration.read(home / "etc/ossec.conf").all("remote"):
        address = (block.value("local_ip"), int(block.value("port", "1514")))
        try:
            servers.append(socket.create_server(address, backlog=128))
        except OSError as error:
            home.log("CRITICAL", f"(1206): Unable to Bind port '{address[1]}' due to {error}")
            return 1
        accept(servers[-1], _hold)
        home.log("INFO", f"(1410): Listening on port {address[1]}/TCP (secure).")
    if not servers:
        home.log("INFO", "Remoted connection is not configured. Exiting.")
        return 0
    stopping.wait()
    for server in servers:
        server.close()
    return 0


def _hold(connection: socket.socket) -> None:
    """Echo whatever comes: agents are answered, and what they say is not read."""
    while not stopping.is_set():
        data = connection.recv(65536)
        if not data:
            break
        with suppress(OSError):
            connection.sendall(data)
