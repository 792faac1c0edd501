import base64
import json
import os
import signal
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from sandbox.wazuh_stand_in.framework.wazuh.stand_in.api_settings import ApiSettings
from sandbox.wazuh_stand_in.framework.wazuh.stand_in.apid import Limits
from tests.unit.stand_in.nodes import FOR_API, Node, Yard, until

STRONG = "Strong-password-1"
SECURITY = "api/configuration/security"


def up(node: Node) -> Node:
    node.up(*FOR_API, "wazuh-apid")
    until(node.listening, "the API's port")
    return node


def pair(nodes: Yard) -> tuple[Node, Node]:
    master = nodes.node()
    worker = nodes.worker(master, "node-1")
    for node in (master, worker):
        node.up(*FOR_API, "wazuh-clusterd", "wazuh-apid")
    for node in (master, worker):
        until(node.listening, "the API's port")
    until(lambda: login(worker)[0] == 200, "a login through the worker")
    return master, worker


def login(node: Node, basic: str = "wazuh:wazuh") -> tuple[int, dict]:
    return node.call("POST", "/security/user/authenticate", basic=basic)


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_given_no_token_when_anything_is_asked_then_the_answer_is_401(nodes: Yard) -> None:
    node = up(nodes.node(cluster=""))

    assert node.call("GET", "/") == (
        401,
        {"title": "Unauthorized", "detail": "No authorization token provided"},
    )
    assert node.call("GET", "/agents", token="x.y.z")[0] == 401
    assert node.call("GET", "/nowhere")[0] == 404
    assert node.call("PATCH", "/agents")[0] == 405


def test_given_a_login_when_its_token_is_looked_at_then_it_is_an_es512_of_the_key_pair(
    nodes: Yard,
) -> None:
    node = up(nodes.node(cluster=""))

    head, body, signature = node.login().split(".")

    raw = decoded(signature)
    public = serialization.load_pem_public_key(
        (node.home / SECURITY / "public_key.pem").read_bytes()
    )
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(
        utils.encode_dss_signature(
            int.from_bytes(raw[:66], "big"), int.from_bytes(raw[66:], "big")
        ),
        f"{head}.{body}".encode(),
        ec.ECDSA(hashes.SHA512()),
    )
    payload = json.loads(decoded(body))
    assert json.loads(decoded(head))["alg"] == "ES512"
    assert payload["exp"] - payload["nbf"] == 900
    assert (payload["sub"], payload["rbac_roles"]) == ("wazuh", [1])


def test_given_no_key_pair_and_certificate_when_started_then_they_are_made(nodes: Yard) -> None:
    node = up(nodes.node(cluster=""))

    made = [
        node.home / SECURITY / "private_key.pem",
        node.home / SECURITY / "public_key.pem",
        node.home / "api/configuration/ssl/server.key",
        node.home / "api/configuration/ssl/server.crt",
    ]

    assert [path.stat().st_mode & 0o777 for path in made] == [0o640, 0o640, 0o400, 0o400]


def test_given_raw_when_logging_in_then_the_token_comes_as_text(nodes: Yard) -> None:
    node = up(nodes.node(cluster=""))

    with pytest.raises(json.JSONDecodeError) as caught:
        node.call("POST", "/security/user/authenticate?raw=true", basic="wazuh:wazuh")

    assert caught.value.doc.count(".") == 2


@pytest.mark.parametrize("basic", ["wazuh:other", "nobody:wazuh", "wazuh", "", ":"])
def test_given_a_wrong_login_when_tried_then_the_answer_is_401(nodes: Yard, basic: str) -> None:
    node = up(nodes.node(cluster=""))

    assert login(node, basic) == (401, {"title": "Unauthorized", "detail": "Invalid credentials"})


def test_given_two_nodes_with_their_own_pairs_when_a_token_is_used_elsewhere_then_401(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)

    assert master.call("GET", "/", token=worker.login())[0] == 401


def test_given_one_pair_on_two_nodes_when_a_token_is_used_elsewhere_then_it_is_valid(
    nodes: Yard,
) -> None:
    master = nodes.node()
    worker = nodes.worker(master, "node-1")
    private = ec.generate_private_key(ec.SECP521R1())
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    for node in (master, worker):
        folder = node.home / SECURITY
        (folder / "private_key.pem").write_bytes(
            private.private_bytes(pem, form, serialization.NoEncryption())
        )
        (folder / "public_key.pem").write_bytes(
            private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        node.up(*FOR_API, "wazuh-clusterd", "wazuh-apid")
    for node in (master, worker):
        until(node.listening)
    until(lambda: login(worker)[0] == 200)

    assert master.call("GET", "/cluster/local/info", token=worker.login())[0] == 200
    status, body = worker.call("GET", "/cluster/local/info", token=master.login())
    assert (status, body["data"]["affected_items"]) == (
        200,
        [{"node": "node-1", "cluster": "wazuh", "type": "worker"}],
    )


def test_given_a_worker_when_users_change_through_it_then_they_change_on_the_master(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)

    status, body = worker.call(
        "POST",
        "/security/users",
        token=worker.login(),
        body={"username": "someone", "password": STRONG},
    )

    assert (status, body["data"]["affected_items"][0]["id"]) == (200, 100)
    assert login(master, f"someone:{STRONG}")[0] == 200
    own = sqlite3.connect(worker.home / SECURITY / "rbac.db")
    assert own.execute("SELECT count(*) FROM users").fetchone() == (2,)


def test_given_a_worker_without_master_when_logging_in_then_500_with_3012_or_3023(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)
    codes: list[int] = []

    def ask() -> bool:
        status, body = login(worker)
        assert status in (200, 500)
        codes.append(body["error"])
        return body["error"] == 3023

    master.tell("wazuh-clusterd", signal.SIGTERM)
    until(ask)

    assert 3012 in codes
    assert set(codes) <= {0, 3012, 3020, 3023}


def test_given_a_promoted_worker_when_its_apid_was_not_restarted_then_every_login_is_500(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)
    master.end()
    worker.tell("wazuh-clusterd", signal.SIGTERM)
    worker.kind = "master"
    worker.configure()
    worker.up("wazuh-clusterd")
    until(lambda: "Serving" in worker.log("cluster"))

    assert login(worker)[0] == 500


def test_given_a_replaced_user_file_when_only_apid_restarts_then_workers_still_use_the_old(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)
    path = master.home / SECURITY / "rbac.db"
    draft = path.with_name("draft")
    draft.write_bytes(path.read_bytes())
    session = sqlite3.connect(draft)
    session.execute("DELETE FROM users WHERE id = 1")
    session.commit()
    session.close()
    master.tell("wazuh-apid", signal.SIGTERM)
    draft.replace(path)
    master.up("wazuh-apid")
    until(master.listening)

    assert login(master)[0] == 401
    assert login(worker)[0] == 200


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("Short-1", 5009),
        ("no-upper-case-1", 5007),
        ("NO-LOWER-CASE-1", 5007),
        ("No-digit-here", 5007),
        ("NoSign12345", 5007),
        ("X" * 65, 5009),
    ],
)
def test_given_a_weak_password_when_a_user_is_made_then_it_is_refused(
    nodes: Yard,
    password: str,
    code: int,
) -> None:
    node = up(nodes.node(cluster=""))

    status, body = node.call(
        "POST",
        "/security/users",
        token=node.login(),
        body={"username": "someone", "password": password},
    )

    assert (status, body["error"]) == (400, code)


def test_given_a_user_above_99_when_it_changes_a_reserved_one_then_5011(nodes: Yard) -> None:
    node = up(nodes.node(cluster=""))
    token = node.login()
    node.call(
        "POST", "/security/users", token=token, body={"username": "someone", "password": STRONG}
    )
    status, body = node.call("POST", "/security/users/100/roles?role_ids=1", token=token)
    assert body["data"]["affected_items"][0]["roles"] == [1]
    # A token of the very second of the change is void as well.
    until(lambda: node.call("GET", "/", token=node.login(f"someone:{STRONG}"))[0] == 200)
    other = node.login(f"someone:{STRONG}")

    status, body = node.call("PUT", "/security/users/1", token=other, body={"password": STRONG})

    assert (status, body["error"]) == (400, 5011)


def test_given_a_changed_password_when_used_then_the_old_one_and_its_tokens_are_void(
    nodes: Yard,
) -> None:
    node = up(nodes.node(cluster=""))
    token = node.login()

    changed = node.call("PUT", "/security/users/1", token=token, body={"password": STRONG})

    assert changed[0] == 200, changed
    assert login(node)[0] == 401
    assert node.call("GET", "/", token=token)[0] == 401
    until(lambda: node.call("GET", "/", token=node.login(f"wazuh:{STRONG}"))[0] == 200)


def test_given_a_user_without_roles_when_it_asks_then_4000(nodes: Yard) -> None:
    node = up(nodes.node(cluster=""))
    token = node.login()
    node.call(
        "POST", "/security/users", token=token, body={"username": "someone", "password": STRONG}
    )
    other = node.login(f"someone:{STRONG}")

    status, body = node.call("GET", "/agents", token=other)

    assert (status, body["error"]) == (403, 4000)


def test_given_users_when_removed_then_reserved_ones_stay(nodes: Yard) -> None:
    node = up(nodes.node(cluster=""))
    token = node.login()
    node.call(
        "POST", "/security/users", token=token, body={"username": "someone", "password": STRONG}
    )

    _, body = node.call("DELETE", "/security/users?user_ids=1,100,101", token=token)

    assert [item["id"] for item in body["data"]["affected_items"]] == [100]
    assert [(item["id"], item["error"]["code"]) for item in body["data"]["failed_items"]] == [
        ([1], 5004),
        ([101], 5001),
    ]
    _, body = node.call("GET", "/security/users", token=token)
    assert [item["username"] for item in body["data"]["affected_items"]] == ["wazuh", "wazuh-wui"]


def test_given_fifty_failed_logins_when_one_is_right_then_that_address_is_blocked_all_the_same(
    nodes: Yard,
) -> None:
    node = up(nodes.node(cluster=""))

    with ThreadPoolExecutor(4) as pool:
        statuses = set(pool.map(lambda _: login(node, "wazuh:x")[0], range(50)))

    assert statuses == {401}
    status, body = login(node)
    assert (status, body["error"]) == (403, 6000)


def test_given_three_hundred_requests_in_a_minute_when_one_more_comes_then_429_for_all() -> None:
    limits = Limits(ApiSettings({}))

    answers = [limits.too_many() for _ in range(302)]

    assert answers == [False] * 300 + [True] * 2


def test_given_a_daemon_the_api_needs_when_it_is_down_then_1017_but_for_the_status(
    nodes: Yard,
) -> None:
    node = up(nodes.node(cluster=""))
    token = node.login()
    node.tell("wazuh-execd", signal.SIGTERM)

    status, body = node.call("GET", "/agents", token=token)

    assert (status, body["error"]) == (500, 1017)
    assert "wazuh-execd->stopped" in body["detail"]


def test_given_agents_when_listed_inserted_and_deleted_then_codes_are_the_real_ones(
    nodes: Yard,
) -> None:
    node = nodes.node(cluster="")
    node.up("wazuh-authd")
    up(node)
    token = node.login()

    def insert(**body: str) -> tuple[int, dict]:
        return node.call("POST", "/agents/insert", token=token, body=body)

    assert insert(id="055", name="old", ip="any", key="k" * 64)[0] == 200
    assert insert(id="055", name="new", ip="any", key="k" * 64)[1]["error"] == 1708
    assert insert(id="056", name="old", ip="any", key="k" * 64)[1]["error"] == 1705
    assert insert(id="057", name="short", ip="any", key="k")[1]["error"] == 1709
    status, body = node.call("POST", "/agents", token=token, body={"name": "next", "ip": "any"})
    assert (status, body["data"]["id"]) == (200, "056")
    until(lambda: "056 next" in node.key_file())
    _, body = node.call("GET", "/agents", token=token)
    assert [item["id"] for item in body["data"]["affected_items"]] == ["000", "055", "056"]
    _, young = node.call("DELETE", "/agents?agents_list=055&status=all", token=token)
    assert young["data"]["failed_items"][0]["error"]["code"] == 1731
    _, gone = node.call("DELETE", "/agents?agents_list=055&status=all&older_than=0s", token=token)
    assert gone["data"]["affected_items"] == ["055"]
    until(lambda: f"055 !old any {'k' * 64}" in node.key_file())


def test_given_no_authd_when_an_agent_is_added_then_1726(nodes: Yard) -> None:
    node = up(nodes.node(cluster=""))

    _, body = node.call("POST", "/agents", token=node.login(), body={"name": "a1"})

    assert body["error"] == 1726


def test_given_a_worker_when_an_agent_is_inserted_through_it_then_the_master_has_it(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)
    master.up("wazuh-authd")

    status, _ = worker.call(
        "POST",
        "/agents/insert",
        token=worker.login(),
        body={"id": "077", "name": "a", "ip": "any", "key": "k" * 64},
    )

    assert status == 200
    until(lambda: "077 a any" in worker.key_file() and "077 a any" in master.key_file())


def test_given_rules_on_every_node_when_reloaded_by_the_api_then_each_loads_them(
    nodes: Yard,
) -> None:
    master, worker = pair(nodes)

    _, body = worker.call("PUT", "/cluster/analysisd/reload", token=worker.login())

    assert sorted(item["name"] for item in body["data"]["affected_items"]) == ["node-0", "node-1"]
    for node in (master, worker):
        assert "Ruleset reloaded successfully" in node.log()


def test_given_a_cluster_when_its_state_is_asked_on_a_worker_then_it_is_the_masters_view(
    nodes: Yard,
) -> None:
    _, worker = pair(nodes)
    token = worker.login()

    nodes_seen = worker.call("GET", "/cluster/nodes", token=token)[1]["data"]["affected_items"]
    health = worker.call("GET", "/cluster/healthcheck", token=token)[1]["data"]
    status = worker.call("GET", "/cluster/status", token=token)[1]["data"]
    daemons = worker.call("GET", "/manager/status", token=token)[1]["data"]["affected_items"][0]

    assert [node["name"] for node in nodes_seen] == ["node-0", "node-1"]
    assert health["affected_items"][0]["info"]["n_connected_nodes"] == 1
    assert status == {"enabled": "yes", "running": "yes"}
    assert (daemons["wazuh-apid"], daemons["wazuh-maild"]) == ("running", "stopped")


def test_given_unknown_parameters_when_asked_then_400_and_the_server_goes_on(
    nodes: Yard,
) -> None:
    node = up(nodes.node(cluster=""))
    token = node.login()

    assert node.call("GET", "/security/users?colour=red", token=token)[0] == 400
    assert node.call("POST", "/security/users", token=token, body=["x"])[0] == 400
    assert node.call("GET", "/", token=token)[0] == 200


def test_given_a_missing_ssl_folder_when_started_then_apid_ends(nodes: Yard) -> None:
    node = nodes.node(cluster="")
    (node.home / "api/configuration/ssl").rmdir()

    done = node.run("wazuh-apid", "-f")

    assert done.returncode == 1


def test_given_the_api_in_its_start_when_its_port_opens_then_the_users_are_there_before(
    nodes: Yard,
) -> None:
    node = nodes.node(cluster="")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", node.api)) != 0
    node.up(*FOR_API, "wazuh-apid")

    until(node.listening)

    assert (node.home / SECURITY / "rbac.db").is_file()


def test_given_a_running_api_when_its_processes_are_looked_at_then_no_secret_is_an_argument(
    nodes: Yard,
) -> None:
    node = up(nodes.node(cluster=""))
    node.login()

    words = b"".join(
        path.read_bytes()
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if os.access(path, os.R_OK) and str(node.home).encode() in path.read_bytes()
    )

    assert b"PRIVATE" not in words
    assert b"stand_in.py" in words
