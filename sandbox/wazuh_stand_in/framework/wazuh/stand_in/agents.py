"""Where agents report: wazuh-db's table of them, and the order to connect again."""

import json
import socket
from contextlib import suppress

from . import frames
from .home import Home, belongs_to_wazuh, scaled

ORDERS = "queue/alerts/ar"
"""remoted's socket for what agents are to do (remoted/ar-forward.c)."""
ANSWER = "force_reconnect"
PREFIX = "(msg_to_agent) [] "
REPORTED = (
    "global sql SELECT id, connection_status, node_name, sync_status FROM agent "
    "WHERE connection_status = 'active'"
)


def listen(home: Home) -> socket.socket:
    """Make remoted's socket of datagrams; a stale one is replaced."""
    path = home / ORDERS
    with suppress(FileNotFoundError):
        path.unlink()
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(str(path))
    belongs_to_wazuh(path, 0o660)
    return server


def order(text: str) -> "tuple[str | None, str]":
    """Read an order: for which agent (None: all), and the words for it; raise ValueError."""
    _, found, rest = text.partition("] ")
    where, agent, words = rest.split(" ", 2)
    if not found or len(where) != 3 or where[1] != "!" or words != ANSWER:
        raise ValueError(text)
    if where[0] == "A":
        return None, f"#!-{words}"
    if where[2] == "S" and agent.isdigit():
        return agent, f"#!-{words}"
    raise ValueError(text)


def report(home: Home, agent: int, node: str, status: str = "syncreq") -> None:
    """Note where an agent is connected; `syncreq`: the master is to know."""
    entry = {
        "id": agent,
        "connection_status": "active",
        "node_name": node,
        "sync_status": status,
    }
    with suppress(OSError):
        query = f"global update-agent-data {json.dumps(entry)}"
        frames.ask(home / "queue/db/wdb", query.encode(), scaled(10))


def reported(home: Home) -> "dict[int, dict]":
    """Return the active agents that this node's database knows, by id."""
    with suppress(OSError, ValueError):
        answer = frames.ask(home / "queue/db/wdb", REPORTED.encode(), scaled(10))
        return {row["id"]: row for row in json.loads(answer.partition(b" ")[2])}
    return {}


def news(home: Home) -> "list[dict]":
    """Return the agents that have connected here since the last time, for the master."""
    fresh = [row for row in reported(home).values() if row["sync_status"] == "syncreq"]
    take(home, fresh)
    return fresh


def take(home: Home, rows: "list[dict]") -> None:
    """Take over what another node says of its agents."""
    for row in rows:
        report(home, int(row["id"]), str(row["node_name"]), "synced")


def reconnect(home: Home, agents: "list[str]") -> "dict[str, int]":
    """Tell agents of this node to connect again; the number of the error of each other one.

    As `reconnect_agents` in framework/wazuh/agent.py: 1701 unknown, 1703 the manager itself,
    1707 not active as this node's own database has it.
    """
    with suppress(FileNotFoundError):
        words = [line.split() for line in (home / "etc/client.keys").read_text().splitlines()]
        known = {one[0] for one in words if len(one) == 4 and one[1][0] not in "!#"}
        active, failed = reported(home), {}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.connect(str(home / ORDERS))
            for agent in agents:
                if agent == "000":
                    failed[agent] = 1703
                elif agent not in known:
                    failed[agent] = 1701
                elif int(agent) not in active:
                    failed[agent] = 1707
                else:
                    speaker.send(f"{PREFIX}N!S {agent} {ANSWER}".encode())
        return failed
    return dict.fromkeys(agents, 1701)
