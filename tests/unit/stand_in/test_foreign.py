import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.foreign_wazuh.build import build
from tests.unit.stand_in.nodes import Node, Yard, answers, until, yard

PRESET = Path(__file__).parents[3] / "rock/supervisor/preset.py"
USERS = {
    "wazuh": {"password": "Preset-1-password"},
    "wazuh-wui": {"password": "Preset-2-password"},
    "wazuh-charm": {"password": "Preset-3-password", "roles": [1]},
}


@pytest.fixture
def foreign(tree: Path) -> Iterator[Yard]:
    with tempfile.TemporaryDirectory(prefix="fw-") as folder:
        home = Path(folder, "built")
        build(home)
        for name in ("cert", "key"):
            shutil.copy(tree / f"etc/sslmanager.{name}", home / "etc")
        shutil.copy(home / "etc/sslmanager.cert", home / "api/configuration/ssl/server.crt")
        shutil.copy(home / "etc/sslmanager.key", home / "api/configuration/ssl/server.key")
        (home / "api/configuration/security/private_key.pem").write_text("any text")
        (home / "etc/authd.pass").write_text("the-password\n")
        with yard(home, Path(folder)) as made:
            yield made


def preset(node: Node) -> dict:
    done = subprocess.run(
        [node.home / "framework/python/bin/python3", "-I", PRESET],
        input=json.dumps(USERS),
        env={"WAZUH_SERVER_TIME_SCALE": "40"},
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout)


def joined(node: Node) -> bool:
    try:
        return bool(node.ask("get_nodes", {}).get("items"))
    except OSError:
        return False


def test_given_the_supervisors_preset_when_run_on_either_tree_then_it_needs_no_change(
    nodes: Yard, foreign: Yard
) -> None:
    for node in (nodes.node(), foreign.node()):
        first, second = preset(node), preset(node)

        assert (first, second) == ({"error": None}, {"error": None})


def test_given_the_foreign_tree_when_two_nodes_start_then_they_are_a_cluster(
    foreign: Yard,
) -> None:
    master = foreign.node()
    worker = foreign.worker(master, "node-1")
    for node in (master, worker):
        done = node.run("wazuh-control", "start")
        assert done.returncode == 0, done.stdout + done.stderr
    until(lambda: joined(worker))
    for node in (master, worker):
        until(lambda one=node: answers(one.api) and answers(one.remote_port))

    given = worker.enrol("OSSEC PASS: the-password OSSEC A:'agent-1'")
    token = worker.login()

    assert given.startswith("OSSEC K:'001 agent-1 any ")
    until(lambda: worker.key_file() == master.key_file() != "")
    assert master.call("GET", "/", token=token)[0] == 200
    assert master.call("GET", "/")[0] == 401
    assert worker.run("wazuh-control", "info", "-v").stdout == "v4.14.9\n"


def test_given_the_foreign_tree_when_asked_locally_then_it_speaks_the_real_framings(
    foreign: Yard,
) -> None:
    node = foreign.node()
    node.up("wazuh-db", "wazuh-analysisd", "wazuh-execd")

    answer = node.local("queue/sockets/analysis", {"command": "reload-ruleset"})

    assert answer == {"error": 0, "message": "ok", "data": []}
    stopped = node.run("wazuh-control", "stop")
    assert stopped.returncode == 0
    assert list((node.home / "var/run").glob("*.pid")) == []


def test_given_the_foreign_tree_when_the_key_is_malformed_then_it_does_not_start(
    foreign: Yard,
) -> None:
    assert foreign.node(key="short").run("wazuh-control", "start").returncode == 1


def test_given_both_trees_when_compared_then_no_file_of_one_is_in_the_other(
    tree: Path, foreign: Yard
) -> None:
    def contents(home: Path) -> set[bytes]:
        found = [p for p in home.rglob("*") if p.is_file() and p.parent.name != "etc"]
        return {p.read_bytes() for p in found if p.stat().st_size > 80 and not p.is_symlink()}

    assert contents(tree) & contents(foreign.tree) == set()
