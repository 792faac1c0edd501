"""The image's own parts, carried out by rockcraft's library: the tree is the one the sandbox runs.

Parts that need the vendor's packages or another repository are not carried out here.
"""

import os
import subprocess
from pathlib import Path

import pytest

from sandbox import image
from tests.package.conftest import ROOT, TOOLS

_PRIME = """
import sys
from pathlib import Path
import yaml
from craft_parts import LifecycleManager, Step
rock, work = yaml.safe_load(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
parts = {name: rock["parts"][name] for name in ("own", "places")}
for part in parts.values():
    part.pop("permissions", None)  # Only root may give files away.
manager = LifecycleManager(
    {"parts": parts}, application_name="rockcraft", cache_dir=work / "cache", work_dir=work
)
# As craft-application's service does for every project.
manager.project_info.global_environment["CRAFT_PROJECT_VERSION"] = rock["version"]
with manager.action_executor() as executor:
    executor.execute(manager.plan(Step.PRIME))
"""


def _files(root: Path) -> dict[str, tuple[bytes, bool]]:
    """Return each file's content, and whether everybody may execute it."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), bool(path.stat().st_mode & 0o001))
        for folder in ("opt/wazuh-server", "var/lib/pebble")
        for path in (root / folder).rglob("*")
        if path.is_file() and "seed" not in path.parts
    }


def _installation(home: Path) -> None:
    for name in ("etc", "logs", "stats", "backup", "api/configuration", "queue/db", "var"):
        (home / name).mkdir(parents=True)


def test_given_the_own_parts_when_primed_by_rockcraft_s_library_then_they_are_the_sandbox_s_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image.os, "chown", lambda *_: None)
    image.build(ROOT, tmp_path / "image", _installation, single=True)
    work = tmp_path / "work"
    work.mkdir()

    done = subprocess.run(
        [TOOLS / "charmcraft/bin/python", "-c", _PRIME, ROOT / "rockcraft.yaml", work],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XDG_RUNTIME_DIR": str(TOOLS / "run")},
    )

    assert done.returncode == 0, done.stderr
    primed, run = _files(work / "prime"), _files(tmp_path / "image")
    assert primed.pop("opt/wazuh-server/version")[0].startswith(b"4.14.")
    run.pop("opt/wazuh-server/version")
    # The sandbox has a stand-in for Filebeat; the rock runs the vendor's through this program.
    stand_in = "opt/wazuh-server/bin/filebeat"
    assert primed.pop(stand_in)[1] == run.pop(stand_in)[1]
    assert primed == run
