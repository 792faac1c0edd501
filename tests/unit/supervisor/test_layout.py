"""rock/lay-out: everything that is written ends up on the one volume."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.supervisor.fake_wazuh import ROOT

_LINKED = ("etc", "logs", "stats", "backup", "api/configuration", "var/multigroups")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make an image's root as an installation leaves it."""
    home = tmp_path / "var/ossec"
    for name in (*_LINKED, "queue/sockets", "queue/db", "var/run", "tmp", "bin"):
        (home / name).mkdir(parents=True, exist_ok=True)
    (home / "etc").chmod(0o770)
    (home / "etc/ossec.conf").write_text("default")
    (home / "api/configuration/api.yaml").write_text("yaml")
    (home / "queue/db/.template").write_text("x")
    return tmp_path


def _lay_out(root: Path) -> None:
    subprocess.run([ROOT / "rock/lay-out", root], check=True)


def test_given_an_installation_when_laid_out_then_links_are_relative_and_lead_to_the_volume(
    root: Path,
):
    _lay_out(root)
    home = root / "var/ossec"
    for name in _LINKED:
        link = home / name
        assert link.is_symlink()
        assert not link.readlink().is_absolute(), "daemons chroot"
        target = (link.parent / link.readlink()).resolve()
        assert target == (home / "queue/keep" / name).resolve()
    assert list((home / "queue").iterdir()) == []
    assert (home / "var/run").is_dir() and not (home / "var/run").is_symlink()


def test_given_an_installation_when_laid_out_then_the_seed_has_what_it_brought(root: Path):
    _lay_out(root)
    seed = root / "opt/wazuh-server/seed"
    assert (seed / "etc/ossec.conf").read_text() == "default"
    assert (seed / "etc").stat().st_mode & 0o777 == 0o770
    assert (seed / "api/configuration/api.yaml").read_text() == "yaml"
    assert (seed / "queue/db/.template").read_text() == "x"
    assert (seed / "queue/sockets").is_dir()


def test_given_a_laid_out_image_when_laid_out_again_then_nothing_changes(root: Path):
    def tree() -> list[tuple]:
        return sorted((str(p), p.lstat().st_mode) for p in root.rglob("*"))

    _lay_out(root)
    before = tree()
    _lay_out(root)
    assert tree() == before


def test_given_our_files_among_wazuh_s_when_laid_out_then_they_are_their_folder_s_owner_s(
    root: Path,
):
    home, ours = root / "var/ossec", ROOT / "rock/wazuh"
    (home / "integrations").mkdir(mode=0o750)

    _lay_out(root)

    modes = {"integrations": 0o750, "ruleset": 0o640}
    for source in (path for path in ours.rglob("*") if path.is_file()):
        place = home / source.relative_to(ours)
        assert place.read_bytes() == source.read_bytes()
        assert place.stat().st_mode & 0o777 == modes[source.relative_to(ours).parts[0]]
        folder = place.parent.stat()
        assert (place.stat().st_uid, place.stat().st_gid) == (folder.st_uid, folder.st_gid)
    text = (ROOT / "rock/lay-out").read_text()
    assert 'chown --reference="$folder"' in text, "owners are Wazuh's, whoever builds the image"


def test_given_modes_as_wazuh_sets_them_when_laid_out_then_others_may_run_its_python_alone(
    root: Path,
):
    home = root / "var/ossec"
    for name in ("framework/python/bin", "framework/scripts", "lib"):
        (home / name).mkdir(parents=True, exist_ok=True)
    opened = ("framework/python/bin/python3", "lib/libpython3.10.so.1.0")
    closed = ("framework/scripts/wazuh_clusterd.py", "bin/wazuh-control")
    for name in (*opened, *closed):
        (home / name).touch()
    for path in (home, *home.rglob("*")):
        path.chmod(0o750)

    _lay_out(root)

    def others(name: str) -> int:
        return (home / name).stat().st_mode & 0o007

    assert [others(name) for name in opened] == [0o5, 0o5]
    assert [others(name) for name in closed] == [0, 0]
    ways = (".", "framework", "framework/python", "framework/python/bin", "lib")
    assert all(others(name) & 0o1 for name in ways)
    assert others("bin") == others("framework/scripts") == 0


def test_given_no_installation_when_laid_out_then_it_says_so(tmp_path: Path):
    result = subprocess.run(
        [ROOT / "rock/lay-out", tmp_path], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "is not there" in result.stderr
