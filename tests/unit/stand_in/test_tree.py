import os
import subprocess
import sys
from pathlib import Path

from sandbox.wazuh_stand_in import build
from sandbox.wazuh_stand_in.builder import DAEMONS, FOLDERS
from tests.unit.stand_in.nodes import Yard

PRESET = """
from wazuh.rbac.orm import AuthenticationManager, UserRolesManager, check_database_integrity
check_database_integrity()
with AuthenticationManager() as users:
    users.update_user(1, "Preset-1-password")
    users.update_user(2, "Preset-2-password")
    if not users.get_user("wazuh-charm"):
        users.add_user("wazuh-charm", "Preset-3-password")
    with UserRolesManager() as roles:
        roles.add_role_to_user(users.get_user("wazuh-charm")["id"], 1)
    print([users.check_user(name, name) for name in ("wazuh", "wazuh-wui")],
          users.check_user("wazuh", "Preset-1-password"), users.get_user("wazuh-charm"),
          users.get_users())
"""


def preset(home: Path) -> str:
    done = subprocess.run(
        [home / "framework/python/bin/python3", "-I", "-c", PRESET],
        env={"WAZUH_SERVER_TIME_SCALE": "20"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_given_a_folder_when_built_then_every_folder_and_program_of_an_installation_is_there(
    tree: Path,
) -> None:
    assert [folder for folder in FOLDERS if not (tree / folder).is_dir()] == []
    programs = {f"wazuh-{name}" for name in DAEMONS} | {"wazuh-control", "cluster_control"}
    assert [name for name in programs if not os.access(tree / "bin" / name, os.X_OK)] == []
    assert (tree / "etc/client.keys").read_text() == ""
    assert (tree / "etc/sslmanager.key").stat().st_mode & 0o777 == 0o640


def test_given_a_built_tree_when_built_again_over_it_then_nothing_fails(tmp_path: Path) -> None:
    build(tmp_path / "ossec", Path(sys.executable))

    build(tmp_path / "ossec", Path(sys.executable))

    assert (tmp_path / "ossec/bin/wazuh-control").is_file()


def test_given_a_moved_tree_when_its_python_runs_isolated_then_the_package_is_the_trees_own(
    nodes: Yard,
) -> None:
    node = nodes.node()

    done = subprocess.run(
        [
            node.home / "framework/python/bin/python3",
            "-I",
            "-c",
            "import wazuh; print(wazuh.WAZUH_PATH)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert Path(done.stdout.strip()) == node.home


def test_given_no_database_when_users_are_preset_twice_then_default_passwords_never_fit_again(
    nodes: Yard,
) -> None:
    node = nodes.node()

    first, second = preset(node.home), preset(node.home)

    assert first == second
    assert first.startswith("[False, False] True ")
    assert "'id': 100, 'username': 'wazuh-charm', 'allow_run_as': False, 'roles': [1]" in first


def test_given_a_new_database_when_it_is_made_then_the_default_users_have_default_passwords(
    nodes: Yard,
) -> None:
    node = nodes.node()
    question = (
        "from wazuh.rbac import orm; orm.check_database_integrity(); "
        "print([orm.AuthenticationManager().check_user(n, n) for n in ('wazuh', 'wazuh-wui')])"
    )

    done = subprocess.run(
        [node.home / "framework/python/bin/python3", "-I", "-c", question],
        env={"WAZUH_SERVER_TIME_SCALE": "20"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[True, True]"


def test_given_anything_printed_or_logged_when_read_then_it_is_named_a_stand_in(
    nodes: Yard,
) -> None:
    node = nodes.node()
    node.up("wazuh-execd")

    said = node.run("wazuh-control", "help").stdout + node.run("wazuh-execd", "-V").stdout

    assert said.count("stand-in") == 2
    assert all("stand-in" in line for line in node.log().splitlines())
