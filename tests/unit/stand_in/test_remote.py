import socket

from sandbox.wazuh_stand_in.framework.wazuh.stand_in import frames
from tests.unit.stand_in.nodes import Yard, answers, until


def test_given_a_remote_block_when_agents_connect_then_their_connections_stay_open(
    nodes: Yard,
) -> None:
    node = nodes.node(cluster="")
    node.up("wazuh-remoted")
    until(lambda: answers(node.remote_port))

    with socket.create_connection(("127.0.0.1", node.remote_port), timeout=20) as agent:
        for word in (b"keep-alive", b"again"):
            agent.sendall(word)
            assert agent.recv(100) == word


def test_given_wazuh_db_when_probed_then_it_answers_in_the_real_framing(nodes: Yard) -> None:
    node = nodes.node(cluster="")
    node.up("wazuh-db")
    path = node.home / "queue/db/wdb"
    until(path.exists)

    answers_ = [
        frames.ask(path, query, 10)
        for query in (
            b"global sql SELECT count(*) AS number FROM agent",
            b"global fly",
            b"colour red",
            b"global sql SELEC",
            b'global insert-agent {"id": 7, "name": "a"}',
            b"global sql SELECT id, name FROM agent",
            b"global delete-agent 7",
        )
    ]

    assert answers_[0] == b'ok [{"number": 0}]'
    assert answers_[1] == b"err Invalid DB query syntax, near 'fly'"
    assert answers_[2] == b"err Invalid DB query actor: colour"
    assert answers_[3].startswith(b"err Cannot execute Global database query; ")
    assert answers_[4:] == [b"ok", b'ok [{"id": 7, "name": "a"}]', b"ok"]
