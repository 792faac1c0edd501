"""Agents' sessions on 1514: where they report, and the order to connect again."""

import socket
import time
from contextlib import suppress

from tests.unit.stand_in.nodes import FOR_API, Node, Yard, answers, until


class Agent:
    """One agent's session: it names its id and listens."""

    def __init__(self, node: Node, number: str):
        self.session = socket.create_connection(("127.0.0.1", node.remote_port), timeout=20)
        self.session.sendall(f"!{number}!still here\n".encode())
        self.heard = b""

    def hears(self, words: bytes, seconds: float = 20) -> bool:
        self.session.settimeout(seconds)
        with suppress(TimeoutError):
            while words not in self.heard:
                data = self.session.recv(4096)
                if not data:
                    break
                self.heard += data
        return words in self.heard


def cluster(nodes: Yard) -> tuple[Node, Node, str]:
    """Give a master with its worker, and an administrator's token."""
    master = nodes.node()
    worker = nodes.worker(master, "node-1")
    for node in (master, worker):
        node.up(*FOR_API, "wazuh-clusterd", "wazuh-apid")
    master.up("wazuh-authd")
    until(lambda: worker.listening() and answers(worker.remote_port))
    until(
        lambda: worker.call("POST", "/security/user/authenticate", basic="wazuh:wazuh")[0] == 200
    )
    return master, worker, worker.login()


def where(node: Node, token: str, name: str) -> list[str]:
    path = f"/agents?node_name={name}&status=active&select=id&sort=%2Bid&limit=500"
    time.sleep(0.3)  # the API takes 300 calls a minute
    _, body = node.call("GET", path, token=token)
    assert all(set(one) == {"id"} for one in body["data"]["affected_items"])
    return [one["id"] for one in body["data"]["affected_items"]]


def test_given_agents_on_two_nodes_when_told_to_connect_again_then_each_node_tells_its_own(
    nodes: Yard,
) -> None:
    master, worker, token = cluster(nodes)
    names = [master.agent(f"agent-{number}") for number in range(4)]
    until(lambda: worker.key_file().count("\n") >= 4)
    held = {number: Agent(worker, number) for number in names[:2]}
    held |= {names[2]: Agent(master, names[2])}
    assert all(agent.hears(b"still here") for agent in held.values())
    until(lambda: where(worker, token, "node-1") == names[:2])
    until(lambda: names[2] in where(worker, token, "node-0"))

    asked = [*names, "999"]
    status, body = worker.call(
        "PUT", f"/agents/reconnect?agents_list={','.join(asked)}", token=token
    )

    assert (status, body["error"]) == (200, 2)
    assert body["data"]["affected_items"] == names[:3]
    failed = {one["id"][0]: one["error"]["code"] for one in body["data"]["failed_items"]}
    assert failed == {names[3]: 1707, "999": 1701}
    assert all(agent.hears(b"#!-force_reconnect") for agent in held.values())


def test_given_a_node_s_agents_when_its_remoted_is_told_all_then_each_of_them_hears_it(
    nodes: Yard,
) -> None:
    node = nodes.node(cluster="")
    node.up(*FOR_API, "wazuh-authd")
    names = [node.agent(f"agent-{number}") for number in range(2)]
    until(lambda: node.key_file().count("\n") >= 2)
    held = [Agent(node, number) for number in names]
    assert all(agent.hears(b"still here") for agent in held)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.connect(str(node.home / "queue/alerts/ar"))
        for order in (b"rubbish", b"", b"(msg_to_agent) [] ANN (null) restart-ossec0"):
            speaker.send(order)
        speaker.send(b"(msg_to_agent) [] A!N (null) force_reconnect")

    assert all(agent.hears(b"#!-force_reconnect") for agent in held)


def test_given_an_agent_that_moved_when_asked_then_the_master_knows_its_new_node(
    nodes: Yard,
) -> None:
    master, worker, token = cluster(nodes)
    number = master.agent("agent")
    until(lambda: worker.key_file())
    for node in (worker, master, worker):
        assert Agent(node, number).hears(b"still here")
        until(lambda name=node.name: where(worker, token, name) == [number])


def test_given_an_agent_without_a_key_when_it_connects_then_it_is_let_go(nodes: Yard) -> None:
    node = nodes.node(cluster="")
    node.up("wazuh-db", "wazuh-remoted")
    until(lambda: answers(node.remote_port))

    assert not Agent(node, "007").hears(b"still here")
    assert "Invalid ID 007" in node.log()
