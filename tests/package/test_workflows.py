"""GitHub's workflows: read by actionlint, and what they call is there."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from sandbox import building
from tests.package.conftest import ROOT

_WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))


@pytest.fixture(scope="session")
def actionlint() -> Path:
    """The linter, built once from its pinned Go module."""
    program = ROOT / ".tools/actionlint"
    source = Path(__file__).parent / "actionlint"
    if not program.exists() or program.stat().st_mtime < (source / "go.mod").stat().st_mtime:
        building.build_program(source, "github.com/rhysd/actionlint/cmd/actionlint", program)
    return program


def test_given_the_workflows_when_linted_then_nothing_is_found(actionlint: Path) -> None:
    done = subprocess.run(
        [actionlint, "-no-color", "-shellcheck=", "-pyflakes=", *_WORKFLOWS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert len(_WORKFLOWS) >= 4
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("path", _WORKFLOWS, ids=lambda path: path.stem)
def test_given_a_workflow_when_it_calls_make_then_the_target_is_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"\bmake ([a-z-]+)", path.read_text())) <= targets
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}


def test_given_renovate_s_patterns_when_tried_then_they_find_what_they_are_for() -> None:
    managers = json.loads((ROOT / "renovate.json").read_text())["customManagers"]
    tools, source = (re.sub(r"\(\?<", "(?P<", m["matchStrings"][0]) for m in managers)

    found = {
        match["depName"]
        for name in ("bring", "pack")
        for match in re.finditer(tools, (ROOT / "scripts" / name).read_text())
    }
    assert found >= {"charmcraft", "charmlint", "tox", "uv"}
    assert re.search(source, (ROOT / "rockcraft.yaml").read_text())


@pytest.mark.parametrize(("workflow", "job"), [("integration", "image"), ("release", "release")])
def test_given_the_architectures_when_built_and_released_then_none_is_left_out(
    workflow: str, job: str
) -> None:
    found = yaml.safe_load((ROOT / f".github/workflows/{workflow}.yaml").read_text())
    matrix = found["jobs"][job]["strategy"]["matrix"]["include"]

    for declared in ("charmcraft.yaml", "rockcraft.yaml"):
        platforms = yaml.safe_load((ROOT / declared).read_text())["platforms"]
        assert {one["arch"] for one in matrix} == set(platforms)
    assert all(one["runner"].endswith("-arm") == (one["arch"] == "arm64") for one in matrix)
