import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.wazuh_stand_in.framework.wazuh.stand_in.authd import POOL
from sandbox.wazuh_stand_in.framework.wazuh.stand_in.enrolment import (
    Force,
    RefusedError,
    Registrar,
    Request,
    key_hash,
    parse,
)
from sandbox.wazuh_stand_in.framework.wazuh.stand_in.keystore import KeyStore
from tests.unit.stand_in.nodes import MASTER_AWAY, UNVERIFIED, Node, Yard, answers, until

SLOW_WRITER = {"WAZUH_STAND_IN_WRITE_SECONDS": "100000"}


def registrar(store: KeyStore, registered: float = 3600) -> Registrar:
    return Registrar(
        store, Force(registered=registered), "manager", lambda group: group == "default"
    )


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("OSSEC A:'a1'", "ERROR: Invalid password"),
        ("OSSEC PASS: wrong OSSEC A:'a1'", "ERROR: Invalid password"),
        ("OSSEC PASS: secret", "ERROR: Invalid password"),
        ("OSSEC PASS: secret HELLO", "ERROR: Invalid request for new agent"),
        ("OSSEC PASS: secret OSSEC A:'../x'", "ERROR: Invalid agent name: ../x"),
        ("OSSEC PASS: secret OSSEC A:'a1' G:'x", "ERROR: Unterminated group field"),
        ("OSSEC PASS: secret OSSEC A:'a1' IP:'nowhere'", "ERROR: Invalid IP: nowhere"),
        ("OSSEC PASS: secret OSSEC A:'a1' V:'v4", "ERROR: Unterminated version field"),
    ],
)
def test_given_a_bad_line_when_parsed_then_the_answer_is_the_real_ones(
    line: str,
    answer: str,
) -> None:
    with pytest.raises(RefusedError) as caught:
        parse(line, "secret", "192.0.2.7", use_source_ip=False)

    assert str(caught.value) == answer


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("OSSEC A:'a1'", Request("a1", "any")),
        (
            "OSSEC A:'a1' V:'v4.14.7' G:'default' IP:'192.0.2.9' K:'abc'",
            Request("a1", "192.0.2.9", "default", "abc"),
        ),
        ("OSSEC A:'a1' IP:'src'", Request("a1", "192.0.2.7")),
    ],
)
def test_given_a_good_line_when_parsed_then_its_fields_are_found(
    line: str,
    expected: Request,
) -> None:
    assert parse(line, None, "192.0.2.7", use_source_ip=False) == expected


def test_given_use_source_ip_when_no_address_is_given_then_it_is_the_senders() -> None:
    assert parse("OSSEC A:'a1'", None, "192.0.2.7", use_source_ip=True).ip == "192.0.2.7"


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.booleans()), unique_by=lambda item: item[0]),
    st.booleans(),
)
def test_given_any_keys_when_read_then_the_next_id_is_above_every_line_that_counts(
    lines: list[tuple[int, bool]],
    keep: bool,
) -> None:
    text = "".join(
        f"{number:03d} {'!' if gone else ''}n{number} any {'k' * 64}\n" for number, gone in lines
    )
    store = KeyStore(keep_removed=keep)
    store.read(text, 0)

    agent = store.add("new", "any", None, None, 0)

    counted = [number for number, gone in lines if keep or not gone]
    assert int(agent.id) == max(counted, default=0) + 1
    kept = {line for line in text.splitlines() if keep or " !" not in line}
    assert kept <= set(store.text().splitlines())


def test_given_purge_no_when_a_line_is_reserved_then_ids_go_on_above_it_and_it_stays() -> None:
    store = KeyStore(keep_removed=True)
    store.read("1000 !reserved any " + "0" * 64 + "\n", 0)

    agent = store.add("new", "any", None, None, 0)

    assert agent.id == "1001"
    assert "1000 !reserved any" in store.text()
    assert list(store.agents) == ["1001"]


def test_given_purge_yes_when_a_line_is_reserved_then_it_is_dropped() -> None:
    store = KeyStore(keep_removed=False)
    store.read("1000 !reserved any " + "0" * 64 + "\n", 0)

    assert store.add("new", "any", None, None, 0).id == "001"
    assert "reserved" not in store.text()


def test_given_a_young_agent_when_another_takes_its_name_then_it_is_refused() -> None:
    store = KeyStore(keep_removed=True)
    made = registrar(store)
    made.enrol(Request("a1", "any"))

    with pytest.raises(RefusedError, match="ERROR: Duplicate agent name: a1"):
        made.enrol(Request("a1", "any"))


def test_given_an_old_agent_when_another_takes_its_name_then_it_gets_the_next_id() -> None:
    store = KeyStore(keep_removed=True)
    made = registrar(store)
    made.enrol(Request("a1", "any"))
    store.dates["001"] = time.time() - 3601

    agent = made.enrol(Request("a1", "any"))

    assert agent.id == "002"
    assert "001 !a1 any" in store.text()


def test_given_an_old_agent_when_it_shows_its_own_key_then_it_is_not_replaced() -> None:
    store = KeyStore(keep_removed=True)
    made = registrar(store, registered=0)
    agent = made.enrol(Request("a1", "any"))

    with pytest.raises(RefusedError, match="Duplicate agent name"):
        made.enrol(Request("a1", "any", None, key_hash(agent)))


def test_given_a_group_without_folder_when_enrolling_then_it_is_refused() -> None:
    with pytest.raises(RefusedError, match="ERROR: Invalid group: other"):
        registrar(KeyStore(keep_removed=True)).enrol(Request("a1", "any", "default,other"))


def test_given_an_agent_when_it_enrols_over_tls_then_its_key_gets_into_the_file(
    nodes: Yard,
) -> None:
    node = nodes.node()
    node.up("wazuh-authd")

    answer = node.enrol("OSSEC A:'agent-1' G:'default'")

    line = answer.removeprefix("OSSEC K:'").removesuffix("'")
    assert line.startswith("001 agent-1 any ")
    assert len(line.split()[3]) == 64
    until(lambda: node.key_file() == line + "\n")


def test_given_a_password_when_it_is_wrong_then_the_real_error_comes(nodes: Yard) -> None:
    node = nodes.node(use_password="yes")
    (node.home / "etc/authd.pass").write_text("the-password\n")
    node.up("wazuh-authd")

    refused = node.enrol("OSSEC PASS: other OSSEC A:'agent-1'")
    taken = node.enrol("OSSEC PASS: the-password OSSEC A:'agent-1'")

    assert refused == "ERROR: Invalid password. Unable to add agent"
    assert taken.startswith("OSSEC K:'001 agent-1 any ")


def test_given_no_password_file_when_one_is_due_then_a_random_one_is_in_the_log(
    nodes: Yard,
) -> None:
    node = nodes.node(use_password="yes")
    node.up("wazuh-authd")
    until(lambda: "Random password chosen" in node.log())
    line = next(line for line in node.log().splitlines() if "Random password" in line)
    password = line.rpartition(" ")[2]

    assert node.enrol(f"OSSEC PASS: {password} OSSEC A:'agent-1'").startswith("OSSEC K:")


def test_given_a_changed_password_when_authd_was_not_restarted_then_the_old_one_is_valid(
    nodes: Yard,
) -> None:
    node = nodes.node(use_password="yes")
    (node.home / "etc/authd.pass").write_text("the-password\n")
    node.up("wazuh-authd")
    until(lambda: "Using password specified on file" in node.log())

    (node.home / "etc/authd.pass").write_text("another-one\n")

    assert node.enrol("OSSEC PASS: another-one OSSEC A:'a1'").startswith("ERROR")
    assert node.enrol("OSSEC PASS: the-password OSSEC A:'a1'").startswith("OSSEC K:")


def test_given_an_acknowledged_agent_when_told_to_end_before_writing_then_it_is_lost_and_its_id(
    nodes: Yard,
) -> None:
    node = nodes.node()
    node.environment = SLOW_WRITER
    node.up("wazuh-authd")
    node.agent("agent-1")
    until(lambda: "agent-1" in node.key_file())
    lost = node.agent("agent-2")
    node.tell("wazuh-authd", signal.SIGTERM)
    node.environment = {}

    node.up("wazuh-authd")

    assert "agent-2" not in node.key_file()
    assert node.agent("agent-3") == lost


def test_given_every_place_taken_when_an_agent_comes_then_it_is_turned_away_until_one_is_free(
    nodes: Yard,
) -> None:
    node = nodes.node()
    node.up("wazuh-authd")
    assert node.agent("agent-1") == "001"

    with ExitStack() as silent:
        first = silent.enter_context(socket.create_connection(("127.0.0.1", node.auth)))
        for _ in range(POOL - 2):
            silent.enter_context(socket.create_connection(("127.0.0.1", node.auth)))
        with pytest.raises(OSError):
            node.enrol("OSSEC A:'agent-2'")
        assert "Too many connections. Rejecting." in node.log()
        first.close()

        until(lambda: _gets_in(node, "agent-3"), "a place")

    assert {"agent-1", "agent-3"} <= set(node.key_file().split())


def _gets_in(node: Node, name: str) -> bool:
    with suppress(OSError):
        return bool(node.agent(name))
    return False


def test_given_a_pushed_key_file_when_the_next_agent_enrols_then_it_is_overwritten(
    nodes: Yard,
) -> None:
    node = nodes.node()
    node.up("wazuh-authd")
    until(lambda: node.pid("wazuh-authd"))
    node.agent("agent-1")
    until(lambda: "agent-1" in node.key_file())

    (node.home / "etc/client.keys").write_text("500 pushed any " + "0" * 64 + "\n")
    given = node.agent("agent-2")

    assert given == "002"
    until(lambda: "agent-2" in node.key_file() and "pushed" not in node.key_file())


def test_given_a_missing_certificate_when_started_then_authd_ends(nodes: Yard) -> None:
    node = nodes.node()
    (node.home / "etc/sslmanager.key").unlink()

    done = node.run("wazuh-authd", "-f")

    assert done.returncode == 1
    assert "SSL error. Exiting." in node.log()


def test_given_the_port_taken_when_started_then_authd_ends(nodes: Yard) -> None:
    node = nodes.node()
    with socket.create_server(("", node.auth)):
        assert node.run("wazuh-authd", "-f").returncode == 1

    assert "Unable to Bind port" in node.log()


def test_given_the_local_socket_when_agents_are_added_and_removed_then_codes_are_the_real_ones(
    nodes: Yard,
) -> None:
    node = nodes.node()
    node.up("wazuh-authd")

    until((node.home / "queue/sockets/auth").exists)

    def ask(function: str, **arguments: object) -> dict:
        return node.local("queue/sockets/auth", {"function": function, "arguments": arguments})

    added = ask("add", name="a1", ip="any", id="055", key="k" * 64)

    assert added == {"error": 0, "data": {"id": "055", "name": "a1", "ip": "any", "key": "k" * 64}}
    assert ask("add", name="a2", ip="any", id="055")["error"] == 9012
    assert ask("add", name="a1", ip="any")["error"] == 9008
    assert ask("add", name="a3", ip="any", groups="absent")["error"] == 9014
    assert ask("add", name="a4", ip="any")["data"]["id"] == "056"
    assert ask("remove", id="999")["error"] == 9011
    assert ask("fly", id="055")["error"] == 9003
    assert ask("remove", id="055")["data"] == "Agent deleted successfully."
    until(lambda: node.key_file().endswith(f"055 !a1 any {'k' * 64}\n"))


def test_given_a_worker_when_its_local_socket_is_asked_then_it_refuses(nodes: Yard) -> None:
    master = nodes.node()
    worker = nodes.worker(master, "node-1")
    worker.up("wazuh-authd")
    until((worker.home / "queue/sockets/auth").exists)

    answer = worker.local("queue/sockets/auth", {"function": "add", "arguments": {}})

    assert answer == {"error": 9015, "message": "Cannot execute this request on a worker node"}


def test_given_a_worker_without_master_when_an_agent_enrols_then_the_real_error_comes_late(
    nodes: Yard,
) -> None:
    master = nodes.node()
    worker = nodes.worker(master, "node-1")
    worker.up("wazuh-authd")

    answer = worker.enrol("OSSEC A:'agent-1'")

    assert answer == MASTER_AWAY
    assert "Could not send message through the cluster after '10' attempts." in worker.log()


def test_given_a_worker_when_the_password_is_wrong_then_it_refuses_without_its_master(
    nodes: Yard,
) -> None:
    worker = nodes.worker(nodes.node(), "node-1", use_password="yes")
    (worker.home / "etc/authd.pass").write_text("the-password\n")
    worker.up("wazuh-authd")

    assert worker.enrol("OSSEC PASS: x OSSEC A:'a1'") == (
        "ERROR: Invalid password. Unable to add agent"
    )
    assert "Dispatching" not in worker.log()


def test_given_sixty_agents_at_once_when_enrolled_then_each_has_an_id_of_its_own(
    nodes: Yard,
) -> None:
    node = nodes.node()
    node.up("wazuh-authd")

    with ThreadPoolExecutor(8) as pool:
        given = sorted(pool.map(node.agent, (f"agent-{number}" for number in range(60))))

    assert given == [f"{number:03d}" for number in range(1, 61)]
    until(lambda: len(node.key_file().splitlines()) == 60)


def test_given_a_client_that_says_nothing_when_another_enrols_then_it_is_served(
    nodes: Yard,
) -> None:
    node = nodes.node()
    node.up("wazuh-authd")
    until(lambda: answers(node.auth))
    with socket.create_connection(("127.0.0.1", node.auth)):
        assert node.agent("agent-1") == "001"


def test_given_authd_when_a_plain_client_talks_then_it_goes_on(nodes: Yard) -> None:
    node = nodes.node()
    node.up("wazuh-authd")
    assert node.agent("agent-1") == "001"
    with socket.create_connection(("127.0.0.1", node.auth)) as connection:
        connection.sendall(b"OSSEC A:'plain'\n")
        connection.settimeout(10)
        with suppress(ConnectionResetError):
            assert b"OSSEC" not in connection.recv(100)

    assert node.agent("agent-2") == "002"


def test_given_no_auth_block_when_started_then_nothing_listens(nodes: Yard) -> None:
    node = nodes.node()
    path = node.home / "etc/ossec.conf"
    head, _, rest = path.read_text().partition("<auth>")
    path.write_text(head + rest.partition("</auth>")[2])

    done = node.run("wazuh-authd")

    assert done.returncode == 0
    assert node.pid("wazuh-authd") is None


def test_given_the_tls_of_1515_when_looked_at_then_it_is_1_2_or_later(nodes: Yard) -> None:
    node = nodes.node()
    node.up("wazuh-authd")
    until(lambda: answers(node.auth))

    with (
        socket.create_connection(("127.0.0.1", node.auth)) as connection,
        UNVERIFIED.wrap_socket(connection) as channel,
    ):
        assert channel.version() in ("TLSv1.2", "TLSv1.3")
