import os
import re
import signal
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.wazuh_stand_in.framework.wazuh.stand_in import frames, integrity, link
from tests.unit.stand_in.nodes import MASTER_AWAY, Node, Yard, until

TREES = (
    "etc/rules/own.xml",
    "etc/decoders/own.xml",
    "etc/lists/own",
    "etc/shared/grp1/agent.conf",
    "var/multigroups/ab/merged.mg",
)


def connected(worker: Node) -> bool:
    try:
        answer = worker.ask("get_nodes", {})
    except OSError:
        return False
    return worker.name in [item["name"] for item in answer.get("items", [])]


def pair(nodes: Yard, **changes: str) -> tuple[Node, Node]:
    master = nodes.node()
    worker = nodes.worker(master, "node-1", **changes)
    master.up("wazuh-clusterd")
    worker.up("wazuh-clusterd")
    return master, worker


def file(node: Node, name: str, text: str = "text") -> Path:
    path = node.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_given_the_masters_key_when_a_worker_starts_then_it_joins_and_takes_every_file(
    nodes: Yard,
) -> None:
    master = nodes.node()
    for name in TREES:
        file(master, name)
    file(master, "etc/client.keys", "001 a any k\n")
    worker = nodes.worker(master, "node-1")
    master.up("wazuh-clusterd")

    worker.up("wazuh-clusterd")

    until(lambda: connected(worker))
    for name in (*TREES, "etc/client.keys"):
        until(
            lambda name=name: (
                (worker.home / name).is_file()
                and (worker.home / name).read_text() == (master.home / name).read_text()
            ),
            name,
        )


def test_given_files_the_master_lacks_when_compared_then_the_worker_loses_them(
    nodes: Yard,
) -> None:
    master = nodes.node()
    worker = nodes.worker(master, "node-1")
    surplus = [file(worker, name) for name in TREES]
    master.up("wazuh-clusterd")

    worker.up("wazuh-clusterd")

    until(lambda: not any(path.exists() for path in surplus))
    assert not (worker.home / "etc/shared/grp1").exists()
    assert (worker.home / "etc/ossec.conf").exists()


def test_given_an_empty_master_when_a_worker_follows_then_all_its_keys_are_wiped(
    nodes: Yard,
) -> None:
    master = nodes.node()
    worker = nodes.worker(master, "node-1")
    file(worker, "etc/client.keys", "001 a any k\n002 b any k\n")
    master.up("wazuh-clusterd")

    worker.up("wazuh-clusterd")

    until(lambda: worker.key_file() == "")


@pytest.mark.parametrize(
    "name",
    [
        "etc/shared/ar.conf",
        "etc/rules/x.tmp",
        "etc/rules/x.swp",
        "etc/rules/x.lock",
        "etc/rules/x~",
        "var/multigroups/ab/other",
    ],
)
def test_given_a_file_that_is_not_synchronised_when_digests_are_made_then_it_is_left_out(
    tmp_path: Path,
    name: str,
) -> None:
    for one in (name, "etc/rules/own.xml"):
        (tmp_path / one).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / one).write_text("x")

    assert list(integrity.digests(tmp_path)) == ["etc/rules/own.xml"]


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("xyz")),
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("xyz")),
)
def test_given_any_two_nodes_when_compared_then_what_is_taken_and_deleted_makes_them_equal(
    master: dict[str, str],
    worker: dict[str, str],
) -> None:
    changed, surplus = integrity.compare(master, worker)

    after = {name: digest for name, digest in worker.items() if name not in surplus}
    after |= {name: master[name] for name in changed}
    assert after == master


@given(st.binary(min_size=1, max_size=500), st.binary(max_size=2000))
def test_given_any_message_when_sealed_then_only_the_same_key_opens_it(
    key: bytes,
    payload: bytes,
) -> None:
    sealed = link.seal(key, payload)

    assert link.unseal(key, sealed) == payload
    with pytest.raises(link.ClusterError, match="3025"):
        link.unseal(key + b"x", sealed)


def test_given_another_key_when_a_worker_connects_then_the_master_refuses_and_it_tries_on(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes, key="f" * 32)

    until(lambda: "Error 3025 - Could not decrypt message" in master.log("cluster"))
    until(lambda: worker.log("cluster").count("The master closed the connection") > 1)
    assert worker.pid("wazuh-clusterd")
    assert not connected(worker)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"cluster_name": "other"}, 3030),
        ({"name": "node-0"}, 3029),
        ({"name": "node.1"}, 3060),
    ],
)
def test_given_a_worker_that_does_not_belong_when_it_connects_then_the_real_error_is_logged(
    nodes: Yard,
    changes: dict[str, str],
    code: int,
) -> None:
    _, worker = pair(nodes, **changes)

    until(lambda: f"Could not connect to master: Error {code}" in worker.log("cluster"))
    assert worker.pid("wazuh-clusterd")


def test_given_two_workers_of_one_name_when_the_second_connects_then_it_is_refused(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)
    until(lambda: connected(worker))
    twin = nodes.worker(master, "node-2", name="node-1")

    twin.up("wazuh-clusterd")

    until(lambda: "Error 3028 - Worker node ID already exists" in twin.log("cluster"))


def test_given_a_worker_of_another_version_when_it_connects_then_it_is_refused(
    nodes: Yard,
) -> None:
    master = nodes.node()
    worker = nodes.worker(master, "node-1")
    source = worker.home / "framework/wazuh/stand_in"
    path = source / "home.py"
    path.write_text(path.read_text().replace("v4.14.7", "v4.14.6"))
    for compiled in (source / "__pycache__").glob("home.*"):
        compiled.unlink()
    master.up("wazuh-clusterd")

    worker.up("wazuh-clusterd")

    until(lambda: "Error 3031" in worker.log("cluster"))


def test_given_a_master_that_goes_when_it_comes_back_then_the_worker_joins_by_itself(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)
    until(lambda: connected(worker))
    before = worker.pid("wazuh-clusterd")
    master.tell("wazuh-clusterd", signal.SIGTERM)
    until(lambda: "The master closed the connection" in worker.log("cluster"))

    master.up("wazuh-clusterd")

    until(lambda: connected(worker))
    assert worker.pid("wazuh-clusterd") == before


def test_given_a_lost_master_when_the_local_socket_is_asked_then_refused_at_first_then_3023(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)
    until(lambda: connected(worker))
    seen: list[str] = []

    def ask() -> bool:
        try:
            answer = worker.ask("get_nodes", {})
        except ConnectionRefusedError:
            seen.append("refused")
        except OSError:
            seen.append("cut")
        else:
            fault = answer.get("__wazuh_exception__")
            seen.append(str(fault["__object__"]["code"]) if fault else "nodes")
        return seen[-1] == "3023"

    master.tell("wazuh-clusterd", signal.SIGTERM)
    until(ask)

    order = [word for number, word in enumerate(seen) if not number or seen[number - 1] != word]
    assert [word for word in order if word in ("refused", "3023")] == ["refused", "3023"]


def test_given_a_silent_master_when_the_local_socket_is_asked_then_nobody_answers_in_time(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)
    until(lambda: connected(worker))
    pid = master.pid("wazuh-clusterd")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(worker.home / "queue/cluster/c-internal.sock"))
        frames.send_command(connection, 1, b"get_nodes", b"{}")
        _, _, first = frames.receive_command(connection)
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            frames.receive_command(connection)
    os.kill(pid, signal.SIGCONT)

    assert first == b"Sent request to master node"


def test_given_a_silent_master_when_keep_alives_fail_twice_then_the_worker_gives_up(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)
    until(lambda: connected(worker))
    pid = master.pid("wazuh-clusterd")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    until(lambda: "Maximum number of failed keep alives reached" in worker.log("cluster"))
    os.kill(pid, signal.SIGCONT)

    until(lambda: connected(worker))


def test_given_the_local_socket_when_spoken_to_then_the_framing_is_the_real_one(
    nodes: Yard,
) -> None:
    node = nodes.node()
    node.up("wazuh-clusterd")
    path = str(node.home / "queue/cluster/c-internal.sock")
    until(lambda: Path(path).exists())
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        # counter and size, big-endian; the command, a space, dashes up to 12 bytes.
        connection.sendall(struct.pack("!2I12s", 7, 2, b"get_nodes --") + b"{}")
        head = connection.recv(20, socket.MSG_WAITALL)
        counter, size, command = struct.unpack("!2I12s", head)
        data = connection.recv(size, socket.MSG_WAITALL)

    assert (counter, command) == (7, b"ok ---------")
    assert re.search(rb'"name": "node-0", "type": "master", "version": "4.14.7"', data)


def test_given_a_linked_queue_when_a_worker_synchronises_then_every_file_is_refused(
    nodes: Yard,
) -> None:
    master = nodes.node()
    file(master, "etc/client.keys", "001 a any k\n")
    worker = nodes.worker(master, "node-1")
    (worker.home / "data").mkdir()
    (worker.home / "queue").rename(worker.home / "data/queue")
    (worker.home / "queue").symlink_to("data/queue")
    master.up("wazuh-clusterd")

    worker.up("wazuh-clusterd")

    until(lambda: "Error 3027 - Write path not allowed" in worker.log("cluster"))
    assert worker.key_file() == ""


def test_given_cluster_control_when_asked_then_the_nodes_or_the_error_are_shown_with_code_0(
    nodes: Yard,
) -> None:
    master = nodes.node()
    worker = nodes.worker(master, "node-1")
    worker.up("wazuh-clusterd")
    until(lambda: (worker.home / "queue/cluster/c-internal.sock").exists())
    alone = worker.run("cluster_control", "-l")

    master.up("wazuh-clusterd")
    until(lambda: connected(worker))
    together = worker.run("cluster_control", "-l")

    assert (alone.returncode, together.returncode) == (0, 0)
    assert alone.stdout == "ERROR: Error 3023 - Worker node is not connected to master\n"
    assert [line.split()[0] for line in together.stdout.splitlines()] == [
        "NAME",
        "node-0",
        "node-1",
    ]


def test_given_a_worker_when_agents_enrol_there_then_the_master_gives_the_ids(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)
    master.up("wazuh-authd", "wazuh-db")
    worker.up("wazuh-authd")
    until(lambda: connected(worker))

    given = [master.agent("a1"), worker.agent("a2"), master.agent("a3")]
    twice = worker.enrol("OSSEC A:'a2'")

    assert given == ["001", "002", "003"]
    assert twice == "ERROR: Duplicate name. Unable to add agent"
    until(lambda: worker.key_file() == master.key_file() != "")


def test_given_a_master_without_authd_when_an_agent_enrols_at_a_worker_then_the_error_comes_late(
    nodes: Yard,
) -> None:
    _, worker = pair(nodes)
    worker.up("wazuh-authd")
    until(lambda: connected(worker))

    answer = worker.enrol("OSSEC A:'a1'")

    assert answer == MASTER_AWAY
    assert worker.log("cluster").count("Error 1014") == 10


def test_given_a_silent_master_when_an_agent_enrols_at_a_worker_then_it_is_tried_only_once(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)
    worker.up("wazuh-authd")
    until(lambda: connected(worker))
    pid = master.pid("wazuh-clusterd")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    answer = worker.enrol("OSSEC A:'a1'")
    os.kill(pid, signal.SIGCONT)

    assert answer == MASTER_AWAY
    assert worker.log("cluster").count("Error 3020 - Timeout sending request: sendsync") == 1


def test_given_an_agents_group_when_synchronised_then_the_workers_database_has_it(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)
    file(master, "etc/shared/grp1/agent.conf")
    master.up("wazuh-db", "wazuh-authd")
    worker.up("wazuh-db")

    master.enrol("OSSEC A:'a1' G:'grp1'")

    query = b'global sql SELECT id, "group" FROM agent'
    until((worker.home / "queue/db/wdb").exists)
    until(
        lambda: (
            frames.ask(worker.home / "queue/db/wdb", query, 5)
            == b'ok [{"id": 1, "group": "grp1"}]'
        )
    )


def test_given_a_promoted_worker_when_its_authd_was_not_restarted_then_it_still_refuses(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)
    worker.up("wazuh-authd")
    until(lambda: connected(worker))
    worker.tell("wazuh-clusterd", signal.SIGTERM)
    worker.kind = "master"
    worker.configure(cluster_port=str(master.cluster_port + 0))
    master.tell("wazuh-clusterd", signal.SIGTERM)
    for path in (master.home / "var/run").glob("wazuh-apid_auth-*.pid"):
        path.unlink()

    worker.up("wazuh-clusterd")

    assert worker.local("queue/sockets/auth", {"function": "get"})["error"] == 9015


def test_given_an_eleventh_connection_from_one_address_when_made_then_the_master_rejects_it(
    nodes: Yard,
) -> None:
    node = nodes.node()
    node.up("wazuh-clusterd")
    until(lambda: "Serving" in node.log("cluster"))
    held = [socket.create_connection(("127.0.0.1", node.cluster_port)) for _ in range(11)]

    until(lambda: "Too many connections from 127.0.0.1" in node.log("cluster"))
    for connection in held:
        connection.close()
