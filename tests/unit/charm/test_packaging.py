"""charmcraft.yaml and dispatch say what the charm really does."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from src import exposure, files, hardening, origin, relations, rotation, state
from src.charm import WazuhOperatorCharm
from tests.unit.charm.world import ROOT


@pytest.fixture(scope="module")
def meta():
    return yaml.safe_load((ROOT / "charmcraft.yaml").read_text())


def test_given_the_declaration_when_read_then_names_are_what_people_know(meta):
    assert meta["name"] == "wazuh-server"
    assert list(meta["containers"]) == ["wazuh-server"]
    assert list(meta["peers"]) == [state.PEERS]


def test_given_the_endpoints_when_read_then_all_but_the_peers_are_optional_and_described(meta):
    declared = {**meta["requires"], **meta.get("provides", {})}

    assert set(declared) == set(relations.ENDPOINTS)
    for endpoint in declared.values():
        assert endpoint["optional"] is True
        assert endpoint["description"]


def test_given_the_options_when_read_then_each_is_used_and_each_used_is_there(meta):
    used = {
        *exposure.OPTIONS,
        *origin.OPTIONS,
        *state.SETTINGS,
        state.AUTHORITIES,
        hardening.OPTION,
        state.ENROLMENT_OPTION,
        state.ROTATION_OPTION,
    }

    assert set(meta["config"]["options"]) == used
    assert meta["config"]["options"][state.ENROLMENT_OPTION]["type"] == "secret"


def test_given_the_actions_when_read_then_strangers_to_them_are_refused(meta):
    required = {
        "issue-sender-certificate": ["name"],
        "promote": ["unit"],
        "rotate-secret": ["secret"],
    }

    for name, action in meta["actions"].items():
        assert action["additionalProperties"] is False
        assert action.get("required", []) == required.get(name, [])


def test_given_what_can_be_rotated_when_read_then_action_and_charm_name_the_same(meta):
    offered = meta["actions"]["rotate-secret"]["params"]["secret"]["enum"]

    assert offered == [*rotation.PARTS, rotation.ALL]


def test_given_the_volume_when_mounted_then_it_is_wazuhs_queue_and_large_enough(meta):
    (mount,) = meta["containers"]["wazuh-server"]["mounts"]

    assert mount == {"storage": "data", "location": "/var/ossec/queue"}
    assert meta["storage"]["data"]["minimum-size"] == "10G"


def test_given_the_container_when_made_then_pebble_may_use_several_users(meta):
    # A Pebble with a uid of its own cannot start anything as another user.
    container = meta["containers"]["wazuh-server"]

    assert "uid" not in container
    assert "gid" not in container
    assert meta["charm-user"] == "non-root"


def test_given_the_parts_when_packed_then_everything_read_at_run_time_is_there(meta):
    staged = meta["parts"]["files"]["stage"]

    assert set(staged) == {"dispatch", "templates", "icon.svg", "LICENSE"}
    assert meta["parts"]["charm"]["plugin"] == "uv"
    assert meta["parts"]["charm"]["after"] == ["files"]
    assert (ROOT / "icon.svg").exists()


def test_given_the_linter_of_charmcraft_when_it_reads_dispatch_then_it_finds_the_entry_point():
    last = (ROOT / "dispatch").read_text().rstrip().splitlines()[-1].split()[-1]

    assert last == "src/charm.py"
    assert os.access(ROOT / "dispatch", os.X_OK)
    assert os.access(ROOT / last, os.X_OK)


def test_given_dispatch_when_run_from_elsewhere_then_it_starts_the_charm_with_root_on_the_path(
    tmp_path,
):
    charm = tmp_path / "charm"
    (charm / "src").mkdir(parents=True)
    shutil.copy(ROOT / "dispatch", charm / "dispatch")
    (charm / "venv/bin").mkdir(parents=True)
    (charm / "venv/bin/python").symlink_to(sys.executable)
    (charm / "src/charm.py").write_text(
        "import sys, pathlib\nprint(pathlib.Path(sys.path[0]).resolve())\nprint(__file__)\n"
    )

    shown = subprocess.run(
        [charm / "dispatch"], cwd="/", capture_output=True, text=True, check=True, env={}
    ).stdout.splitlines()

    assert shown == [str(charm), str(charm / "src/charm.py")]


def test_given_the_charm_class_when_linted_then_it_observes_config_changed():
    assert hasattr(WazuhOperatorCharm, "_on_config_changed")


def test_given_the_ports_when_read_then_they_are_those_of_the_description(meta):
    text = meta["description"]

    for port in files.PORTS:
        assert re.search(rf"\b{port}\b", text)
