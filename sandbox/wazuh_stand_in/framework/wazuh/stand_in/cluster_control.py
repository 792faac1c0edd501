"""bin/cluster_control -l: the connected nodes, as a table."""

import json
import socket

from . import frames
from .home import Home

COLUMNS = ("NAME", "TYPE", "VERSION", "ADDRESS")


def command(home: Home, arguments: "list[str]") -> int:
    """Print the nodes; errors are printed as well, with exit code 0 like the real one's."""
    if "-l" not in arguments:
        print("usage: cluster_control (stand-in) -l")
        return 0
    try:
        answer = json.loads(ask(home, b"get_nodes", b"{}", 20))
    except OSError:
        print("ERROR: Error 3012 - Cluster is not running")
        return 0
    fault = answer.get("__wazuh_exception__")
    if fault:
        print(
            f"ERROR: Error {fault['__object__']['code']} - Worker node is not connected to master"
        )
        return 0
    rows = [COLUMNS] + [
        tuple(item[word] for word in ("name", "type", "version", "ip")) for item in answer["items"]
    ]
    for row in rows:
        print(
            "  ".join(
                f"{cell:<{max(len(line[i]) for line in rows)}}" for i, cell in enumerate(row)
            ).rstrip()
        )
    return 0


def ask(home: Home, name: bytes, data: bytes, timeout: float) -> bytes:
    """Ask the cluster daemon of this node; raise OSError. Errors come as JSON."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(home / "queue/cluster/c-internal.sock"))
        frames.send_command(connection, 1, name, data)
        counter, word, answer = frames.receive_command(connection)
        if word != b"ok" or not answer.startswith((b"Sent request", b"Added request")):
            return answer
        counter, word, answer = frames.receive_command(connection)
        frames.send_command(connection, counter, b"ok", b"Response received")
        return answer
